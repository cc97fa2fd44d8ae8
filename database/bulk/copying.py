"""COPY into a table: the one place that every part of the system fills tables through."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from typing import Any, Protocol

import psycopg
from psycopg import sql


class CopyCursor(Protocol):
    """A cursor of psycopg, or Django's around one."""

    @property
    def rowcount(self) -> int: ...

    @property
    def copy(self) -> Any: ...


def copy_statement(table: sql.Composable, columns: Sequence[str], *, freeze: bool = False) -> sql.Composed:
    """Return the COPY that reads UTF-8 text; `freeze` is for a table emptied in the same transaction."""
    return sql.SQL("COPY {} ({}) FROM STDIN (ENCODING 'UTF8'{})").format(
        table,
        sql.SQL(", ").join(map(sql.Identifier, columns)),
        sql.SQL(", FREEZE" if freeze else ""),
    )


def copy_blocks(
    cursor: CopyCursor,
    table: sql.Composable,
    columns: Sequence[str],
    blocks: Iterable[bytes],
    *,
    freeze: bool = False,
) -> int:
    """Send blocks of whole lines of COPY text into a table; return the number of rows.

    The server works on a block while the iterator makes the next. An exception of the iterator's ends the
    COPY and comes out as it is; the transaction is then broken, as after any error.
    """
    copying: AbstractContextManager[psycopg.Copy] = cursor.copy(copy_statement(table, columns, freeze=freeze))
    with copying as copy:
        for block in blocks:
            copy.write(block)
    return cursor.rowcount
