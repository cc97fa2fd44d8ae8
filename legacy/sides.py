"""What a note says of a row beside what PostgreSQL holds, column by column."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from django.db.models import Model

from legacy.models import ImportRowNote
from legacy.originals import shown
from legacy.stored import model_of
from legacy.tables import BY_NAME
from scheduler.staff.display import NOTHING, written
from scheduler.staff.history import HIDDEN, is_secret

NOT_STORED = "not stored"
KEPT_AS_DIGEST = "kept as a digest"
KEY = "api_key"


class Side(NamedTuple):
    """One column: the old value, and what is stored; `differs` compares them as people read them."""

    column: str
    original: str
    stored: str

    @property
    def differs(self) -> bool:
        return self.original != self.stored


def in_order(table: str, original: Mapping[str, Any]) -> list[str]:
    """Return the columns of an old row as the table had them; jsonb has put them into an order of its own."""
    known = BY_NAME[table].source_columns if table in BY_NAME else ()
    return [*(name for name in known if name in original), *(name for name in original if name not in known)]


def sides(note: ImportRowNote, row: Model | None) -> list[Side]:
    """Compare a note with the row that it is about."""
    if note.column is None and isinstance(note.original, dict):
        columns = in_order(note.table_name, note.original)
        return [Side(name, _original(name, note.original[name]), stored_value(row, name)) for name in columns]
    column = note.column or "row"
    return [Side(column, _original(column, note.original), stored_value(row, column))]


def stored_value(row: Model | None, column: str) -> str:
    """Write what a row holds in an old column; a key is never shown."""
    if row is None:
        return NOT_STORED
    if column == KEY or is_secret(column):
        return KEPT_AS_DIGEST
    fields = {field.column: field for field in row._meta.concrete_fields}
    if column not in fields:
        return NOT_STORED
    value = getattr(row, fields[column].attname)
    if value is None:
        return NOTHING
    return written(value) if hasattr(value, "tzinfo") else shown(value)


def _original(column: str, value: object) -> str:
    if value is None:
        return NOTHING
    return HIDDEN if column == KEY else shown(value)


def without_key(note: ImportRowNote) -> Any:
    """Return the original of a note as it may be shown: a partner's key still opens the API."""
    if note.column == KEY:
        return HIDDEN
    if isinstance(note.original, dict) and note.original.get(KEY):
        return {**note.original, KEY: HIDDEN}
    return note.original


def stored_rows(notes: Iterable[ImportRowNote]) -> dict[tuple[str, int], Model]:
    """Return the rows of many notes by table and id, with one statement a table."""
    wanted: dict[str, set[int]] = defaultdict(set)
    for note in notes:
        if note.row_id is not None and model_of(note.table_name):
            wanted[note.table_name].add(note.row_id)
    return {
        (table, pk): row
        for table, ids in wanted.items()
        for pk, row in model_of(table)._default_manager.in_bulk(ids).items()
    }
