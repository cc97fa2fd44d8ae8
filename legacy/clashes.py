"""Rows of a merge that cannot be written, because a row that PostgreSQL keeps stands in their way.

A row is kept when it was changed or made in PostgreSQL, or is gone from SQLite. What then would break a constraint
is left as it is and listed as a conflict, so that one such row does not stop all others.
"""

from __future__ import annotations

from typing import NamedTuple

from legacy.tables import Table
from legacy.target import Connection

# Condition under which the row `i` of the file and the row `t` of PostgreSQL cannot both stand -> what they share.
EXCLUSIVE: dict[str, dict[str, str]] = {
    "partners": {"t.name = i.name": "name"},
    "leads": {"t.phone = i.phone AND t.duplicate_of_id IS NULL AND i.duplicate_of_id IS NULL": "phone"},
    "calls": {
        "t.twilio_call_sid = i.twilio_call_sid": "twilio_call_sid",
        "t.lead_id = i.lead_id AND t.ended_at IS NULL AND i.ended_at IS NULL": "lead, with an active call,",
    },
    "conversation_history": {"t.call_id = i.call_id AND t.turn = i.turn": "turn"},
    "meetings": {
        "t.calendar_event_id = i.calendar_event_id": "calendar_event_id",
        "t.busy && tsrange(i.scheduled_time AT TIME ZONE 'UTC', i.scheduled_time AT TIME ZONE 'UTC'"
        " + coalesce(nullif(i.duration, 0), 30) * interval '1 minute')"
        " AND t.host_id = (SELECT id FROM meeting_hosts WHERE name = i.host)"
        " AND NOT t.allow_overlap AND NOT i.allow_overlap"
        " AND t.status IN ('scheduled', 'confirmed') AND i.status IN ('scheduled', 'confirmed')": "time",
    },
    "settings": {"t.key = i.key": "key"},
}


class Clash(NamedTuple):
    row_id: int
    verdict: str
    reason: str


def find_clashes(connection: Connection, table: Table) -> list[Clash]:
    """Return rows to be inserted or updated that cannot be; parents have to stand as they will."""
    found = _with_lost_parents(connection, table)
    _leave(connection, table, found)
    # A row that is not updated keeps what others were to have.
    while more := _with_taken_values(connection, table):
        _leave(connection, table, more)
        found += more
    return found


def _leave(connection: Connection, table: Table, clashes: list[Clash]) -> None:
    connection.execute(
        f"UPDATE verdict_{table.name} SET verdict = 'left' WHERE id = ANY(%s)".encode(),
        ([clash.row_id for clash in clashes],),
    )


def _with_taken_values(connection: Connection, table: Table) -> list[Clash]:
    found: dict[int, Clash] = {}
    for condition, what in EXCLUSIVE[table.name].items():
        rows = connection.execute(
            f"""
            SELECT DISTINCT ON (i.id) i.id, v.verdict, t.id
            FROM verdict_{table.name} v JOIN incoming_{table.name} i USING (id)
            JOIN "{table.name}" t ON t.id <> i.id AND {condition}
            WHERE v.verdict IN ('insert', 'update') AND NOT EXISTS (
                SELECT 1 FROM verdict_{table.name} o WHERE o.id = t.id AND o.verdict = 'update')
            """.encode()
        ).fetchall()
        for row_id, verdict, other in rows:
            reason = f"{what} of {table.name} {other}, which PostgreSQL keeps"
            found.setdefault(row_id, Clash(row_id, verdict, reason))
    return list(found.values())


def _with_lost_parents(connection: Connection, table: Table) -> list[Clash]:
    """Find children of rows that are not here, or whose id another row has."""
    found: dict[int, Clash] = {}
    for column in table.columns:
        if column.parent is None:
            continue
        parent = column.parent
        foreign = (
            f"EXISTS (SELECT 1 FROM verdict_{parent} p WHERE p.id = i.{column.name} AND p.verdict = 'foreign')"
            if _has_verdicts(connection, parent)
            else "false"
        )
        rows = connection.execute(
            f"""
            SELECT i.id, v.verdict, i.{column.name} FROM verdict_{table.name} v JOIN incoming_{table.name} i USING (id)
            WHERE v.verdict IN ('insert', 'update') AND i.{column.name} IS NOT NULL
            AND (NOT EXISTS (SELECT 1 FROM {parent} p WHERE p.id = i.{column.name}) OR {foreign})
            """.encode()
        ).fetchall()
        for row_id, verdict, other in rows:
            found.setdefault(
                row_id, Clash(row_id, verdict, f"{parent} {other} of SQLite is not in PostgreSQL")
            )
    return list(found.values())


def _has_verdicts(connection: Connection, table: str) -> bool:
    row = connection.execute("SELECT to_regclass(%s) IS NOT NULL", (f"pg_temp.verdict_{table}",)).fetchone()
    return bool(row and row[0])
