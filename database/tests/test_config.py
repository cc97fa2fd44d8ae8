from pathlib import Path
from typing import Any

import pytest
from django.core.exceptions import ImproperlyConfigured

from database.config import ONE_OFF_COMMANDS, Configuration, configure
from database.environment import Environment

# No wait for a server that is gone, neither to connect nor later.
NETWORK = {
    "connect_timeout": 3,
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}
URL = "postgresql://worker:hunter2@db.example:6432/calls"


def configured(
    *argv: str, debug: bool = False, file: dict[str, str] | None = None, **process: str
) -> Configuration:
    process.setdefault("DATABASE_URL", URL)
    return configure(Environment(process, file or {}), Path("/project"), ["manage.py", *argv], debug=debug)


def default(*argv: str, **process: str) -> dict[str, Any]:
    return configured(*argv, debug=False, file=None, **process).databases["default"]


def test_the_url_becomes_the_default_database():
    database = default()

    assert database["ENGINE"] == "database.backend"
    assert "EMBEDDED_DATA_DIR" not in database
    assert [database[key] for key in ("USER", "PASSWORD", "HOST", "PORT", "NAME")] == [
        "worker", "hunter2", "db.example", 6432, "calls",
    ]  # fmt: skip


def test_a_pool_is_the_default():
    database = default()

    assert database["CONN_MAX_AGE"] == 0
    assert database["OPTIONS"]["pool"] == {
        "min_size": 10, "max_size": 50, "timeout": 30, "max_lifetime": 3600, "max_idle": 300, "max_queries": 50_000,
    }  # fmt: skip


def test_every_figure_of_the_pool_has_its_variable():
    pool = default(
        DB_POOL_MIN_SIZE="1",
        DB_POOL_MAX_SIZE="2",
        DB_POOL_TIMEOUT="0.5",
        DB_POOL_MAX_LIFETIME="4",
        DB_POOL_MAX_INACTIVE_LIFETIME="5",
        DB_POOL_MAX_QUERIES="6",
    )["OPTIONS"]["pool"]

    assert pool == {
        "min_size": 1, "max_size": 2, "timeout": 0.5, "max_lifetime": 4, "max_idle": 5, "max_queries": 6,
    }  # fmt: skip


def test_connections_need_not_be_retired_after_queries():
    assert default(DB_POOL_MAX_QUERIES="0")["OPTIONS"]["pool"]["max_queries"] == 0


def test_persistent_mode_keeps_connections_for_60_seconds_or_as_told():
    assert default(DB_POOL_MODE="persistent")["CONN_MAX_AGE"] == 60
    assert default(DB_POOL_MODE="persistent", CONN_MAX_AGE="7")["CONN_MAX_AGE"] == 7
    assert "pool" not in default(DB_POOL_MODE="persistent")["OPTIONS"]


def test_pgbouncer_mode_uses_nothing_that_lives_longer_than_a_transaction():
    database = default(DB_POOL_MODE="pgbouncer")

    assert database["DISABLE_SERVER_SIDE_CURSORS"] is True
    assert database["OPTIONS"] == {"prepare_threshold": None, **NETWORK}
    assert database["CONN_MAX_AGE"] == 0


def test_statements_time_out_on_the_server():
    assert default()["OPTIONS"]["options"] == "-c statement_timeout=10000"
    assert default(DB_COMMAND_TIMEOUT="0.25")["OPTIONS"]["options"] == "-c statement_timeout=250"


def test_a_tiny_timeout_does_not_become_none():
    assert default(DB_COMMAND_TIMEOUT="0.0001")["OPTIONS"]["options"] == "-c statement_timeout=1"


