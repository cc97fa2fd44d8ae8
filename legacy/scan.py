"""Find the rows of a snapshot that need care, a chunk of rows at a time.

Conditions in SQL decide for most columns; what SQLite cannot judge (UTF-8, NUL, phone numbers, the order of
turns) is judged here over whole chunks. Everything that a condition does not plainly accept is converted row by
row, so a condition may be too strict but never too loose.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC
from typing import NamedTuple

from legacy.ahead import ReadAhead
from legacy.cells import FIRST_YEAR, LAST_YEAR
from legacy.layout import OLD, SourceTable, quoted
from legacy.phones import is_plain
from legacy.tables import TURNS, Column, Kind, Table
from legacy.turns import TurnOrder
from legacy.workspace import Workspace
from meetings.models import MAX_MINUTES

FEWEST_ROWS, MOST_ROWS = 16, 2000
CHUNK_BYTES = 1 << 20
SCANNED_AHEAD = 200  # chunks, of which only ids are kept
ONE_BY_ONE = ("partners", "settings")  # small tables whose every row has something to decide
Bounds = list[tuple[int, int]]

LOWEST_ID, HIGHEST_ID = -(2**63), 2**63 - 1
SIX_DIGITS = ".[0-9][0-9][0-9][0-9][0-9][0-9]"


class Judged(NamedTuple):
    """What SQL says of a chunk."""

    rows: int
    dirty: bytes | None
    texts: list[bytes | None]
    order: list[bytes]  # of turns: calls and times


class Scanned(NamedTuple):
    """A range of ids, its number of rows, and the ids of those that need care."""

    low: int
    high: int
    rows: int
    dirty: set[int]


def is_streamed(source: SourceTable) -> bool:
    """Tell whether rows of a table are read as they are unless they need care."""
    return source.regular and source.name not in ONE_BY_ONE


class Scans:
    """Looks through tables; SQLite judges all large ones at the same time, each in a thread, from the start on."""

    def __init__(self, workspace: Workspace, tables: list[Table]) -> None:
        self.workspace, self.tables = workspace, tables
        self.sources = {table.name: workspace.layout.tables.get(table.name) for table in tables}

    def __enter__(self) -> Scans:
        with ExitStack() as stack:
            self.scans = {
                table.name: stack.enter_context(_Scan(self.workspace, table, source))
                for table in self.tables
                if (source := self.sources[table.name]) is not None and is_streamed(source)
            }
            self.stack = stack.pop_all()
        return self

    def __exit__(self, *exception: object) -> None:
        self.stack.close()

    def convert(self, progress: Callable[[int], None]) -> dict[str, Bounds]:
        """Convert the rows that need care; return the id ranges in which large tables can be read in chunks."""
        bounds: dict[str, Bounds] = {}
        for table in self.tables:
            source = self.sources[table.name]
            if table.name in self.scans:
                bounds[table.name] = self.scans[table.name].run(progress)
            elif source is not None:
                _convert_all(self.workspace, table, source, progress)
        return bounds


def _convert_all(
    workspace: Workspace, table: Table, source: SourceTable, progress: Callable[[int], None]
) -> None:
    for row in workspace.source_rows(source):
        workspace.fix(table, row)
        progress(1)


class _Scan:
    """Looks through one table, from when the context is entered."""

    def __init__(self, workspace: Workspace, table: Table, source: SourceTable) -> None:
        self.workspace, self.table, self.source = workspace, table, source
        self.connection = workspace.connect(scratch=False)
        self.connection.text_factory = bytes
        self.texts = [
            c for c in table.columns if c.kind in (Kind.TEXT, Kind.PHONE) and c.name in source.columns
        ]
        self.order = TurnOrder(workspace) if table is TURNS else None
        self.sql = self._sql()

    def __enter__(self) -> _Scan:
        self.ahead = ReadAhead(self._chunks(), SCANNED_AHEAD)
        return self

    def __exit__(self, *exception: object) -> None:
        self.ahead.__exit__(*exception)
        self.connection.close()

    def run(self, progress: Callable[[int], None]) -> Bounds:
        bounds: Bounds = []
        for low, high, rows, dirty in self.ahead:
            bounds.append((low, high))
            self.workspace.adopt(self.table, dirty)
            progress(rows)
        if self.order is not None:
            self.order.fix_odd_calls(self.source)
            self.order.store_calls()
        return bounds

    def _chunks(self) -> Iterator[Scanned]:
        """Yield chunks of about CHUNK_BYTES of text, so that memory stays flat for long rows too."""
        low, limit = LOWEST_ID, FEWEST_ROWS
        while low <= HIGHEST_ID:
            high = self._last_id(low, limit)
            if high is None:
                return
            judged = self._judge(low, high)
            if self.order is not None:
                self.order.look_at(*judged.order)
            yield Scanned(low, high, judged.rows, self._dirty(low, high, judged))
            size = sum(len(text or b"") for text in judged.texts) + 1
            limit = max(FEWEST_ROWS, min(limit * 4, MOST_ROWS, judged.rows * CHUNK_BYTES // size))
            low = high + 1

    def _last_id(self, low: int, limit: int) -> int | None:
        found = self.connection.execute(
            f"SELECT max(id) FROM (SELECT id FROM {self._from} WHERE id >= ? ORDER BY id LIMIT ?)",
            (low, limit),
        ).fetchone()
        return found[0]

    @property
    def _from(self) -> str:
        return f"{OLD}.{quoted(self.source.name)} NOT INDEXED"

    def _sql(self) -> str:
        clean = " AND ".join(f"({each})" for each in self._conditions()) or "1"
        texts = "".join(f", group_concat({quoted(column.name)}, ' ')" for column in self.texts)
        dirty = f"group_concat(CASE WHEN {clean} THEN NULL ELSE id END)"
        order = f", {TurnOrder.COLUMNS}" if self.order else ""
        return f"SELECT count(*), {dirty}{texts}{order} FROM {self._from} WHERE id BETWEEN ? AND ?"

    def _conditions(self) -> Iterator[str]:
        for column in self.table.columns:
            if column.name in self.source.columns and column.kind in CONDITIONS:
                name = quoted(column.name)
                condition = CONDITIONS[column.kind](name, column)
                yield condition if column.required else f"{name} IS NULL OR {condition}"
        if "ended_at" in self.source.columns:
            yield "ended_at IS NULL OR ended_at >= started_at"
        if self.workspace.context.zone is not UTC:
            yield "0"  # every time has to be converted
        for name in self.source.unknown_columns:
            yield f"{quoted(name)} IS NULL"

    def _judge(self, low: int, high: int) -> Judged:
        rows, dirty, *rest = self.connection.execute(self.sql, (low, high)).fetchone()
        return Judged(rows, dirty, rest[: len(self.texts)], rest[len(self.texts) :])

    def _dirty(self, low: int, high: int, judged: Judged) -> set[int]:
        dirty = set(map(int, judged.dirty.split(b","))) if judged.dirty else set()
        if not all(_is_good_text(text) for text in judged.texts):
            dirty |= self._rows_of_bad_text(low, high)
        if self.table.name == "leads":
            dirty |= self._rows_of_odd_phones(low, high)
        return dirty

    def _rows_of_bad_text(self, low: int, high: int) -> set[int]:
        names = ", ".join(quoted(column.name) for column in self.texts)
        rows = self.connection.execute(
            f"SELECT id, {names} FROM {self._from} WHERE id BETWEEN ? AND ?", (low, high)
        )
        return {
            row[0]
            for row in rows
            if not all(_is_good_text(cell) for cell in row[1:] if isinstance(cell, bytes))
        }

    def _rows_of_odd_phones(self, low: int, high: int) -> set[int]:
        rows = self.connection.execute(
            f"SELECT id, phone FROM {self._from} WHERE id BETWEEN ? AND ?", (low, high)
        )
        return {row[0] for row in rows if not is_plain(_decoded(row[1]))}


def _decoded(raw: object) -> str:
    return raw.decode("latin-1") if isinstance(raw, bytes) else ""


def _is_good_text(text: bytes | None) -> bool:
    if text is None:
        return True
    if b"\0" in text:
        return False
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return True


def _is_choice(name: str, column: Column) -> str:
    values = ", ".join(f"'{choice.upper()}'" for choice in column.choices)
    return f"{name} IN ({values})"  # text only: no blob equals any of them


def _is_plain_time(name: str, column: Column) -> str:
    """Accept what `legacy.convert.spell_moment` writes, which is text only: no blob equals what `datetime` returns.

    `+` takes a column's affinity away: one declared DATETIME would have '1990' compared as a number. '+0 days'
    makes SQLite work out the date: without it `datetime` takes 30 February as it stands. A blob has its length
    in bytes, where text seems to end at a NUL.
    """
    second = f"substr({name}, 1, 19)"
    digits = f"substr({name}, 20) GLOB '{SIX_DIGITS}'"
    long = f"{digits} AND datetime({second}, '+0 days') = {second}"
    short = f"datetime({name}, '+0 days') = +{name}"
    is_long = f"length(CAST({name} AS BLOB)) = 26"
    if column.name == "scheduled_time":
        plain = f"{is_long} AND {long}"
    elif column.name in ("started_at", "ended_at"):  # mostly set by Python
        plain = f"CASE WHEN {is_long} THEN {long} AND substr({name}, 20) <> '.000000' ELSE {short} END"
    else:
        plain = f"CASE WHEN {short} THEN 1 ELSE {is_long} AND {long} AND substr({name}, 20) <> '.000000' END"
    return f"+{name} >= '{FIRST_YEAR}' AND +{name} < '{LAST_YEAR + 1}' AND {plain}"


def _is_plain_real(name: str, column: Column) -> str:
    # SQLite prints 15 digits; a number that needs more is converted in Python.
    return f"typeof({name}) = 'real' AND {name} >= 0 AND CAST(CAST({name} AS TEXT) AS REAL) = {name}"


CONDITIONS: dict[Kind, Callable[[str, Column], str]] = {
    Kind.REFERENCE: lambda name, column: f"typeof({name}) = 'integer'",
    Kind.TEXT: lambda name, column: f"typeof({name}) = 'text'",
    Kind.PHONE: lambda name, column: f"typeof({name}) = 'text'",
    Kind.CHOICE: _is_choice,
    Kind.TIME: _is_plain_time,
    Kind.REAL: _is_plain_real,
    Kind.INTEGER: lambda name, column: f"typeof({name}) = 'integer' AND {name} BETWEEN 0 AND {MAX_MINUTES}",
}
