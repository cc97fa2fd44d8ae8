"""Notes on rows, from the workspace into the report and into PostgreSQL."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from psycopg import sql

from database.bulk.cells import NULL, escaped
from database.bulk.copying import copy_blocks
from legacy.cells import write_moment
from legacy.convert import REJECTED, SPELLING
from legacy.merge import Conflict, Merged
from legacy.report import LISTED_NOTES
from legacy.tables import Table
from legacy.target import Connection
from legacy.workspace import Workspace

if TYPE_CHECKING:
    from legacy.pipeline import _Import

CONFLICT = "conflict"
ORDER = "CASE kind WHEN 'rejected' THEN 0 ELSE 1 END, rowid"
Row = tuple[str, int | None, str, str | None, str, str]


def table_notes(workspace: Workspace, merged: Iterable[Merged]) -> list[dict[str, Any]]:
    """Return the first notes for the report: conflicts, then rejected rows, then repaired ones."""
    rows: list[Row] = [_of_conflict(each) for table in merged for each in table.conflicts]
    rows += workspace.connection.execute(
        f"SELECT * FROM notes WHERE kind <> ? ORDER BY {ORDER} LIMIT ?", (SPELLING, LISTED_NOTES)
    ).fetchall()
    names = ("table", "id", "kind", "column", "original", "reason")
    notes = [dict(zip(names, row, strict=True)) for row in rows[:LISTED_NOTES]]
    return [{**note, "original": json.loads(str(note["original"]))} for note in notes]


def rejected_ids(workspace: Workspace, table: Table) -> Iterator[int]:
    """Yield the ids of rejected rows, those that have one."""
    rows = workspace.connection.execute(
        "SELECT row_id FROM notes WHERE table_name = ? AND kind = ? AND row_id IS NOT NULL",
        (table.name, REJECTED),
    )
    return (row[0] for row in rows)


def store_run(database: Connection, workspace: Workspace, run: _Import) -> None:
    """Store the run and all its notes; what staff resolved before stays resolved."""
    report = run.report.as_json()
    report.pop("notes")
    row = database.execute(
        "INSERT INTO import_runs (source_path, source_bytes, options, report, seconds)"
        " VALUES (%s, %s, %s, %s, %s) RETURNING id",
        (
            report["source"]["path"],
            report["source"]["bytes"],
            json.dumps(run.options.as_json() | _context(workspace)),
            json.dumps(report),
            report["seconds"],
        ),
    ).fetchone()
    assert row is not None
    run_id = row[0]
    _copy_notes(database, run_id, _all(workspace, run.merges.values()))
    database.execute(
        "UPDATE import_row_notes n SET resolved_at = o.resolved_at, resolved_by_id = o.resolved_by_id"
        " FROM import_row_notes o WHERE n.run_id = %s AND o.run_id <> n.run_id AND o.resolved_at IS NOT NULL"
        " AND n.kind = 'rejected' AND o.kind = 'rejected' AND o.table_name = n.table_name"
        " AND o.row_id = n.row_id AND o.original = n.original",
        (run_id,),
    )


def _context(workspace: Workspace) -> dict[str, str]:
    """Return what a later run needs to map the same file to the same rows."""
    context = workspace.context
    return {"naive_timezone": str(context.zone), "snapshot_at": write_moment(context.snapshot_at)}


def _all(workspace: Workspace, merged: Iterable[Merged]) -> Iterator[Row]:
    yield from (_of_conflict(each) for table in merged for each in table.conflicts)
    yield from workspace.connection.execute("SELECT * FROM notes ORDER BY rowid")


def _copy_notes(database: Connection, run_id: int, notes: Iterable[Row]) -> None:
    columns = ("run_id", "table_name", "row_id", "kind", "column", "original", "reason")
    lines = ("\t".join(map(_cell, (run_id, *note))).encode() + b"\n" for note in notes)
    copy_blocks(database.cursor(), sql.Identifier("import_row_notes"), columns, lines)


def _cell(value: object) -> str:
    return NULL if value is None else escaped(str(value))


def _of_conflict(conflict: Conflict) -> Row:
    return (conflict.table, conflict.row_id, CONFLICT, None, conflict.original, conflict.reason)
