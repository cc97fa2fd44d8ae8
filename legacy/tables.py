"""The tables that move, column by column, in the order in which they are loaded (parents first)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum, auto


class Kind(Enum):
    """What a column holds; decides how it is converted, compared and loaded."""

    ID = auto()
    REFERENCE = auto()
    TEXT = auto()
    PHONE = auto()
    CHOICE = auto()
    TIME = auto()
    REAL = auto()
    INTEGER = auto()
    FLAG = auto()
    ADDED = auto()  # made by the move; the old table has no such column


@dataclass(frozen=True)
class Column:
    name: str
    kind: Kind
    required: bool = False
    parent: str | None = None
    choices: tuple[str, ...] = ()
    type: str = "text"  # in PostgreSQL


@dataclass(frozen=True)
class Table:
    """One table: `columns` are compared and loaded, `source_columns` are what the old file has."""

    name: str
    columns: tuple[Column, ...]
    source_columns: tuple[str, ...]
    select: str = ""  # PostgreSQL FROM clause when the columns come from more than the table itself
    expressions: dict[str, str] = field(default_factory=dict)
    constants: dict[str, str] = field(default_factory=dict)  # ADDED columns of a row that needs no care
    defaults: tuple[
        Column, ...
    ] = ()  # columns that an import leaves at `constants`; only verify_import looks

    @property
    def column_names(self) -> tuple[str, ...]:
        return tuple(column.name for column in self.columns)

    @property
    def from_clause(self) -> str:
        return self.select or f'"{self.name}" t'

    def expression(self, column: str) -> str:
        """Return the SQL that reads a column in PostgreSQL from `from_clause`."""
        return self.expressions.get(column, f't."{column}"')

    def column(self, name: str) -> Column:
        return next(column for column in self.columns if column.name == name)


def _id() -> Column:
    return Column("id", Kind.ID, required=True, type="bigint")


def _reference(name: str, parent: str, required: bool) -> Column:
    return Column(name, Kind.REFERENCE, required=required, parent=parent, type="bigint")


def _text(name: str, required: bool = False) -> Column:
    return Column(name, Kind.TEXT, required=required)


def _time(name: str, required: bool = True) -> Column:
    return Column(name, Kind.TIME, required=required, type="timestamptz")


IMPORTED_HOST = "Imported calendar"
LEAD_STATUSES = (
    "pending",
    "queued",
    "calling",
    "contacted",
    "meeting_scheduled",
    "not_interested",
    "no_answer",
    "failed",
)
OUTCOMES = ("interested", "not_interested", "no_answer", "busy")
ROLES = ("ai", "user", "system")
MEETING_STATUSES = ("scheduled", "confirmed", "cancelled", "completed", "no_show")


def _source(*columns: Column, extra: tuple[str, ...] = ()) -> tuple[str, ...]:
    return tuple(column.name for column in columns if column.kind is not Kind.ADDED) + extra


_partner_columns = (
    _id(),
    _text("name", required=True),
    Column("is_active", Kind.FLAG, required=True, type="boolean"),
    Column("rate_limit", Kind.INTEGER, required=True, type="bigint"),
    _time("created_at"),
    _time("updated_at"),
    Column("key_digest", Kind.ADDED),
    Column("key_prefix", Kind.ADDED),
)
PARTNERS = Table(
    "partners",
    _partner_columns,
    _source(*_partner_columns, extra=("api_key",)),
    select='"partners" t LEFT JOIN "partner_api_keys" k ON k.partner_id = t.id AND k.is_legacy',
    expressions={
        "key_digest": "k.digest",
        "key_prefix": "k.prefix",
        "key_ends": "(k.revoked_at IS NOT NULL OR k.expires_at IS NOT NULL)",
    },
    constants={"key_ends": "false"},
    defaults=(Column("key_ends", Kind.ADDED),),
)

_lead_columns = (
    _id(),
    _text("name", required=True),
    Column("phone", Kind.PHONE, required=True),
    _text("email"),
    _text("country_code"),
    _text("language"),
    _reference("partner_id", "partners", required=False),
    Column("status", Kind.CHOICE, required=True, choices=LEAD_STATUSES),
    _time("created_at"),
    _time("updated_at"),
    Column("phone_valid", Kind.ADDED, type="boolean"),
    Column("duplicate_of_id", Kind.ADDED, type="bigint"),
)
LEADS = Table(
    "leads",
    _lead_columns,
    _source(*_lead_columns),
    constants={"phone_valid": "true", "do_not_call": "false", "priority": "0", "attempts": "0"},
    defaults=tuple(
        Column(name, Kind.ADDED)
        for name in (
            "timezone",
            "do_not_call",
            "priority",
            "attempts",
            "next_attempt_at",
            "claimed_by",
            "lease_expires_at",
        )
    ),
)

_call_columns = (
    _id(),
    _reference("lead_id", "leads", required=True),
    _text("twilio_call_sid"),
    _text("recording_url"),
    _text("transcript"),
    _text("summary"),
    Column("duration", Kind.REAL, type="double precision"),
    _text("language"),
    _text("voice_id"),
    _text("voice_name"),
    Column("outcome", Kind.CHOICE, choices=OUTCOMES),
    _time("started_at"),
    _time("ended_at", required=False),
    _time("created_at"),
)
CALLS = Table("calls", _call_columns, _source(*_call_columns))

_turn_columns = (
    _id(),
    _reference("call_id", "calls", required=True),
    Column("role", Kind.CHOICE, required=True, choices=ROLES),
    _text("message", required=True),
    _time("created_at"),
    Column("turn", Kind.ADDED, required=True, type="integer"),
)
TURNS = Table("conversation_history", _turn_columns, _source(*_turn_columns))

_meeting_columns = (
    _id(),
    _reference("lead_id", "leads", required=True),
    _reference("call_id", "calls", required=False),
    _time("scheduled_time"),
    Column("duration", Kind.INTEGER, type="integer"),
    _text("guest_email"),
    _text("calendar_event_id"),
    _text("meeting_link"),
    _text("notes"),
    Column("status", Kind.CHOICE, required=True, choices=MEETING_STATUSES),
    _time("created_at"),
    _time("updated_at"),
    Column("allow_overlap", Kind.ADDED, type="boolean"),
    Column("host", Kind.ADDED),
)
MEETINGS = Table(
    "meetings",
    _meeting_columns,
    _source(*_meeting_columns),
    expressions={"host": '(SELECT h.name FROM "meeting_hosts" h WHERE h.id = t.host_id)'},
    constants={
        "allow_overlap": "false",
        "host": IMPORTED_HOST,
        "buffer_before": "0",
        "buffer_after": "0",
        "ics_sequence": "0",
    },
    defaults=tuple(Column(name, Kind.ADDED) for name in ("buffer_before", "buffer_after", "ics_sequence")),
)

_setting_columns = (_id(), _text("key", required=True), _text("value", required=True), _time("updated_at"))
SETTINGS = Table("settings", _setting_columns, _source(*_setting_columns))

TABLES: tuple[Table, ...] = (PARTNERS, LEADS, CALLS, TURNS, MEETINGS, SETTINGS)
BY_NAME: dict[str, Table] = {table.name: table for table in TABLES}
BACKUP_TABLE = "calls_backup"
