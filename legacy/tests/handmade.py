"""Small legacy files made by hand, and what becomes of them in PostgreSQL."""

from __future__ import annotations

import io
import json
import sqlite3
from collections.abc import Iterable, Mapping
from contextlib import closing
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any, NamedTuple

from django.db import connection
from rich.console import Console

from legacy.convert import SPELLING
from legacy.layout import quoted
from legacy.pipeline import Options, run_import
from legacy.progress import Reporter
from legacy.report import Report
from legacy.schema import COLUMNS, NEWEST, columns
from legacy.tables import BY_NAME, TABLES

Row = dict[str, Any]
Tables = Mapping[str, list[Row]]

DAY = "2025-11-02"
NOON = f"{DAY} 12:00:00"
LATER = f"{DAY} 12:05:00"
PHONE = "+14155550134"

KEYED, BARE, WITHOUT_ROWID, DESCENDING, UPPER, BACKWARDS = LAYOUTS = (
    "as the old application declares it",
    "no keys and no types",
    "WITHOUT ROWID",
    "a descending key, which is no rowid",
    "names in upper case",
    "columns the other way round",
)


class RawText(bytes):
    """Text that SQLite stores byte by byte, as no Python text could be."""


class Note(NamedTuple):
    kind: str
    column: str | None
    original: Any
    reason: str


def partner(row_id: int = 1, **changes: Any) -> Row:
    row = {"id": row_id, "name": f"Partner number {row_id}", "api_key": f"key-of-partner-{row_id}"}
    return {**row, "is_active": 1, "rate_limit": 60, "created_at": NOON, "updated_at": NOON, **changes}


def lead(row_id: int = 1, **changes: Any) -> Row:
    row = {"id": row_id, "name": f"Lead {row_id}", "phone": f"+1415555{100 + row_id:04}", "email": None}
    row |= {"country_code": None, "language": "en", "partner_id": None, "status": "PENDING"}
    return {**row, "created_at": NOON, "updated_at": NOON, **changes}


def call(row_id: int = 1, **changes: Any) -> Row:
    row = {"id": row_id, "lead_id": 1, "twilio_call_sid": f"CA{row_id}", "recording_url": None}
    row |= {"transcript": None, "summary": None, "duration": 61.5, "language": "en", "voice_id": None}
    row |= {"voice_name": None, "outcome": "INTERESTED", "started_at": NOON, "ended_at": LATER}
    return {**row, "created_at": NOON, **changes}


def turn(row_id: int = 1, **changes: Any) -> Row:
    return {"id": row_id, "call_id": 1, "role": "AI", "message": "Hello?", "created_at": NOON, **changes}


def meeting(row_id: int = 1, **changes: Any) -> Row:
    row = {
        "id": row_id,
        "lead_id": 1,
        "call_id": None,
        "scheduled_time": f"2025-12-{row_id:02} 09:00:00.000000",
    }
    row |= {"guest_email": None, "calendar_event_id": f"event-{row_id}", "duration": 30, "meeting_link": None}
    return {**row, "notes": None, "status": "SCHEDULED", "created_at": NOON, "updated_at": NOON, **changes}


def setting(row_id: int = 1, **changes: Any) -> Row:
    return {"id": row_id, "key": f"key {row_id}", "value": "5", "updated_at": NOON, **changes}


def write(path: Path, tables: Tables, layout: str = KEYED) -> Path:
    """Write a legacy file; a table has the columns of its first row, or all when it has no row."""
    with closing(sqlite3.connect(path)) as file, file:
        for name, rows in tables.items():
            create_table(file, name, list(rows[0]) if rows else [], layout)
            insert(file, name, rows)
    return path


def create_table(file: sqlite3.Connection, name: str, names: list[str], layout: str = KEYED) -> None:
    """Create a table of these columns, or of all that the newest revision has."""
    names = names or list(COLUMNS[NEWEST].get(name, ("id",)))
    file.execute(_create(name, names, layout if name in BY_NAME else BARE))


def insert(file: sqlite3.Connection, table: str, rows: Iterable[Row]) -> None:
    for row in rows:
        marks = ", ".join("CAST(? AS TEXT)" if isinstance(cell, RawText) else "?" for cell in row.values())
        listed = ", ".join(map(quoted, row))
        file.execute(f"INSERT INTO {quoted(table)} ({listed}) VALUES ({marks})", tuple(row.values()))


def _create(name: str, names: list[str], layout: str) -> str:
    declared = [_declared(name, column, layout) for column in names]
    if layout == BACKWARDS:
        declared.reverse()
    shown = name.upper() if layout == UPPER else name
    return (
        f"CREATE TABLE {quoted(shown)} ({', '.join(declared)}){' WITHOUT ROWID' * (layout == WITHOUT_ROWID)}"
    )


def _declared(table: str, column: str, layout: str) -> str:
    if layout == BARE:
        return quoted(column)
    if column == "id":
        return f"{'ID' if layout == UPPER else 'id'} INTEGER PRIMARY KEY{' DESC' * (layout == DESCENDING)}"
    known = columns(table, NEWEST) if table in BY_NAME else ()
    types = {piece.column: piece.sql.split()[1] for piece in known}
    shown = column.upper() if layout == UPPER and column.isascii() else column
    return f"{quoted(shown)} {types.get(column, '')}"


def quiet() -> Reporter:
    return Reporter(Console(file=io.StringIO()))


def run(path: Path, **options: Any) -> Report:
    """Import a file with a console that nobody reads."""
    return run_import(path, Options(**options), quiet())


def bring(folder: Path, layout: str = KEYED, zone: tzinfo = UTC, **tables: list[Row]) -> Report:
    """Write a legacy file of these tables and import it."""
    return run(write(folder / "ai_scheduler.db", tables, layout), zone=zone)


def stored(table: str) -> dict[int, Row]:
    """Return the rows of PostgreSQL by id; times in UTC as text."""
    with connection.cursor() as cursor:
        cursor.execute(f'SELECT id, to_jsonb(t) FROM "{table}" t ORDER BY id')
        return {row_id: json.loads(row) if isinstance(row, str) else row for row_id, row in cursor.fetchall()}


def moment(written: str) -> str:
    """Return a time as `stored` gives it."""
    return written.replace(" ", "T") + "+00:00"


def notes(table: str, row_id: int | None = None, spelling: bool = False) -> list[Note]:
    """Return the notes of a table, or of one row, in the order in which they were made."""
    query = (
        'SELECT kind, "column", original, reason FROM import_row_notes WHERE table_name = %s'
        f" AND (row_id = %s OR %s) AND (kind <> '{SPELLING}' OR %s) ORDER BY id"
    )
    with connection.cursor() as cursor:
        cursor.execute(query, (table, row_id, row_id is None, spelling))
        found = cursor.fetchall()
    return [
        Note(kind, name, json.loads(old) if isinstance(old, str) else old, why)
        for kind, name, old, why in found
    ]


def counts(report: Report) -> dict[str, tuple[int, int, int]]:
    """Return (read, inserted, rejected) of the tables of which anything was read."""
    return {n: (c.read, c.inserted, c.rejected) for n, c in report.tables.items() if c.read}


def everything() -> dict[str, list[str]]:
    """Return all rows of all tables that an import writes to, as text."""
    names = [table.name for table in TABLES]
    names += ["partner_api_keys", "meeting_hosts", "import_runs", "import_row_notes", "import_row_digests"]
    held = {}
    with connection.cursor() as cursor:
        for name in names:
            cursor.execute(f'SELECT t::text FROM "{name}" t ORDER BY id')
            held[name] = [row[0] for row in cursor.fetchall()]
    return held
