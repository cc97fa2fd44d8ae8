"""What a legacy file holds: a file is known by its columns alone."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any

from legacy.errors import UnusableSource
from legacy.tables import BACKUP_TABLE, BY_NAME, TABLES, Table

OLD = "old"  # the schema name under which the snapshot is attached


@dataclass(frozen=True)
class SourceTable:
    """One table of the file.

    A regular one has all required columns, an id that SQLite itself guarantees to be a unique integer, and
    texts that compare byte by byte; rows of any other table are converted one by one.
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
            unknown[name] = _count_unknown(connection, name)
    if not any(table.name in known for table in TABLES):
        raise UnusableSource(f"The file has none of the tables {', '.join(t.name for t in TABLES)}.")
    return Layout(known, unknown)


def _describe(connection: sqlite3.Connection, name: str) -> SourceTable:
    # Unlike table_info, this names generated columns too; hidden ones are 1.
    info = connection.execute(f"PRAGMA {OLD}.table_xinfo({quoted(name)})").fetchall()
    columns = tuple(row[1].lower() for row in info if row[6] != 1)
    has_rowid = _has_rowid(connection, name)
    table = BY_NAME.get(name.lower())
    complete = table is not None and _complete(table, columns)
    return SourceTable(
        name=name.lower(),
        columns=columns,
        rows=_count(connection, name),
        has_rowid=has_rowid,
        regular=complete and _id_is_rowid(connection, name, info) and not _has_collations(connection, name),
    )


def _id_is_rowid(connection: sqlite3.Connection, name: str, info: list[tuple[Any, ...]]) -> bool:
    """Tell whether the id is SQLite's own number of the row; a key with its own index holds anything."""
    keys = [(row[1].lower(), row[2].upper()) for row in info if row[5]]
    indexes = connection.execute(f"PRAGMA {OLD}.index_list({quoted(name)})").fetchall()
    return keys == [("id", "INTEGER")] and not any(row[3] == "pk" for row in indexes)


def _has_collations(connection: sqlite3.Connection, name: str) -> bool:
    query = f"SELECT sql FROM {OLD}.sqlite_master WHERE type = 'table' AND name = ?"
    return "collate" in str(connection.execute(query, (name,)).fetchone()[0]).lower()


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


def _count_unknown(connection: sqlite3.Connection, name: str) -> int:
    try:
        return _count(connection, name)
    except sqlite3.OperationalError as error:
        if "no such module" in str(error):
            return 0  # of an extension that is not here; the rows stand in tables of their own
        raise


def _count(connection: sqlite3.Connection, name: str) -> int:
    # NOT INDEXED: the table itself is what is moved, and a damaged index may count otherwise.
    return int(connection.execute(f"SELECT count(*) FROM {OLD}.{quoted(name)} NOT INDEXED").fetchone()[0])
