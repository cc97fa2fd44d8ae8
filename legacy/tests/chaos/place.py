"""A server and a file of their own, and the commands as real processes."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg

from database.embedded import EmbeddedServer

PROJECT = Path(__file__).parents[3]
TABLES = ("partners", "leads", "calls", "conversation_history", "meetings", "settings")
KEPT = (*TABLES, "partner_api_keys", "import_runs", "import_row_notes", "import_row_digests")
TIMEOUT = 300  # seconds, of one command

# PostgreSQL moves casts about in a condition that it wrote itself and reads again.
CASTS = re.compile(r"::[a-z ]+(\[\])?|[()]")

Content = dict[str, tuple[int, str | None]]


def catalog(server: psycopg.Connection[Any]) -> set[tuple[str, ...]]:
    """Return all indexes and all constraints that hold."""
    indexes = "SELECT indexname, indexdef FROM pg_indexes WHERE schemaname = 'public'"
    constraints = (
        "SELECT conrelid::regclass::text, conname, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE connamespace = 'public'::regnamespace AND convalidated"
    )
    rows = [*server.execute(indexes), *server.execute(constraints)]
    return {(*names, CASTS.sub("", definition)) for *names, definition in rows}


@dataclass(frozen=True)
class Site:
    """A file to move, and a server to move it to."""

    server: EmbeddedServer
    path: Path
    scratch: Path

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start `manage.py <arguments>`."""
        return subprocess.Popen(
            [sys.executable, str(PROJECT / "manage.py"), *arguments],
            env={**os.environ, "DATABASE_URL": self.server.url, "TMPDIR": str(self.scratch)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> str:
        process = self.start(*arguments)
        out, err = process.communicate(timeout=TIMEOUT)
        assert process.returncode == 0, err
        return out

    def start_import(self) -> subprocess.Popen[str]:
        return self.start("migrate_from_sqlite", str(self.path), "--no-input")

    def complete(self) -> None:
        """Run the import to its end and verify it."""
        self.run("migrate_from_sqlite", str(self.path), "--no-input")
        self.run("verify_import", str(self.path))

    def connect(self) -> psycopg.Connection[Any]:
        options = "-c statement_timeout=60s -c timezone=UTC"
        return psycopg.connect(**self.server.conninfo, options=options, autocommit=True)

    def content(self) -> Content:
        """Return how many rows each table holds, and a digest of them; waits for locks of killed processes."""
        with self.connect() as connection:
            return {name: _content_of(connection, name) for name in KEPT}

    def catalog(self) -> set[tuple[str, ...]]:
        with self.connect() as connection:
            return catalog(connection)

    def empty(self) -> None:
        with self.connect() as connection:
            connection.execute(f"TRUNCATE {', '.join(KEPT)} CASCADE")


def _content_of(connection: psycopg.Connection[Any], name: str) -> tuple[int, str | None]:
    query = (
        f"SELECT count(*), md5(string_agg(hashtextextended(t::text, 0)::text, ' ' ORDER BY id)) FROM {name} t"
    )
    row = connection.execute(query.encode()).fetchone()
    assert row
    return row[0], row[1]
