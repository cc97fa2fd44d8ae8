"""Scratch SQLite database beside the snapshot: the rows that need care, in their new form.

Rows that need no care are never copied here; they are read from the snapshot as they are. A row that is
repaired stands in `fixed_<table>`, a rejected one in neither; the ids of both stand in `touched_<table>`.
"""

from __future__ import annotations

import sqlite3
import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from functools import cached_property
from itertools import islice
from pathlib import Path
from typing import Any

from legacy.convert import (
    REJECTED,
    REPAIRED,
    SPELLING,
    Context,
    Converted,
    Note,
    Rejected,
    convert_row,
    hide_key,
)
from legacy.layout import OLD, Layout, SourceTable, inspect, quoted
from legacy.snapshot import open_copy
from legacy.tables import BY_NAME, TABLES, TURNS, Kind, Table
from legacy.values import dump, load_row, read_text

STORAGE = {Kind.ID: "INTEGER", Kind.REFERENCE: "INTEGER", Kind.REAL: "REAL", Kind.INTEGER: "INTEGER"}
INSERT_NOTE = "INSERT INTO notes VALUES (?, ?, ?, ?, ?, ?)"
BATCH = 500
SHOWN_AS = {"duplicate_of_id": "phone", "key_digest": "api_key"}  # the old column behind a new one


