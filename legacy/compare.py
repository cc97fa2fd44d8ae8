"""Compares what a snapshot maps to with what stands in PostgreSQL, every column of every row."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from legacy.ahead import read_ahead
from legacy.mapped import NULL, Chunk, MappedTable
from legacy.scan import MOST_ROWS
from legacy.tables import Column, Kind
from legacy.target import Connection, Reader, count, edges

Row = dict[str, bytes]


@dataclass
class Difference:
    """Rows of one chunk that are not the same on both sides, by id."""

    rows: int = 0  # mapped rows of the chunk
    only_mapped: dict[int, Row] = field(default_factory=dict)
    only_stored: list[int] = field(default_factory=list)
    changed: dict[int, tuple[Row, list[str]]] = field(default_factory=dict)  # mapped row, columns that differ


def compare(connection: Connection, mapped: MappedTable) -> Iterator[Difference]:
    """Yield a Difference a chunk; together the chunks cover every id."""
    reader = Reader(connection, mapped.table, mapped.columns)
    crowded = _crowded_edges(connection, mapped)
    for chunk in read_ahead(mapped.chunks()):
        stored = [reader.read(low, high) for low, high in _split(chunk, crowded)]
        yield _differences(mapped.columns, chunk, stored)


def _crowded_edges(connection: Connection, mapped: MappedTable) -> list[int]:
    """Return further edges when PostgreSQL has many rows that the file has not: memory must stay flat."""
    expected = sum(1 for _ in mapped.bounds) * MOST_ROWS
    if count(connection, mapped.table) <= max(expected, MOST_ROWS):
        return []
    return edges(connection, mapped.table, MOST_ROWS)


def _split(chunk: Chunk, crowded: list[int]) -> Iterator[tuple[int, int]]:
    low = chunk.low
    for edge in crowded:
        if low <= edge < chunk.high:
            yield low, edge
            low = edge + 1
    yield low, chunk.high


def _differences(columns: tuple[Column, ...], mapped: Chunk, parts: list[Chunk]) -> Difference:
    for column in columns:
        if column.kind is Kind.REAL:
            for chunk in (mapped, *parts):
                chunk.columns[column.name] = list(map(_same_number, chunk.columns[column.name]))
    if len(parts) == 1 and mapped.columns == parts[0].columns:
        return Difference(len(mapped))
    found = Difference(len(mapped))
    names = [column.name for column in columns]
    left = _by_id(names, mapped)
    for part in parts:
        for row_id, row in _by_id(names, part).items():
            expected = left.pop(row_id, None)
            if expected is None:
                found.only_stored.append(row_id)
            elif expected != row:
                different = [n for n, a, b in zip(names, expected, row, strict=True) if a != b]
                found.changed[row_id] = (dict(zip(names, expected, strict=True)), different)
    found.only_mapped = {row_id: dict(zip(names, row, strict=True)) for row_id, row in left.items()}
    return found


def _by_id(names: list[str], chunk: Chunk) -> dict[int, tuple[bytes, ...]]:
    rows = zip(*(chunk.columns[name] for name in names), strict=True)
    return dict(zip(chunk.ids(), rows, strict=True))


def _same_number(cell: bytes) -> bytes:
    """Return one spelling for `180`, `180.0` and `1.8e2`."""
    return cell if cell == NULL else repr(float(cell)).encode()
