"""What the mapping decides by looking at several rows; each function is one line of the table in LEGACY.md."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

from legacy.cells import read_moment
from legacy.convert import FROM_SNAPSHOT
from legacy.layout import quoted
from legacy.mapped import copy_keys, mapped_view
from legacy.tables import CALLS, LEADS, MEETINGS, PARTNERS, SETTINGS, TURNS, Table
from legacy.workspace import Workspace
from meetings.models import DEFAULT_MINUTES

# What the rules look at in tables with large rows.
KEYS = {
    "leads": ("id", "partner_id", "phone"),
    "calls": ("id", "lead_id", "twilio_call_sid", "started_at", "ended_at"),
    "meetings": ("id", "lead_id", "call_id", "scheduled_time", "duration", "calendar_event_id", "status"),
}


class Rules:
    """Applies the rules to the tables that are moved; `legacy.history` has told the workspace of the others."""

    def __init__(self, workspace: Workspace, selected: frozenset[str]) -> None:
        self.workspace, self.selected = workspace, selected
        self.connection = workspace.connection

    def apply(self) -> None:
        for name, columns in KEYS.items():
            copy_keys(self.workspace, name, columns)
        for table, rule in RULES:
            if table.name in self.selected:
                rule(self)
        number_turns(self)

    def rows(self, sql: str, *values: Any) -> list[tuple[Any, ...]]:
        # All rows first: the rule then changes what the query reads.
        return self.connection.execute(sql, values).fetchall()

    def view(self, table: Table, *columns: str) -> str:
        return mapped_view(self.workspace, table.name, columns, keys=table.name in KEYS)

    def referenced(self, child: Table, column: str) -> str:
        """Return a subquery over the parents that a table refers to, as `id`."""
        if child is TURNS:
            # There are many turns; the scan noted the calls of plain ones.
            return f"(SELECT id FROM parents_of_{TURNS.name} UNION SELECT call_id FROM fixed_{TURNS.name})"
        return f"(SELECT DISTINCT {column} AS id FROM {self.view(child, column)})"

    def parents(self, table: Table) -> str:
        """Return a subquery over the ids that a child may refer to."""
        known = f"SELECT id FROM known_{table.name}"
        if table.name not in self.selected:
            return f"({known})"
        gone = f"SELECT id FROM gone_{table.name}"
        return f"(SELECT id FROM {self.view(table, 'id')} WHERE id NOT IN ({gone}) UNION ALL {known})"


def taken_in_postgresql(table: Table, column: str, what: str) -> Callable[[Rules], None]:
    """Return the rule for a value that a row made in PostgreSQL has already; the old row goes without."""

    def rule(rules: Rules) -> None:
        view = rules.view(table, "id", column)
        name = quoted(column)
        if not rules.rows(f"SELECT 1 FROM native_{table.name} LIMIT 1"):
            return
        rows = rules.rows(
            f"SELECT v.id, n.id FROM {view} v JOIN native_{table.name} n ON n.value = v.{name} WHERE v.id <> n.id"
        )
        for row_id, native in rows:
            TAKEN[table.name](rules, row_id, native, f"{what} of {table.name} {native}, made in PostgreSQL")

    return rule


def partner_names(rules: Rules) -> None:
    repeated = f"SELECT name FROM {rules.view(PARTNERS, 'name')} GROUP BY name HAVING count(*) > 1"
    first = f"SELECT min(id) FROM {rules.view(PARTNERS, 'id', 'name')} GROUP BY name"
    for row_id, name in rules.rows(
        f"SELECT id, name FROM {rules.view(PARTNERS, 'id', 'name')}"
        f" WHERE name IN ({repeated}) AND id NOT IN ({first}) ORDER BY id"
    ):
        rules.workspace.repair(PARTNERS, row_id, "name", _free_name(rules, name), "name occurs twice")


def _free_name(rules: Rules, name: str) -> str:
    number = 2
    names = f"SELECT name FROM {rules.view(PARTNERS, 'name')} UNION ALL SELECT value FROM native_partners"
    while rules.rows(f"SELECT 1 FROM ({names}) WHERE name = ?", f"{name} ({number})"):
        number += 1
    return f"{name} ({number})"


def partner_keys(rules: Rules) -> None:
    for row_id in _later_of_equals(rules, PARTNERS, "key_digest"):
        rules.workspace.repair(
            PARTNERS, row_id, "key_digest", None, "key of another partner; partner has no key"
        )
        rules.workspace.set(PARTNERS, row_id, {"key_prefix": None})


def setting_keys(rules: Rules) -> None:
    """Keep the newest row of a key (of the same age, the lowest id); one without a time is the oldest."""
    view = rules.view(SETTINGS, "id", "key", "updated_at")
    timeless = f"SELECT row_id FROM notes WHERE table_name = '{SETTINGS.name}' AND reason = '{FROM_SNAPSHOT}'"
    time = f"CASE WHEN id NOT IN ({timeless}) THEN updated_at END"
    ranked = (
        f"SELECT id, key, row_number() OVER (PARTITION BY key ORDER BY {time} DESC, id) AS place FROM {view}"
    )
    for row_id, key in rules.rows(f"SELECT id, key FROM ({ranked}) WHERE place > 1 ORDER BY id"):
        rules.workspace.reject(SETTINGS, row_id, f"key {key} has a newer row")


def duplicate_phones(rules: Rules) -> None:
    view = rules.view(LEADS, "id", "phone")
    pairs = (
        f"SELECT l.id, f.id FROM {view} l JOIN (SELECT phone, min(id) AS id FROM {view} GROUP BY phone"
        " HAVING count(*) > 1) f ON f.phone = l.phone WHERE l.id <> f.id ORDER BY l.id"
    )
    for row_id, first in rules.rows(pairs):
        rules.workspace.repair(LEADS, row_id, "duplicate_of_id", first, f"same phone as lead {first}")


def orphans(child: Table, column: str, parent: Table) -> Callable[[Rules], None]:
    """Return the rule for rows whose parent is missing: rejected if it is required, else the reference is emptied."""
    required = child.column(column).required

    def rule(rules: Rules) -> None:
        missing = (
            f"SELECT id FROM {rules.referenced(child, column)} WHERE id IS NOT NULL"
            f" AND id NOT IN {rules.parents(parent)}"
        )
        if not rules.rows(f"{missing} LIMIT 1"):
            return
        for row_id, parent_id in rules.rows(
            f"SELECT id, {column} FROM {rules.view(child, 'id', column)} WHERE {column} IN ({missing}) ORDER BY id"
        ):
            reason = f"{parent.name} {parent_id} is not in the database"
            if required:
                rules.workspace.reject(child, row_id, reason)
            else:
                rules.workspace.repair(child, row_id, column, None, reason)

    return rule


def repeated(table: Table, column: str) -> Callable[[Rules], None]:
    """Return the rule for values that must be unique: the lowest id keeps it."""

    def rule(rules: Rules) -> None:
        for row_id in _later_of_equals(rules, table, column):
            rules.workspace.repair(table, row_id, column, None, "occurs twice; the lowest id keeps it")

    return rule


def _later_of_equals(rules: Rules, table: Table, column: str) -> list[int]:
    view = rules.view(table, "id", column)
    name = quoted(column)
    values, different = rules.rows(f"SELECT count({name}), count(DISTINCT {name}) FROM {view}")[0]
    if values == different:
        return []
    rows = rules.rows(
        f"SELECT v.id FROM {view} v JOIN (SELECT {name}, min(id) AS id FROM {view} WHERE {name} IS NOT NULL"
        f" GROUP BY {name} HAVING count(*) > 1) f ON f.{name} = v.{name} WHERE v.id <> f.id ORDER BY v.id"
    )
    return [row[0] for row in rows]


def active_calls(rules: Rules) -> None:
    """End all but the newest of a lead's active calls at the time of their last turn."""
    view = rules.view(CALLS, "id", "lead_id", "started_at", "ended_at")
    ranked = (
        "SELECT id, started_at, row_number() OVER (PARTITION BY lead_id ORDER BY started_at DESC, id DESC) AS place"
        f" FROM {view} WHERE ended_at IS NULL"
    )
    older = rules.rows(f"SELECT id, started_at FROM ({ranked}) WHERE place > 1 ORDER BY id")
    rules.connection.execute("CREATE TABLE ending (id INTEGER PRIMARY KEY)")
    rules.connection.executemany("INSERT INTO ending VALUES (?)", ((row_id,) for row_id, _ in older))
    turns = rules.view(TURNS, "id", "call_id", "created_at")
    guessed = f"SELECT row_id FROM notes WHERE table_name = '{TURNS.name}' AND reason = '{FROM_SNAPSHOT}'"
    last = dict(
        rules.rows(
            f"SELECT call_id, max(created_at) FROM {turns} WHERE call_id IN (SELECT id FROM ending)"
            f" AND id NOT IN ({guessed}) GROUP BY call_id"
        )
    )
    for row_id, started in older:
        turn = last.get(row_id)
        if turn is not None and read_moment(turn) >= read_moment(started):
            rules.workspace.repair(
                CALLS, row_id, "ended_at", turn, "a newer call is active; time of last turn taken"
            )
        else:
            rules.workspace.repair(
                CALLS, row_id, "ended_at", started, "a newer call is active; started_at taken"
            )


