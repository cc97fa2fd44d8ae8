"""What the mapping must know of PostgreSQL when that holds rows already."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, tzinfo
from typing import Any
from zoneinfo import ZoneInfo

from legacy.convert import FROM_SNAPSHOT, Context
from legacy.tables import CALLS, LEADS, PARTNERS, TABLES, Table
from legacy.target import Connection
from legacy.workspace import Workspace

BATCH = 5000
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


def recall(
    connection: Connection, workspace: Workspace, selected: frozenset[str], deletions: bool = True
) -> None:
    """Tell the workspace what earlier imports and PostgreSQL's users did.

    Without it a file would map to other values in a second run: a child of a lead that staff deleted would be
    inserted again, and a phone that a new lead has would be used twice.
    """
    for table in TABLES:
        imported = IMPORTED.format(table=table.name)
        if table.name in selected:
            _put(workspace, f"native_{table.name}", _stream(connection, _natives(table, imported)))
    for table in PARENTS:
        if table.name in selected:
            _put(workspace, f"known_{table.name}", _stream(connection, CORRECTED.format(table=table.name)))
            if deletions:
                _put(workspace, f"gone_{table.name}", _stream(connection, _gone(table)))
        else:
            _put(workspace, f"known_{table.name}", _stream(connection, f'SELECT id FROM "{table.name}"'))


def _gone(table: Table) -> str:
    imported = IMPORTED.format(table=table.name)
    here = f'SELECT 1 FROM "{table.name}" t WHERE t.id = i.id'
    return f"SELECT id FROM ({imported}) i WHERE NOT EXISTS ({here})"


def _natives(table: Table, imported: str) -> str:
    column = UNIQUE.get(table.name)
    if column is None:
        return "SELECT NULL::bigint, NULL WHERE false"
    only = " AND t.duplicate_of_id IS NULL" if table.name == "leads" else ""
    return (
        f'SELECT t.id, t."{column}" FROM "{table.name}" t WHERE t."{column}" IS NOT NULL{only}'
        f" AND t.id NOT IN ({imported})"
    )


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
    workspace.connection.executemany(f"INSERT INTO {table} VALUES ({marks})", rows)
