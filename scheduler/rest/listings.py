"""Lists of rows: one statement reads a page of them, made once for each combination of filters and fields."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan

from scheduler.rest.prepared import Row, Slot, Statement, compiled, filled, marked, rows_of
from scheduler.rest.shapes import Shape
from scheduler.rest.totals import Snapshot

MOST_STATEMENTS = 200  # of one list in a process
# Names of values beside those of lookups, which cannot begin like this.
CALLER, NEWEST, ID, LIMIT, OFFSET = ":caller", ":newest", ":id", ":limit", ":offset"

Conditions = Mapping[str, Any]
"""Lookups of a queryset's `filter` and their values; None is no condition."""


@dataclass(frozen=True, slots=True)
class Place:
    """A row by the time that orders the list and its id."""

    newest: datetime
    id: int


@dataclass(frozen=True, slots=True)
class Window:
    """Which rows of a list: `size` of them, behind a place or from an offset on."""

    size: int
    offset: int = 0
    behind: Place | None = None


@dataclass(frozen=True, slots=True)
class Part:
    """Rows of a list; their columns begin with those of the wanted members of its shape."""

    rows: list[Row]
    newest: int
    id: int

    @property
    def snapshot(self) -> str:
        """Return the transactions that the statement saw; empty when it found no row."""
        return self.rows[0][-1] if self.rows else ""


@dataclass(frozen=True, slots=True)
class _Reading:
    """A statement, its parameters, and the positions of time and id in its rows."""

    statement: Statement
    slots: list[Any]
    newest: int
    id: int


class Listing:
    """A list of objects, newest first by the column `newest` and then by id.

    `rows` makes the queryset of what a caller may know of: with a `partner_id` that partner's rows, else all.
    """

    def __init__(self, rows: Callable[..., QuerySet[Any]], shape: Shape, *, newest: str) -> None:
        self.rows = rows
        self.shape = shape
        self.newest = newest
        self._all = rows(partner_id=None)
        self._reading = lru_cache(maxsize=MOST_STATEMENTS)(self._made)

    @property
    def using(self) -> str:
        """Name the database that is read."""
        return self._all.db

    def narrowed(self, partner_id: int | None, conditions: Conditions) -> QuerySet[Any]:
        """Return all rows of a caller that satisfy the conditions."""
        given = {lookup: value for lookup, value in conditions.items() if value is not None}
        return self.rows(partner_id=partner_id).filter(**given)

    def read(
        self, names: tuple[str, ...], partner_id: int | None, conditions: Conditions, window: Window
    ) -> Part:
        """Read the members `names` of the rows in a window, with one statement and an index scan."""
        values = {CALLER: partner_id, **conditions}
        values = {name: value for name, value in values.items() if value is not None}
        # A truth is written into the statement: it says what is asked for, as the name of the lookup does.
        kinds = {name: value if isinstance(value, bool) else type(value) for name, value in values.items()}
        # Where rows may be many or few, depending on a value, PostgreSQL plans with the value.
        is_planned_once = window.offset == 0 and all(isinstance(kind, bool) for kind in kinds.values())
        if window.behind:
            values |= {NEWEST: window.behind.newest, ID: window.behind.id}
            kinds |= {NEWEST: datetime, ID: int}
        reading = self._reading(names, tuple(kinds.items()), window.size if is_planned_once else None)
        values |= {LIMIT: window.size, OFFSET: window.offset}
        rows = rows_of(reading.statement.run(filled(reading.slots, values), using=self.using))
        return Part(rows, reading.newest, reading.id)

    def _made(
        self, names: tuple[str, ...], kinds: tuple[tuple[str, type | bool], ...], size: int | None
    ) -> _Reading:
        marks = marked({name: kind for name, kind in kinds if isinstance(kind, type)})
        lookups = {name: marks.get(name, kind) for name, kind in kinds if not name.startswith(":")}
        rows = self.rows(partner_id=marks.get(CALLER)).filter(**lookups)
        if NEWEST in marks:
            rows = rows.filter(TupleLessThan(Tuple(F(self.newest), F("id")), (marks[NEWEST], marks[ID])))
        columns = [self.shape.columns[name] for name in names]
        columns += [each for each in (self.newest, "id") if each not in columns]
        ordered: Any = rows.order_by(f"-{self.newest}", "-id").values_list(*columns, Snapshot())
        sql, slots = compiled(ordered[:size], marks)
        if size is None:
            sql, slots = f"{sql} LIMIT %s OFFSET %s", [*slots, Slot(LIMIT), Slot(OFFSET)]
        statement = Statement(sql, is_planned_once=size is not None)
        return _Reading(statement, slots, columns.index(self.newest), columns.index("id"))