def overlapping_meetings(rules: Rules) -> None:
    for row_id in sorted(_later_of_overlapping(_live_meetings(rules))):
        rules.workspace.set(MEETINGS, row_id, {"allow_overlap": "true"})
        rules.workspace.note_repair(MEETINGS, row_id, "scheduled_time", "overlaps a meeting with a lower id")


def _live_meetings(rules: Rules) -> Iterator[tuple[Any, Any, int]]:
    """Yield (start, end, id) of scheduled and confirmed meetings by start."""
    view = rules.view(MEETINGS, "id", "scheduled_time", "duration", "status")
    rows = rules.connection.cursor().execute(
        f"SELECT id, scheduled_time, duration FROM {view} WHERE status IN ('scheduled', 'confirmed')"
        " ORDER BY scheduled_time, id"
    )
    for row_id, start, minutes in rows:
        begin = read_moment(start)
        yield begin, begin + timedelta(minutes=minutes or DEFAULT_MINUTES), row_id


def _later_of_overlapping(meetings: Iterator[tuple[Any, Any, int]]) -> set[int]:
    """Return the ids of meetings that overlap one with a lower id.

    All meetings under way at one moment overlap each other, so of these only the lowest id can be free of it.
    """
    found: set[int] = set()
    under_way: list[
        tuple[int, Any]
    ] = []  # (id, end), lowest id first; ended ones are dropped when they surface
    for start, end, row_id in meetings:
        while under_way and under_way[0][1] <= start:
            heapq.heappop(under_way)
        if under_way:
            found.add(max(row_id, under_way[0][0]))
        heapq.heappush(under_way, (row_id, end))
    return found