@pytest.mark.parametrize("name", ["DATABASE_URL", "DATABASE_REPLICA_URL"])
@pytest.mark.parametrize("parameter", ["pool=true", "conn_max_age=60", "prepare_threshold=5", "hunter2=x"])
def test_a_url_may_not_say_what_has_a_variable_or_no_meaning(name, parameter):
    with pytest.raises(ImproperlyConfigured, match=f"^{name} has a parameter that") as refused:
        configured(debug=False, file=None, **{name: f"{URL}?{parameter}"})
    assert "hunter2" not in str(refused.value)


def test_no_timeout_is_said_too_because_the_role_may_have_one():
    assert default(DB_COMMAND_TIMEOUT="0")["OPTIONS"]["options"] == "-c statement_timeout=0"


def test_the_timeout_joins_the_options_of_the_url():
    options = default(DATABASE_URL=URL + "?currentSchema=calls")["OPTIONS"]

    assert options["options"] == "-c search_path=calls -c statement_timeout=10000"


@pytest.mark.parametrize("command", sorted(ONE_OFF_COMMANDS))
def test_one_off_commands_have_neither_timeout_nor_pool(command):
    assert default(command)["OPTIONS"] == {"options": "-c statement_timeout=0", **NETWORK}


def test_host_and_port_may_be_parameters_as_libpq_allows():
    database = default(DATABASE_URL="postgresql://me@/calls?host=%2Ftmp%2FSockets&port=6432&sslmode=disable")

    assert (database["HOST"], str(database["PORT"])) == ("/tmp/Sockets", "6432")
    assert database["OPTIONS"]["sslmode"] == "disable"
    assert not {"host", "port"} & set(database["OPTIONS"])


def test_the_url_may_say_how_long_to_wait_for_a_connection():
    assert default(DATABASE_URL=URL + "?connect_timeout=20")["OPTIONS"]["connect_timeout"] == 20


def test_there_is_no_replica_by_default():
    assert list(configured().databases) == ["default"]
    assert configured().replica_max_lag == 10


def test_a_replica_is_read_only_without_a_pool_and_not_made_by_tests():
    found = configured(
        DATABASE_REPLICA_URL="postgresql://reader:hunter2@replica/calls?sslmode=require",
        DB_REPLICA_MAX_LAG="2.5",
    )
    replica = found.databases["replica"]

    assert (replica["HOST"], replica["USER"], replica["NAME"]) == ("replica", "reader", "calls")
    assert replica["TEST"] == {"MIRROR": "default"}
    assert (replica["ENGINE"], replica["CONN_MAX_AGE"]) == ("database.replica_backend", 60)
    primary = found.databases["default"]["OPTIONS"]
    assert replica["OPTIONS"] == {
        **NETWORK,
        "sslmode": "require",
        "options": f"{primary['options']} -c default_transaction_read_only=on",
    }
    assert found.replica_max_lag == 2.5


def test_a_wrong_replica_url_is_refused_by_name_without_the_password():
    with pytest.raises(ImproperlyConfigured, match="^DATABASE_REPLICA_URL ") as refused:
        default(DATABASE_REPLICA_URL="postgresql://reader:hunter2@replica:port/calls")
    assert "hunter2" not in str(refused.value)


def test_processes_and_redis_are_read():
    assert configured().processes == 1
    assert configured().redis_url == ""
    found = configured(DB_PROCESSES="20", REDIS_URL="redis://cache/0")
    assert (found.processes, found.redis_url) == (20, "redis://cache/0")


@pytest.mark.parametrize("mode", ["", "pool", "pgbouncer"])
def test_conn_max_age_is_refused_outside_persistent_mode(mode):
    with pytest.raises(ImproperlyConfigured, match="^CONN_MAX_AGE works only with DB_POOL_MODE=persistent"):
        default(DB_POOL_MODE=mode, CONN_MAX_AGE="60")


