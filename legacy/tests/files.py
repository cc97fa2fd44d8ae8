"""What tests read from SQLite files."""

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from legacy.layout import quoted
from legacy.values import read_text

Rows = dict[int, dict[str, tuple[str, Any]]]


def opened(path: Path) -> closing[sqlite3.Connection]:
    file = sqlite3.connect(path)
    file.text_factory = read_text
    return closing(file)


def rows(path: Path, table: str) -> Rows:
    """Return the rows of a file by id, each cell with SQLite's name of its type."""
    with opened(path) as file:
        names = [column[1].lower() for column in file.execute(f'PRAGMA table_info("{table}")')]
        cells = ", ".join(f"typeof({quoted(name)}), {quoted(name)}" for name in names)
        found = file.execute(f'SELECT {cells} FROM "{table}" NOT INDEXED').fetchall()
    pairs = [dict(zip(names, zip(row[::2], row[1::2], strict=True), strict=True)) for row in found]
    return {row["id"][1]: row for row in pairs}
