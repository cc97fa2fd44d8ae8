"""A database as large as a busy call centre's after some years, made inside of PostgreSQL.

INSERT ... SELECT from generate_series goes the way of COPY without sending the rows; indexes and unique constraints
are taken off before and put back after, which is several times quicker than keeping them.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

PARTNERS, HOSTS, PROMPTS = 40, 20, 12
DAYS = 400  # over which leads came and calls were made
ACTIVE = 100  # calls without an end
NOTES_PER_LEAD = 0.2
BIG = ("leads", "calls", "conversation_history", "meetings", "import_row_notes", "django_admin_log")

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Size:
    leads: int
    calls: int
    turns: int

    def parameters(self) -> Parameters:
        return {
            "leads": self.leads,
            "calls": self.calls,
            "turns": self.turns,
            "partners": PARTNERS,
            "hosts": HOSTS,
            "prompts": PROMPTS,
            "active": min(ACTIVE, self.leads),
            "notes": int(self.leads * NOTES_PER_LEAD),
            "meetings": self.leads // 5,
            "lead_step": f"{DAYS * 86_400 / self.leads} seconds",
            "call_step": f"{DAYS * 86_400 / self.calls} seconds",
        }


FEW = (
    "INSERT INTO partners (name, created_at) SELECT 'Partner ' || n, now() - n * interval '1 day'"
    " FROM generate_series(1, %(partners)s) n",
    "INSERT INTO partner_api_keys (partner_id, prefix, digest)"
    " SELECT id, 'ais_' || substr(md5(id::text), 1, 8), encode(sha256(id::text::bytea), 'hex') FROM partners",
    "INSERT INTO meeting_hosts (name, timezone, working_hours) SELECT 'Host ' || n, 'Europe/Zurich',"
    """ '{"mon": [["09:00", "17:00"]], "tue": [["09:00", "17:00"]], "fri": [["09:00", "12:00"]]}'"""
    " FROM generate_series(1, %(hosts)s) n",
    "INSERT INTO settings (key, value) SELECT 'prompt ' || n, repeat('Be kind. ', 50)"
    " FROM generate_series(1, %(prompts)s) n",
    "INSERT INTO import_runs (source_path, source_bytes, options, report) VALUES ('old.db', 1, '{}', '{}')",
)
LEADS = """
INSERT INTO leads (name, phone, email, country_code, language, partner_id, phone_valid, status, do_not_call,
                   created_at, updated_at)
SELECT (ARRAY['Olivia','Jack','Amelia','Noah','Grace','Luc','Mia','Sofia','Jose','Maria','Yael','Omar'])[1 + n %% 12]
       || ' ' || (ARRAY['Smith','Brown','Nguyen','Dubois','Weiss','Rossi','Garcia','Levi','Haddad','Kowalski',
                        'Taylor','Peters','Jones'])[1 + n / 12 %% 13] || ' ' || to_hex(n),
       '+1' || (ARRAY[212,415,305,617,312,206,512,720])[1 + n %% 8] || 2000000 + n,
       'lead.' || n || '@example.com', '+1',
       (ARRAY['en','en','en','fr','de','es','he','ar'])[1 + n %% 8],
       CASE WHEN n %% 3 = 0 THEN 1 + n / 3 %% %(partners)s END, n %% 50 <> 0,
       (ARRAY['pending','contacted','no_answer','contacted','meeting_scheduled','not_interested','no_answer','failed',
              'pending','contacted'])[1 + n %% 10],
       n %% 40 = 0, now() - (%(leads)s - n) * %(lead_step)s::interval, now()
FROM generate_series(1, %(leads)s) n
"""
QUEUED = "UPDATE leads SET status = 'queued' WHERE id > %(leads)s - 2000 AND phone_valid AND NOT do_not_call"
CALLS = """
INSERT INTO calls (lead_id, twilio_call_sid, recording_url, summary, duration, language, voice_name, outcome,
                   started_at, ended_at, created_at)
SELECT 1 + (n * 7919::bigint) %% %(leads)s, 'CA' || n, 'https://media.example.com/' || n || '.mp3',
       'Spoke about the offer.', 30 + n %% 400, 'en', 'Rachel',
       (ARRAY['interested','no_answer','not_interested','no_answer','busy','no_answer',NULL])[1 + n %% 7],
       at, at + (30 + n %% 400) * interval '1 second', at
FROM generate_series(1, %(calls)s) n, LATERAL (SELECT now() - (%(calls)s - n) * %(call_step)s::interval AS at) a
"""
ONGOING = """
UPDATE calls SET ended_at = NULL, duration = NULL, outcome = NULL
WHERE id IN (SELECT DISTINCT ON (lead_id) id FROM calls WHERE id > %(calls)s - %(active)s)
"""
TURNS = """
INSERT INTO conversation_history (call_id, turn, role, message, created_at)
SELECT call, turn, CASE WHEN turn %% 2 = 1 THEN 'ai' ELSE 'user' END,
       (ARRAY['Hello, am I speaking with the owner of the business?','Yes, what is it about this time?',
              'We help companies like yours to plan their appointments.','That sounds interesting, tell me more.',
              'Would Tuesday at ten suit you for a short meeting?','I am driving, please call back next week.',
              'How many people work in your office at the moment?','No thank you, we have somebody for that.',
              'May I send you the agenda by e-mail?','My address has not changed since last year.',
              'Wonderful, I have booked it for you.','What does it cost in the end?'])[1 + (call * 5 + turn) %% 12]
       || CASE WHEN (call * 7 + turn) %% 1000 = 0 THEN ' The invoice is ' || 'INV' || call || '.' ELSE '' END
       || CASE WHEN (call * 7 + turn) %% 200000 = 0 THEN ' Ask for the platypus.' ELSE '' END,
       now() - (%(calls)s - call) * %(call_step)s::interval + turn * interval '9 seconds'
