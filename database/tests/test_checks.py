import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from django.conf import settings as project
from django.core.checks import run_checks
from django.db import connections, migrations

from database import checks
from database.tests.mute_server import mute_server

DEFAULT = {"ENGINE": "database.backend", "NAME": "calls", "HOST": "db.example", "PORT": "", "CONN_MAX_AGE": 0}


@pytest.fixture
def databases(monkeypatch):
    """Edit DATABASES as somebody would by hand: `databases(default={...})`."""

    def edit(**changes: dict) -> None:
        edited = {alias: {**DEFAULT, "OPTIONS": {}, **change} for alias, change in changes.items()}
        # Not by the fixture `settings`: Django warns of it, as connections do not follow. The checks need none.
        monkeypatch.setattr(project, "DATABASES", edited)

    return edit


@pytest.fixture
def server(private_server, databases, monkeypatch, settings):
    """A server of the test's own behind both aliases, with a pool of 10 in each process."""
    address = {
        "HOST": private_server.conninfo["host"],
        "PORT": "",
        "USER": "postgres",
        "PASSWORD": "",
        "NAME": "ai_scheduler",
    }
    for name, value in address.items():
        monkeypatch.setitem(connections["default"].settings_dict, name, value)
    pool = {"OPTIONS": {"pool": {"max_size": 10}}}
    databases(default={**address, **pool})
    settings.DATABASE_PROCESSES = 1
    return private_server


def execute(server, *statements: str) -> None:
    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        for statement in statements:
            connection.execute(statement)


def ids(found) -> list[str]:
    return [each.id for each in found]


def test_a_pool_with_persistent_connections_is_an_error(databases):
    databases(default={"OPTIONS": {"pool": {"max_size": 5}}, "CONN_MAX_AGE": 60})
    assert ids(checks.check_pool_and_persistent_connections()) == ["database.E001"]

    databases(default={"OPTIONS": {"pool": True}, "CONN_MAX_AGE": None})
    assert ids(checks.check_pool_and_persistent_connections()) == ["database.E001"]


@pytest.mark.parametrize("change", [{"OPTIONS": {"pool": {"max_size": 5}}}, {"CONN_MAX_AGE": 60}])
def test_a_pool_or_persistent_connections_are_fine(databases, change):
    databases(default=change)

    assert checks.check_pool_and_persistent_connections() == []


def test_server_side_cursors_behind_pgbouncer_are_a_warning(databases, settings):
    databases(default={}, replica={"DISABLE_SERVER_SIDE_CURSORS": True})
    settings.DATABASE_POOL_MODE = "pgbouncer"
    (warning,) = checks.check_cursors_behind_pgbouncer()
    assert warning.id == "database.W003"
    assert '"default"' in warning.msg

    settings.DATABASE_POOL_MODE = "pool"
    assert checks.check_cursors_behind_pgbouncer() == []


def test_no_server_side_cursors_behind_pgbouncer_are_fine(databases, settings):
    databases(default={"DISABLE_SERVER_SIDE_CURSORS": True})
    settings.DATABASE_POOL_MODE = "pgbouncer"

    assert checks.check_cursors_behind_pgbouncer() == []


def test_a_replica_with_the_address_of_the_primary_is_a_warning_without_the_password(databases):
    databases(
        default={"PASSWORD": "hunter2"}, replica={"HOST": "DB.example", "PORT": "5432", "USER": "reader"}
    )

    (warning,) = checks.check_replica_address()

    assert warning.id == "database.W004"
    assert "hunter2" not in str(warning)


@pytest.mark.parametrize("other", [{"HOST": "db2.example"}, {"PORT": "5433"}, {"NAME": "other"}])
def test_a_replica_elsewhere_is_fine(databases, other):
    databases(default={}, replica=other)
    assert checks.check_replica_address() == []

    databases(default={})
    assert checks.check_replica_address() == []


