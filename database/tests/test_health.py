import json
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest
from django.db import connections
from psycopg import sql

from database import health
from database.health import migrations_of_the_code, pool_figures, readiness
from database.testing import wait_until
from database.tests.mute_server import mute_server

SOON = 4.0  # seconds; the promise is 2, and what hangs does so for minutes


@pytest.fixture
def point_at(monkeypatch):
    """Let the alias "default" name another server, for the probe's own connection."""

    def point(**settings: Any) -> None:
        for name, value in settings.items():
            monkeypatch.setitem(connections["default"].settings_dict, name, value)
        health._probe.forget()

    yield point
    health._probe.forget()


@pytest.fixture
def server(private_server, point_at):
    """A server on which all migrations count as applied, and which the probe asks."""
    with psycopg.connect(**private_server.conninfo) as connection:
        connection.execute("CREATE TABLE django_migrations (app text, name text)")
        with connection.cursor() as cursor:
            cursor.executemany(
                "INSERT INTO django_migrations VALUES (%s, %s)", list(migrations_of_the_code())
            )
    point_at(
        HOST=private_server.conninfo["host"],
        PORT="",
        USER=private_server.conninfo["user"],
        PASSWORD="",
        NAME=private_server.conninfo["dbname"],
    )
    return private_server


def seconds_of(function) -> tuple[float, Any]:
    started = time.monotonic()
    answer = function()
    return time.monotonic() - started, answer


def probes_of(server) -> int:
    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        query = "SELECT sessions FROM pg_stat_database WHERE datname = current_database()"
        ((sessions,),) = connection.execute(query).fetchall()
        return sessions


def test_a_server_with_all_migrations_is_ready(server):
    answer = readiness().as_json()

    assert answer["status"] == "ready"
    assert answer["database"] == "connected"
    assert answer["unapplied_migrations"] == []
    assert "reason" not in answer


def test_an_unapplied_migration_is_named_and_not_ready(server):
    with psycopg.connect(**server.conninfo) as connection:
        connection.execute("DELETE FROM django_migrations WHERE app = 'auth' AND name = '0001_initial'")

    answer = readiness()

    assert not answer.ready
    assert answer.as_json()["database"] == "connected"
    assert answer.as_json()["unapplied_migrations"] == ["auth.0001_initial"]


def test_an_empty_database_lacks_every_migration(server):
    with psycopg.connect(**server.conninfo) as connection:
        connection.execute("DROP TABLE django_migrations")

    answer = readiness()

    assert not answer.ready
    assert answer.database.unapplied == sorted(".".join(key) for key in migrations_of_the_code())


def test_a_squash_and_what_it_replaces_stand_for_each_other(server, monkeypatch):
    code: dict[tuple[str, str], frozenset[tuple[str, str]]]
    code = {("shop", "0001"): frozenset(), ("shop", "0002"): frozenset()}
    code["shop", "0001_squashed"] = frozenset(code)
    monkeypatch.setattr(health, "migrations_of_the_code", lambda: code)

    def unapplied(*applied: str) -> list[str]:
        with psycopg.connect(**server.conninfo) as connection:
            connection.execute("DELETE FROM django_migrations")
            for name in applied:
                connection.execute("INSERT INTO django_migrations VALUES ('shop', %s)", [name])
            connection.commit()
            return health.unapplied_migrations(connection)

    assert unapplied() == ["shop.0001_squashed"]
    assert unapplied("0001", "0002") == []
    assert unapplied("0001_squashed") == []


def test_a_stopped_server_is_disconnected_and_a_restarted_one_ready_again(server):
    assert readiness().ready
    server.stop("immediate")
    health._probe.forget()
    assert readiness().as_json() | {"pool": None} == {
        "status": "not_ready",
        "database": "disconnected",
        "pool": None,
        "unapplied_migrations": None,
        "reason": "No PostgreSQL answers.",
    }

    server.start()

    wait_until(lambda: readiness().ready)


def test_a_frozen_server_is_given_up_within_the_limit(server):
    os.kill(server.pid, signal.SIGSTOP)
    try:
        elapsed, answer = seconds_of(readiness)
    finally:
        os.kill(server.pid, signal.SIGCONT)

    assert (answer.ready, answer.database.reason) == (False, health.TOO_SLOW)
    assert elapsed < SOON


