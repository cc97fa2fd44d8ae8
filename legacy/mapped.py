"""The new rows that a snapshot maps to, read in chunks of columns.

A chunk holds one list of bytes a column, in the text form that PostgreSQL prints, because whole columns are joined,
split and compared in C. The rows that need no care come from the snapshot, the others from the workspace.
"""

from __future__ import annotations

import secrets
import sqlite3
from collections.abc import Iterator
from dataclasses import dataclass

from legacy.layout import OLD, SourceTable, quoted
from legacy.scan import HIGHEST_ID, LOWEST_ID, Bounds, is_streamed
from legacy.tables import BY_NAME, TURNS, Column, Kind, Table
from legacy.turns import TurnNumbers
from legacy.workspace import Workspace

FIXED_ROWS = 1000
LONG_TIME = 26  # characters of a time with microseconds
ESCAPES = ((b"\\", b"\\\\"), (b"\n", b"\\n"), (b"\r", b"\\r"), (b"\t", b"\\t"))

# Random, so that no text of a caller can hold them.
NULL = b"\x1e" + secrets.token_hex(6).encode()
SEPARATOR = b"\x1f" + secrets.token_hex(3).encode()


@dataclass
class Chunk:
    """Rows with ids from `low` to `high`, both included: column -> list of cells; NULL is the token of that name."""

    low: int
    high: int
    columns: dict[str, list[bytes]]

    def __len__(self) -> int:
        return len(self.columns["id"])

    def ids(self) -> list[int]:
        return list(map(int, self.columns["id"]))

    def sort(self) -> None:
        """Bring the rows into the order of their ids."""
        ids = self.ids()
        order = sorted(range(len(ids)), key=ids.__getitem__)
        self.columns = {name: [cells[i] for i in order] for name, cells in self.columns.items()}

    def copy_text(self, names: tuple[str, ...]) -> bytes:
        """Return the rows in the text format of COPY."""
        if not len(self):
            return b""
        columns = []
        for name in names:
            joined = SEPARATOR.join(self.columns[name])
            for plain, escaped in ESCAPES:
                joined = joined.replace(plain, escaped)
            columns.append(joined.replace(NULL, b"\\N").split(SEPARATOR))
        return b"".join(b"%b\n" % b"\t".join(row) for row in zip(*columns, strict=True))


class MappedTable:
    """Reads one table; `bounds` are the ranges that the scan found."""

    def __init__(
        self, workspace: Workspace, table: Table, bounds: Bounds, columns: tuple[Column, ...] = ()
    ) -> None:
        self.workspace, self.table = workspace, table
        self.columns = columns or table.columns
        source = workspace.layout.tables.get(table.name)
        self.streamed = source if source is not None and is_streamed(source) else None
        self.bounds = bounds

    def chunks(self) -> Iterator[Chunk]:
        """Yield all rows, range by range; the ranges cover every possible id."""
        connection = self.workspace.connect()
        connection.text_factory = bytes
        try:
            numbers = TurnNumbers(self.workspace) if self.table is TURNS and self.streamed else None
            for low, high in self._ranges(connection):
                chunk = self._plain(connection, low, high, numbers)
                if self._add_fixed(connection, chunk):
                    chunk.sort()
                yield chunk
        finally:
            connection.close()

    def _ranges(self, connection: sqlite3.Connection) -> Iterator[tuple[int, int]]:
        """Yield ranges that cover every possible id, so that no row of PostgreSQL stays unseen."""
        edges = [high for _, high in self.bounds]
        if not self.streamed:
            ids = connection.execute(f"SELECT id FROM fixed_{self.table.name} ORDER BY id")
            edges = [row[0] for number, row in enumerate(ids, 1) if number % FIXED_ROWS == 0]
        low = LOWEST_ID
        for high in (*edges[:-1], HIGHEST_ID):
            yield low, high
            low = high + 1

    def _plain(
        self, connection: sqlite3.Connection, low: int, high: int, numbers: TurnNumbers | None
    ) -> Chunk:
        if self.streamed is None:
            return Chunk(low, high, {column.name: [] for column in self.columns})
        names = [column.name for column in self.columns if column.name in self.streamed.columns]
        joined = connection.execute(self._sql(connection, names, low, high), (low, high)).fetchone()
        columns = {
            name: _cells(self.table.column(name), cells) for name, cells in zip(names, joined, strict=True)
        }
        for column in self.columns:
            if column.name not in columns:
                constant = self.table.constants.get(column.name)
                columns[column.name] = [constant.encode() if constant is not None else NULL] * len(
                    columns["id"]
                )
        if numbers is not None:
            columns["turn"] = numbers.of(columns["call_id"])
        return Chunk(low, high, columns)

    def _sql(self, connection: sqlite3.Connection, names: list[str], low: int, high: int) -> str:
        null, separator = f"'{NULL.decode()}'", f"'{SEPARATOR.decode()}'"
        # A plain row has no NULL in a required column.
        shown = {
            name: quoted(name) if self.table.column(name).required else f"coalesce({quoted(name)}, {null})"
            for name in names
        }
        cells = ", ".join(f"group_concat({shown[name]}, {separator})" for name in names)
        touched = f"SELECT id FROM touched_{self.table.name}"
        query = f"SELECT {cells} FROM {OLD}.{quoted(self.table.name)} NOT INDEXED WHERE id BETWEEN ? AND ?"
        if connection.execute(f"{touched} WHERE id BETWEEN ? AND ? LIMIT 1", (low, high)).fetchone() is None:
            return query
        return f"{query} AND id NOT IN ({touched})"

    def _add_fixed(self, connection: sqlite3.Connection, chunk: Chunk) -> bool:
        """Append the rows of the workspace; tell whether there were any."""
        names = [column.name for column in self.columns if column in self.table.columns]
        rows = connection.execute(
            f"SELECT {', '.join(map(quoted, names))} FROM fixed_{self.table.name} WHERE id BETWEEN ? AND ? ORDER BY id",
            (chunk.low, chunk.high),
        ).fetchall()
        for name, cells in zip(names, zip(*rows, strict=True), strict=False):
            chunk.columns[name].extend(map(_encode, cells))
        for column in self.columns:
            if column.name not in names:
                constant = self.table.constants.get(column.name)
                chunk.columns[column.name] += [constant.encode() if constant is not None else NULL] * len(
                    rows
                )
        return bool(rows)


