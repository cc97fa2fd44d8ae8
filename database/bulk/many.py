"""One statement with many sets of parameters."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from typing import Any, LiteralString

from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from psycopg import sql

from database.bulk.refusals import REFUSALS, Refusal, Stopped, first_refused

SETS = 2_000  # sets of parameters that are sent before the answers are waited for

Parameters = Sequence[Any] | Mapping[str, Any]


def execute_many(
    query: LiteralString | sql.Composable, parameters: Iterable[Parameters], *, using: str | None = None
) -> int:
    """Execute a statement with each set of parameters, all or none; return the number of rows it touched.

    `parameters` is any iterable, of any length; the sets go out in a pipeline, without waiting for each answer.
    Takes part in the caller's transaction, which goes on after an error. Raises RowRefused, with the position of
    the set, for one that a constraint forbids or whose values do not fit.
    """
    alias = using or DEFAULT_DB_ALIAS
    try:
        with transaction.atomic(using=alias):
            return _execute(connections[alias], query, iter(parameters))
    except Stopped as error:
        stopped = error
    assert stopped.refused is not None
    raise stopped.refused


def _execute(connection: BaseDatabaseWrapper, query: Any, parameters: Any) -> int:
    touched = position = 0
    while sets := list(islice(parameters, SETS)):
        touched += _send(connection, query, sets, position)
        position += len(sets)
    return touched


def _send(connection: BaseDatabaseWrapper, query: Any, sets: list[Parameters], position: int) -> int:
    def attempt(low: int, high: int) -> int:
        with transaction.atomic(using=connection.alias), connection.cursor() as cursor:
            cursor.executemany(query, sets[low:high])
            return cursor.rowcount

    try:
        return attempt(0, len(sets))
    except REFUSALS as error:
        refusal = Refusal.of(error, "")
    found = first_refused(len(sets), attempt)
    if found:
        refusal = Refusal.of(found[1], "")
    raise Stopped(refusal, refusal.at(position + found[0] if found else None))
