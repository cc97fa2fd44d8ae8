"""Statements of a fixed text, which PostgreSQL plans once per connection: planning them costs more than running.

Outside of transactions they go to libpq directly: a cursor of psycopg takes three times the processor time of the
query behind it. Times come as PostgreSQL writes them, see `answers.moment`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count
from threading import local
from typing import Any
from weakref import WeakKeyDictionary

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections
from django.db.models import QuerySet
from psycopg.adapt import AdaptersMap, Transformer
from psycopg.errors import FeatureNotSupported, InvalidSqlStatementName, error_from_result
from psycopg.pq import ConnStatus, ExecStatus
from psycopg.pq.abc import PGconn, PGresult
from psycopg.types.string import TextLoader

from database.backend.cursors import ServerBindingCursor
from database.pool import PooledConnection

PREPARE_AFTER = 5  # executions on one connection
MOST_PREPARED = 100  # statements of one connection
PLACE = re.compile("%[s%]")
# Stand for values while a queryset is turned into SQL. They fit into every column, and nothing of ours is one.
FIRST_MARK = -2_104_711_000
FIRST_TIME = datetime(1, 1, 1, tzinfo=UTC)

Row = tuple[Any, ...]
Bound = list[bytes | None]


class Statement:
    """A text with `%s` for each value; `is_planned_once` tells that no value makes another plan better."""

    _numbers = count()

    def __init__(self, sql: str, *, is_planned_once: bool = True) -> None:
        self.sql = sql
        self.is_planned_once = is_planned_once
        self.name = b"fixed_%d" % next(self._numbers)
        places = count(1)
        # libpq's own spelling of the same.
        self.wire = PLACE.sub(lambda found: f"${next(places)}" if found[0] == "%s" else "%", sql).encode()

    def run(self, values: Sequence[Any], *, using: str = DEFAULT_DB_ALIAS) -> PGresult:
        """Return what PostgreSQL answers, to be read by `rows_of`. Raises Django's errors of databases."""
        connection: Any = connections[using]
        connection.close_if_health_check_failed()
        connection.ensure_connection()
        raw = connection.connection
        # In a transaction psycopg says BEGIN when it is time, and an outdated plan would be the transaction's end.
        is_watched = connection.in_atomic_block or connection.queries_logged or connection.execute_wrappers
        bound = None if is_watched or not raw.autocommit else bound_to_text(values)
        if bound is None:
            return self._run_by_cursor(connection, values)
        with connection.wrap_database_errors, raw.lock:
            if isinstance(raw, PooledConnection):
                raw.queries += 1
            # Behind a PgBouncer a statement prepared on one server would be looked for on another.
            if self.is_planned_once and settings.DATABASE_POOL_MODE != "pgbouncer":
                return _plans_of(raw).run(raw.pgconn, self, bound)
            return _answer(raw.pgconn, raw.pgconn.exec_params, self.wire, bound)

    def _run_by_cursor(self, connection: Any, values: Sequence[Any]) -> PGresult:
        binding: Any = ServerBindingCursor
        # As connection.cursor() does, for a cursor that leaves the values to the server.
        with (
            connection.wrap_database_errors,
            connection._prepare_cursor(binding(connection.connection)) as cursor,
        ):
            cursor.execute(self.sql, values)
            result: PGresult = cursor.pgresult
            return result


class Plans:
    """What one connection has prepared, and how often it ran what is not prepared yet; the latest are the last."""

    def __init__(self) -> None:
        self._uses: dict[Statement, int] = {}

    def run(self, pgconn: PGconn, statement: Statement, bound: Bound) -> PGresult:
        if not self._is_prepared(pgconn, statement):
            return _answer(pgconn, pgconn.exec_params, statement.wire, bound)
        try:
            return _answer(pgconn, pgconn.exec_prepared, statement.name, bound)
        except (FeatureNotSupported, InvalidSqlStatementName):
            # "cached plan must not change result type", after a migration: it was refused before it did anything,
            # and would be for as long as the connection lives. Or somebody said DISCARD ALL.
            self._drop(pgconn, statement)
            return _answer(pgconn, pgconn.exec_params, statement.wire, bound)

    def _is_prepared(self, pgconn: PGconn, statement: Statement) -> bool:
        uses = self._uses.pop(statement, 0)
        if uses == PREPARE_AFTER:
            _answer(pgconn, pgconn.prepare, statement.name, statement.wire)
        self._uses[statement] = uses + 1
        if len(self._uses) > MOST_PREPARED:
            self._drop(pgconn, next(iter(self._uses)))
        return uses >= PREPARE_AFTER

    def _drop(self, pgconn: PGconn, statement: Statement) -> None:
        if self._uses.pop(statement) > PREPARE_AFTER:
            # It may be gone already, which is as good.
            pgconn.exec_(b"DEALLOCATE " + statement.name)


_plans: WeakKeyDictionary[Any, Plans] = WeakKeyDictionary()


def _plans_of(raw: Any) -> Plans:
    found = _plans.get(raw)
    if found is None:
        found = _plans[raw] = Plans()
    return found


