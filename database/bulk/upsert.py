"""Rows that are inserted, or update the one with the same key."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import FieldError
from django.db import connections, router, transaction
from django.db.models import Model
from psycopg import sql

from database.bulk.columns import AnyField, chosen_fields, column_of, filled_by_python, key_of, touched
from database.bulk.constraints import UniqueKey, unique_key
from database.bulk.refusals import Stopped
from database.bulk.rows import GivenRows, Rows
from database.bulk.staging import POSITION, Staging, between, equal, names
from database.errors import RowRefused, ValueRefused

TRIES = 5  # of which each finds the rows deleted that were in the way of the one before


@dataclass(frozen=True)
class Upserted:
    """The ids of the rows in their order; `is_new` holds 1 for each that was inserted, 0 for one that was there."""

    ids: Sequence[Any]
    is_new: bytearray

    @property
    def inserted(self) -> int:
        return sum(self.is_new)

    @property
    def updated(self) -> int:
        """Return how many were there before; they were left alone when nothing was to be updated."""
        return len(self.is_new) - self.inserted

    @property
    def inserted_ids(self) -> list[Any]:
        return [id for id, new in zip(self.ids, self.is_new, strict=True) if new]

    @property
    def updated_ids(self) -> list[Any]:
        return [id for id, new in zip(self.ids, self.is_new, strict=True) if not new]


def bulk_upsert(
    model: type[Model],
    rows: Rows,
    key: Iterable[str],
    update: Iterable[str],
    *,
    columns: Iterable[str] | None = None,
    using: str | None = None,
) -> Upserted:
    """Insert rows, or write their columns `update` where the `key` is there already, all or none.

    `rows` as for `bulk_insert`. `key` names the columns of a unique index, which may hold for some rows only, as
    that of a lead's phone; without columns to `update`, what is there stays as it is. A key may come once only.
    Rows are written in the order of their keys, so that two calls never wait for each other.

    Takes part in the caller's transaction, which goes on after an error. Raises FieldError for wrong columns and
    for a key without a unique index, ValueRefused for a value that does not fit, a key that is empty, comes twice
    or is not under the index's condition, and RowRefused, with the row's position, for a row that a constraint
    forbids; foreign keys are checked at once.
    """
    if isinstance(key, str) or isinstance(update, str):
        raise TypeError("`key` and `update` take lists of names, not one text.")
    alias = using or router.db_for_write(model)
    keys, written = chosen_fields(model, key), chosen_fields(model, update)
    given = GivenRows(model, rows, columns)
    if not given.fields:
        return Upserted(array("q"), bytearray())
    missing = [column_of(field) for field in (*keys, *written) if field not in given.fields]
    if not keys or missing:
        raise FieldError(
            f"The rows must give the columns of the key and of the update: {', '.join(missing)}."
        )
    if set(keys) & set(written):
        raise FieldError("The key of bulk_upsert is not among the columns that it updates.")
    try:
        with transaction.atomic(using=alias):
            index = unique_key(connections[alias], model._meta.db_table, [column_of(field) for field in keys])
            return _Upsert(model, given, index, written, alias).run()
    except Stopped as error:
        stopped = error
    assert stopped.refused is not None
    raise stopped.refused


class _Upsert:
    def __init__(
        self, model: type[Model], given: GivenRows, index: UniqueKey, written: Sequence[AnyField], alias: str
    ) -> None:
        self.given, self.index, self.written = given, index, written
        self.absent = filled_by_python(model, (*given.fields, model._meta.pk))
        self.fields = (*given.fields, *(absent.field for absent in self.absent))
        self.staging = Staging(connections[alias], model, self.fields)
        self.key = index.columns
        self.id = sql.Identifier(key_of(model))

    def run(self) -> Upserted:
        self.staging.fill(self.given, self.absent)
        self.staging.refuse_repeated(self.key)
        numbers = self.staging.model._meta.pk.get_internal_type().endswith("AutoField")
        ids: Any = array("q", bytes(8 * self.staging.rows)) if numbers else [None] * self.staging.rows
        done = Upserted(ids, bytearray(self.staging.rows))
        known = bytearray(self.staging.rows)
        for _ in range(TRIES):
            self._write(done, known)
            if all(known):
                break
            for position, row_id in self.staging.run(self._stored()):
                if not known[position]:
                    ids[position], known[position] = row_id, True
            if all(known):
                break
            # What was in the way of the others was deleted before we could look at it.
        else:
            raise self._unwritten(known.index(False))
        self.staging.drop()
        return done

    def _write(self, done: Upserted, known: bytearray) -> None:
        ids: Any = done.ids
        for position, row_id, inserted, covered in self.staging.write(self._statement):
            if not covered:
                raise self._uncovered(position)
            if not known[position]:
                ids[position], done.is_new[position], known[position] = row_id, inserted, True

    def _statement(self, low: int, high: int) -> sql.Composed:
        columns = [column_of(field) for field in self.fields]
        return sql.SQL(
            "WITH written AS ("
            "INSERT INTO {table} ({columns}) SELECT {columns} FROM {staged} s WHERE {rows} ORDER BY {key}"
            " ON CONFLICT ({key}) WHERE {condition} {action}"
            " RETURNING {id} AS _id_, {key}, xmax = 0 AS _inserted_, ({condition}) IS TRUE AS _covered_"
            ") SELECT s.{position}, w._id_, w._inserted_, w._covered_ FROM written w JOIN {staged} s ON {same}"
        ).format(
            table=self.staging.table,
            columns=names(columns),
            staged=self.staging.staged,
            rows=between(low, high),
            key=names(self.key),
            condition=self.index.condition,
            action=self._action(),
            id=self.id,
            position=sql.Identifier(POSITION),
            same=equal(self.key, "w", "s"),
        )

    def _action(self) -> sql.Composable:
        if not self.written:
            return sql.SQL("DO NOTHING")
        values: list[sql.Composable] = [
            sql.SQL("{} = {}").format(
                sql.Identifier(column_of(field)), sql.Identifier("excluded", column_of(field))
            )
            for field in self.written
        ]
        values += [
            sql.SQL("{} = {}").format(sql.Identifier(column_of(field)), sql.Literal(value))
            for field, value in touched(self.staging.model, self.written)
        ]
        return sql.SQL("DO UPDATE SET {}").format(sql.SQL(", ").join(values))

    def _stored(self) -> sql.Composed:
        """Return the query for the rows that were left alone; the condition's columns are the stored row's."""
        return sql.SQL(
            "SELECT s.{position}, t._id_ FROM {staged} s"
            " JOIN (SELECT {id} AS _id_, {key} FROM {table} WHERE {condition}) t ON {same}"
        ).format(
            position=sql.Identifier(POSITION),
            staged=self.staging.staged,
            id=self.id,
            key=names(self.key),
            table=self.staging.table,
            condition=self.index.condition,
            same=equal(self.key, "t", "s"),
        )

    def _unwritten(self, position: int) -> RowRefused:
        return RowRefused(
            f"Row {position} (counted from 0) was neither inserted nor found: a trigger keeps it out, or others"
            " delete and insert it all the time.",
            position=position,
        )

    def _uncovered(self, position: int) -> ValueRefused:
        return ValueRefused(
            f"Row {position} (counted from 0) is outside the condition of {self.index.name}, so that its key"
            " could never be found again.",
            position=position,
        )