FROM generate_series(%(first)s::bigint, %(last)s::bigint) call, LATERAL generate_series(
    1, (call * %(turns)s / %(calls)s - (call - 1) * %(turns)s / %(calls)s)::int) turn
"""
MEETINGS = """
INSERT INTO meetings (lead_id, host_id, scheduled_time, duration, guest_email, status, created_at)
SELECT 1 + (n * 31::bigint) %% %(leads)s, 1 + n %% %(hosts)s, at, 30, 'guest.' || n || '@example.com',
       CASE WHEN at > now() THEN (ARRAY['scheduled','confirmed'])[1 + n %% 2]
            ELSE (ARRAY['completed','no_show','cancelled','completed'])[1 + n %% 4] END,
       least(at, now()) - interval '3 days'
FROM generate_series(1, %(meetings)s) n,
     LATERAL (SELECT date_trunc('hour', now()) + interval '28 days'
                     - (%(meetings)s - n) / %(hosts)s * interval '30 minutes' AS at) a
"""
NOTES = """
INSERT INTO import_row_notes (run_id, table_name, row_id, kind, "column", original, reason)
SELECT 1, (ARRAY['leads','calls','meetings'])[1 + n %% 3], n, (ARRAY['repaired','rejected','spelling'])[1 + n %% 3],
       'phone', '"415 555 0134"', 'The phone was brought into E.164.'
FROM generate_series(1, %(notes)s) n
"""
HISTORY = """
INSERT INTO django_admin_log
    (action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message)
SELECT now() - n * interval '17 seconds', (SELECT min(id) FROM auth_user), kinds[1 + n %% 3], (n / 2)::text,
       (ARRAY['Olivia','Jack','Amelia','Noah','Ada','Zoe','Max','Ines'])[1 + n %% 8] || ' ' || n,
       CASE WHEN n %% 100 = 0 THEN 3 ELSE 2 END, '[]'
FROM generate_series(1, 2 * %(leads)s) n, (SELECT ARRAY(
    SELECT id FROM django_content_type WHERE (app_label, model) IN (('leads', 'lead'), ('calls', 'call'),
    ('meetings', 'meeting')) ORDER BY model DESC) AS kinds) known
"""
TURNS_AT_ONCE = 500_000  # calls in one statement, so that progress shows


def build(url: str, size: Size) -> None:
    """Fill a migrated, empty database; it needs a user, who is named in the history."""
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(
            "SET statement_timeout = 0; SET maintenance_work_mem = '1GB'; SET work_mem = '256MB'"
        )
        connection.execute("SET session_replication_role = replica")  # foreign keys hold by construction
        with _without_indexes(connection):
            for statement in (*FEW, LEADS, QUEUED, CALLS):
                _run(connection, statement, size.parameters())
            for first in range(1, size.calls + 1, TURNS_AT_ONCE):
                last = min(first + TURNS_AT_ONCE - 1, size.calls)
                _run(connection, TURNS, {**size.parameters(), "first": first, "last": last})
            for statement in (ONGOING, MEETINGS, NOTES, HISTORY):
                _run(connection, statement, size.parameters())
        _run(connection, "VACUUM (ANALYZE)", None)
        connection.execute("CHECKPOINT")


def _run(connection: psycopg.Connection[Any], statement: Any, parameters: Parameters | None) -> None:
    started = time.monotonic()
    with connection.transaction() if parameters else _nothing():
        done = connection.execute(statement, parameters)
    words = " ".join(str(statement).split()[:4])
    print(f"{words:<42}{max(done.rowcount, 0):>14,} rows {time.monotonic() - started:7.1f} s", flush=True)


@contextmanager
def _nothing() -> Iterator[None]:
    yield


INDEXES = """
SELECT i.indexrelid::regclass::text, c.conname, i.indrelid::regclass::text, pg_get_indexdef(i.indexrelid),
       pg_get_constraintdef(c.oid)
FROM pg_index i LEFT JOIN pg_constraint c ON c.conindid = i.indexrelid AND c.contype IN ('u', 'x')
WHERE i.indrelid = ANY(%s::regclass[]) AND NOT i.indisprimary
ORDER BY 1
"""


@contextmanager
def _without_indexes(connection: psycopg.Connection[Any]) -> Iterator[None]:
    found = connection.execute(INDEXES, [list(BIG)]).fetchall()
    for index, constraint, table, _, _ in found:
        if constraint:
            statement = sql.SQL("ALTER TABLE {} DROP CONSTRAINT {}")
            connection.execute(statement.format(sql.Identifier(table), sql.Identifier(constraint)))
        else:
            connection.execute(sql.SQL("DROP INDEX {}").format(sql.Identifier(index)))
    yield
    for _, constraint, table, index_definition, definition in found:
        if constraint:
            head = sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} ").format(
                sql.Identifier(table), sql.Identifier(constraint)
            )
            _run(connection, head.as_string(connection) + definition, {})
        else:
            _run(connection, index_definition, {})
