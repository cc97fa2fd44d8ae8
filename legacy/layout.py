"""What a legacy file holds: a file is known by its columns alone."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field

from legacy.errors import UnusableSource
from legacy.tables import BACKUP_TABLE, BY_NAME, TABLES, Table

OLD = "old"  # the schema name under which the snapshot is attached


@dataclass(frozen=True)
class SourceTable:
    """One table of the file.

    A regular one has all columns of its mapping and an id that SQLite itself guarantees to be a unique integer;
    rows of any other table are converted one by one.
    """

    name: str
    columns: tuple[str, ...]
    rows: int
    has_rowid: bool
    regular: bool

    @property
    def unknown_columns(self) -> tuple[str, ...]:
        known = BY_NAME["calls" if self.name == BACKUP_TABLE else self.name].source_columns
        return tuple(column for column in self.columns if column not in known)


@dataclass(frozen=True)
class Layout:
    tables: dict[str, SourceTable] = field(default_factory=dict)
    unknown_tables: dict[str, int] = field(default_factory=dict)


def quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def inspect(connection: sqlite3.Connection) -> Layout:
    """Describe the attached snapshot; raise UnusableSource when it has none of the six tables."""
    names = connection.execute(f"SELECT name FROM {OLD}.sqlite_master WHERE type = 'table'").fetchall()
    known: dict[str, SourceTable] = {}
    unknown: dict[str, int] = {}
    for (name,) in names:
        lowered = name.lower()
        if lowered in BY_NAME or lowered == BACKUP_TABLE:
            known[lowered] = _describe(connection, name)
        else:
            unknown[name] = _count(connection, name)
    if not any(table.name in known for table in TABLES):
        raise UnusableSource(f"The file has none of the tables {', '.join(t.name for t in TABLES)}.")
    return Layout(known, unknown)


def _describe(connection: sqlite3.Connection, name: str) -> SourceTable:
    info = connection.execute(f"PRAGMA {OLD}.table_info({quoted(name)})").fetchall()
    columns = tuple(row[1].lower() for row in info)
    keys = [(row[1].lower(), row[2].upper()) for row in info if row[5]]
    has_rowid = _has_rowid(connection, name)
    table = BY_NAME.get(name.lower())
    return SourceTable(
        name=name.lower(),
        columns=columns,
        rows=_count(connection, name),
        has_rowid=has_rowid,
        regular=has_rowid and keys == [("id", "INTEGER")] and table is not None and _complete(table, columns),
    )


def _complete(table: Table, columns: tuple[str, ...]) -> bool:
    required = {
        column.name for column in table.columns if column.required and column.name in table.source_columns
    }
    return required <= set(columns)


def _has_rowid(connection: sqlite3.Connection, name: str) -> bool:
    try:
        connection.execute(f"SELECT rowid FROM {OLD}.{quoted(name)} LIMIT 0")
    except sqlite3.OperationalError:
        return False
    return True


def _count(connection: sqlite3.Connection, name: str) -> int:
    # NOT INDEXED: the table itself is what is moved, and a damaged index may count otherwise.
    return int(connection.execute(f"SELECT count(*) FROM {OLD}.{quoted(name)} NOT INDEXED").fetchone()[0])
