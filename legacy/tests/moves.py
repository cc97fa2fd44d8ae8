"""Moves in tests: run the commands on a file, change the file, look at what stands in PostgreSQL."""

from __future__ import annotations

import io
import json
import os
import pwd
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.core.management import CommandError, call_command
from django.db import connection
from rich.console import Console

from legacy.check import Checked, check_import
from legacy.progress import Reporter
from legacy.tables import TABLES

STORED = (*(table.name for table in TABLES), "partner_api_keys", "meeting_hosts")
REMEMBERED = ("import_runs", "import_row_notes", "import_row_digests")


@dataclass(frozen=True)
class Outcome:
    """How `migrate_from_sqlite` ended."""

    code: int
    message: str = ""
    report: dict[str, Any] = field(default_factory=dict)

    def counts(self, name: str) -> dict[str, int]:
        """Return the counts of one table that are not zero."""
        return {key: value for key, value in self.report["tables"][name].items() if value}

    def total(self, key: str) -> int:
        return sum(counts[key] for counts in self.report["tables"].values())

    @property
    def missing(self) -> list[tuple[str, int, bool]]:
        return [(each["table"], each["id"], each["deleted"]) for each in self.report["missing_in_sqlite"]]

    def notes(self, kind: str) -> list[tuple[str, int]]:
        return [(note["table"], note["id"]) for note in self.report["notes"] if note["kind"] == kind]


def migrate(path: Path, *options: str) -> Outcome:
    """Import a file in this process; every failure has to be a CommandError."""
    code, message, report = 0, "", {}
    with tempfile.TemporaryDirectory() as folder:
        written = Path(folder) / "report.json"
        try:
            call_command(
                "migrate_from_sqlite",
                str(path),
                "--no-input",
                f"--report={written}",
                *options,
                stdout=io.StringIO(),
            )
        except CommandError as error:
            code, message = error.returncode, str(error)
        if written.exists():
            report = json.loads(written.read_text())
    return Outcome(code, message, report)


def verify(path: Path, allow_new: bool = False) -> Checked:
    with tempfile.TemporaryDirectory() as folder:
        return check_import(path, Path(folder), allow_new, Reporter(Console(file=io.StringIO())))


def differences(path: Path) -> set[tuple[str, int, str | None]]:
    return {(each.table, each.row_id, each.column) for each in verify(path).findings}


def change(path: Path, *statements: str) -> None:
    """Change the file as the old application would."""
    with closing(sqlite3.connect(path)) as file:
        for statement in statements:
            file.execute(statement)
        file.commit()


def add_lead(path: Path, row_id: int, phone: str, partner: int | None = None) -> None:
    columns = "phone, name, email, country_code, language, status, created_at, updated_at"
    values = f"{row_id}, {'NULL' if partner is None else partner}, '{phone}', 'Eve'"
    rest = columns.removeprefix("phone, name, ")
    change(
        path,
        f"INSERT INTO leads (id, partner_id, {columns}) SELECT {values}, {rest} FROM leads LIMIT 1",
    )


def add_call(path: Path, row_id: int, lead: int) -> None:
    """Add a call that has ended."""
    times = "started_at, ended_at, created_at"
    change(
        path,
        f"INSERT INTO calls (id, lead_id, {times}) SELECT {row_id}, {lead}, {times} FROM calls WHERE id = 1",
    )


def swap(path: Path, table: str, column: str, one: int, other: int) -> None:
    """Let two rows of the file exchange a value, which no order of updates does in one step."""
    old = "(SELECT {column} FROM before WHERE id = {id})"
    values = [old.format(column=column, id=row_id) for row_id in (one, other)]
    change(
        path,
        f"CREATE TEMP TABLE before AS SELECT id, {column} FROM {table}",
        f"UPDATE {table} SET {column} = 'on the move' WHERE id = {one}",
        f"UPDATE {table} SET {column} = {values[0]} WHERE id = {other}",
        f"UPDATE {table} SET {column} = {values[1]} WHERE id = {one}",
    )


def sql(statement: str, *values: Any) -> list[tuple[Any, ...]]:
    """Run a statement in PostgreSQL as somebody who knows nothing of Django."""
    with connection.cursor() as cursor:
        cursor.execute(statement, values or None)
        return cursor.fetchall() if cursor.description else []


def stored(*tables: str) -> dict[str, list[str]]:
    """Return every row of the tables as text."""
    return {
        name: [row[0] for row in sql(f'SELECT t::text FROM "{name}" t ORDER BY t.id')]
        for name in tables or (*STORED, *REMEMBERED)
    }


def files_of(path: Path) -> dict[str, bytes]:
    """Return the bytes of a database and of the files beside it that SQLite keeps for it."""
    names = (path.name + suffix for suffix in ("", "-wal", "-shm", "-journal"))
    return {name: path.with_name(name).read_bytes() for name in names if path.with_name(name).exists()}


@contextmanager
def unprivileged() -> Iterator[Path]:
    """Go on without the rights of root, in the folder that is yielded; the connection to PostgreSQL stays."""
    connection.ensure_connection()
    folder = Path(tempfile.mkdtemp(prefix="scheduler-"))
    root = os.geteuid() == 0
    if root:
        nobody = pwd.getpwnam("nobody")
        os.chown(folder, nobody.pw_uid, nobody.pw_gid)
        os.setegid(nobody.pw_gid)
        os.seteuid(nobody.pw_uid)
    try:
        yield folder
    finally:
        if root:
            os.seteuid(0)
            os.setegid(0)
        for each in (folder, *folder.rglob("*")):
            each.chmod(0o700)
        shutil.rmtree(folder)