def test_a_replica_that_leads_to_the_primary_under_another_name_is_a_warning(server, monkeypatch):
    project.DATABASES["replica"] = project.DATABASES["default"]
    monkeypatch.setattr(checks, "direct_connection", lambda alias, seconds: original("default", seconds))

    assert ids(checks.check_replica_is_another_server(databases=["default", "replica"])) == ["database.W004"]
    assert checks.check_replica_is_another_server(databases=["default"]) == []
    assert checks.check_replica_is_another_server() == []


original = checks.direct_connection


@pytest.mark.parametrize("replica", [(1, True), (2, True), (2, False)])
def test_a_standby_and_a_logical_replica_are_fine(monkeypatch, databases, replica):
    databases(default={}, replica={})
    answers = {"default": [(1, False)], "replica": [replica]}
    monkeypatch.setattr(checks, "_rows", lambda alias, query: answers[alias])

    assert checks.check_replica_is_another_server(databases=["default", "replica"]) == []


def test_more_connections_than_the_server_has_are_a_warning(server, settings):
    execute(server, "ALTER SYSTEM SET reserved_connections = 7")
    server.stop()
    server.start()
    ((most,),) = checks._rows("default", "SELECT current_setting('max_connections')::int")
    free = most - 3 - 7  # the server reserves 3 for superusers unless told otherwise

    settings.DATABASE_PROCESSES = free // 10
    assert checks.check_max_connections(databases=["default"]) == []

    settings.DATABASE_PROCESSES += 1
    (warning,) = checks.check_max_connections(databases=["default"])
    assert warning.id == "database.W002"
    assert warning.msg.startswith(f"{settings.DATABASE_PROCESSES} processes with full pools need ")
    assert f"but the server has {free} to give" in warning.msg


def test_pools_of_two_aliases_on_one_server_are_added(server, settings, monkeypatch):
    project.DATABASES["replica"] = project.DATABASES["default"]
    monkeypatch.setattr(checks, "direct_connection", lambda alias, seconds: original("default", seconds))
    ((most,),) = checks._rows("default", "SELECT current_setting('max_connections')::int - 3")
    settings.DATABASE_PROCESSES = most // 10

    assert checks.check_max_connections(databases=["default"]) == []
    assert ids(checks.check_max_connections(databases=["default", "replica"])) == ["database.W002"]
    assert checks.check_max_connections() == []


def test_without_a_pool_there_is_nothing_to_add_up(server, settings):
    project.DATABASES["default"]["OPTIONS"] = {}
    settings.DATABASE_PROCESSES = 1000

    assert checks.check_max_connections(databases=["default"]) == []


@pytest.fixture
def poor_role(server, monkeypatch):
    execute(server, "CREATE ROLE poor LOGIN", "REVOKE CREATE ON DATABASE ai_scheduler FROM PUBLIC")
    monkeypatch.setitem(connections["default"].settings_dict, "USER", "poor")
    monkeypatch.setattr(checks, "extensions_of_migrations", lambda: {"btree_gist"})
    return server


def test_an_extension_that_the_role_may_not_create_is_an_error_with_sql_that_helps(poor_role):
    (error,) = checks.check_extensions(databases=["default"])

    assert error.id == "database.E002"
    assert "btree_gist" in error.msg and "poor" in error.msg
    execute(poor_role, str(error.hint).partition(": ")[2])
    assert checks.check_extensions(databases=["default"]) == []


def test_a_role_with_rights_may_create_a_trusted_extension(poor_role):
    execute(poor_role, "GRANT CREATE ON DATABASE ai_scheduler TO poor")

    assert checks.check_extensions(databases=["default"]) == []


def test_an_extension_that_is_not_trusted_needs_a_superuser(poor_role, monkeypatch):
    execute(poor_role, "GRANT CREATE ON DATABASE ai_scheduler TO poor")
    monkeypatch.setattr(checks, "extensions_of_migrations", lambda: {"pageinspect"})
    assert ids(checks.check_extensions(databases=["default"])) == ["database.E002"]

    monkeypatch.setitem(connections["default"].settings_dict, "USER", "postgres")
    assert checks.check_extensions(databases=["default"]) == []


