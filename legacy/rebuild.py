"""Takes the indexes and foreign keys off tables that are being filled, and puts them back.

Rows that come into a bare table, whose indexes are then built in one go, cost a third of rows that go into each
index one by one. PostgreSQL does both inside the transaction of the import, so nobody ever sees a bare table.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple

from legacy.tables import Table
from legacy.target import Connection

OWNED = """
SELECT bool_and(pg_has_role(relowner, 'USAGE')) FROM pg_class WHERE oid = ANY(%(tables)s::regclass[])
"""
FOREIGN_KEYS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype = 'f' AND (conrelid = ANY(%(tables)s::regclass[]) OR confrelid = ANY(%(tables)s::regclass[]))
"""
KEYS = """
SELECT conrelid::regclass::text, quote_ident(conname), pg_get_constraintdef(oid) FROM pg_constraint
WHERE contype IN ('p', 'u', 'x') AND conrelid = ANY(%(tables)s::regclass[])
"""
INDEXES = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(%(tables)s::regclass[])
AND NOT EXISTS (SELECT 1 FROM pg_constraint WHERE conindid = indexrelid AND contype IN ('p', 'u', 'x'))
"""


class Constraint(NamedTuple):
    table: str
    name: str
    definition: str

    @property
    def drop(self) -> str:
        return f"ALTER TABLE {self.table} DROP CONSTRAINT {self.name}"

    @property
    def add(self) -> str:
        return f"ALTER TABLE {self.table} ADD CONSTRAINT {self.name} {self.definition}"


def may_rebuild(connection: Connection, tables: list[Table]) -> bool:
    """Tell whether the current role owns the tables, as dropping an index asks for."""
    row = connection.execute(OWNED, {"tables": _names(tables)}).fetchone()
    return bool(row and row[0])


@contextmanager
def bare_tables(connection: Connection, tables: list[Table]) -> Iterator[None]:
    """Empty the tables and take off their indexes and foreign keys until the block ends."""
    names = {"tables": _names(tables)}
    foreign_keys = [Constraint(*row) for row in connection.execute(FOREIGN_KEYS, names)]
    keys = [Constraint(*row) for row in connection.execute(KEYS, names)]
    indexes = connection.execute(INDEXES, names).fetchall()
    for constraint in (*foreign_keys, *keys):
        connection.execute(constraint.drop.encode())
    for name, _ in indexes:
        connection.execute(f"DROP INDEX {name}".encode())
    # A table truncated in this transaction takes frozen rows, and without WAL where wal_level is minimal.
    connection.execute(f"TRUNCATE {', '.join(_names(tables))}".encode())
    yield
    for constraint in keys:
        connection.execute(constraint.add.encode())
    for _, definition in indexes:
        connection.execute(definition.encode())
    for name in names["tables"]:
        connection.execute(f"ANALYZE {name}".encode())
    for constraint in foreign_keys:
        connection.execute(constraint.add.encode())


def _names(tables: list[Table]) -> list[str]:
    names = [f'"{table.name}"' for table in tables]
    return [*names, '"partner_api_keys"'] if any(table.name == "partners" for table in tables) else names
