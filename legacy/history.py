"""What the mapping must know of PostgreSQL when that holds rows already."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from legacy.convert import FROM_SNAPSHOT, Context
from legacy.layout import OLD, quoted
from legacy.tables import CALLS, LEADS, PARTNERS, TABLES, Table
from legacy.target import Connection, digest_sql
from legacy.workspace import Workspace

BATCH = 5000
COMPARED_AS_TEXT = 2_000_000  # ids, up to 20 MB
PARENTS = (PARTNERS, LEADS, CALLS)
UNIQUE = {
    "partners": "name",
    "leads": "phone",
    "calls": "twilio_call_sid",
    "meetings": "calendar_event_id",
    "settings": "key",
}
IMPORTED = """
SELECT u.id FROM import_row_digests d, unnest(d.row_ids) AS u(id) WHERE d.table_name = '{table}'
"""
# A rejected row that staff corrected and imported by hand is no longer missing.
CORRECTED = """
SELECT DISTINCT row_id FROM import_row_notes n
WHERE table_name = '{table}' AND kind = 'rejected' AND resolved_at IS NOT NULL
AND EXISTS (SELECT 1 FROM "{table}" t WHERE t.id = n.row_id)
"""


@dataclass(frozen=True)
class Recalled:
    """What of PostgreSQL counts: rows changed or deleted there, rows gone from SQLite, rows the file overwrites."""

    changes: bool = True
    missing: bool = True
    overwritten: bool = True


def recall(connection: Connection, workspace: Workspace, selected: frozenset[str], what: Recalled) -> None:
    """Tell the workspace what earlier imports and PostgreSQL's users did.

    Without it a file would map to other values in a second run: a child of a lead that staff deleted would be
    inserted again, and a phone that a new lead has would be used twice.
    """
    for table in TABLES:
        asked = table.name in selected and (table.name in UNIQUE or table in PARENTS)
        missing = _missing_ids(connection, workspace, table) if asked else []
        if table.name in selected and table.name in UNIQUE:
            _recall_natives(connection, workspace, table, what, missing)
        if table in PARENTS:
            _recall_parents(connection, workspace, table, table.name in selected, what, missing)


def _recall_natives(
    connection: Connection, workspace: Workspace, table: Table, what: Recalled, missing: list[int]
) -> None:
    _put(workspace, f"native_{table.name}", _stream(connection, _natives(table, what.changes)))
    if what.missing:
        _put(workspace, f"native_{table.name}", _values_of(connection, table, missing))
    source = workspace.layout.tables.get(table.name)
    if not what.overwritten and source is not None and "id" in source.columns:
        workspace.connection.execute(
            f"DELETE FROM native_{table.name} WHERE id IN (SELECT id FROM {OLD}.{quoted(table.name)})"
        )


def _recall_parents(
    connection: Connection,
    workspace: Workspace,
    table: Table,
    selected: bool,
    what: Recalled,
    missing: list[int],
) -> None:
    if not selected:
        _put(workspace, f"known_{table.name}", _stream(connection, f'SELECT id FROM "{table.name}"'))
        return
    _put(workspace, f"known_{table.name}", _stream(connection, CORRECTED.format(table=table.name)))
    # A row that is gone from the file but kept in PostgreSQL keeps its children.
    kept = f'SELECT id FROM "{table.name}" WHERE id = ANY(%s)'
    _put(workspace, f"known_{table.name}", connection.execute(kept.encode(), (missing,)))
    if what.changes:
        _put(workspace, f"gone_{table.name}", _stream(connection, _gone(table)))


def corrected_ids(connection: Connection, table: Table) -> Iterable[int]:
    """Yield the ids of rejected rows that staff corrected and imported."""
    return (row[0] for row in _stream(connection, CORRECTED.format(table=table.name)))


def _gone(table: Table) -> str:
    imported = IMPORTED.format(table=table.name)
    here = f'SELECT 1 FROM "{table.name}" t WHERE t.id = i.id'
    return f"SELECT id FROM ({imported}) i WHERE NOT EXISTS ({here})"


def _natives(table: Table, changes: bool) -> str:
    """Return the query of rows that the file does not overwrite, with the value that no other may have."""
    changed = f"OR b.digest <> {digest_sql(table)}" if changes else ""
    base = (
        "SELECT u.id, u.digest FROM import_row_digests d, unnest(d.row_ids, d.digests) AS u(id, digest)"
        f" WHERE d.table_name = '{table.name}'"
    )
    return (
        f'SELECT t.id, t."{UNIQUE[table.name]}" FROM {table.from_clause} LEFT JOIN ({base}) b ON b.id = t.id'
        f" WHERE {_holds_value(table)} AND (b.id IS NULL {changed})"
    )


def _missing_ids(connection: Connection, workspace: Workspace, table: Table) -> list[int]:
    """Return the ids of rows that were imported and are gone from the file."""
    source = workspace.layout.tables.get(table.name)
    if source is None or "id" not in source.columns:
        return []
    if source.regular and source.rows <= COMPARED_AS_TEXT and _same_ids(connection, workspace, table):
        return []
    work = workspace.connection
    work.execute("CREATE TABLE imported (id INTEGER PRIMARY KEY)")
    buckets = _stream(connection, f"SELECT row_ids FROM import_row_digests WHERE table_name = '{table.name}'")
    for (ids,) in buckets:
        work.executemany("INSERT INTO imported VALUES (?)", ((row_id,) for row_id in ids))
    old = f"SELECT id FROM {OLD}.{quoted(table.name)} o"
    # Looked up one by one where the id is the key of the table; elsewhere that would read it all each time.
    absent = (
        f"NOT EXISTS ({old} WHERE o.id = i.id)"
        if source.regular
        else f"i.id NOT IN ({old} WHERE id IS NOT NULL)"
    )
    missing = work.execute(f"SELECT id FROM imported i WHERE {absent}").fetchall()
    work.execute("DROP TABLE imported")
    return [row[0] for row in missing]


def _same_ids(connection: Connection, workspace: Workspace, table: Table) -> bool:
    """Tell whether the file has just the rows that were imported, as it mostly does; both sides list them in C."""
    imported = connection.execute(
        "SELECT string_agg(array_to_string(row_ids, ','), ',' ORDER BY bucket) FROM import_row_digests"
        f" WHERE table_name = '{table.name}'".encode()
    ).fetchone()
    held = workspace.connection.execute(
        f"SELECT group_concat(id) FROM (SELECT id FROM {OLD}.{quoted(table.name)} NOT INDEXED ORDER BY id)"
    ).fetchone()
    return imported is not None and imported[0] == held[0]


def _values_of(connection: Connection, table: Table, ids: list[int]) -> Iterable[tuple[Any, ...]]:
    """Return ids and unique values of rows."""
    return connection.execute(
        f'SELECT t.id, t."{UNIQUE[table.name]}" FROM "{table.name}" t'
        f" WHERE {_holds_value(table)} AND t.id = ANY(%s)".encode(),
        (ids,),
    )


def _holds_value(table: Table) -> str:
    only = " AND t.duplicate_of_id IS NULL" if table.name == "leads" else ""
    return f't."{UNIQUE[table.name]}" IS NOT NULL{only}'


def recall_snapshot_times(connection: Connection, context: Context) -> None:
    """Recall which time earlier runs took for rows without any, so that these rows stay the same."""
    rows = connection.execute(
        "SELECT n.table_name, n.row_id, n.column, min(r.options ->> 'snapshot_at') FROM import_row_notes n"
        " JOIN import_runs r ON r.id = n.run_id WHERE n.reason = %s GROUP BY 1, 2, 3",
        (FROM_SNAPSHOT,),
    )
    context.snapshot_times = {(table, row_id, column): time for table, row_id, column, time in rows}


def recall_zone(connection: Connection) -> tzinfo:
    """Return the zone that the last import took for times without one."""
    query = "SELECT options ->> 'naive_timezone' FROM import_runs ORDER BY id DESC LIMIT 1"
    row = connection.execute(query).fetchone()
    name = row[0] if row else None
    return UTC if name in (None, "UTC") else ZoneInfo(name)


def _stream(connection: Connection, query: str) -> Iterable[tuple[Any, ...]]:
    with connection.cursor(name="recall") as cursor:
        cursor.itersize = BATCH
        yield from cursor.execute(query.encode())


def _put(workspace: Workspace, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
    marks = "?, ?" if table.startswith("native") else "?"
    workspace.connection.executemany(f"INSERT OR IGNORE INTO {table} VALUES ({marks})", rows)
