"""Import one rejected row again, with the values that staff corrected."""

from __future__ import annotations

from typing import Any, cast

import psycopg
from django.contrib.admin.models import ADDITION, LogEntry
from django.db import IntegrityError, connection, transaction
from django.utils import timezone

from database.errors import constraint_of
from leads.models import Lead
from legacy.convert import Context, Rejected, convert_row
from legacy.load import copy_keys, host_id, key_rows, stored_columns
from legacy.mapped import NULL, Chunk
from legacy.models import ImportRowNote
from legacy.originals import shown
from legacy.stored import model_of
from legacy.tables import BY_NAME, LEADS, MEETINGS, PARTNERS, TURNS, Table
from legacy.target import Connection, raise_sequences
from legacy.values import from_json

SENTENCES = {
    "partners_name_unique": ("Another partner has this name.", "name"),
    "partner_api_keys_digest_unique": ("Another partner has this key.", "api_key"),
    "calls_twilio_call_sid_unique": ("Another call has this twilio_call_sid.", "twilio_call_sid"),
    "calls_one_active_per_lead": ("The lead has another active call; give this one an ended_at.", "ended_at"),
    "meetings_calendar_event_id_unique": ("Another meeting has this calendar_event_id.", "calendar_event_id"),
    "meetings_no_double_booking": ("Another meeting is booked at this time.", "scheduled_time"),
    "meetings_buffers_kept": ("Another meeting needs this time to itself.", "scheduled_time"),
    "settings_key_unique": ("Another setting has this key.", "key"),
}


class CorrectionRefused(Exception):
    """The row cannot be imported as it stands; the text says why, `column` where, when one is to blame."""

    def __init__(self, reason: str, column: str | None = None) -> None:
        super().__init__(reason)
        self.column = column


def import_corrected(note: ImportRowNote, values: dict[str, str | None], user: Any) -> int:
    """Convert the corrected row by the rules of the import, insert it with its old id, and return that.

    A row whose old id was no number gets the next free one. Raises CorrectionRefused, with nothing written.
    """
    table = BY_NAME[note.table_name]
    try:
        with transaction.atomic():
            connection.ensure_connection()
            database = cast(Connection, connection.connection)
            row_id = _import(database, table, _old_row(note, values))
            _resolve(note, row_id, user)
            return row_id
    except IntegrityError as error:
        raise _refusal(error) from None


def _import(database: Connection, table: Table, row: dict[str, Any]) -> int:
    model = model_of(table.name)
    if row.get("id") is None:
        query = "SELECT nextval(pg_get_serial_sequence(%s, 'id'))"
        row["id"] = (database.execute(query, (table.name,)).fetchone() or (None,))[0]
    try:
        new = convert_row(table.name, row, Context()).values
    except Rejected as error:
        raise CorrectionRefused(
            f"{str(error)[:1].upper()}{str(error)[1:]}.", str(error).split(" ")[0]
        ) from None
    if model.objects.filter(pk=new["id"]).exists():
        raise CorrectionRefused(f"{table.name} {new['id']} is in the database already.", "id")
    _check_parents(table, new)
    _place(table, new)
    _insert(database, table, new)
    raise_sequences(database, [table])
    return int(new["id"])


def _old_row(note: ImportRowNote, values: dict[str, str | None]) -> dict[str, Any]:
    """Return the old row with the corrected columns; those left as they were keep their type."""
    original: dict[str, Any] = note.original or {}
    return {
        column: from_json(original[column]) if (text or "") == shown(original[column]) else text
        for column, text in values.items()
    }


def _check_parents(table: Table, new: dict[str, Any]) -> None:
    for column in table.columns:
        parent_id = new[column.name]
        if column.parent is None or parent_id is None:
            continue
        if not model_of(column.parent).objects.filter(pk=parent_id).exists():
            raise CorrectionRefused(f"{column.parent} {parent_id} is not in the database.", column.name)


def _place(table: Table, new: dict[str, Any]) -> None:
    """Set what the import decides by looking at other rows."""
    if table is LEADS:
        same_phone = Lead.objects.filter(phone=new["phone"], duplicate_of=None)
        new["duplicate_of_id"] = same_phone.values_list("id", flat=True).first()
    if table is TURNS:
        # After the others: in its place it would change the numbers of rows that were imported and verified.
        turns = model_of(table.name).objects.filter(call_id=new["call_id"])
        new["turn"] = (turns.order_by("-turn").values_list("turn", flat=True).first() or 0) + 1


def _insert(database: Connection, table: Table, new: dict[str, Any]) -> None:
    names = stored_columns(table)
    columns = ", ".join(f'"{name}"' for name in names)
    cells = [new[name] for name in names]
    if table is MEETINGS:
        columns += ", host_id"
        cells.append(host_id(database))
    database.execute("SET LOCAL timezone = 'UTC'")  # the converted times have no zone
    marks = ", ".join(["%s"] * len(cells))
    with connection.cursor() as cursor:
        cursor.execute(f'INSERT INTO "{table.name}" ({columns}) VALUES ({marks})', cells)
        if table is PARTNERS and new["key_digest"]:
            cells_of = {name: [_cell(new[name])] for name in ("id", "key_prefix", "key_digest")}
            try:
                copy_keys(database, key_rows(Chunk(0, 0, cells_of)))
            except psycopg.IntegrityError as error:
                raise IntegrityError(str(error)) from error


def _cell(value: Any) -> bytes:
    return NULL if value is None else str(value).encode()


def _resolve(note: ImportRowNote, row_id: int, user: Any) -> None:
    """Mark the note, and those of earlier runs on the same row, as resolved, and write the history."""
    same = ImportRowNote.objects.filter(
        table_name=note.table_name,
        row_id=note.row_id,
        kind=note.kind,
        original=note.original,
        resolved_at=None,
    )
    (same | ImportRowNote.objects.filter(pk=note.pk)).update(resolved_at=timezone.now(), resolved_by=user)
    rows = model_of(note.table_name).objects.filter(pk=row_id)
    message = f"Imported from the old row of import {note.run_id} after a correction."
    LogEntry.objects.log_actions(user.pk, rows, ADDITION, message, single_object=True)


def _refusal(error: IntegrityError) -> CorrectionRefused:
    name = constraint_of(error)
    sentence, column = SENTENCES.get(name, (f"The row breaks the rule {name}.", None))
    return CorrectionRefused(sentence, column)