def copy_keys(workspace: Workspace, name: str, columns: tuple[str, ...]) -> None:
    """Copy a few columns of the plain rows of a table, so that `mapped_view` need not read whole rows each time."""
    source = workspace.layout.tables.get(name)
    if source is not None and is_streamed(source):
        plain = _plain_columns(BY_NAME[name], source, columns)
        workspace.connection.execute(
            f"CREATE TABLE keys_{name} AS SELECT {plain} FROM {OLD}.{quoted(name)} NOT INDEXED"
        )


def mapped_view(workspace: Workspace, name: str, columns: tuple[str, ...], keys: bool) -> str:
    """Return a subquery over some columns of the mapped rows of a table; `keys` says that `copy_keys` has them."""
    table = BY_NAME[name]
    source = workspace.layout.tables.get(name)
    names = ", ".join(map(quoted, columns))
    fixed = f"SELECT {names} FROM fixed_{name}"
    if source is None or not is_streamed(source):
        return f"({fixed})"
    untouched = f"WHERE id NOT IN (SELECT id FROM touched_{name})"
    if keys:
        return f"(SELECT {names} FROM keys_{name} {untouched} UNION ALL {fixed})"
    plain = _plain_columns(table, source, columns)
    return f"(SELECT {plain} FROM {OLD}.{quoted(name)} NOT INDEXED {untouched} UNION ALL {fixed})"


def _plain_columns(table: Table, source: SourceTable, columns: tuple[str, ...]) -> str:
    return ", ".join(
        f"{_cell(table.column(c)) if c in source.columns else 'NULL'} AS {quoted(c)}" for c in columns
    )


def _cell(column: Column) -> str:
    """Return the SQL that writes a plain cell as PostgreSQL prints it."""
    name = quoted(column.name)
    if column.kind is Kind.CHOICE:
        return f"lower({name})"
    if column.kind is Kind.TIME:
        return f"CASE length({name}) WHEN {LONG_TIME} THEN rtrim(rtrim({name}, '0'), '.') ELSE {name} END"
    return name


def _cells(column: Column, joined: bytes | None) -> list[bytes]:
    """Split a column of plain cells and write them as PostgreSQL prints them: `_cell` for many at a time."""
    if joined is None:
        return []
    if column.kind is Kind.CHOICE:
        joined = joined.lower()  # tokens are lower case
    cells = joined.split(SEPARATOR)
    if column.kind is Kind.TIME and b"." in joined:
        cells = [cell.rstrip(b"0").rstrip(b".") if len(cell) == LONG_TIME else cell for cell in cells]
    return cells


def _encode(cell: object) -> bytes:
    if cell is None:
        return NULL
    if isinstance(cell, bytes):
        return cell
    return repr(cell).encode()
