"""A small call centre that never was, for browsers and screenshots: what it did lies in the last weeks."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import psycopg
from django.contrib.auth.hashers import PBKDF2PasswordHasher

from legacy.synthetic.build import build

USER, AGENT, PASSWORD = "ada", "ben", "correct horse battery staple"
LEADS = 240
PHONE, SPOKEN_PHONE = "+14155550134", "415 555 0134"
ANN, DORA = "Ann Example", "Dora Nilsson"
BAD_LEAD = 90_001  # came without a phone, so that the import rejected it
HOST, TAKEN_HOUR = "Ines Keller", 10
SCRIPT = "<script>document.title = 'broken'</script>"

Manage = Callable[..., object]

# Names that fit the screen, and texts that a careless page would run.
ROWS_OF_OLD_FILE = (
    "INSERT INTO leads (id, name, phone, email, language, status, created_at, updated_at)"
    f" VALUES ({BAD_LEAD}, 'Lost Number', '', 'lost@example.com', 'en', 'PENDING', '2025-02-01 10:00:00',"
    " '2025-02-01 10:00:00')",
    "INSERT INTO leads (id, name, phone, email, language, status, created_at, updated_at)"
    " VALUES (90002, 'Old Spelling', '(415) 555-0199', 'old@example.com', 'en', 'pending ', '2025-02-01 10:00:00',"
    " '01.02.2025 10:00')",
    "INSERT INTO calls (id, lead_id, duration, outcome, started_at, created_at)"
    " VALUES (90003, 77777, -5, 'INTERESTED', '2025-02-01 10:00:00', '2025-02-01 10:00:00')",
    "INSERT INTO settings (key, value, updated_at) VALUES ('system_prompt',"
    " 'You are a friendly assistant of a clinic. Book a meeting when the person agrees.', '2025-02-01 10:00:00')",
)
# As if the old system had been switched off an hour ago, after a month of working days of nine hours.
TO_THE_PRESENT = """
DO $$
DECLARE shift interval := now() - interval '1 hour' - (SELECT max(created_at) FROM leads WHERE id < 90000);
BEGIN
    UPDATE leads SET created_at = least(created_at + shift, now()), updated_at = least(updated_at + shift, now());
    UPDATE partners SET created_at = created_at + shift, updated_at = updated_at + shift;
    CREATE TEMPORARY TABLE shifts AS
        SELECT id, now() - interval '1 hour' - n / 24 * interval '1 day' - n % 24 * interval '22 minutes' - started_at
            AS by FROM (SELECT id, started_at, row_number() OVER (ORDER BY id DESC) AS n FROM calls) newest;
    UPDATE conversation_history SET created_at = created_at + by FROM shifts WHERE shifts.id = call_id;
    UPDATE calls SET started_at = started_at + by, ended_at = ended_at + by, created_at = created_at + by
        FROM shifts WHERE shifts.id = calls.id;
    UPDATE meetings SET created_at = coalesce((SELECT started_at FROM calls WHERE calls.id = call_id), now()),
        scheduled_time = scheduled_time - (SELECT max(scheduled_time) FROM meetings) + now() + interval '3 days';