def _answer(pgconn: PGconn, ask: Callable[..., PGresult], *arguments: Any) -> PGresult:
    """Ask by a function of libpq. Raises psycopg's errors."""
    if pgconn.status != ConnStatus.OK:
        raise psycopg.OperationalError("the connection is lost")
    try:
        result = ask(*arguments)
    except MemoryError:
        # So psycopg says that there is no result at all: libpq could not even send.
        raise psycopg.OperationalError(pgconn.get_error_message()) from None
    if result.status in (ExecStatus.TUPLES_OK, ExecStatus.COMMAND_OK):
        return result
    error = error_from_result(result)
    if pgconn.status != ConnStatus.OK and not isinstance(error, psycopg.OperationalError):
        raise psycopg.OperationalError(str(error))
    raise error


def bound_to_text(values: Sequence[Any]) -> Bound | None:
    """Write values as libpq takes them; None when there is one that only psycopg knows how to write."""
    bound: Bound = []
    for value in values:
        if value is None:
            bound.append(None)
        elif isinstance(value, str) and "\0" not in value:
            bound.append(value.encode())
        elif isinstance(value, int) and not isinstance(value, bool):
            bound.append(b"%d" % value)
        elif isinstance(value, datetime):
            bound.append(value.isoformat().encode())
        else:
            return None
    return bound


class _Reading:
    """How values are read: times stay text, because most of them are only written again."""

    adapters = AdaptersMap(psycopg.adapters)
    connection = None


_Reading.adapters.register_loader("timestamptz", TextLoader)


class _Reader(local):
    """The reader of a thread: another one would have to look for the ways to read each type again."""

    def __init__(self) -> None:
        self.transformer = Transformer(_Reading)


_reader = _Reader()


def rows_of(result: PGresult) -> list[Row]:
    transformer = _reader.transformer
    transformer.set_pgresult(result)
    rows = transformer.load_rows(0, result.ntuples, tuple)
    transformer.set_pgresult(None)
    return rows


@cache
def statement_of(sql: str) -> Statement:
    return Statement(sql)


def fetch_all(sql: str, parameters: Sequence[Any], using: str = DEFAULT_DB_ALIAS) -> list[Row]:
    """Run a query whose text is a constant, and return its rows."""
    return rows_of(statement_of(sql).run(parameters, using=using))


def fetch_one(sql: str, parameters: Sequence[Any], using: str = DEFAULT_DB_ALIAS) -> Row | None:
    rows = fetch_all(sql, parameters, using)
    return rows[0] if rows else None


class Slot:
    """Where a value goes that is not known when the SQL is made."""

    def __init__(self, name: str) -> None:
        self.name = name


def marked(kinds: Mapping[str, type]) -> dict[str, Any]:
    """Return a value of each kind that stands for one, for a queryset that `compiled` turns into SQL."""
    return {name: _mark(kind, position) for position, (name, kind) in enumerate(kinds.items())}


def _mark(kind: type, position: int) -> Any:
    if issubclass(kind, str):
        return f"{FIRST_MARK - position}"
    if issubclass(kind, datetime):
        return FIRST_TIME + timedelta(microseconds=position)
    return FIRST_MARK - position


def compiled(queryset: QuerySet[Any, Any], marks: Mapping[str, Any]) -> tuple[str, list[Any]]:
    """Turn a queryset into SQL and its parameters, with a Slot in place of each mark."""
    sql, parameters = queryset.query.get_compiler(queryset.db).as_sql()
    names = {mark: name for name, mark in marks.items()}
    slots = [Slot(names[each]) if each in names else each for each in parameters]
    if missing := set(marks) - {slot.name for slot in slots if isinstance(slot, Slot)}:
        raise ValueError(f"The query does not depend on {', '.join(sorted(missing))}.")
    return sql, slots


def filled(slots: Sequence[Any], values: Mapping[str, Any]) -> list[Any]:
    return [values[slot.name] if isinstance(slot, Slot) else slot for slot in slots]


class FixedQuery:
    """A queryset that is turned into SQL once, for queries of a hot path.

    `rows` makes the queryset, with `values_list`, from values or None; for each combination of Nones there is one
    SQL, so `rows` may leave out a filter for a None.
    """

    def __init__(self, rows: Callable[..., QuerySet[Any, Any]]) -> None:
        self.rows = rows
        self._compiled: dict[tuple[str, ...], tuple[Statement, list[Any]]] = {}

    def __call__(self, **values: Any) -> list[Row]:
        given = tuple(name for name, value in values.items() if value is not None)
        if (found := self._compiled.get(given)) is None:
            found = self._compiled[given] = self._compile(values, given)
        statement, slots = found
        return rows_of(statement.run(filled(slots, values)))

    def _compile(self, values: dict[str, Any], given: tuple[str, ...]) -> tuple[Statement, list[Any]]:
        marks = marked({name: type(values[name]) for name in given})
        sql, slots = compiled(self.rows(**{name: marks.get(name) for name in values}), marks)
        return Statement(sql), slots
