"""New rows straight into their table."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from django.core.exceptions import FieldError
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import AutoField, BigAutoField, Model, SmallAutoField
from psycopg import sql

from database.bulk.columns import column_of, filled_by_python, key_of
from database.bulk.constraints import Deferred, rows_without_target
from database.bulk.copying import copy_blocks
from database.bulk.refusals import REFUSALS, Refusal, Stopped, first_refused
from database.bulk.rows import GivenRows, Row, Rows, RowWriter
from database.errors import RowRefused

# The ids of a block are fetched one by one only where another session took some in between.
RESERVE = """
SELECT min(id), CASE WHEN max(id) - min(id) >= count(*) THEN array_agg(id) END
FROM (
    SELECT nextval((SELECT pg_get_serial_sequence({table}, {column})::regclass)) AS id
    FROM generate_series(1, {count})
) reserved
"""


class Insertion:
    """What a bulk insert sends, made without a connection to the server; sessions of any kind may carry it out.

    For each of `chunks()`: reserve ids with `reserving(len(chunk))` and `reserved(...)` when `reserves`,
    then copy `blocks(chunk, position, ids)` into the `columns` of `table`.
    """

    def __init__(
        self, model: type[Model], rows: Rows, columns: Iterable[str] | None, connection: BaseDatabaseWrapper
    ) -> None:
        self.model = model
        self.given = GivenRows(model, rows, columns)
        key = model._meta.pk
        self.has_number_ids = isinstance(key, (AutoField, BigAutoField, SmallAutoField))
        self.reserves = bool(self.given.fields) and key not in self.given.fields
        if self.reserves and not self.has_number_ids:
            raise FieldError(
                f"The rows must give {column_of(key)}: {model._meta.db_table} has no sequence for it."
            )
        self.absent = filled_by_python(model, (*self.given.fields, key))
        self.fields = (*self.given.fields, *(absent.field for absent in self.absent))
        self.writer = RowWriter(self.fields, connection)
        self.table = sql.Identifier(model._meta.db_table)
        names = [column_of(field) for field in self.fields]
        self.columns = [column_of(key), *names] if self.reserves else names

    def chunks(self) -> Iterator[list[Row]]:
        return self.given.chunks()

    def reserving(self, count: int) -> sql.Composed:
        """Return the query for the ids of so many rows; `reserved` reads its one row."""
        return sql.SQL(RESERVE).format(
            table=sql.Literal(self.table.as_string(None)),
            column=sql.Literal(key_of(self.model)),
            count=sql.Literal(count),
        )

    def reserved(self, first: int | None, scattered: list[int] | None, count: int) -> Sequence[int]:
        """Return ids in rising order. Raises FieldError when the table has no sequence."""
        if first is None:
            raise FieldError(f"{self.model._meta.db_table} has no sequence that makes its ids.")
        return sorted(scattered) if scattered else range(first, first + count)

    def blocks(self, rows: Sequence[Row], position: int, ids: Sequence[int] | None) -> Iterator[bytes]:
        """Yield blocks of COPY text; raises ValueRefused."""
        constants = [absent.values(len(rows)) for absent in self.absent]
        return self.writer.blocks(rows, position, ids if self.reserves else None, constants)

    def given_ids(self, rows: Sequence[Row]) -> list[Any]:
        """Return the ids that rows brought along."""
        place = self.fields.index(self.model._meta.pk)
        return [row[place] for row in rows]


def bulk_insert(
    model: type[Model],
    rows: Rows,
    *,
    columns: Iterable[str] | None = None,
    using: str | None = None,
) -> Sequence[Any]:
    """Insert rows by COPY, all or none, and return their ids in the order of the rows.

    `rows` is any iterable, of any length, of dicts, of instances, or of tuples in the order of `columns`; all rows
    give the same columns. Columns that they do not give get their default. The ids are an array of 64-bit integers.
    Rows with ids of their own leave the sequence where it is, as an INSERT does.

    Takes part in the caller's transaction, which goes on after an error. Raises FieldError for wrong columns,
    ValueRefused for a value that does not fit, and RowRefused, with the row's position, for one that a constraint
    forbids; foreign keys are checked at once.
    """
    alias = using or router.db_for_write(model)
    insertion = Insertion(model, rows, columns, connections[alias])
    if not insertion.given.fields:
        return array("q")
    try:
        with transaction.atomic(using=alias):
            return _Insert(insertion, connections[alias]).run()
    except Stopped as error:
        stopped = error
    # Outside of the handler, so that no traceback shows PostgreSQL's error, which quotes the row.
    raise stopped.refused or _locate(insertion, connections[alias], stopped)


class _Insert:
    def __init__(self, insertion: Insertion, connection: BaseDatabaseWrapper) -> None:
        self.insertion, self.connection = insertion, connection
        self.table = insertion.model._meta.db_table

    def run(self) -> Sequence[Any]:
        all_ids: Any = array("q") if self.insertion.has_number_ids else []
        chunks, position = self.insertion.chunks(), 0
        if not (rows := next(chunks, [])):
            return all_ids
        deferred, ids = self._begin(rows)
        with deferred.at_once(foreign=False):
            while rows:
                all_ids.extend(self.copy_chunk(rows, position, ids))
                position += len(rows)
                rows, ids = next(chunks, []), None
        self._check_foreign(deferred, all_ids)
        return all_ids

    def _begin(self, rows: Sequence[Row]) -> tuple[Deferred, Sequence[int] | None]:
        """Ask for the deferred constraints and the ids of the first rows: few rows wait for round trips most."""
        queries, insertion = [Deferred.query(self.table)], self.insertion
        if insertion.reserves:
            queries.append(insertion.reserving(len(rows)))
        with self._stopping(rows, 0), self.connection.cursor() as cursor:
            cursor.execute(sql.SQL("; ").join(queries))
            deferred, ids = Deferred(self.connection, cursor.fetchall()), None
            if cursor.nextset():
                ids = self._fetch_ids(cursor, len(rows))
        return deferred, ids

    def copy_chunk(self, rows: Sequence[Row], position: int, ids: Sequence[int] | None) -> Sequence[Any]:
        """Copy a chunk and return its ids; raise what becomes of an error."""
        with self._stopping(rows, position):
            return self._copy(rows, position, ids)

    @contextmanager
    def _stopping(self, rows: Sequence[Row], position: int) -> Iterator[None]:
        try:
            yield
            return
        except RowRefused:
            raise
        except REFUSALS as error:
            refusal = Refusal.of(error, self.table)
        if refusal.line is not None:
            raise Stopped(refusal, refusal.at(position + refusal.line - 1))
        raise Stopped(refusal, None, rows, position)

    def _copy(self, rows: Sequence[Row], position: int, ids: Sequence[int] | None = None) -> Sequence[Any]:
        insertion = self.insertion
        with self.connection.cursor() as cursor:
            if insertion.reserves and ids is None:
                cursor.execute(insertion.reserving(len(rows)))
                ids = self._fetch_ids(cursor, len(rows))
            with self.connection.wrap_database_errors:
                copy_blocks(cursor, insertion.table, insertion.columns, insertion.blocks(rows, position, ids))
        return ids if ids is not None else insertion.given_ids(rows)

    def _fetch_ids(self, cursor: Any, count: int) -> Sequence[int]:
        first, scattered = cursor.fetchone() or (None, None)
        return self.insertion.reserved(first, scattered, count)

    def try_rows(self, rows: Sequence[Row], position: int) -> None:
        with transaction.atomic(using=self.connection.alias):
            self._copy(rows, position)
            Deferred.of(self.connection, self.table).check_foreign()

    def _check_foreign(self, deferred: Deferred, ids: Any) -> None:
        refusal = None
        try:
            deferred.check_foreign()
        except REFUSALS as error:
            refusal = Refusal.of(error, self.table)
        if refusal is None:
            return
        broken = rows_without_target(self.connection, self.insertion.model, refusal.constraint, ids)
        # None: the constraint waits for a row that the caller wrote before, and goes on waiting.
        if broken:
            raise Stopped(refusal, refusal.at(min(map(ids.index, broken))))


def _locate(insertion: Insertion, connection: BaseDatabaseWrapper, stopped: Stopped) -> RowRefused:
    """Find the row by inserting parts of the refused chunk, and take them back."""
    insert = _Insert(insertion, connection)
    rows, position = stopped.rows, stopped.position
    found = None
    with transaction.atomic(using=connection.alias):
        found = first_refused(len(rows), lambda low, high: insert.try_rows(rows[low:high], position + low))
        transaction.set_rollback(True, using=connection.alias)
    return stopped.refusal.at(position + found[0] if found else None)
