"""Runs after the first, when PostgreSQL's users made rows that collide with those of SQLite."""

from pathlib import Path

import pytest
from django.contrib.auth import get_user_model
from django.utils import timezone

from legacy.models import ImportRowNote
from legacy.tests.moves import add_call, add_lead, change, migrate, sql, stored, swap, verify

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def moved(old: Path) -> Path:
    """A small file that was imported once."""
    assert migrate(old).code == 0
    return old


def test_a_lead_with_the_phone_of_one_made_in_postgresql_is_its_duplicate(moved: Path) -> None:
    [(native,)] = sql("INSERT INTO leads (name, phone) VALUES ('Native', '+14155550109') RETURNING id")
    add_lead(moved, 90, "+14155550109")
    for inserted in (1, 0):
        outcome = migrate(moved)
        assert (outcome.code, outcome.counts("leads").get("inserted", 0)) == (0, inserted), outcome.message
        assert sql("SELECT duplicate_of_id FROM leads WHERE id = 90") == [(native,)]


def test_a_lead_with_the_id_of_one_made_in_postgresql_is_a_conflict(moved: Path) -> None:
    [(native,)] = sql("INSERT INTO leads (name, phone) VALUES ('Native', '+14155550109') RETURNING id")
    add_lead(moved, native, "+14155550110")
    add_call(moved, 9, native)
    outcome = migrate(moved)
    assert outcome.notes("conflict") == [("leads", native), ("calls", 9)]
    assert sql("SELECT name FROM leads WHERE id = %s", native) == [("Native",)]
    # The call belongs to SQLite's lead, which is not here; it must not become one of another person.
    assert sql("SELECT count(*) FROM calls WHERE lead_id = %s", native) == [(0,)]


def test_a_partner_with_the_name_of_one_made_in_postgresql_is_renamed(moved: Path) -> None:
    sql("INSERT INTO partners (name) VALUES ('Clip')")
    change(
        moved,
        "INSERT INTO partners SELECT 9, 'Clip', 'key-of-clip', 1, 60, created_at, updated_at"
        " FROM partners LIMIT 1",
    )
    assert migrate(moved).code == 0
    assert sql("SELECT name FROM partners WHERE id = 9") == [("Clip (2)",)]
    assert migrate(moved).counts("partners") == {"read": 3, "unchanged": 3, "repaired": 1}


def test_a_setting_with_the_key_of_one_made_in_postgresql_is_rejected(moved: Path) -> None:
    sql("INSERT INTO settings (key, value) VALUES ('colour', 'red')")
    change(moved, "INSERT INTO settings VALUES (9, 'colour', 'blue', '2025-01-01 08:00:00')")
    for _ in range(2):
        outcome = migrate(moved)
        assert (outcome.code, outcome.notes("rejected")) == (3, [("settings", 9)])
    assert sql("SELECT value FROM settings WHERE key = 'colour'") == [("red",)]


def test_a_second_active_call_waits_until_the_one_of_postgresql_has_ended(moved: Path) -> None:
    sql("INSERT INTO calls (lead_id) VALUES (1)")
    change(
        moved,
        "INSERT INTO calls (id, lead_id, started_at, created_at)"
        " VALUES (90, 1, '2025-05-01 09:00:00', '2025-05-01 09:00:00')",
    )
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert outcome.notes("conflict") == [("calls", 90)]
    sql("UPDATE calls SET ended_at = started_at WHERE lead_id = 1 AND ended_at IS NULL")
    assert migrate(moved).counts("calls") == {"read": 4, "inserted": 1, "unchanged": 3}


def test_a_call_sid_and_an_event_that_postgresql_has_are_left_out(moved: Path) -> None:
    sql("INSERT INTO calls (lead_id, twilio_call_sid, ended_at) VALUES (1, 'CA9', now() + interval '1 s')")
    sql("INSERT INTO meeting_hosts (name) VALUES ('Other')")
    sql(
        "INSERT INTO meetings (lead_id, host_id, scheduled_time, calendar_event_id)"
        " SELECT 1, id, now(), 'evt9' FROM meeting_hosts WHERE name = 'Other'"
    )
    change(moved, "UPDATE calls SET twilio_call_sid = 'CA9' WHERE id = 1")
    change(moved, "UPDATE meetings SET calendar_event_id = 'evt9' WHERE id = 1")
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert sql("SELECT twilio_call_sid FROM calls WHERE id = 1") == [(None,)]
    assert sql("SELECT calendar_event_id FROM meetings WHERE id = 1") == [(None,)]


def test_a_meeting_at_the_time_of_one_booked_by_hand_in_the_imported_calendar_is_a_conflict(
    moved: Path,
) -> None:
    sql(
        "INSERT INTO meetings (lead_id, host_id, scheduled_time)"
        " SELECT 1, id, '2025-04-02 10:00+00' FROM meeting_hosts"
    )
    change(
        moved,
        "INSERT INTO meetings (id, lead_id, scheduled_time, status, created_at, updated_at)"
        " SELECT 9, lead_id, '2025-04-02 10:10:00.000000', status, created_at, updated_at"
        " FROM meetings LIMIT 1",
    )
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert outcome.notes("conflict") == [("meetings", 9)]
    sql("UPDATE meetings SET allow_overlap = true WHERE id <> 9")
    assert migrate(moved).counts("meetings") == {"read": 3, "inserted": 1, "unchanged": 2}