class Workspace:
    """The scratch database with the snapshot attached as `old`."""

    def __init__(self, folder: Path, snapshot: Path, context: Context) -> None:
        self.folder, self.snapshot, self.context = folder, snapshot, context
        self.file = folder / "work.db"
        self.encoding = _encoding_of(snapshot)
        self.connection = self.connect()
        self.layout: Layout = inspect(self.connection)
        self.skipped_backup_rows = 0
        self._create()

    def connect(self, scratch: bool = True) -> sqlite3.Connection:
        """Open a further connection; each thread needs its own.

        One without the scratch database can be used before `finish`, which others would have to wait for.
        """
        connection = sqlite3.connect(
            self.file if scratch else ":memory:", isolation_level=None, check_same_thread=False, uri=True
        )
        connection.text_factory = read_text
        connection.execute(f"PRAGMA encoding = '{self.encoding}'")  # else the snapshot could not be attached
        connection.execute("PRAGMA temp_store=file")  # memory stays flat however much has to be sorted
        connection.execute("PRAGMA cache_size=-16384")
        uri = self.snapshot.absolute().as_uri() + "?mode=ro&immutable=1"
        connection.execute(f"ATTACH ? AS {OLD}", (uri,))
        return connection

    def _create(self) -> None:
        self.connection.execute("PRAGMA journal_mode=off")
        self.connection.execute("PRAGMA synchronous=off")
        for table in TABLES:
            columns = ", ".join(_definition(table, name) for name in table.column_names)
            self.connection.execute(f"CREATE TABLE fixed_{table.name} ({columns}, source_row TEXT)")
            # For legacy.history: ids that PostgreSQL has and the file need not have, ids that were deleted
            # there, and unique values of rows that were made there.
            for prefix in ("touched", "known", "gone"):
                self.connection.execute(f"CREATE TABLE {prefix}_{table.name} (id INTEGER PRIMARY KEY)")
            self.connection.execute(f"CREATE TABLE native_{table.name} (id INTEGER PRIMARY KEY, value TEXT)")
        self.connection.execute("CREATE TABLE parents_of_conversation_history (id INTEGER PRIMARY KEY)")
        self.connection.execute("CREATE INDEX fixed_turns_by_call ON fixed_conversation_history (call_id)")
        self.connection.execute(
            "CREATE TABLE notes"
            " (table_name TEXT, row_id INTEGER, kind TEXT, column TEXT, original TEXT, reason TEXT)"
        )
        self.connection.execute("CREATE INDEX notes_by_row ON notes (table_name, row_id)")
        self.connection.execute("BEGIN")

    @cached_property
    def call_ids(self) -> tuple[int | None, int | None]:
        """The lowest and the highest call that a turn of the file names."""
        row = self.connection.execute(
            f"SELECT min(call_id), max(call_id) FROM {OLD}.{TURNS.name} NOT INDEXED WHERE typeof(call_id) = 'integer'"
        ).fetchone()
        return row[0], row[1]

    def finish(self) -> None:
        """Let other connections see what stands here; nothing is changed after this."""
        self.connection.execute("COMMIT")

    def source_rows(
        self, source: SourceTable, where: str = "", values: Iterable[Any] = ()
    ) -> Iterator[dict[str, Any]]:
        """Yield old rows as dicts, in the order of the file."""
        cursor = self.connection.execute(
            f"SELECT * FROM {OLD}.{quoted(source.name)} NOT INDEXED {where}", tuple(values)
        )
        names = [column[0].lower() for column in cursor.description]
        for row in cursor:
            found = dict(zip(names, row, strict=True))
            if found.get("api_key"):
                found["api_key"] = hide_key(
                    found["api_key"]
                )  # no key goes any further, not into notes either
            yield found

    def fix(self, table: Table, row: Mapping[str, Any], note: Note | None = None) -> None:
        """Convert one old row and keep it as fixed, or as rejected with its reason."""
        try:
            converted = convert_row(table.name, row, self.context)
        except Rejected as error:
            self._reject_row(table, row, str(error))
            return
        if self._is_fixed(table, converted.values["id"]):
            self._reject_row(table, row, f"id {converted.values['id']} occurs twice", touch=False)
            return
        self._store(table, row, converted, note)

    def adopt(self, table: Table, ids: Iterable[int]) -> None:
        """Take rows that needed no care so far into `fixed_<table>`, so that they can be changed there."""
        source = self.layout.tables.get(table.name)
        wanted = sorted(set(ids))
        for start in range(0, len(wanted), BATCH):
            batch = wanted[start : start + BATCH]
            if source is not None:
                where = f"WHERE id IN ({', '.join('?' * len(batch))})"
                untouched = f" AND id NOT IN (SELECT id FROM touched_{table.name})"
                self.fix_all(table, self.source_rows(source, where + untouched, batch))

    def fix_all(self, table: Table, rows: Iterable[Mapping[str, Any]]) -> None:
        """Convert old rows whose ids are known to be different from all others."""
        rows = iter(rows)
        while batch := list(islice(rows, BATCH)):
            fixed, touched, notes = [], [], []
            for row in batch:
                touched.append((row["id"],))
                try:
                    converted = convert_row(table.name, row, self.context)
                except Rejected as error:
                    notes.append((table.name, row["id"], *Note(REJECTED, None, dump(dict(row)), str(error))))
                else:
                    fixed.append(_fixed_row(table, row, converted))
                    notes += [(table.name, row["id"], *note) for note in converted.notes]
            self.connection.executemany(f"INSERT INTO touched_{table.name} VALUES (?)", touched)
            self._insert_fixed(table, fixed)
            self.connection.executemany(INSERT_NOTE, notes)

    def repair(self, table: Table, row_id: int, column: str, value: Any, reason: str) -> None:
        """Set one value of a row, noting what the old file had."""
        self.set(table, row_id, {column: value})
        self.note_repair(table, row_id, SHOWN_AS.get(column, column), reason)

    def note_repair(self, table: Table, row_id: int, column: str, reason: str) -> None:
        """Note what the old file had in a column of a row in the workspace; replacing its spelling."""
        row = self.connection.execute(
            f"SELECT source_row FROM fixed_{table.name} WHERE id = ?", (row_id,)
        ).fetchone()
        self.connection.execute(
            "DELETE FROM notes WHERE table_name = ? AND row_id = ? AND kind = ? AND column = ?",
            (table.name, row_id, SPELLING, column),
        )
        self._note(table, row_id, Note(REPAIRED, column, dump(load_row(row[0]).get(column)), reason))

    def set(self, table: Table, row_id: int, values: Mapping[str, Any]) -> None:
        """Set values that the old system did not have, which needs no note."""
        self.adopt(table, [row_id])
        assignments = ", ".join(f"{quoted(name)} = ?" for name in values)
        self.connection.execute(
            f"UPDATE fixed_{table.name} SET {assignments} WHERE id = ?", (*values.values(), row_id)
        )

    def reject(self, table: Table, row_id: int, reason: str) -> None:
        """Turn a row that was good in itself into a rejected one."""
        self.adopt(table, [row_id])
        fixed = self.connection.execute(
            f"SELECT source_row FROM fixed_{table.name} WHERE id = ?", (row_id,)
        ).fetchone()
        if fixed is None:
            return
        self.connection.execute(f"DELETE FROM fixed_{table.name} WHERE id = ?", (row_id,))
        # A rejected row of the same id, as calls_backup may have, keeps its note.
        self.connection.execute(
            "DELETE FROM notes WHERE table_name = ? AND row_id = ? AND kind <> ?",
            (table.name, row_id, REJECTED),
        )
        self._note(table, row_id, Note(REJECTED, None, fixed[0], reason))

    def reject_source(self, table: Table, row: Mapping[str, Any], reason: str) -> None:
        """Reject an old row that was never converted."""
        self._reject_row(table, row, reason, touch=False)

    def _store(self, table: Table, row: Mapping[str, Any], converted: Converted, note: Note | None) -> None:
        self._insert_fixed(table, [_fixed_row(table, row, converted)])
        row_id = converted.values["id"]
        self.connection.execute(f"INSERT OR IGNORE INTO touched_{table.name} VALUES (?)", (row_id,))
        for each in (*((note,) if note else ()), *converted.notes):
            self._note(table, row_id, each)

    def _insert_fixed(self, table: Table, rows: list[tuple[Any, ...]]) -> None:
        marks = ", ".join("?" * (len(table.columns) + 1))
        self.connection.executemany(f"INSERT INTO fixed_{table.name} VALUES ({marks})", rows)

    def _reject_row(self, table: Table, row: Mapping[str, Any], reason: str, touch: bool = True) -> None:
        row_id = row.get("id")
        known = row_id if isinstance(row_id, int) else None
        if touch and known is not None:
            self.connection.execute(f"INSERT OR IGNORE INTO touched_{table.name} VALUES (?)", (known,))
        self._note(table, known, Note(REJECTED, None, dump(dict(row)), reason))

    def _is_fixed(self, table: Table, row_id: int) -> bool:
        found = self.connection.execute(
            f"SELECT 1 FROM fixed_{table.name} WHERE id = ?", (row_id,)
        ).fetchone()
        return found is not None

    def _note(self, table: Table, row_id: int | None, note: Note) -> None:
        self.connection.execute(INSERT_NOTE, (table.name, row_id, *note))

    def rejected(self, table: Table) -> int:
        return self._count(
            "SELECT count(*) FROM notes WHERE table_name = ? AND kind = ?", table.name, REJECTED
        )

    def repaired(self, table: Table) -> int:
        return self._count(
            "SELECT count(DISTINCT row_id) FROM notes WHERE table_name = ? AND kind = ?", table.name, REPAIRED
        )

    def read(self, table: Table) -> int:
        """Return how many old rows the table has; those of `calls_backup` unless `calls` has them."""
        rows = sum(
            source.rows
            for source in self.layout.tables.values()
            if (BY_NAME.get(source.name) or BY_NAME["calls"]) is table
        )
        return rows - (self.skipped_backup_rows if table.name == "calls" else 0)

    def _count(self, sql: str, *values: Any) -> int:
        return int(self.connection.execute(sql, values).fetchone()[0])


def _fixed_row(table: Table, row: Mapping[str, Any], converted: Converted) -> tuple[Any, ...]:
    return (*(converted.values[name] for name in table.column_names), dump(dict(row)))


def _definition(table: Table, name: str) -> str:
    storage = STORAGE.get(
        table.column(name).kind, "INTEGER" if name in ("turn", "duplicate_of_id") else "TEXT"
    )
    return f"{quoted(name)} {storage}{' PRIMARY KEY' if name == 'id' else ''}"


def _encoding_of(snapshot: Path) -> str:
    with closing(open_copy(snapshot)) as connection:
        return str(connection.execute("PRAGMA encoding").fetchone()[0])


@contextmanager
def open_workspace(snapshot: Path, context: Context) -> Iterator[Workspace]:
    """Open a scratch database for the snapshot in a temporary folder and remove it afterwards."""
    with tempfile.TemporaryDirectory(prefix="ai-scheduler-import-") as folder:
        workspace = Workspace(Path(folder), snapshot, context)
        try:
            yield workspace
        finally:
            workspace.connection.close()
