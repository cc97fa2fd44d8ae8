"""Random legacy files for hypothesis: any table or column missing, any value in any cell, any layout."""

from __future__ import annotations

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, NamedTuple

from hypothesis import strategies as st

from legacy.tables import BACKUP_TABLE, BY_NAME, Column, Kind
from legacy.tests.handmade import BARE, KEYED, LAYOUTS, RawText, Row, create_table, insert

TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
ANYTHING = st.one_of(
    st.none(),
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-2, 12),
    st.floats(allow_nan=False),
    TEXTS,
    st.binary(max_size=6),
    st.binary(max_size=6).map(RawText),
)
WRITTEN_TIMES = st.from_regex(
    r"(19[89][0-9]|20[0-9][0-9]|210[01])-(0[1-9]|1[0-3])-(0[1-9]|[12][0-9]|3[0-2])"
    r"[ T](0[0-9]|1[0-9]|2[0-4]):[0-6][0-9]:[0-6][0-9](\.[0-9]{1,7}|\.000000|\.[0-9]{6})?(Z|\+02:00)?",
    fullmatch=True,
)
PLAIN_TIMES = st.datetimes().map(lambda time: time.replace(year=2025, day=min(time.day, 28)))
TIMES = st.one_of(
    PLAIN_TIMES.map(lambda time: time.isoformat(" ", "seconds")),
    PLAIN_TIMES.map(lambda time: time.isoformat(" ", "microseconds")),
    st.sampled_from([f"2025-11-02 12:00:{second:02}" for second in range(4)]),
    st.sampled_from([f"2025-11-02 12:00:0{second}.000000" for second in range(4)]),
    WRITTEN_TIMES,
    st.integers(1_700_000_000, 1_700_000_100),
    st.integers(1_700_000_000_000, 1_700_000_100_000).flatmap(
        lambda each: st.sampled_from([each, str(each)])
    ),
)
PHONES = st.one_of(
    st.integers(100, 106).map(lambda each: f"+14155550{each}"),
    st.sampled_from(
        ["044 668 18 00", "+41 44 668 18 00", "+41446681800", "0041446681800", " junk", "+999123"]
    ),
    st.from_regex(r"\+[0-9]{7,15}", fullmatch=True),
)
REALS = st.one_of(st.floats(0, 1e6), st.integers(0, 600), st.integers(0, 600).map(str), st.just(-0.0))


WORDS = st.sampled_from(["a", "b", "A", "\N{PILE OF POO}", "tab\tand\nline", "\\N", ""])
SECONDS = [f"2025-11-02 12:00:{second:02}" for second in range(4)]
SPANS = {"ended_at": "2025-11-02 12:30:00", "started_at": "2025-11-02 11:59:59.999999"}
MOST_ODD_CELLS = 20


class AnyTable(NamedTuple):
    name: str
    layout: str
    rows: list[Row]


def plain(column: Column) -> st.SearchStrategy[Any]:
    """Return what a column holds that the old application wrote."""
    if column.name in SPANS:
        return st.just(SPANS[column.name])
    by_python = [f"{second}.000000" for second in SECONDS]
    return {
        Kind.ID: st.integers(1, 12),
        Kind.REFERENCE: st.integers(1, 4),
        Kind.TEXT: WORDS,
        Kind.PHONE: st.integers(100, 106).map(lambda each: f"+14155550{each}"),
        Kind.CHOICE: st.sampled_from([each.upper() for each in column.choices] or [""]),
        Kind.TIME: st.sampled_from(by_python if column.name == "scheduled_time" else SECONDS),
        Kind.REAL: st.one_of(st.floats(0, 1e6), st.integers(0, 600)),
        Kind.INTEGER: st.integers(0, 90),
        Kind.FLAG: st.integers(0, 1),
    }[column.kind]


def odd(column: Column) -> st.SearchStrategy[Any]:
    """Return what a column may hold, near what it should or far from it."""
    near: dict[Kind, st.SearchStrategy[Any]] = {
        Kind.PHONE: PHONES,
        Kind.CHOICE: st.sampled_from([*column.choices, *(f" {each}" for each in column.choices)] or [""]),
        Kind.TIME: TIMES,
        Kind.REAL: REALS,
        Kind.FLAG: st.sampled_from(["true", "f", 1.0]),
    }
    return st.one_of(st.none(), near.get(column.kind, TEXTS), near.get(column.kind, TEXTS), ANYTHING)


@st.composite
def tables(draw: st.DrawFn, name: str, layouts: tuple[str, ...] = LAYOUTS) -> AnyTable:
    table = BY_NAME["calls" if name == BACKUP_TABLE else name]
    columns = {column.name: column for column in table.columns if column.kind is not Kind.ADDED}
    if "api_key" in table.source_columns:
        columns["api_key"] = Column("api_key", Kind.TEXT)
    if draw(st.integers(0, 3)) == 0:
        for missing in draw(st.lists(st.sampled_from(sorted(columns)), max_size=3)):
            columns.pop(missing, None)
        columns["extra"] = Column("extra", Kind.TEXT)
    layout = draw(st.sampled_from(layouts))
    if "id" not in columns and layout != BARE:
        layout = KEYED
    if not columns:
        return AnyTable(name, layout, [])
    order = draw(st.permutations(sorted(columns)))
    usual = st.fixed_dictionaries({each: plain(columns[each]) for each in order})
    rows = draw(st.lists(usual, max_size=7, unique_by=lambda row: row.get("id")))
    if rows:
        for _ in range(draw(st.integers(0, MOST_ODD_CELLS))):
            changed = draw(st.sampled_from(order))
            draw(st.sampled_from(rows))[changed] = draw(odd(columns[changed]))
    return AnyTable(name, layout, rows)


@st.composite
def files(draw: st.DrawFn) -> list[AnyTable]:
    names = draw(st.sets(st.sampled_from(sorted(BY_NAME)), min_size=1))
    if draw(st.booleans()):
        names = set(BY_NAME)
    backup = [BACKUP_TABLE] if draw(st.integers(0, 3)) == 0 else []
    return [draw(tables(name)) for name in (*sorted(names), *backup)]


def write_file(path: Path, content: list[AnyTable]) -> Path:
    """Write the file, without the rows that SQLite itself refuses."""
    with closing(sqlite3.connect(path)) as file, file:
        for name, layout, rows in content:
            create_table(file, name, list(rows[0]) if rows else [], layout)
            for row in rows:
                with suppress(sqlite3.Error):
                    insert(file, name, [row])
    return path