def test_a_lead_deleted_in_sqlite_and_made_again_with_its_phone(moved: Path) -> None:
    change(moved, "DELETE FROM leads WHERE id = 4")
    add_lead(moved, 9, "+14155550104")
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert outcome.missing == [("leads", 4, False)]
    assert sql("SELECT duplicate_of_id FROM leads WHERE id = 9") == [(4,)]
    assert migrate(moved).total("updated") == 0


def test_a_phone_that_staff_gave_to_an_imported_lead(moved: Path) -> None:
    sql("UPDATE leads SET phone = '+14155550109' WHERE id = 4")
    add_lead(moved, 9, "+14155550109")
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert sql("SELECT phone FROM leads WHERE id = 4") == [("+14155550109",)]
    assert sql("SELECT duplicate_of_id FROM leads WHERE id = 9") == [(4,)]
    assert migrate(moved).total("updated") == 0


def test_a_lead_that_takes_the_phone_of_one_kept_in_conflict(moved: Path) -> None:
    sql("UPDATE leads SET name = 'Benjamin' WHERE id = 2")
    swap(moved, "leads", "phone", 1, 2)
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert sql("SELECT name, phone FROM leads WHERE id = 2") == [("Benjamin", "+14155550102")]


def test_turns_renumbered_around_one_that_staff_changed(moved: Path) -> None:
    sql("UPDATE conversation_history SET message = '[removed]' WHERE id = 11")
    change(moved, "INSERT INTO conversation_history VALUES (30, 1, 'SYSTEM', 'Ring', '2025-03-01 09:00:01')")
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert sql("SELECT message FROM conversation_history WHERE id = 11") == [("[removed]",)]


def test_a_partner_whose_key_was_made_anew_in_sqlite(moved: Path) -> None:
    sql("INSERT INTO partner_api_keys (partner_id, prefix, digest) VALUES (1, 'own', repeat('a', 64))")
    before = sql("SELECT digest FROM partner_api_keys WHERE is_legacy ORDER BY partner_id")
    change(moved, "UPDATE partners SET api_key = 'another-key-0123456789' WHERE id = 1")
    assert migrate(moved).counts("partners") == {"read": 2, "updated": 1, "unchanged": 1}
    after = sql("SELECT digest FROM partner_api_keys WHERE is_legacy ORDER BY partner_id")
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True]
    assert sql("SELECT count(*) FROM partner_api_keys WHERE NOT is_legacy") == [(1,)]
    assert not verify(moved).findings


def test_a_key_that_staff_issued_with_the_same_digest(moved: Path) -> None:
    sql("UPDATE partner_api_keys SET is_legacy = false WHERE partner_id = 2")
    change(moved, "UPDATE partners SET rate_limit = 61")
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message


def test_a_row_that_staff_corrected_lets_its_children_in(old: Path) -> None:
    change(old, "UPDATE leads SET phone = '' WHERE id = 2")
    outcome = migrate(old)
    assert outcome.counts("calls") == {"read": 3, "inserted": 1, "rejected": 2}
    sql("INSERT INTO leads (id, name, phone) VALUES (2, 'Ben', '+14155550102')")
    ImportRowNote.objects.filter(table_name="leads", row_id=2).update(
        resolved_at=timezone.now(), resolved_by=get_user_model().objects.create(username="staff")
    )
    before = stored("leads")
    outcome = migrate(old)
    assert outcome.counts("leads") == {"read": 4, "unchanged": 3, "rejected": 1}
    assert outcome.counts("calls") == {"read": 3, "inserted": 2, "unchanged": 1}
    assert (outcome.total("conflicts"), outcome.missing) == (0, [])
    assert stored("leads") == before
    assert ImportRowNote.objects.filter(table_name="leads", resolved_at=None).count() == 0


def test_a_turn_gone_from_sqlite_keeps_its_number(moved: Path) -> None:
    change(moved, "DELETE FROM conversation_history WHERE id = 10")
    outcome = migrate(moved)
    assert outcome.code == 0, outcome.message
    assert outcome.missing == [("conversation_history", 10, False)]
    assert migrate(moved).total("updated") == 0


def test_a_turn_deleted_as_missing_frees_its_number(moved: Path) -> None:
    change(moved, "DELETE FROM conversation_history WHERE id = 10")
    outcome = migrate(moved, "--delete-missing")
    assert outcome.code == 0, outcome.message
    migrate(moved)
    assert sql("SELECT id, turn FROM conversation_history WHERE call_id = 1 ORDER BY turn") == [
        (11, 1),
        (12, 2),
    ]


def test_a_conflict_with_a_kept_row_is_listed_and_nothing_is_lost(moved: Path) -> None:
    change(moved, "DELETE FROM settings WHERE id = 1", "UPDATE settings SET key = 'voice' WHERE id = 2")
    sql("UPDATE settings SET value = 'Eve' WHERE id = 1")
    outcome = migrate(moved)
    assert (outcome.code, outcome.notes("rejected")) == (3, [("settings", 2)])
    assert stored("settings")["settings"][0].startswith("(1,voice,Eve,")


def test_a_row_made_again_under_another_id_replaces_the_one_deleted_as_missing(moved: Path) -> None:
    change(
        moved,
        "UPDATE settings SET id = 9 WHERE id = 1",
        "UPDATE leads SET id = 9 WHERE id = 4",
        "UPDATE meetings SET id = 9 WHERE id = 1",
        "UPDATE partners SET id = 9 WHERE id = 2",
    )
    outcome = migrate(moved, "--delete-missing")
    assert outcome.code == 0, outcome.message
    assert {(table, row_id) for table, row_id, deleted in outcome.missing if deleted} == {
        ("settings", 1),
        ("leads", 4),
        ("meetings", 1),
        ("partners", 2),
    }
    assert not verify(moved).findings