END $$
"""
PEOPLE = (
    f"INSERT INTO leads (id, name, phone, email, language, phone_valid, status, created_at) VALUES"
    f" (91001, '{ANN}', '{PHONE}', 'ann@example.com', 'en', true, 'contacted', now() - interval '3 days'),"
    f" (91002, '{DORA}', '+14155550135', 'dora@example.com', 'en', true, 'pending', now() - interval '4 days')",
    "INSERT INTO leads (id, name, phone, language, phone_valid, created_at) SELECT 91100 + n, 'Queue Me ' || n,"
    " '+1415555' || 2000 + n, 'en', true, now() - n * interval '1 minute' FROM generate_series(1, 10) n",
    "UPDATE leads SET status = 'queued' WHERE id IN (SELECT id FROM leads WHERE phone_valid AND NOT do_not_call"
    " AND status = 'no_answer' AND duplicate_of_id IS NULL ORDER BY id LIMIT 18)",
    "SELECT setval(pg_get_serial_sequence('leads', 'id'), 95000)",
    "UPDATE leads SET partner_id = (SELECT id FROM partners ORDER BY id OFFSET leads.id % 5 LIMIT 1)"
    " WHERE status = 'meeting_scheduled' AND id % 5 < 3",
    "UPDATE leads SET do_not_call = true WHERE status = 'not_interested' AND id % 9 = 0",
)
CONVERSATION = (
    ("ai", "Good morning, this is the assistant of the clinic. Am I speaking with Ann?"),
    ("user", "Yes, but I have two minutes only."),
    ("ai", "You asked us about a first consultation. Would Tuesday at ten suit you?"),
    ("user", f"Before I answer, what does {SCRIPT} mean in your letter?"),
    ("ai", "That was a fault in our template, I am sorry. Please ignore it."),
    ("user", "תודה, יום שלישי בעשר מתאים לי"),
    ("user", "شكرا جزيلا، يوم الثلاثاء مناسب"),
    ("ai", "Wonderful, Tuesday at ten it is. You get a confirmation of the pelargonium room by e-mail."),
)
CALL = (
    "INSERT INTO calls (id, lead_id, summary, recording_url, duration, language, voice_name, outcome, started_at, "
    "ended_at) VALUES (91001, 91001, 'Wants a first consultation on Tuesday.', "
    "'https://media.example.com/91001.mp3', 184, 'en', 'Rachel', 'interested', now() - interval '2 hours', "
    "now() - interval '117 minutes')"
)
TURN = (
    "INSERT INTO conversation_history (call_id, turn, role, message, created_at)"
    " VALUES (91001, %(turn)s, %(role)s, %(message)s, now() - interval '2 hours' + %(turn)s * interval '9 seconds')"
)
NOW_ON_THE_TELEPHONE = (
    "UPDATE calls SET ended_at = started_at + interval '1 minute', duration = 60 WHERE ended_at IS NULL",
    "INSERT INTO calls (lead_id, language, voice_name, started_at) SELECT id, language, 'Rachel',"
    " now() - row_number() OVER (ORDER BY id) * interval '47 seconds' FROM leads WHERE phone_valid"
    " AND status = 'no_answer' AND duplicate_of_id IS NULL AND id < 90000 ORDER BY id DESC LIMIT 4",
    "UPDATE leads SET status = 'calling' WHERE id IN (SELECT lead_id FROM calls WHERE ended_at IS NULL)",
    "INSERT INTO conversation_history (call_id, turn, role, message) SELECT id, 1, 'ai',"
    " 'Hello, do you have a moment to talk about your request?' FROM calls WHERE ended_at IS NULL",
)
CALENDAR = (
    "INSERT INTO meeting_hosts (id, name, timezone, working_hours) VALUES (9001, %(host)s, 'UTC', '"
    '{"mon": [["08:00", "17:00"]], "tue": [["08:00", "17:00"]], "wed": [["08:00", "17:00"]],'
    ' "thu": [["08:00", "17:00"]], "fri": [["08:00", "17:00"]], "sat": [["08:00", "17:00"]],'
    ' "sun": [["08:00", "17:00"]]}\')',
    "INSERT INTO meetings (lead_id, host_id, scheduled_time, duration, guest_email, status, created_at)"
    " SELECT (SELECT min(id) + n * 7 FROM leads WHERE id < 90000), 9001, date_trunc('day', now())"
    " + (n / 3 - 2) * interval '1 day' + interval '9 hours' + n % 3 * interval '150 minutes', 30,"
    " 'guest' || n || '@example.com', CASE WHEN n % 4 = 0 THEN 'confirmed' ELSE 'scheduled' END,"
    " now() - (n + 3) * interval '9 hours'"
    " FROM generate_series(0, 23) n",
    "INSERT INTO meetings (lead_id, call_id, host_id, scheduled_time, duration, guest_email, status)"
    " VALUES (91001, 91001, 9001, %(taken)s, 30, 'ann@example.com', 'confirmed')",
)
# What staff did, as the admin writes it down.
CHANGE = json.dumps(
    [
        {
            "changed": {"fields": ["Email", "Language"]},
            "values": [["Email", "-", "ann@example.com"], ["Language", "de", "en"]],
            "note": "She spelt it on the telephone.",
        }
    ]
)
STAFF = (
    "INSERT INTO auth_user (id, username, first_name, last_name, email, password, is_staff, is_active, is_superuser,"
    " date_joined) VALUES (9001, %(user)s, 'Ada', 'Marin', '', %(password)s, true, true, true, now()),"
    " (9002, %(agent)s, 'Ben', 'Okafor', 'ben@example.com', %(password)s, true, true, false,"
    " now() - interval '3 days')",
    "INSERT INTO auth_user_groups (user_id, group_id) SELECT 9002, id FROM auth_group WHERE name = 'Agent'",
    "INSERT INTO django_admin_log (action_time, user_id, content_type_id, object_id, object_repr, action_flag,"
    " change_message) SELECT now() - interval '1 day', 9002, id, '91001', %(ann)s, 2, %(change)s"
    " FROM django_content_type WHERE (app_label, model) = ('leads', 'lead')",
    "INSERT INTO setting_versions (key, value, written_by_id, created_at) VALUES ('system_prompt',"
    " E'You are a friendly assistant of a clinic.\nOffer two times at most.', 9001, now() - interval '3 days'),"
    " ('system_prompt', (SELECT value FROM settings WHERE key = 'system_prompt'), 9001, now() - interval '2 days')",
    "INSERT INTO staff_tokens (user_id, prefix, digest, read_only, last_used_at) VALUES"
    " (9002, 'made-up-', encode(sha256('made up'), 'hex'), true, now() - interval '5 minutes')",
)


def fill(url: str, folder: Path, manage: Manage) -> None:
    """Fill an empty, migrated database; `manage` runs a command of manage.py against it."""
    old_file = folder / "ai_scheduler.db"
    build(old_file, leads=LEADS, seed=7)
    with closing(sqlite3.connect(old_file)) as old, old:
        for statement in ROWS_OF_OLD_FILE:
            old.execute(statement)
    manage("migrate_from_sqlite", str(old_file), "--no-input")
    with psycopg.connect(url) as connection:
        for statement in (TO_THE_PRESENT, *PEOPLE, CALL):
            connection.execute(statement)
        for number, (role, message) in enumerate(CONVERSATION, start=1):
            connection.execute(TURN, {"turn": number, "role": role, "message": message})
        for statement in NOW_ON_THE_TELEPHONE:
            connection.execute(statement)
        taken = taken_time(connection)
        for statement in CALENDAR:
            connection.execute(statement.replace("n % ", "n %% "), {"host": HOST, "taken": taken})
        password = PBKDF2PasswordHasher().encode(PASSWORD, "made-up-salt")
        for statement in STAFF:
            values = {"user": USER, "agent": AGENT, "password": password, "ann": ANN, "change": CHANGE}
            connection.execute(statement, values)


def taken_time(connection: psycopg.Connection) -> object:
    """Return when the host is taken: in 12 days, where no other meeting lies."""
    query = "SELECT date_trunc('day', now()) + interval '12 days' + %s * interval '1 hour'"
    row = connection.execute(query, [TAKEN_HOUR]).fetchone()
    assert row is not None
    return row[0]
