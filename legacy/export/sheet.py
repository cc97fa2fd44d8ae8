"""One table on its way into the old file."""

from __future__ import annotations

import json
import re
import sqlite3
from collections.abc import Callable, Iterator
from typing import Any

import psycopg

from legacy.convert import REPAIRED, SPELLING, spell_moment
from legacy.layout import quoted
from legacy.schema import COLUMNS, NEWEST, Index, Piece, columns, table_sql
from legacy.tables import BACKUP_TABLE, CALLS, PARTNERS, Kind, Table
from legacy.target import Connection, digest_sql
from legacy.values import Undecodable, from_json

REPORTED_ROWS = 1000
SQLITE_INTEGER = range(-(2**63), 2**63)

# A guessable placeholder would be a key that works: the old application compares keys as they stand.
API_KEY = """coalesce(
    k.digest,
    (SELECT p.digest FROM partner_api_keys p WHERE p.partner_id = t.id AND p.revoked_at IS NULL
     AND (p.expires_at IS NULL OR p.expires_at > now()) ORDER BY p.id LIMIT 1),
    'no-key-' || replace(gen_random_uuid()::text, '-', '')
)"""
COPY_TYPES = {
    Kind.ID: "int8",
    Kind.REFERENCE: "int8",
    Kind.INTEGER: "int8",
    Kind.FLAG: "int4",
    Kind.REAL: "float8",
}

# What a noted original is, as far as SQLite might store it as something else than it was.
FORM = r"""CASE jsonb_typeof(n.original)
    WHEN 'string' THEN
        CASE WHEN n.original #>> '{}' ~ '^\s*[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?\s*$'
        THEN 'number in text' ELSE 'text' END
    WHEN 'number' THEN CASE WHEN strpos(n.original::text, '.') > 0 THEN 'real' ELSE 'integer' END
    WHEN 'object' THEN CASE WHEN n.original ? 'real' THEN 'real' ELSE 'text' END
    ELSE 'null'
END"""
_NUMERIC = frozenset({"number in text", "real"})
_TEXT = frozenset({"integer", "real"})
ALTERED = {
    "INTEGER": _NUMERIC,
    "BOOLEAN": _NUMERIC,
    "DATETIME": _NUMERIC,
    "FLOAT": frozenset({"number in text", "integer"}),
    "VARCHAR": _TEXT,
    "TEXT": _TEXT,
}
EVENT_IDS = Index("uq_meetings_calendar_event_id", "meetings", "calendar_event_id", unique=True)


def latest_run(table: Table) -> str:
    """Return the SQL of the last run that read a table: it noted all it found, so older notes are stale."""
    sources = ", ".join(f"'{name}'" for name in (table.name, *((BACKUP_TABLE,) if table is CALLS else ())))
    return f"""(
        SELECT max(id) FROM import_runs
        WHERE coalesce(options -> 'tables' ? '{table.name}', true)
        AND coalesce(report #> '{{source,tables}}' ?| ARRAY[{sources}], true)
    )"""


def latest_notes(table: Table) -> str:
    """Return a subquery over the originals of a table, the newest note of each cell that is in PostgreSQL."""
    # An id is never written otherwise than PostgreSQL has it: all that points at the row would miss it.
    return f"""(
        SELECT DISTINCT ON (row_id, "column") row_id, "column", original
        FROM import_row_notes
        WHERE table_name = '{table.name}' AND kind IN ('{REPAIRED}', '{SPELLING}') AND "column" <> 'id'
        AND run_id = {latest_run(table)} AND row_id IN (SELECT id FROM {quoted(table.name)})
        ORDER BY row_id, "column", id DESC
    )"""


