"""Choose rows to spoil, each once, and write what the driver would refuse to write."""

import sqlite3
from collections.abc import Callable, Iterable, Sequence
from random import Random
from typing import Any

Maker = Callable[[Any], Any]
# Kinds per table times this share come to about two rows in a hundred.
SHARE = {"leads": 0.001, "calls": 0.0006, "meetings": 0.001, "conversation_history": 0.001}


def has(connection: sqlite3.Connection, table: str, column: str = "id") -> bool:
    """Tell whether the file's revision has the column."""
    return column in {row[1] for row in connection.execute(f"PRAGMA table_info({table})")}


def pick(
    connection: sqlite3.Connection, rng: Random, table: str, *, least: int = 1, where: str = "1"
) -> list[int]:
    """Give ids of rows no other kind has touched and claim them; fewer than `least` in very small files."""
    if not has(connection, table):
        return []
    _remember_spoiled(connection)
    total = connection.execute(f"SELECT coalesce(max(id), 0) FROM {table}").fetchone()[0]
    wanted = max(least, round(total * SHARE.get(table, 0)))
    untouched = f"""SELECT 1 FROM {table} WHERE id = ? AND ({where})
        AND NOT EXISTS (SELECT 1 FROM temp.spoiled s WHERE s.place = ? AND s.row = {table}.id)"""
    chosen: list[int] = []
    for row in rng.sample(range(1, total + 1), min(total, 40 * wanted + 2000)):
        if len(chosen) == wanted:
            break
        if connection.execute(untouched, (row, table)).fetchone():
            chosen.append(row)
    claim(connection, table, chosen)
    return chosen


def claim(connection: sqlite3.Connection, table: str, rows: Iterable[int]) -> None:
    """Keep the rows from being spoiled a second time, which would hide the first."""
    _remember_spoiled(connection)
    connection.executemany("INSERT OR IGNORE INTO temp.spoiled VALUES (?, ?)", ((table, row) for row in rows))


def change(
    connection: sqlite3.Connection,
    rng: Random,
    table: str,
    column: str,
    makers: Sequence[Maker],
    where: str = "1",
) -> None:
    """Replace the column in picked rows by what the makers, in turn, make of its value."""
    if not has(connection, table, column):
        return
    for number, row in enumerate(pick(connection, rng, table, least=len(makers), where=where)):
        old = connection.execute(f"SELECT {column} FROM {table} WHERE id = ?", (row,)).fetchone()[0]
        put(connection, table, row, column, makers[number % len(makers)](old))


def put(connection: sqlite3.Connection, table: str, row: int, column: str, value: object) -> None:
    """Set one cell; bytes become text of just these bytes, valid UTF-8 or not."""
    cell = "CAST(? AS TEXT)" if isinstance(value, bytes) else "?"
    connection.execute(f"UPDATE {table} SET {column} = {cell} WHERE id = ?", (value, row))


def add(connection: sqlite3.Connection, table: str, **values: object) -> int:
    """Insert a claimed row with the next id and return the id; columns the file lacks are left out."""
    kept = {column: value for column, value in values.items() if has(connection, table, column)}
    listed = ", ".join(f'"{column}"' for column in kept)
    marks = ", ".join("?" * len(kept))
    connection.execute(f"INSERT INTO {table} ({listed}) VALUES ({marks})", tuple(kept.values()))
    row = int(connection.execute("SELECT last_insert_rowid()").fetchone()[0])
    claim(connection, table, [row])
    return row


def cells(connection: sqlite3.Connection, table: str, row: int, *names: str) -> tuple[Any, ...]:
    """Read some cells of one row."""
    found = connection.execute(f"SELECT {', '.join(names)} FROM {table} WHERE id = ?", (row,)).fetchone()
    return tuple(found)


def always(value: object) -> Maker:
    """Make a maker that ignores the old value."""
    return lambda old: value


def _remember_spoiled(connection: sqlite3.Connection) -> None:
    connection.execute(
        "CREATE TEMP TABLE IF NOT EXISTS spoiled (place TEXT, row INTEGER, PRIMARY KEY (place, row))"
    )
