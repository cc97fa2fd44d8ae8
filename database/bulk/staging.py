"""Rows in a temporary table, from where one statement brings them into their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

from django.db import transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from psycopg import sql

from database.bulk.columns import Absent, AnyField, column_of
from database.bulk.constraints import Deferred
from database.bulk.copying import copy_blocks
from database.bulk.refusals import REFUSALS, Refusal, Stopped, first_refused
from database.bulk.rows import CHUNK, GivenRows, RowWriter
from database.errors import RowRefused, ValueRefused

POSITION = "_position_"
WORTH_ANALYZING = 500  # rows
_numbers = count(1)

Statement = Callable[[int, int], sql.Composed]


class Staging:
    """The rows of one call in a table of their own, with their `_position_`; it goes when the transaction ends.

    The name is never used twice, as a caller's generator may stage rows of its own meanwhile.
    """

    def __init__(
        self, connection: BaseDatabaseWrapper, model: type[Model], fields: Sequence[AnyField]
    ) -> None:
        self.connection, self.model, self.fields = connection, model, tuple(fields)
        self.table = sql.Identifier(model._meta.db_table)
        self.name = f"bulk_rows_{next(_numbers)}"
        self.staged = sql.Identifier("pg_temp", self.name)
        self.rows = 0

    def run(self, query: sql.Composable) -> list[tuple[Any, ...]]:
        """Execute a query and return its rows."""
        with self.connection.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []

    def fill(self, given: GivenRows, absent: Sequence[Absent] = ()) -> None:
        """Create the table and copy the rows into it."""
        columns = [column_of(field) for field in self.fields]
        self.run(
            sql.SQL(
                "CREATE TEMP TABLE {} ON COMMIT DROP AS SELECT 0::bigint AS {}, {} FROM {} WITH NO DATA"
            ).format(sql.Identifier(self.name), sql.Identifier(POSITION), names(columns), self.table)
        )
        writer = RowWriter(self.fields, self.connection)
        for rows in given.chunks():
            constants = [column.values(len(rows)) for column in absent]
            positions = range(self.rows, self.rows + len(rows))
            self._copy([POSITION, *columns], writer.blocks(rows, self.rows, positions, constants))
            self.rows += len(rows)
        if self.rows > WORTH_ANALYZING:
            self.run(sql.SQL("ANALYZE {}").format(self.staged))

    def _copy(self, columns: list[str], blocks: Iterator[bytes]) -> None:
        try:
            with self.connection.cursor() as cursor, self.connection.wrap_database_errors:
                copy_blocks(cursor, self.staged, columns, blocks)
            return
        except RowRefused:
            raise
        except REFUSALS as error:
            refusal = Refusal.of(error, self.name)
        raise Stopped(refusal, refusal.at(self.rows + refusal.line - 1 if refusal.line else None))

    def refuse_repeated(self, columns: Sequence[str]) -> None:
        """Raise ValueRefused when the key in these columns is empty in a row, or the same in two."""
        empty = sql.SQL(" OR ").join(sql.SQL("{} IS NULL").format(sql.Identifier(name)) for name in columns)
        found = self.run(
            sql.SQL("SELECT min({}) FROM {} WHERE {}").format(sql.Identifier(POSITION), self.staged, empty)
        )[0][0]
        key = ", ".join(columns)
        if found is not None:
            raise ValueRefused(
                f"Row {found} (counted from 0) has no {key}.", position=found, column=columns[0]
            )
        twice = self.run(
            sql.SQL(
                "SELECT p[1], p[2] FROM (SELECT (array_agg({position} ORDER BY {position}))[1:2] AS p FROM {staged}"
                " GROUP BY {key} HAVING count(*) > 1) repeated ORDER BY p[2] LIMIT 1"
            ).format(position=sql.Identifier(POSITION), staged=self.staged, key=names(columns))
        )
        if twice:
            first, second = twice[0]
            raise ValueRefused(
                f"Rows {first} and {second} (counted from 0) have the same {key}.",
                position=second,
                column=columns[0],
            )

    def write(self, statement: Statement) -> list[tuple[Any, ...]]:
        """Execute the statement for all rows, with the constraints checked at once; return what it returns.

        `statement(low, high)` writes the rows at positions from low to high - 1. Raises Stopped with the position
        of the row that was refused.
        """
        deferred = Deferred.of(self.connection, self.model._meta.db_table)
        try:
            with deferred.at_once(), self._savepoint(), self.longer_timeout():
                return self.run(statement(0, self.rows))
        except REFUSALS as error:
            refusal = Refusal.of(error, self.model._meta.db_table)

        def attempt(low: int, high: int) -> None:
            with self._savepoint(), self.longer_timeout():
                self.run(statement(low, high))

        with deferred.at_once():
            found = first_refused(self.rows, attempt)
        if found:
            refusal = Refusal.of(found[1], self.model._meta.db_table)
        raise Stopped(refusal, refusal.at(found[0] if found else None))

    @contextmanager
    def longer_timeout(self) -> Iterator[None]:
        """Let each so many rows count as a command of their own for the statement timeout."""
        times = -(-self.rows // CHUNK)
        if times < 2:
            yield
            return
        milliseconds = self.run(
            sql.SQL("SELECT setting::bigint FROM pg_settings WHERE name = 'statement_timeout'")
        )[0][0]
        self._set_timeout(milliseconds * times)
        yield
        self._set_timeout(milliseconds)

    def drop(self) -> None:
        """Make room before the transaction ends, which may be long after."""
        self.run(sql.SQL("DROP TABLE {}").format(self.staged))

    def _set_timeout(self, milliseconds: int) -> None:
        self.run(
            sql.SQL("SELECT set_config('statement_timeout', {}, true)").format(
                str(min(milliseconds, 2**31 - 1))
            )
        )

    def _savepoint(self) -> transaction.Atomic:
        return transaction.atomic(using=self.connection.alias)


def names(columns: Sequence[str], alias: str = "") -> sql.Composed:
    """Return columns as a list in SQL."""
    prefix = (alias,) if alias else ()
    return sql.SQL(", ").join(sql.Identifier(*prefix, column) for column in columns)


def equal(columns: Sequence[str], left: str, right: str) -> sql.Composed:
    """Return the condition that two tables agree in columns."""
    return sql.SQL(" AND ").join(
        sql.SQL("{} = {}").format(sql.Identifier(left, name), sql.Identifier(right, name)) for name in columns
    )


def between(low: int, high: int, alias: str = "s") -> sql.Composed:
    """Return the condition that a staged row's position is from low to high - 1."""
    return sql.SQL("{position} >= {low} AND {position} < {high}").format(
        position=sql.Identifier(alias, POSITION), low=low, high=high
    )