@pytest.mark.parametrize("signs_in", [False, True])
def test_a_server_that_falls_silent_is_given_up_and_met_with_one_connection(point_at, signs_in):
    with mute_server(signs_in=signs_in) as (port, taken):
        point_at(HOST="127.0.0.1", PORT=str(port), PASSWORD="hunter2")
        with ThreadPoolExecutor(20) as threads:
            answers = list(threads.map(lambda _: seconds_of(readiness), range(20)))

        assert {answer.database.reason for _, answer in answers} == {health.TOO_SLOW}
        assert max(elapsed for elapsed, _ in answers) < SOON
        assert len(taken) == 1


def test_a_locked_table_is_given_up_and_its_statement_broken_off(server):
    with psycopg.connect(**server.conninfo) as connection:
        connection.execute("LOCK TABLE django_migrations")
        elapsed, answer = seconds_of(readiness)

        assert answer.database.reason == health.TOO_SLOW
        assert elapsed < SOON
        with psycopg.connect(**server.conninfo, autocommit=True) as watcher:
            waiting = "SELECT FROM pg_locks WHERE NOT granted"
            wait_until(lambda: not watcher.execute(waiting).fetchall())


def test_many_probes_at_once_and_soon_after_share_one_connection(server):
    readiness()
    wait_until(lambda: probes_of(server) > 0)
    before = probes_of(server)
    health._probe.forget()

    with ThreadPoolExecutor(20) as threads:
        assert all(answer.ready for answer in threads.map(lambda _: readiness(), range(200)))

    # The statistics of a session arrive when it ends; our own questions for them are sessions too.
    wait_until(lambda: probes_of(server) > before + 1)
    assert probes_of(server) < before + 50


def test_the_probe_leaves_no_session_behind(server):
    for _ in range(5):
        health._probe.forget()
        assert readiness().ready

    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        others = (
            "SELECT FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        )
        wait_until(lambda: not connection.execute(others).fetchall())


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        ({"NAME": "no_such_hunter2"}, "The server has no such database."),
        ({"USER": "hunter2"}, "PostgreSQL refuses the user or the password."),
        ({"HOST": "127.0.0.1", "PORT": "1", "PASSWORD": "hunter2"}, "No PostgreSQL answers."),
        ({"HOST": "hunter2.invalid"}, "No PostgreSQL answers."),
        (
            {
                "OPTIONS": {"sslmode": "verify-full", "sslrootcert": "/hunter2"},
                "HOST": "127.0.0.1",
                "PORT": "1",
            },
            None,
        ),
    ],
)
def test_the_reason_is_one_of_ours_and_holds_no_secret_host_or_user(server, point_at, settings, reason):
    point_at(**settings)

    answer = readiness()

    assert not answer.ready
    assert answer.database.reason == reason or reason is None
    text = json.dumps(answer.as_json())
    assert "hunter2" not in text and "127.0.0.1" not in text and str(server.socket_dir) not in text


def test_a_full_server_is_no_reason_to_leave_service_while_the_pool_has_connections(server, monkeypatch):
    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        connection.execute("CREATE ROLE worker LOGIN CONNECTION LIMIT 1")
        connection.execute(sql.SQL("GRANT SELECT ON django_migrations TO worker"))
    monkeypatch.setitem(connections["default"].settings_dict, "USER", "worker")
    with psycopg.connect(**{**server.conninfo, "user": "worker"}):
        health._probe.forget()
        monkeypatch.setattr(health, "pool_figures", lambda alias: None)
        alone = readiness()
        monkeypatch.setattr(health, "pool_figures", lambda alias: {"size": 3})
        with_a_pool = readiness()

    assert (alone.ready, with_a_pool.ready) == (False, True)
    assert with_a_pool.database.reason == "PostgreSQL takes no more connections."


@pytest.mark.django_db(transaction=True)
def test_a_pool_in_use_to_the_last_connection_is_shown_and_does_not_hang():
    health._probe.forget()
    connection = connections["default"]
    connection.ensure_connection()
    pool = connection.pool  # type: ignore[attr-defined]
    taken = [pool.getconn() for _ in range(pool.max_size - 1)]
    try:
        elapsed, answer = seconds_of(readiness)
    finally:
        for each in taken:
            pool.putconn(each)

    figures = answer.as_json()["pool"]
    assert figures["used"] == figures["max"] == pool.max_size
    assert figures["idle"] == 0
    assert answer.database.connected
    assert elapsed < SOON


def test_an_alias_without_a_pool_has_no_figures():
    assert pool_figures("no_such_alias") is None