def test_conn_max_age_zero_says_nothing_wrong():
    assert default(CONN_MAX_AGE="0")["CONN_MAX_AGE"] == 0


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("DB_POOL_MODE", "session"),
        ("DB_POOL_MIN_SIZE", "few"),
        ("DB_POOL_MAX_SIZE", "0"),
        ("DB_POOL_TIMEOUT", "0"),
        ("DB_POOL_MAX_LIFETIME", "-1"),
        ("DB_POOL_MAX_INACTIVE_LIFETIME", "hour"),
        ("DB_COMMAND_TIMEOUT", "10s"),
        ("CONN_MAX_AGE", "None"),
        ("DB_POOL_MAX_QUERIES", "-1"),
        ("DB_PROCESSES", "0"),
        ("DB_REPLICA_MAX_LAG", "soon"),
        ("REDIS_URL", "http://cache"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(name, value):
    with pytest.raises(ImproperlyConfigured, match=rf"^{name} "):
        default(**{name: value})


def test_a_minimum_above_the_maximum_is_refused():
    with pytest.raises(
        ImproperlyConfigured, match="DB_POOL_MIN_SIZE must not be larger than DB_POOL_MAX_SIZE"
    ):
        default(DB_POOL_MAX_SIZE="5")


def test_sizes_of_the_pool_are_checked_in_commands_that_have_none():
    with pytest.raises(ImproperlyConfigured, match="^DB_POOL_MIN_SIZE"):
        default("migrate", DB_POOL_MIN_SIZE="few")


def test_a_sqlite_url_is_answered_with_the_way_to_bring_the_file_in():
    with pytest.raises(ImproperlyConfigured, match="migrate_from_sqlite"):
        default(DATABASE_URL="sqlite:///ai_scheduler.db")


@pytest.mark.parametrize(
    "url",
    [
        "mysql://worker:hunter2@db.example/calls",
        "hunter2",
        "postgresql://worker:hunter2@db.example:port/calls",
        "postgresql://worker:hunter2@db.example:99999/calls",
        "postgresql://worker:hunter2/@db.example/calls",
        "postgresql://worker:hunter2]@db.example/calls",
        "postgresql://worker:hunter2@[db.example/calls",
        "postgresql://worker:hunter2@db.example",
    ],
)
def test_a_wrong_url_is_refused_by_name_without_the_password(url):
    with pytest.raises(ImproperlyConfigured, match="^DATABASE_URL ") as refused:
        default(DATABASE_URL=url)
    assert "hunter2" not in str(refused.value)
    assert refused.value.__cause__ is None


def test_a_password_may_hold_percent_encoded_characters():
    assert default(DATABASE_URL="postgresql://worker:p%40ss%2F@db/calls")["PASSWORD"] == "p@ss/"


def test_the_folder_of_a_socket_keeps_its_capitals():
    assert default(DATABASE_URL="postgresql://worker@%2FVar%2FRun/calls")["HOST"] == "/Var/Run"
    assert default(DATABASE_URL="postgresql:///calls?host=/Var/Run")["HOST"] == "/Var/Run"


def test_without_a_url_debug_uses_the_embedded_server():
    found = configured(DATABASE_URL="", debug=True)

    assert found.url_source == "embedded"
    assert found.databases["default"]["ENGINE"] == "database.backend"
    assert found.databases["default"]["EMBEDDED_DATA_DIR"] == "/project/.local/postgres"


def test_without_a_url_production_is_refused():
    with pytest.raises(
        ImproperlyConfigured, match="^DATABASE_URL is not set; it is required when DEBUG is off"
    ):
        configured(DATABASE_URL="", debug=False)


def test_it_remembers_where_the_url_came_from():
    assert configured().url_source == "process environment"
    from_file = configure(
        Environment({}, {"DATABASE_URL": URL}), Path("/project"), ["manage.py"], debug=False
    )
    assert from_file.url_source == ".env"


def test_the_process_wins_over_the_file():
    found = configured(file={"DATABASE_URL": "postgresql://other/other", "DB_POOL_MAX_SIZE": "11"})

    assert found.databases["default"]["NAME"] == "calls"
    assert found.databases["default"]["OPTIONS"]["pool"]["max_size"] == 11
