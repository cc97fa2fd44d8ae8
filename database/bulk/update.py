"""Many rows changed in one statement."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from django.core.exceptions import FieldError
from django.db import connections, router, transaction
from django.db.models import Model
from psycopg import sql

from database.bulk.columns import AnyField, chosen_fields, column_of, key_of, touched
from database.bulk.refusals import Stopped
from database.bulk.rows import GivenRows, Rows
from database.bulk.staging import POSITION, Staging, between


class Updated(NamedTuple):
    """How many rows were updated, and the ids of those that do not exist, in the order of the rows."""

    updated: int
    missing: Sequence[Any]


def bulk_update(
    model: type[Model], rows: Rows, columns: Iterable[str], *, using: str | None = None
) -> Updated:
    """Write `columns` of the rows with the given primary keys, all or none, over COPY and one UPDATE.

    `rows` is any iterable, of any length, of dicts with the key and the columns, of instances, or of tuples of the
    key and the columns in their order. Only these columns are written, and the time of `auto_now` ones. Rows that
    do not exist are left out and reported. The rows are locked in the order of their keys, so that two calls
    never wait for each other.

    Takes part in the caller's transaction, which goes on after an error. Raises FieldError for wrong columns,
    ValueRefused for a value that does not fit and a key given twice, and RowRefused, with the row's position,
    for a row that a constraint forbids; foreign keys are checked at once.
    """
    if isinstance(columns, str):
        raise TypeError("`columns` takes a list of names, not one text.")
    alias, wanted = using or router.db_for_write(model), tuple(columns)
    written = chosen_fields(model, wanted)
    if not written or model._meta.pk in written:
        raise FieldError("bulk_update takes at least one column, and not the primary key.")
    given = _read(model, rows, wanted)
    if not given.fields:
        return Updated(0, array("q"))
    if set(given.fields) != {model._meta.pk, *written}:
        raise FieldError(f"The rows must give {key_of(model)} and {', '.join(wanted)}, and nothing else.")
    try:
        with transaction.atomic(using=alias):
            return _update(Staging(connections[alias], model, given.fields), given, written)
    except Stopped as error:
        stopped = error
    assert stopped.refused is not None
    raise stopped.refused


def _read(model: type[Model], rows: Rows, columns: tuple[str, ...]) -> GivenRows:
    """Read dicts by the names they use themselves, everything else by the names of the call."""
    return GivenRows(model, rows, ("pk", *columns), names_from_mappings=True)


def _update(staging: Staging, given: GivenRows, written: Sequence[AnyField]) -> Updated:
    key = key_of(staging.model)
    staging.fill(given)
    staging.refuse_repeated([key])
    with staging.longer_timeout():
        locked = staging.run(_lock(staging, key, _is_key(staging.model, written)))[0][0]
    missing = staging.run(_missing(staging, key)) if locked < staging.rows else []
    staging.write(lambda low, high: _statement(staging, key, written, low, high))
    staging.drop()
    return Updated(locked, [row[0] for row in missing])


def _is_key(model: type[Model], written: Sequence[AnyField]) -> bool:
    """Tell whether others may refer to what is written: then PostgreSQL locks the rows more strictly."""
    unique = {name for constraint in model._meta.total_unique_constraints for name in constraint.fields}
    return any(field.unique or field.name in unique for field in written)


def _lock(staging: Staging, key: str, strictly: bool) -> sql.Composed:
    return sql.SQL(
        "SELECT count(*) FROM (SELECT FROM {table} t JOIN {staged} s ON t.{key} = s.{key}"
        " ORDER BY t.{key} FOR {mode} OF t) locked"
    ).format(
        table=staging.table,
        staged=staging.staged,
        key=sql.Identifier(key),
        mode=sql.SQL("UPDATE" if strictly else "NO KEY UPDATE"),
    )


def _missing(staging: Staging, key: str) -> sql.Composed:
    return sql.SQL(
        "SELECT s.{key} FROM {staged} s WHERE NOT EXISTS (SELECT FROM {table} t WHERE t.{key} = s.{key})"
        " ORDER BY s.{position}"
    ).format(
        table=staging.table,
        staged=staging.staged,
        key=sql.Identifier(key),
        position=sql.Identifier(POSITION),
    )


def _statement(staging: Staging, key: str, written: Sequence[AnyField], low: int, high: int) -> sql.Composed:
    values: list[sql.Composable] = [
        sql.SQL("{} = {}").format(sql.Identifier(column_of(field)), sql.Identifier("s", column_of(field)))
        for field in written
    ]
    values += [
        sql.SQL("{} = {}").format(sql.Identifier(column_of(field)), sql.Literal(value))
        for field, value in touched(staging.model, written)
    ]
    return sql.SQL("UPDATE {table} t SET {values} FROM {staged} s WHERE t.{key} = s.{key} AND {rows}").format(
        table=staging.table,
        values=sql.SQL(", ").join(values),
        staged=staging.staged,
        key=sql.Identifier(key),
        rows=between(low, high),
    )