class Sheet:
    """One table of the file.

    `loosened` columns have lost a type or NOT NULL that an original in them defies; `added` ones were
    unknown to the old application, which ignores them, but not to the old file.
    """

    def __init__(self, postgres: Connection, table: Table) -> None:
        self.table, self.changed = table, 0
        forms = _noted_forms(postgres, table)
        self.pieces = {piece.column: piece for piece in columns(table.name, NEWEST)}
        self.names = COLUMNS[NEWEST][table.name]
        self.added = [name for name in forms if name not in self.pieces]
        self.loosened = {
            name: sql
            for name in forms
            if name in self.pieces and (sql := _loosened(self.pieces[name], forms[name]))
        }
        self.drops_constraint = table.name == EVENT_IDS.table and EVENT_IDS.column in forms
        self.places = {name: place for place, name in enumerate((*self.names, *self.added))}
        self.times = [
            (place, name)
            for name, place in self.places.items()
            if name in self.names and self._kind(name) is Kind.TIME
        ]
        self.undecoded: list[tuple[str, int]] = []

    def create(self, file: sqlite3.Connection) -> None:
        sql = table_sql(self.table.name, NEWEST)
        for name, loosened in self.loosened.items():
            sql = sql.replace(f"\t{self.pieces[name].sql}, \n", f"\t{loosened}, \n")
        if self.drops_constraint:
            sql = re.sub(rf", \n\tCONSTRAINT {EVENT_IDS.name} .*", "", sql)
        file.execute(sql)
        for name in self.added:
            file.execute(f"ALTER TABLE {quoted(self.table.name)} ADD COLUMN {quoted(name)}")

    def fill(self, postgres: Connection, file: sqlite3.Connection, progress: Callable[[int], None]) -> int:
        """Write all rows, one at a time because a single one may be large; return their number."""
        listed, marks = ", ".join(map(quoted, self.places)), ", ".join("?" * len(self.places))
        insert = f"INSERT INTO {quoted(self.table.name)} ({listed}) VALUES ({marks})"
        with psycopg.Cursor(postgres).copy(f"COPY ({self._query()}) TO STDOUT".encode()) as copy:
            copy.set_types([*map(self._copy_type, self.names), "text", "int4"])
            written = file.executemany(insert, self._rows(copy, progress)).rowcount
        # The driver writes bytes as a blob; what the old file had as text has to be text again.
        for name, row_id in self.undecoded:
            column = quoted(name)
            file.execute(
                f"UPDATE {quoted(self.table.name)} SET {column} = CAST({column} AS TEXT) WHERE id = ?",
                (row_id,),
            )
        return max(written, 0)

    def _query(self) -> str:
        cells = ", ".join(map(self._cell, self.names))
        return f"""
            SELECT {cells}, r.originals,
                CASE WHEN r.digest IS NOT NULL THEN ({digest_sql(self.table)} = r.digest)::int END
            FROM {self.table.from_clause} LEFT JOIN (
                SELECT n.row_id, min(d.digest) AS digest,
                    json_object_agg(n."column", n.original)::text AS originals
                FROM {latest_notes(self.table)} n LEFT JOIN (
                    SELECT unnest(row_ids) AS id, unnest(digests) AS digest
                    FROM import_row_digests WHERE table_name = '{self.table.name}'
                ) d ON d.id = n.row_id
                GROUP BY n.row_id
            ) r ON r.row_id = t.id
            ORDER BY t.id
        """

    def _cell(self, name: str) -> str:
        """Return the SQL of a cell as the old application wrote it, but for the spelling of times."""
        if name == "api_key":
            return API_KEY
        kind, cell = self._kind(name), self.table.expression(name)
        if kind is Kind.CHOICE:
            return f'upper({cell} COLLATE "C")'
        if kind is Kind.FLAG:
            return f"{cell}::int"
        return f"({cell} AT TIME ZONE 'UTC')::text" if kind is Kind.TIME else cell

    def _kind(self, name: str) -> Kind:
        return Kind.TEXT if name == "api_key" and self.table is PARTNERS else self.table.column(name).kind

    def _copy_type(self, name: str) -> str:
        return COPY_TYPES.get(self._kind(name), "text")

    def _rows(self, copy: psycopg.Copy, progress: Callable[[int], None]) -> Iterator[list[Any]]:
        times, empty, number = self.times, [None] * len(self.added), 0
        for number, (*cells, originals, unchanged) in enumerate(copy.rows(), 1):
            row = [*cells, *empty]
            for place, name in times:
                if row[place] is not None:
                    row[place] = spell_moment(name, row[place])
            if originals is not None:
                self._restore(row, json.loads(originals), bool(unchanged))
            yield row
            if not number % REPORTED_ROWS:
                progress(REPORTED_ROWS)
        progress(number % REPORTED_ROWS)

    def _restore(self, row: list[Any], originals: dict[str, Any], unchanged: bool) -> None:
        self.changed += not unchanged
        for name, original in originals.items():
            # Of an added column PostgreSQL has no value that could have been changed.
            if unchanged or name in self.added:
                value = row[self.places[name]] = _stored(from_json(original))
                if isinstance(value, Undecodable):
                    self.undecoded.append((name, row[0]))


def _noted_forms(postgres: Connection, table: Table) -> dict[str, set[str]]:
    """Return which forms of originals each column has."""
    found: dict[str, set[str]] = {}
    query = f'SELECT DISTINCT n."column", {FORM} FROM {latest_notes(table)} n ORDER BY 1'
    for name, form in postgres.execute(query.encode()):
        found.setdefault(name, set()).add(form)
    return found


def _loosened(piece: Piece, forms: set[str]) -> str | None:
    """Return the definition of a column that takes originals of these forms as they are, None if it does."""
    name, declared, *rest = piece.sql.split(" ")
    words = [name, declared, *rest]
    if ALTERED[declared.partition("(")[0]] & forms:
        words.remove(declared)
    sql = " ".join(words)
    if "null" in forms:
        sql = sql.removesuffix(" NOT NULL")
    return sql if sql != piece.sql else None


def _stored(value: Any) -> Any:
    """Return a value that the driver takes: JSON in PostgreSQL writes large numbers without an exponent."""
    return float(value) if isinstance(value, int) and value not in SQLITE_INTEGER else value
