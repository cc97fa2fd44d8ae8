import json

import psycopg
import pytest
from django.core.management import call_command
from django.db import connection, connections

from database import info as information
from database.info import database_info, replica_info
from database.tests.mute_server import mute_server


@pytest.mark.django_db
def test_it_says_which_database_is_in_force_and_from_where():
    info = database_info()

    assert info["database"] == connection.settings_dict["NAME"]
    assert info["url_from"] == "process environment"
    assert info["pool_mode"] == "pool"
    assert info["pool"]["max_size"] == 50
    assert info["replica"] is None
    assert info["unapplied_migrations"] == 0
    assert 0 < info["connections_used"] <= info["max_connections"]


@pytest.mark.django_db
def test_the_command_prints_lines_and_json(capsys):
    call_command("database_info")
    lines = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    call_command("database_info", "--json")
    info = json.loads(capsys.readouterr().out)

    assert [name.replace(" ", "_") for name in lines] == list(info)
    assert lines["server version"].strip() == info["server_version"]
    assert lines["url from"].strip() == "process environment"
    assert lines["replica"].strip() == "-"


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_an_unreachable_database_is_one_sentence_without_the_password(manage, options):
    done = manage("database_info", *options, DATABASE_URL="postgresql://someone:hunter2@127.0.0.1:1/x")

    assert done.returncode == 1
    assert done.stderr.startswith("CommandError: The database cannot be reached: ")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr + done.stdout


def test_neither_output_nor_error_of_a_real_sign_in_holds_the_password(private_server, manage):
    with psycopg.connect(**private_server.conninfo, autocommit=True) as admin:
        admin.execute("CREATE ROLE someone LOGIN PASSWORD 'hunter2'")
    url = private_server.url.replace("postgres@", "someone:hunter2@")

    shown = manage("database_info", "--json", DATABASE_URL=url)
    refused = manage("database_info", DATABASE_URL=url.replace("/ai_scheduler", "/no_such_database"))

    assert json.loads(shown.stdout)["user"] == "someone"
    assert json.loads(shown.stdout)["unapplied_migrations"] > 50
    assert refused.returncode == 1
    assert "hunter2" not in shown.stdout + shown.stderr + refused.stdout + refused.stderr


@pytest.mark.django_db
def test_pools_of_running_processes_are_added_up(tmp_path, settings):
    connection.ensure_connection()

    pools = database_info()["pools_in_use"]
    assert pools["processes"] >= 1
    assert pools["used"] >= 1

    settings.METRICS_DIR = tmp_path
    assert database_info()["pools_in_use"] is None


@pytest.fixture
def replica(monkeypatch):
    """Let an alias "replica" lead to the tests' own server, or elsewhere by changed settings."""
    of_tests = connections.settings["default"]
    options = {name: value for name, value in of_tests["OPTIONS"].items() if name != "pool"}
    configured = {**of_tests, "OPTIONS": options}
    monkeypatch.setitem(connections.settings, "replica", configured)
    yield configured
    del connections["replica"]


@pytest.mark.django_db
def test_a_replica_that_is_no_standby_is_told(replica):
    info = replica_info()

    assert info is not None
    assert info["unavailable"] == "It is no standby."


@pytest.mark.django_db
def test_a_replica_that_is_away_is_a_sentence_without_the_password(replica):
    replica.update(HOST="127.0.0.1", PORT="1", PASSWORD="hunter2")

    info = database_info()

    assert info["replica"]["host"] == "127.0.0.1"
    assert info["replica"]["port"] == 1
    assert info["replica"]["unavailable"].startswith("No PostgreSQL answers")
    assert "hunter2" not in json.dumps(info)


@pytest.mark.django_db
def test_a_replica_that_hangs_does_not_hold_the_command_up(replica, monkeypatch):
    monkeypatch.setattr(information, "LIMIT", 0.5)
    with mute_server(signs_in=True) as (port, _):
        replica.update(HOST="127.0.0.1", PORT=str(port))

        info = replica_info()

    assert info is not None
    assert info["unavailable"]
