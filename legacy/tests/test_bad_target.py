"""A PostgreSQL that cannot take the rows, met by the command as a process: one sentence on stderr, exit code 1."""

import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from conftest import Manage
from database.embedded import EmbeddedServer
from database.testing import throw_away_server

EMPTY = "empty"


@pytest.fixture(scope="module")
def server(migrated_template: Path) -> Iterator[EmbeddedServer]:
    with throw_away_server(migrated_template) as server:
        with psycopg.connect(**server.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {EMPTY}".encode())
        yield server


def url(server: EmbeddedServer, database: str) -> str:
    return server.url.replace(f"/{server.database}?", f"/{database}?")


def assert_refused(done: subprocess.CompletedProcess[str], path: Path, content: bytes, sentence: str) -> None:
    assert done.returncode == 1
    assert done.stderr.startswith(f"CommandError: {sentence}"), done.stderr
    assert done.stderr.endswith(".\n") and done.stderr.count("\n") == 1, done.stderr
    assert path.read_bytes() == content
    assert {each.name for each in path.parent.iterdir()} <= {path.name, f"{path.name}.backup"}


def test_a_database_without_tables(server: EmbeddedServer, manage: Manage, old: Path) -> None:
    content = old.read_bytes()
    done = manage("migrate_from_sqlite", str(old), "--no-input", DATABASE_URL=url(server, EMPTY))
    assert_refused(done, old, content, "The tables are not there yet: run manage.py migrate first.")


def test_a_server_that_is_down(server: EmbeddedServer, manage: Manage, old: Path) -> None:
    content, address = old.read_bytes(), server.url
    server.stop()
    try:
        done = manage("migrate_from_sqlite", str(old), "--no-input", DATABASE_URL=address)
    finally:
        server.start()
    assert_refused(done, old, content, "PostgreSQL: ")


@pytest.fixture
def tiny_tablespace(server: EmbeddedServer) -> Iterator[str]:
    """A place of 32 KB for tables."""
    folder = tempfile.mkdtemp(prefix="scheduler-disk-")
    mount = ["mount", "-t", "tmpfs", "-o", "size=32k,mode=777", "tmpfs", folder]
    try:
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("only root may mount a disk to fill")
        owner = server.data_dir.stat()
        subprocess.run(["chown", f"{owner.st_uid}:{owner.st_gid}", folder], check=True)
        with psycopg.connect(**server.conninfo, autocommit=True) as connection:
            connection.execute(f"CREATE TABLESPACE tiny LOCATION '{folder}'".encode())
        yield "tiny"
        server.stop()  # it is thrown away, and holds files there
        subprocess.run(["umount", "-l", folder], check=True)
    finally:
        Path(folder).rmdir()


def test_a_disk_of_the_server_without_room(
    server: EmbeddedServer, manage: Manage, built: Path, tiny_tablespace: str
) -> None:
    content = built.read_bytes()
    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        connection.execute(f"ALTER TABLE conversation_history SET TABLESPACE {tiny_tablespace}".encode())
    done = manage("migrate_from_sqlite", str(built), "--no-input", DATABASE_URL=server.url)
    assert_refused(done, built, content, "PostgreSQL: could not extend file")
    with psycopg.connect(**server.conninfo) as connection:
        for name in (
            "partners",
            "leads",
            "calls",
            "conversation_history",
            "meetings",
            "settings",
            "import_runs",
        ):
            assert connection.execute(f"SELECT count(*) FROM {name}".encode()).fetchone() == (0,)
        indexes = (
            "SELECT count(*) FROM pg_indexes WHERE tablename IN ('leads', 'calls', 'conversation_history')"
        )
        assert (connection.execute(indexes).fetchone() or [0])[0] > 10
