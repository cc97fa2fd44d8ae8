"""The mapping of one old row to one new row, without a look at any other row."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from typing import Any, NamedTuple

from legacy import cells, phones
from legacy.cells import Unreadable
from legacy.tables import BY_NAME, Column, Kind, Table
from legacy.values import HiddenKey, dump
from meetings.models import MAX_MINUTES
from partners.models import SHOWN_CHARACTERS, digest_of

REPAIRED, REJECTED, SPELLING = "repaired", "rejected", "spelling"
WHAT = {Kind.TIME: "time"}
OTHER_TIMES = ("created_at", "started_at", "updated_at", "ended_at")
FROM_SNAPSHOT = "no readable time in the row; time of the snapshot taken"
DEFAULT_RATE_LIMIT = 100


class Note(NamedTuple):
    """What was done to a value; `original` is JSON text."""

    kind: str
    column: str | None
    original: str
    reason: str


class Rejected(ValueError):
    """The row cannot be imported; the text is the reason."""


@dataclass
class Context:
    """What a row's mapping depends on besides the row.

    `snapshot_times` holds, by (table, id, column), the time that an earlier run took for want of a better one,
    so that a row maps to the same values in every run.
    """

    zone: tzinfo = UTC
    snapshot_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    snapshot_times: dict[tuple[str, int, str], str] = field(default_factory=dict)


@dataclass
class Converted:
    """A new row: `values` by column in the text form of PostgreSQL (numbers as numbers, NULL as None)."""

    values: dict[str, Any]
    notes: list[Note]


def convert_row(table: str, row: Mapping[str, Any], context: Context) -> Converted:
    """Map an old row; raise Rejected when it cannot be imported."""
    return _Row(BY_NAME[table], row, context).convert()


class _Row:
    def __init__(self, table: Table, row: Mapping[str, Any], context: Context) -> None:
        self.table, self.row, self.context = table, row, context
        self.values: dict[str, Any] = dict.fromkeys(table.column_names)
        self.values.update(table.constants)
        self.notes: list[Note] = []

    def convert(self) -> Converted:
        for column in self.table.columns:
            if column.kind is not Kind.ADDED:
                self.values[column.name] = CONVERTERS[column.kind](self, column)
        SPECIAL.get(self.table.name, lambda row: None)(self)
        self._keep_unknown_columns()
        names = {*self.table.column_names}
        return Converted({k: v for k, v in self.values.items() if k in names}, self.notes)

    def note(self, column: str, reason: str, kind: str = REPAIRED) -> None:
        self.notes.append(Note(kind, column, dump(self.row.get(column)), reason))

    def take(self, column: Column, converter: Callable[[Any], cells.Converted]) -> Any:
        """Return the converted value and note a change; None when it is unreadable."""
        try:
            value, reason = converter(self.row.get(column.name))
        except Unreadable as error:
            value, reason = None, str(error)
        if reason:
            self.note(column.name, reason)
        return value

    def note_spelling(self, column: Column) -> None:
        """Note that the old file has the same value in another form, unless a repair of it is noted."""
        if not any(note.column == column.name for note in self.notes):
            self.note(column.name, f"another spelling of the {WHAT.get(column.kind, 'value')}", SPELLING)

    def _keep_unknown_columns(self) -> None:
        for name, value in self.row.items():
            if name not in self.table.source_columns and value is not None:
                self.note(name, "column unknown to the old system, value kept here")


def _identity(row: _Row, column: Column) -> int:
    value = row.row.get(column.name)
    try:
        found, reason = cells.identity(value)
    except Unreadable as error:
        raise Rejected(f"{column.name} is {error}") from None
    if found is None:
        raise Rejected(f"{column.name} is empty")
    if reason:
        row.note(column.name, reason)
    elif not isinstance(value, int):
        row.note_spelling(column)
    return int(found)


def _reference(row: _Row, column: Column) -> int | None:
    if column.required:
        return _identity(row, column)
    found = row.take(column, cells.identity)
    if isinstance(row.row.get(column.name), float) and found is not None:
        row.note_spelling(column)
    return None if found is None else int(found)


def _text(row: _Row, column: Column) -> str | None:
    found = row.take(column, cells.text)
    if found is None and column.required:
        row.note(column.name, "empty; left blank")
        return ""
    return found


def _phone(row: _Row, column: Column) -> str:
    written = row.take(column, cells.text) or ""
    country, _ = cells.text(row.row.get("country_code"))
    phone = phones.normalize(written, country)
    if not phone.text:
        raise Rejected("phone is empty")
    if phone.text != written:
        row.note(column.name, "written as E.164" if phone.valid else "blanks removed")
    row.values["phone_valid"] = "true" if phone.valid else "false"
    return phone.text


def _choice(row: _Row, column: Column) -> str | None:
    value = row.row.get(column.name)
    if column.name == "outcome":
        found = row.take(column, lambda old: cells.outcome(old, column.choices))
    else:
        found = _required_choice(row, column)
    if found is not None and value != found.upper():
        row.note_spelling(column)
    return found


def _required_choice(row: _Row, column: Column) -> str:
    try:
        return cells.choice(row.row.get(column.name), column.choices)
    except Unreadable as error:
        if row.table.name != "leads":
            raise Rejected(f"{column.name} is {error}") from None
        row.note(column.name, f"{error}; failed taken")
        return "failed"


def _time(row: _Row, column: Column) -> str | None:
    try:
        found = cells.moment(row.row.get(column.name), row.context.zone)
    except Unreadable as error:
        return _missing_time(row, column, str(error))
    written = cells.write_moment(found)
    if row.row.get(column.name) != spell_moment(column.name, written):
        row.note_spelling(column)
    return written


def spell_moment(column: str, written: str) -> str:
    """Return a time as the old application spells it.

    A whole second has no fraction when the database set it; Python, which sets `scheduled_time`, writes six zeros.
    """
    if "." not in written:
        return f"{written}.000000" if column == "scheduled_time" else written
    return written.ljust(26, "0")


def _missing_time(row: _Row, column: Column, reason: str) -> str | None:
    if column.name == "scheduled_time":
        raise Rejected(f"scheduled_time is {reason}")
    if not column.required:
        if row.row.get(column.name) is not None:
            row.note(column.name, reason)
        return None
    for other in OTHER_TIMES:
        try:
            found = cells.moment(row.row.get(other), row.context.zone)
        except Unreadable:
            continue
        row.note(column.name, f"{reason}; {other} taken")
        return cells.write_moment(found)
    row.note(column.name, FROM_SNAPSHOT)
    known = row.context.snapshot_times.get((row.table.name, row.values.get("id") or 0, column.name))
    return known or cells.write_moment(row.context.snapshot_at)


def _real(row: _Row, column: Column) -> float | None:
    found = row.take(column, cells.real)
    if found is not None and repr(row.row.get(column.name)) != repr(found):
        row.note_spelling(column)
    return found


def _integer(row: _Row, column: Column) -> int | None:
    found = row.take(column, cells.integer)
    if found is None:
        return None
    if isinstance(row.row.get(column.name), float):
        row.note_spelling(column)
    return int(found)


def _flag(row: _Row, column: Column) -> str:
    value = row.row.get(column.name)
    try:
        found, _ = cells.flag(value)
    except Unreadable as error:
        raise Rejected(f"{column.name} is {error}") from None
    if found is None:
        row.note(column.name, "empty; true taken")
    elif repr(value) != repr(int(found)):
        row.note_spelling(column)
    return "false" if found is False else "true"


def _partner(row: _Row) -> None:
    if not (row.values["name"] or "").strip():
        row.note("name", "empty")
        row.values["name"] = f"Partner {row.values['id']}"
    limit = row.values["rate_limit"]
    if limit is None or limit < 1 or limit not in cells.BIGINT:
        _denote(row, "rate_limit")
        if not any(note.column == "rate_limit" for note in row.notes):
            row.note("rate_limit", "empty" if limit is None else "under 1" if limit < 1 else "out of range")
        row.values["rate_limit"] = DEFAULT_RATE_LIMIT
    _partner_key(row)


def _partner_key(row: _Row) -> None:
    key = row.row.get("api_key")
    if not key:
        row.note("api_key", "empty; partner has no key")
        return
    hidden = hide_key(key)
    row.values.update(key_digest=str(hidden), key_prefix=hidden.prefix)


def hide_key(key: Any) -> HiddenKey:
    """Return what may be kept of an API key: its digest, and a few characters to tell keys apart."""
    if isinstance(key, HiddenKey):
        return key
    text = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
    hidden = HiddenKey(digest_of(text))
    shown = text[: min(SHOWN_CHARACTERS, len(text) // 3)]
    hidden.prefix = "".join(c if c.isascii() and c.isprintable() else "?" for c in shown)
    return hidden


def _call(row: _Row) -> None:
    started, ended = row.values["started_at"], row.values["ended_at"]
    if ended is not None and cells.read_moment(ended) < cells.read_moment(started):
        _denote(row, "ended_at")
        row.note("ended_at", "before started_at; started_at taken")
        row.values["ended_at"] = started


def _denote(row: _Row, column: str) -> None:
    """Forget the spelling of a value that is replaced."""
    row.notes = [note for note in row.notes if (note.kind, note.column) != (SPELLING, column)]


def _meeting(row: _Row) -> None:
    minutes = row.values["duration"]
    if minutes is not None and minutes > MAX_MINUTES:
        _denote(row, "duration")
        row.note("duration", f"over {MAX_MINUTES} minutes")
        row.values["duration"] = None


def _setting(row: _Row) -> None:
    if not row.values["key"]:
        raise Rejected("key is empty")


CONVERTERS: dict[Kind, Callable[[_Row, Column], Any]] = {
    Kind.ID: _identity,
    Kind.REFERENCE: _reference,
    Kind.TEXT: _text,
    Kind.PHONE: _phone,
    Kind.CHOICE: _choice,
    Kind.TIME: _time,
    Kind.REAL: _real,
    Kind.INTEGER: _integer,
    Kind.FLAG: _flag,
}
SPECIAL: dict[str, Callable[[_Row], None]] = {
    "partners": _partner,
    "calls": _call,
    "meetings": _meeting,
    "settings": _setting,
}
