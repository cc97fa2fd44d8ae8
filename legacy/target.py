"""PostgreSQL's side of the move: reading tables in the form of `mapped.Chunk`, and digests of rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import psycopg

from legacy.mapped import NULL, SEPARATOR, Chunk
from legacy.tables import TABLES, Column, Kind, Table

BUCKET_BITS = 10
ODD_ID = 10**15
LOCK_SECONDS = 60
IMPORT_LOCK = 7_012_025  # any number, as long as only imports take it
SESSION = (
    "SET LOCAL statement_timeout = 0",
    "SET LOCAL idle_in_transaction_session_timeout = 0",
    f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'",
    "SET LOCAL timezone = 'UTC'",
    "SET LOCAL datestyle = 'ISO'",
    "SET LOCAL maintenance_work_mem = '256MB'",
    "SET LOCAL work_mem = '64MB'",
    # The server notices within seconds that a killed import is gone, and lets go of its locks.
    "SET LOCAL client_connection_check_interval = '2s'",
)
Connection = psycopg.Connection[Any]


def prepare_session(connection: Connection) -> None:
    """Set up the transaction of an import or a verification."""
    for statement in SESSION:
        connection.execute(statement)


def text_of(table: Table, column: Column) -> str:
    """Return the SQL of a cell as text, spelled as in `mapped.Chunk`."""
    expression = table.expression(column.name)
    if column.kind is Kind.TIME:
        return f"({expression} AT TIME ZONE 'UTC')::text"
    return f"{expression}::text"


def digest_sql(table: Table, alias: str | None = None) -> str:
    """Return the SQL of a row's digest over `table.from_clause`, or over a copy of the columns named `alias`."""
    cells = ", ".join(
        f"{f'{alias}.{_quoted(column.name)}' if alias else table.expression(column.name)}::{column.type}"
        for column in table.columns
    )
    return f"hash_record_extended(ROW({cells}), 0)"


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def count(connection: Connection, table: Table) -> int:
    return int(_value(connection, f'SELECT count(*) FROM "{table.name}"'))


def is_empty(connection: Connection, tables: Iterable[Table]) -> bool:
    """Tell whether none of the tables, nor what earlier imports remember, has a row."""
    names = [*(table.name for table in tables), "import_row_digests"]
    return not any(_value(connection, f'SELECT EXISTS (SELECT 1 FROM "{name}")') for name in names)


def edges(connection: Connection, table: Table, every: int) -> list[int]:
    """Return every so-many-th id, so that a table can be read in chunks."""
    rows = connection.execute(
        f"SELECT id FROM (SELECT id, row_number() OVER (ORDER BY id) AS place FROM {_quoted(table.name)}) numbered"
        f" WHERE place % {every} = 0 ORDER BY id"
    )
    return [row[0] for row in rows]


class Reader:
    """Reads chunks of one table."""

    def __init__(self, connection: Connection, table: Table, columns: tuple[Column, ...]) -> None:
        self.cursor = psycopg.Cursor(connection)
        self.names = [column.name for column in columns]
        texts = ", ".join(f"{text_of(table, c)} AS {_quoted(c.name)}" for c in columns)
        joined = ", ".join(
            f"convert_to(string_agg({_never_null(column)}, '{SEPARATOR.decode()}'), 'UTF8')"
            for column in columns
        )
        self.query = (
            f"SELECT {joined} FROM (SELECT {texts} FROM {table.from_clause}"
            " WHERE t.id BETWEEN %s AND %s ORDER BY t.id) chunk"
        )

    def read(self, low: int, high: int) -> Chunk:
        """Return the rows with ids from low to high, both included, in the order of their ids."""
        found = self.cursor.execute(self.query, (low, high), prepare=True, binary=True).fetchone() or ()
        split = [cells.split(SEPARATOR) if cells is not None else [] for cells in found]
        return Chunk(low, high, dict(zip(self.names, split, strict=True)))


def _never_null(column: Column) -> str:
    name = _quoted(column.name)
    return name if column.required else f"coalesce({name}, '{NULL.decode()}')"


def store_digests(connection: Connection, table: Table) -> None:
    """Remember a digest of every row of a table that was just filled."""
    connection.execute(
        f"""
        INSERT INTO import_row_digests (table_name, bucket, row_ids, digests)
        SELECT %s, bucket, array_agg(id), array_agg(digest)
        FROM (
            SELECT t.id >> {BUCKET_BITS} AS bucket, t.id, {digest_sql(table)} AS digest
            FROM {table.from_clause} ORDER BY t.id
        ) digested
        GROUP BY bucket
        """,
        (table.name,),
    )


def raise_sequences(connection: Connection, tables: Iterable[Table] = TABLES) -> None:
    """Let the identity of each table go on above its highest id; never lower it.

    Ids of rejected rows count too, so that a corrected row can come in under its own; odd ones would use up
    the sequence.
    """
    for table in tables:
        sequence = _value(connection, f"SELECT pg_get_serial_sequence('{table.name}', 'id')")
        last = _value(connection, f"SELECT pg_sequence_last_value('{sequence}'::regclass)") or 0
        rejected = (
            "SELECT max(row_id) FROM import_row_notes"
            f" WHERE table_name = '{table.name}' AND kind = 'rejected' AND row_id < {ODD_ID}"
        )
        stored = f'SELECT max(id) FROM "{table.name}"'
        high = max(_value(connection, stored) or 0, _value(connection, rejected) or 0)
        if high > last:
            connection.execute("SELECT setval(%s::regclass, %s)", (sequence, high))


def _value(connection: Connection, query: str) -> Any:
    row = connection.execute(query).fetchone()
    return row[0] if row else None
