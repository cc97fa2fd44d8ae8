"""Fills empty tables: one COPY a table, straight into place."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from psycopg import sql

from database.bulk.copying import copy_blocks
from legacy.ahead import read_ahead
from legacy.mapped import NULL, Chunk, MappedTable
from legacy.rebuild import bare_tables, may_rebuild
from legacy.tables import IMPORTED_HOST, MEETINGS, PARTNERS, Table
from legacy.target import Connection

KEY_COLUMNS = ("partner_id", "prefix", "digest", "is_legacy")


def fill(
    connection: Connection, mapped: list[MappedTable], progress: Callable[[str, int], None]
) -> dict[str, int]:
    """Load tables that are empty; return the number of rows that went into each."""
    tables = [each.table for each in mapped]
    host = host_id(connection)
    if not may_rebuild(connection, tables):
        return {each.table.name: _copy(connection, each, host, progress) for each in mapped}
    with bare_tables(connection, tables):
        return {each.table.name: _copy(connection, each, host, progress, freeze=True) for each in mapped}


def host_id(connection: Connection) -> int:
    """Return the id of the host of all imported meetings, making it when it is not there."""
    connection.execute(
        "INSERT INTO meeting_hosts (name) VALUES (%s) ON CONFLICT DO NOTHING", (IMPORTED_HOST,)
    )
    row = connection.execute("SELECT id FROM meeting_hosts WHERE name = %s", (IMPORTED_HOST,)).fetchone()
    return int(row[0]) if row else 0


def stored_columns(table: Table) -> tuple[str, ...]:
    """Return the columns of a chunk that PostgreSQL's table has under the same name."""
    return tuple(name for name in table.column_names if name not in table.expressions)


def _copy(
    connection: Connection,
    mapped: MappedTable,
    host: int,
    progress: Callable[[str, int], None],
    *,
    freeze: bool = False,
) -> int:
    table, keys = mapped.table, list[bytes]()
    columns = stored_columns(table)
    constant = b"\t%d" % host if table is MEETINGS else b""

    def blocks() -> Iterator[bytes]:
        for chunk in read_ahead(mapped.chunks()):
            text = chunk.copy_text(columns)
            yield text.replace(b"\n", constant + b"\n") if constant else text
            keys.extend(key_rows(chunk) if table is PARTNERS else [])
            progress(table.name, len(chunk))

    names = (*columns, "host_id") if constant else columns
    rows = copy_blocks(connection.cursor(), sql.Identifier(table.name), names, blocks(), freeze=freeze)
    if keys:
        copy_keys(connection, keys)
    return rows


def key_rows(chunk: Chunk) -> Iterator[bytes]:
    """Yield the lines of COPY for the API keys of a chunk of partners."""
    cells = (chunk.columns[name] for name in ("id", "key_prefix", "key_digest"))
    for partner, prefix, digest in zip(*cells, strict=True):
        if digest != NULL:
            yield b"\t".join((partner, prefix.replace(b"\\", b"\\\\"), digest, b"true")) + b"\n"


def copy_keys(connection: Connection, rows: Iterable[bytes]) -> None:
    copy_blocks(connection.cursor(), sql.Identifier("partner_api_keys"), KEY_COLUMNS, rows)
