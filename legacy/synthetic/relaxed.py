"""The hand-made form of the old tables, which holds what the application's own constraints refuse."""

import sqlite3

from legacy.schema import COLUMNS, Piece, columns, indexes, tables

# Columns copied without a type keep each value as it was written: numbers stay text, text columns hold
# numbers. A declared type would convert both.
UNTYPED = {
    "partners": {"rate_limit"},
    "settings": {"value"},
    "leads": {"country_code"},
    "calls": {"duration", "language"},
    "meetings": {"duration", "guest_email"},
}


def create_relaxed_schema(connection: sqlite3.Connection, revision: int) -> None:
    """Create the tables without NOT NULL, UNIQUE, foreign keys and unique indexes, later columns last."""
    for table in tables(revision):
        listed = ", ".join(_definition(table, piece) for piece in _as_altered(table, revision))
        connection.execute(f"CREATE TABLE {table} ({listed})")
    for index in indexes(revision):
        if not index.unique:
            connection.execute(index.sql)


def _as_altered(table: str, revision: int) -> list[Piece]:
    # ALTER TABLE puts a new column last, whatever its place in the application's own declaration.
    original = COLUMNS[1].get(table, COLUMNS[revision][table])
    return sorted(columns(table, revision), key=lambda piece: piece.column not in original)


def _definition(table: str, piece: Piece) -> str:
    if piece.column == "id":
        return "id INTEGER PRIMARY KEY"
    if piece.column in UNTYPED.get(table, ()):
        return f'"{piece.column}"'
    return piece.sql.replace(" NOT NULL", "")
