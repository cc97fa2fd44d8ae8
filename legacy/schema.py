"""The tables of the old application, revision by revision, written as SQLAlchemy wrote them."""

import sqlite3
from typing import NamedTuple

REVISIONS = range(1, 8)
NEWEST = 7
TABLES = ("partners", "settings", "leads", "calls", "meetings", "conversation_history")
CALLS_BACKUP = """CREATE TABLE calls_backup(
  id INT,
  lead_id INT,
  twilio_call_sid TEXT,
  recording_url TEXT,
  transcript TEXT,
  duration REAL,
  language TEXT,
  outcome TEXT,
  started_at NUM,
  ended_at NUM,
  created_at NUM
)"""


class Piece(NamedTuple):
    """One line of a table, valid for the revisions first..last."""

    sql: str
    first: int = 1
    last: int = NEWEST

    @property
    def column(self) -> str:
        """Give the bare column name, without the quotes of reserved words."""
        return self.sql.split(" ", 1)[0].strip('"')


class Index(NamedTuple):
    name: str
    table: str
    column: str
    unique: bool = False

    @property
    def sql(self) -> str:
        kind = "UNIQUE INDEX" if self.unique else "INDEX"
        column = '"key"' if self.column == "key" else self.column
        return f"CREATE {kind} {self.name} ON {self.table} ({column})"


_ID = Piece("id INTEGER NOT NULL")
_CREATED = Piece("created_at DATETIME DEFAULT (CURRENT_TIMESTAMP)")
_UPDATED = Piece("updated_at DATETIME DEFAULT (CURRENT_TIMESTAMP)")

_COLUMNS: dict[str, tuple[Piece, ...]] = {
    "partners": (
        _ID,
        Piece("name VARCHAR(255) NOT NULL"),
        Piece("api_key VARCHAR(64) NOT NULL"),
        Piece("is_active BOOLEAN NOT NULL"),
        Piece("rate_limit INTEGER NOT NULL"),
        _CREATED,
        _UPDATED,
    ),
    "settings": (_ID, Piece('"key" VARCHAR(255) NOT NULL'), Piece("value TEXT NOT NULL"), _UPDATED),
    "leads": (
        _ID,
        Piece("name VARCHAR(255) NOT NULL"),
        Piece("phone VARCHAR(50) NOT NULL"),
        Piece("email VARCHAR(255)"),
        Piece("country_code VARCHAR(10)"),
        Piece("language VARCHAR(10)"),
        Piece("partner_id INTEGER", first=7),
        Piece("status VARCHAR(17) NOT NULL"),
        _CREATED,
        _UPDATED,
    ),
    "calls": (
        _ID,
        Piece("lead_id INTEGER NOT NULL"),
        Piece("twilio_call_sid VARCHAR(255)"),
        Piece("recording_url VARCHAR(500)"),
        Piece("transcript TEXT"),
        Piece("summary TEXT", first=2),
        Piece("duration FLOAT"),
        Piece("language VARCHAR(10)"),
        Piece("voice_id VARCHAR(255)", first=7),
        Piece("voice_name VARCHAR(255)", first=7),
        # The declared length is that of the longest enum name; eight names became four in revision 4.
        Piece("outcome VARCHAR(17) NOT NULL", last=3),
        Piece("outcome VARCHAR(14) NOT NULL", first=4, last=4),
        Piece("outcome VARCHAR(14)", first=5),
        Piece("started_at DATETIME DEFAULT (CURRENT_TIMESTAMP)"),
        Piece("ended_at DATETIME"),
        _CREATED,
    ),
    "meetings": (
        _ID,
        Piece("lead_id INTEGER NOT NULL"),
        Piece("call_id INTEGER"),
        Piece("scheduled_time DATETIME NOT NULL"),
        Piece("guest_email VARCHAR(255)"),
        Piece("calendar_event_id VARCHAR(255)"),
        Piece("duration INTEGER", first=4),
        Piece("meeting_link TEXT", first=4),
        Piece("notes TEXT", first=4),
        Piece("status VARCHAR(9) NOT NULL"),
        _CREATED,
        _UPDATED,
    ),
    "conversation_history": (
        _ID,
        Piece("call_id INTEGER NOT NULL"),
        Piece("role VARCHAR(6) NOT NULL"),
        Piece("message TEXT NOT NULL"),
        _CREATED,
    ),
}

