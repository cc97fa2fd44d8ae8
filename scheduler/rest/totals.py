"""How many rows a list has: exact as long as that is cheap, estimated beyond, and counted once per change.

A count is kept together with PostgreSQL's snapshot, the set of transactions that it saw. As long as a later
statement has the same snapshot, no transaction ended in between, so the count is still exact. On a busy
server snapshots change all the time and each list counts anew, up to EXACT_UP_TO rows.
Reads of a replica must not come here: in recovery a snapshot does not list the running transactions.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock
from time import monotonic
from typing import Any

from django.core.exceptions import EmptyResultSet
from django.db import connections
from django.db.models import CharField, Func, QuerySet

EXACT_UP_TO = 100_000  # rows; an index-only scan counts them in some 10 ms
ESTIMATE_FOR = 30  # seconds until an estimated total is looked at again
KEPT = 1000  # totals in a process


class Snapshot(Func):
    """The transactions that a statement sees, as text; a subquery, so that it is computed once and not per row."""

    template = "(SELECT pg_current_snapshot()::text)"
    output_field = CharField()


@dataclass(frozen=True, slots=True)
class Total:
    count: int
    is_estimated: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    total: Total
    snapshot: str
    until: float


class Totals:
    """Totals that this process knows, by the scope of a list: database, path, filters and who may see what."""

    def __init__(self) -> None:
        self._kept: dict[tuple[str, ...], _Kept] = {}
        self._lock = Lock()

    def of(
        self, rows: Callable[[], QuerySet[Any]], using: str, scope: tuple[str, ...], snapshot: str
    ) -> Total:
        """Return the total of an unsliced queryset, which is made when it has to be counted.

        `snapshot` is the one that the caller's page was read with, in the database `using`.
        """
        connection = connections[using]
        if connection.in_atomic_block:
            # The rows that a transaction itself wrote do not show in its snapshot.
            return counted(rows())[0]
        scope = (using, str(connection.settings_dict["NAME"]), *scope)
        kept = self._kept.get(scope)
        # An estimate has no snapshot, and a page without rows knows none.
        if kept and (
            (snapshot and kept.snapshot == snapshot) or (kept.total.is_estimated and monotonic() < kept.until)
        ):
            return kept.total
        total, seen = counted(rows())
        with self._lock:
            if len(self._kept) >= KEPT:
                self._kept.clear()
            self._kept[scope] = _Kept(total, seen, monotonic() + ESTIMATE_FOR)
        return total

    def forget(self) -> None:
        with self._lock:
            self._kept.clear()


totals = Totals()


def counted(rows: QuerySet[Any]) -> tuple[Total, str]:
    """Count a queryset up to EXACT_UP_TO, or estimate it; return the snapshot too, in which that was so."""
    rows = rows.order_by()
    expected = planned_rows(rows)
    # The planner may be wrong by far on stale statistics: only a clear excess saves the count.
    if expected <= 2 * EXACT_UP_TO:
        number, snapshot = _count(rows.values_list("pk")[: EXACT_UP_TO + 1])
        if number <= EXACT_UP_TO:
            return Total(number), snapshot
    return Total(max(expected, EXACT_UP_TO + 1), is_estimated=True), ""


def _count(rows: QuerySet[Any]) -> tuple[int, str]:
    connection = connections[rows.db]
    try:
        sql, parameters = rows.query.get_compiler(rows.db).as_sql()
    except EmptyResultSet:
        return 0, ""
    with connection.cursor() as cursor:
        cursor.execute(
            f"SELECT (SELECT count(*) FROM ({sql}) AS counted), pg_current_snapshot()::text", parameters
        )
        number, snapshot = cursor.fetchone()
    return number, snapshot


def planned_rows(rows: QuerySet[Any]) -> int:
    """Return how many rows the planner expects."""
    try:
        plan = rows.values_list("pk").explain(format="json")
    except EmptyResultSet:
        return 0
    # Django plans nothing for a queryset that is known to be empty.
    return int(json.loads(plan)[0]["Plan"]["Plan Rows"]) if plan else 0
