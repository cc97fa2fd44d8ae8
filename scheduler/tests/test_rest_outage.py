"""The API of a real server process while PostgreSQL stops and comes back, and with a replica beside it."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import psycopg
import pytest

from database.embedded import EmbeddedServer
from database.testing import throw_away_server, wait_until
from database.tests.replication import replicated
from scheduler.models import token_digest
from scheduler.tests.rest_server import served

PROMISED = 2.0 + 3.0  # two seconds are promised; the rest is for a machine that runs other tests
TOKEN = "ast_of_the_only_superuser"
ROWS = """
INSERT INTO leads (name, phone) VALUES ('Ann', '+41446681800');
INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff, is_active, date_joined)
VALUES ('boss', '', '', '', '', true, true, true, now());
INSERT INTO staff_tokens (user_id, prefix, digest)
SELECT id, 'ast_of_the_o', %s FROM auth_user;
"""


@pytest.fixture(scope="module")
def template(migrated_template) -> Iterator[Path]:
    """The data of a server with one lead and one user, whose token is TOKEN."""
    with throw_away_server(migrated_template) as server:
        with psycopg.connect(server.url, cursor_factory=psycopg.ClientCursor) as connection:
            connection.execute(ROWS, [token_digest(TOKEN)])
        server.stop()
        yield server.data_dir


@pytest.fixture
def server(template) -> Iterator[EmbeddedServer]:
    with throw_away_server(template) as own:
        yield own


def ask(address: str):
    """Send a GET; return status, headers, body and how many seconds it took."""
    begun = time.monotonic()
    request = Request(address, headers={"Authorization": f"Bearer {TOKEN}"})
    try:
        with urlopen(request, timeout=30) as answer:
            body = answer.read()
    except HTTPError as refused:
        answer, body = refused, refused.read()
    return answer.status, answer.headers, body, time.monotonic() - begun


@pytest.mark.parametrize("how", ["fast", "kill"])
def test_without_postgresql_the_api_says_so_at_once_and_comes_back_with_it(how, server, tmp_path):
    with served(server.url, tmp_path) as address:
        assert ask(f"{address}/api/leads/1")[0] == 200

        server.stop(how)
        for path in ("/api/leads/1", "/api/leads/", "/api/leads/export", "/api/analytics/overview"):
            status, headers, body, seconds = ask(address + path)
            assert (path, status, headers["Content-Type"]) == (path, 503, "application/problem+json")
            assert int(headers["Retry-After"]) > 0
            assert json.loads(body)["code"] in ("database_unavailable", "busy")
            assert TOKEN.encode() not in body and str(server.socket_dir).encode() not in body
            assert seconds < PROMISED
        assert ask(f"{address}/health")[0] == 200
        assert ask(f"{address}/readiness")[0] == 503

        server.start()
        wait_until(lambda: ask(f"{address}/api/leads/1")[0] == 200, timeout=30, pause=0.1)


def test_an_export_that_cannot_read_its_first_rows_says_so_by_its_status(server, tmp_path):
    exports = [f"/api/{table}/export" for table in ("leads", "calls", "meetings", "partners")]
    with (
        served(server.url, tmp_path, DB_COMMAND_TIMEOUT="1") as address,
        psycopg.connect(server.url) as holder,
    ):
        holder.execute("LOCK TABLE leads, calls, meetings, partners IN ACCESS EXCLUSIVE MODE")
        for path in exports:
            status, headers, body, _ = ask(address + path)
            assert (path, status, headers["Content-Type"]) == (path, 503, "application/problem+json")
            assert int(headers["Retry-After"]) > 0
            assert json.loads(body)["code"] == "database_unavailable"

        holder.rollback()
        for path in exports:
            status, _, body, _ = ask(address + path)
            assert (path, status, body[:5]) == (path, 200, b"\xef\xbb\xbfid")


def test_exports_come_from_the_replica_and_from_the_primary_when_it_is_gone(template, monkeypatch, tmp_path):
    with replicated(template) as (primary, standby):
        # A standby knows how far it is behind by the last transaction that it has replayed.
        primary.answer("UPDATE leads SET updated_at = now()")
        position = primary.answer("SELECT pg_current_wal_lsn()::text")
        wait_until(
            lambda: standby.answer(f"SELECT pg_last_wal_replay_lsn() >= '{position}'::pg_lsn"), timeout=30
        )
        monkeypatch.setenv("DATABASE_REPLICA_URL", standby.url)
        monkeypatch.setenv("DB_REPLICA_MAX_LAG", "600")
        with served(primary.url, tmp_path) as address:
            # The replica has what was there before, and not what comes while it does not replay.
            standby.answer("SELECT pg_wal_replay_pause()")
            wait_until(
                lambda: standby.answer("SELECT pg_get_wal_replay_pause_state()") == "paused", timeout=30
            )
            with psycopg.connect(primary.url) as connection:
                connection.execute("INSERT INTO leads (name, phone) VALUES ('Ben', '+41446681801')")
            wait_until(lambda: names(address) == ["Ann"], timeout=30, pause=0.2)
            assert json.loads(ask(f"{address}/api/leads/")[2])["total"] == 2

            standby.stop("immediate")
            assert names(address) == ["Ben", "Ann"]


def names(address: str) -> list[str]:
    status, _, body, _ = ask(f"{address}/api/leads/export")
    assert status == 200
    return [line.split(",")[1] for line in body.decode().splitlines()[1:]]