def number_turns(rules: Rules) -> None:
    """Number the turns of the workspace; plain ones are numbered while they are read."""
    rules.connection.execute(
        f"UPDATE fixed_{TURNS.name} SET turn = n.turn FROM (SELECT id, row_number() OVER"
        f" (PARTITION BY call_id ORDER BY created_at, id) AS turn FROM fixed_{TURNS.name}) n"
        f" WHERE n.id = fixed_{TURNS.name}.id"
    )


def _rename_partner(rules: Rules, row_id: int, native: int, reason: str) -> None:
    name = rules.rows(f"SELECT name FROM {rules.view(PARTNERS, 'id', 'name')} WHERE id = ?", row_id)[0][0]
    rules.workspace.repair(PARTNERS, row_id, "name", _free_name(rules, name), reason)


def _reject_setting(rules: Rules, row_id: int, native: int, reason: str) -> None:
    rules.workspace.reject(SETTINGS, row_id, reason)


def _mark_duplicate(rules: Rules, row_id: int, native: int, reason: str) -> None:
    rules.workspace.repair(LEADS, row_id, "duplicate_of_id", native, reason)


def _empty(table: Table, column: str) -> Callable[[Rules, int, int, str], None]:
    return lambda rules, row_id, native, reason: rules.workspace.repair(table, row_id, column, None, reason)


# What becomes of a row whose unique value a row made in PostgreSQL has.
TAKEN: dict[str, Callable[[Rules, int, int, str], None]] = {
    "partners": _rename_partner,
    "leads": _mark_duplicate,
    "calls": _empty(CALLS, "twilio_call_sid"),
    "meetings": _empty(MEETINGS, "calendar_event_id"),
    "settings": _reject_setting,
}
RULES: tuple[tuple[Table, Callable[[Rules], None]], ...] = (
    (PARTNERS, partner_names),
    (PARTNERS, taken_in_postgresql(PARTNERS, "name", "name")),
    (PARTNERS, partner_keys),
    (LEADS, orphans(LEADS, "partner_id", PARTNERS)),
    (LEADS, duplicate_phones),
    (LEADS, taken_in_postgresql(LEADS, "phone", "phone")),
    (CALLS, orphans(CALLS, "lead_id", LEADS)),
    (CALLS, repeated(CALLS, "twilio_call_sid")),
    (CALLS, taken_in_postgresql(CALLS, "twilio_call_sid", "twilio_call_sid")),
    (TURNS, orphans(TURNS, "call_id", CALLS)),
    (CALLS, active_calls),
    (MEETINGS, orphans(MEETINGS, "lead_id", LEADS)),
    (MEETINGS, orphans(MEETINGS, "call_id", CALLS)),
    (MEETINGS, repeated(MEETINGS, "calendar_event_id")),
    (MEETINGS, taken_in_postgresql(MEETINGS, "calendar_event_id", "calendar_event_id")),
    (MEETINGS, overlapping_meetings),
    (SETTINGS, setting_keys),
    (SETTINGS, taken_in_postgresql(SETTINGS, "key", "key")),
)