_CONSTRAINTS: dict[str, tuple[Piece, ...]] = {
    "leads": (
        Piece(
            "CONSTRAINT fk_leads_partner_id_partners FOREIGN KEY(partner_id) REFERENCES partners (id)",
            first=7,
        ),
    ),
    "calls": (Piece("CONSTRAINT fk_calls_lead_id_leads FOREIGN KEY(lead_id) REFERENCES leads (id)"),),
    "meetings": (
        Piece("CONSTRAINT fk_meetings_lead_id_leads FOREIGN KEY(lead_id) REFERENCES leads (id)"),
        Piece("CONSTRAINT fk_meetings_call_id_calls FOREIGN KEY(call_id) REFERENCES calls (id)"),
        Piece("CONSTRAINT uq_meetings_calendar_event_id UNIQUE (calendar_event_id)"),
    ),
    "conversation_history": (
        Piece("CONSTRAINT fk_conversation_history_call_id_calls FOREIGN KEY(call_id) REFERENCES calls (id)"),
    ),
}

INDEXES = (
    Index("ix_partners_id", "partners", "id"),
    Index("ix_partners_api_key", "partners", "api_key", unique=True),
    Index("ix_settings_id", "settings", "id"),
    Index("ix_settings_key", "settings", "key", unique=True),
    Index("ix_leads_id", "leads", "id"),
    Index("ix_leads_phone", "leads", "phone", unique=True),
    Index("ix_leads_status", "leads", "status"),
    Index("ix_leads_partner_id", "leads", "partner_id"),
    Index("ix_calls_id", "calls", "id"),
    Index("ix_calls_lead_id", "calls", "lead_id"),
    Index("ix_calls_twilio_call_sid", "calls", "twilio_call_sid", unique=True),
    Index("ix_calls_outcome", "calls", "outcome"),
    Index("ix_meetings_id", "meetings", "id"),
    Index("ix_meetings_lead_id", "meetings", "lead_id"),
    Index("ix_meetings_call_id", "meetings", "call_id"),
    Index("ix_meetings_scheduled_time", "meetings", "scheduled_time"),
    Index("ix_meetings_status", "meetings", "status"),
    Index("ix_conversation_history_id", "conversation_history", "id"),
    Index("ix_conversation_history_call_id", "conversation_history", "call_id"),
    Index("ix_conversation_history_created_at", "conversation_history", "created_at"),
)
ONE_ACTIVE_CALL = """CREATE UNIQUE INDEX idx_active_calls_per_lead
                    ON calls(lead_id)
                    WHERE ended_at IS NULL
                """
_SINCE = {"partners": 7, "settings": 3}


def tables(revision: int) -> tuple[str, ...]:
    """Name the tables of a revision, parents before children."""
    return tuple(table for table in TABLES if _SINCE.get(table, 1) <= revision)


def columns(table: str, revision: int) -> tuple[Piece, ...]:
    """Give the column definitions of a table in the order the old application declares them."""
    return _of(revision, _COLUMNS[table])


def table_sql(table: str, revision: int) -> str:
    """Write CREATE TABLE with the spacing and constraint names of SQLAlchemy."""
    key = Piece(f"CONSTRAINT pk_{table} PRIMARY KEY (id)")
    lines = (*columns(table, revision), key, *_of(revision, _CONSTRAINTS.get(table, ())))
    body = ", \n\t".join(line.sql for line in lines)
    return f"CREATE TABLE {table} (\n\t{body}\n)"


def indexes(revision: int) -> tuple[Index, ...]:
    """Give the indexes whose table and column exist in the revision."""
    present = COLUMNS[revision]
    return tuple(index for index in INDEXES if index.column in present.get(index.table, ()))


def create_schema(connection: sqlite3.Connection, revision: int = NEWEST) -> None:
    """Create the tables and indexes of one revision in an empty database."""
    for table in tables(revision):
        connection.execute(table_sql(table, revision))
    for index in indexes(revision):
        connection.execute(index.sql)
    if revision >= 6:
        connection.execute(ONE_ACTIVE_CALL)


def _of(revision: int, pieces: tuple[Piece, ...]) -> tuple[Piece, ...]:
    return tuple(piece for piece in pieces if piece.first <= revision <= piece.last)


COLUMNS: dict[int, dict[str, tuple[str, ...]]] = {
    revision: {table: tuple(p.column for p in columns(table, revision)) for table in tables(revision)}
    for revision in REVISIONS
}