def test_an_extension_that_the_server_lacks_is_an_error(poor_role, monkeypatch):
    monkeypatch.setattr(checks, "extensions_of_migrations", lambda: {"no_such_extension"})

    assert ids(checks.check_extensions(databases=["default"])) == ["database.E003"]


def test_the_extensions_are_those_of_the_migrations(monkeypatch):
    from django.contrib.postgres.operations import CreateExtension, TrigramExtension

    class Loader:
        def __init__(self, *arguments, **options):
            nested = migrations.SeparateDatabaseAndState([CreateExtension("inside")])
            migration = migrations.Migration("one", "shop")
            migration.operations = [TrigramExtension(), nested, migrations.RunSQL("SELECT 1")]  # type: ignore[misc]
            self.disk_migrations = {("shop", "one"): migration}

        def load_disk(self):
            pass

    monkeypatch.setattr(checks, "MigrationLoader", Loader)

    assert checks.extensions_of_migrations() == {"pg_trgm", "inside"}


def all_with_a_connection(databases=("default",)):
    return [
        *checks.check_extensions(databases=databases),
        *checks.check_max_connections(databases=databases),
        *checks.check_replica_is_another_server(databases=databases),
    ]


def test_a_server_that_is_away_is_no_finding(server, settings):
    settings.DATABASE_PROCESSES = 1000
    assert ids(all_with_a_connection()) == ["database.W002"]

    server.stop()

    assert all_with_a_connection() == []


def test_a_server_that_hangs_does_not_hold_the_checks_up(server, monkeypatch):
    os.kill(server.pid, signal.SIGSTOP)
    started = time.monotonic()
    try:
        assert all_with_a_connection() == []
    finally:
        os.kill(server.pid, signal.SIGCONT)
    assert time.monotonic() - started < 15  # three questions, 2 s each


def test_a_server_that_falls_silent_does_not_hold_the_checks_up(server, monkeypatch):
    with mute_server(signs_in=True) as (port, _):
        monkeypatch.setitem(connections["default"].settings_dict, "HOST", "127.0.0.1")
        monkeypatch.setitem(connections["default"].settings_dict, "PORT", str(port))
        with ThreadPoolExecutor(1) as threads:
            assert threads.submit(all_with_a_connection).result(timeout=15) == []


@pytest.mark.django_db
def test_the_checks_run_with_the_database_tag_and_find_nothing_wrong_with_the_tests():
    found = run_checks(databases=["default"], include_deployment_checks=True)

    assert [each for each in found if str(each.id).startswith("database.")] == []


def test_check_deploy_says_so_on_the_command_line(manage):
    done = manage("check", "--deploy", "--database", "default", DB_PROCESSES="100")

    assert "(database.W002) 100 processes with full pools need 5000 connections" in done.stderr


def test_migrate_tells_a_poor_role_which_sql_helps(private_server, manage):
    execute(private_server, "CREATE ROLE poor LOGIN", "GRANT CREATE ON SCHEMA public TO poor")

    done = manage("migrate", DATABASE_URL=private_server.url.replace("postgres@", "poor@"))

    assert done.returncode == 1
    assert "database.E002" in done.stderr
    assert "CREATE EXTENSION IF NOT EXISTS" in done.stderr


def test_every_check_is_documented():
    guide = (project.BASE_DIR / "docs" / "operations.md").read_text()
    code = (project.BASE_DIR / "database" / "checks.py").read_text()
    known = {part.partition('"')[0] for part in code.split('id="')[1:]}

    assert known == {
        "database.E001",
        "database.E002",
        "database.E003",
        "database.W002",
        "database.W003",
        "database.W004",
    }
    assert [each for each in known if each not in guide] == []
