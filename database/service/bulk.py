"""Bulk insert over COPY on a session: what is sent comes from `database.bulk`, only the sending is asynchronous."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import psycopg
from django.db import DEFAULT_DB_ALIAS, Error, connections
from django.db.models import Model

from database.bulk.copying import copy_statement
from database.bulk.insert import Insertion
from database.bulk.refusals import REFUSALS, Refusal
from database.bulk.rows import Row, Rows

if TYPE_CHECKING:
    from database.service.session import Session


def insertion_into(model: type[Model], rows: Rows, columns: Iterable[str] | None) -> Insertion:
    # Django's connection only says how values are written; nothing is sent through it.
    return Insertion(model, rows, columns, connections[DEFAULT_DB_ALIAS])


async def copy_in(session: Session, insertion: Insertion) -> Sequence[Any]:
    """Copy all chunks and return the ids in the order of the rows."""
    ids: Any = array("q") if insertion.has_number_ids else []
    if not insertion.given.fields:
        return ids
    position = 0
    for rows in insertion.chunks():
        ids.extend(await _copy_chunk(session, insertion, rows, position))
        position += len(rows)
    return ids


async def _copy_chunk(
    session: Session, insertion: Insertion, rows: Sequence[Row], position: int
) -> Sequence[Any]:
    reserved = None
    if insertion.reserves:
        cursor = await session.run(insertion.reserving(len(rows)), (), None)
        row = await cursor.fetchone() or {}
        first, scattered = row.values() if row else (None, None)
        reserved = insertion.reserved(first, scattered, len(rows))
    try:
        async with session.connection.cursor().copy(
            copy_statement(insertion.table, insertion.columns)
        ) as copy:
            for block in insertion.blocks(rows, position, reserved):
                await copy.write(block)
    except psycopg.Error as error:
        refusal = session.refusal(error, None)
        refusal.__cause__ = error
        if not isinstance(refusal, REFUSALS):
            raise refusal from error
        refused = refusal
    else:
        return reserved if reserved is not None else insertion.given_ids(rows)
    # Outside of the handler, so that no traceback shows PostgreSQL's error, which quotes the row.
    raise _row_refused(insertion, refused, position)


def _row_refused(insertion: Insertion, error: Error, position: int) -> Exception:
    told = Refusal.of(error, insertion.model._meta.db_table)
    return told.at(None if told.line is None else position + told.line - 1)
