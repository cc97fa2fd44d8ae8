"""Runs after the first: only what is new or changed in SQLite, and nothing of what PostgreSQL's users did."""

from pathlib import Path

import pytest

from leads.models import Lead
from legacy.tests.moves import Outcome, add_call, add_lead, change, migrate, sql, stored, swap, verify

pytestmark = pytest.mark.django_db(transaction=True)

ROWS = {"partners": 2, "leads": 4, "calls": 3, "conversation_history": 4, "meetings": 2, "settings": 2}


@pytest.fixture
def moved(old: Path) -> Path:
    """A small file that was imported once."""
    assert migrate(old).code == 0
    return old


def only(outcome: Outcome, **changed: dict[str, int]) -> None:
    """Assert that these counts, by table, are the only ones besides rows read and unchanged."""
    assert outcome.code == 0, outcome.message
    for name, counts in outcome.report["tables"].items():
        rest = {key: value for key, value in counts.items() if value and key not in ("read", "unchanged")}
        assert rest == changed.get(name, {}), name
        assert counts["read"] == sum(counts[k] for k in ("inserted", "updated", "unchanged", "rejected"))


def test_a_second_run_changes_nothing(moved: Path) -> None:
    before = stored(
        "partners", "leads", "calls", "conversation_history", "meetings", "settings", "import_row_digests"
    )
    outcome = migrate(moved)
    only(outcome)
    assert {name: outcome.counts(name)["unchanged"] for name in ROWS} == ROWS
    assert stored(*before) == before


def test_exactly_the_changed_rows_are_updated(moved: Path) -> None:
    change(
        moved,
        "UPDATE leads SET name = 'Annabel' WHERE id = 1",
        "UPDATE calls SET transcript = 'Bye' WHERE id = 2",
        "UPDATE meetings SET status = 'CANCELLED' WHERE id = 2",
        "UPDATE settings SET value = '6' WHERE id = 2",
        "UPDATE partners SET rate_limit = 61 WHERE id = 1",
        "UPDATE conversation_history SET message = 'Ciao' WHERE id = 12",
    )
    before = stored("leads")["leads"]
    only(migrate(moved), **{name: {"updated": 1} for name in ROWS})
    after = stored("leads")["leads"]
    assert [a == b for a, b in zip(after, before, strict=True)] == [False, True, True, True]
    assert not verify(moved).findings
    only(migrate(moved))


def test_new_rows_are_inserted_with_their_children(moved: Path) -> None:
    add_lead(moved, 9, "+14155550109", partner=2)
    add_call(moved, 9, 9)
    change(moved, "INSERT INTO conversation_history VALUES (20, 9, 'AI', 'Hi', '2025-03-05 09:00:00')")
    new = {"inserted": 1}
    only(migrate(moved), leads=new, calls=new, conversation_history=new)
    assert not verify(moved).findings
    assert sql("SELECT nextval(pg_get_serial_sequence('leads', 'id')) > 9") == [(True,)]


def test_an_update_leaves_the_columns_that_only_postgresql_has(moved: Path) -> None:
    own = "do_not_call, priority, attempts, timezone"
    sql(
        "UPDATE leads SET do_not_call = true, priority = 7, attempts = 2, timezone = 'Europe/Zurich'"
        " WHERE id = 1"
    )
    change(moved, "UPDATE leads SET name = 'Annabel', status = 'QUEUED' WHERE id = 1")
    only(migrate(moved), leads={"updated": 1})
    assert sql(f"SELECT name, status, {own} FROM leads WHERE id = 1") == [
        ("Annabel", "queued", True, 7, 2, "Europe/Zurich")
    ]


def test_rows_changed_only_in_postgresql_are_left_alone(moved: Path) -> None:
    sql("UPDATE leads SET name = 'Anna Maria' WHERE id = 1")
    sql("UPDATE calls SET outcome = 'interested' WHERE id = 1")
    sql("UPDATE settings SET value = '9' WHERE id = 2")
    sql("UPDATE meetings SET status = 'completed' WHERE id = 1")
    before = stored("leads", "calls", "settings", "meetings", "import_row_digests")
    only(migrate(moved))
    only(migrate(moved, "--on-conflict=take"))
    assert stored(*before) == before


@pytest.fixture
def in_conflict(moved: Path) -> Path:
    """A file whose lead 1 was changed on both sides, lead 2 in SQLite and lead 3 in PostgreSQL."""
    sql("UPDATE leads SET name = 'from PostgreSQL' WHERE id IN (1, 3)")
    change(moved, "UPDATE leads SET name = 'from SQLite' WHERE id IN (1, 2)")
    return moved


def lead_names() -> list[str]:
    return [row[0] for row in sql("SELECT name FROM leads ORDER BY id")]


def test_a_conflict_keeps_the_row_of_postgresql(in_conflict: Path) -> None:
    outcome = migrate(in_conflict)
    only(outcome, leads={"updated": 1, "conflicts": 1})
    assert outcome.notes("conflict") == [("leads", 1)]
    assert outcome.report["notes"][0]["original"]["name"] == "from SQLite"
    assert lead_names() == ["from PostgreSQL", "from SQLite", "from PostgreSQL", "Dora"]
    assert sql("SELECT table_name, row_id, kind FROM import_row_notes") == [("leads", 1, "conflict")]


def test_a_kept_conflict_is_reported_again(in_conflict: Path) -> None:
    migrate(in_conflict)
    before = stored("leads", "import_row_digests")
    only(migrate(in_conflict), leads={"conflicts": 1})
    assert stored(*before) == before


def test_a_conflict_takes_the_row_of_sqlite(in_conflict: Path) -> None:
    outcome = migrate(in_conflict, "--on-conflict=take")
    only(outcome, leads={"updated": 2, "conflicts": 1})
    assert outcome.report["notes"][0]["original"]["name"] == "from PostgreSQL"
    assert lead_names() == ["from SQLite", "from SQLite", "from PostgreSQL", "Dora"]
    only(migrate(in_conflict))


def test_a_conflict_stops_the_import(in_conflict: Path) -> None:
    before = stored()
    outcome = migrate(in_conflict, "--on-conflict=stop")
    assert outcome.code == 5
    assert outcome.message == "Conflicts in leads 1; nothing was changed."
    assert stored() == before


def test_the_same_change_on_both_sides_is_no_conflict(moved: Path) -> None:
    sql("UPDATE leads SET name = 'Annabel' WHERE id = 1")
    change(moved, "UPDATE leads SET name = 'Annabel' WHERE id = 1")
    only(migrate(moved, "--on-conflict=stop"))


def test_a_dry_run_of_a_merge_changes_nothing(in_conflict: Path) -> None:
    before = stored()
    only(migrate(in_conflict, "--dry-run"), leads={"updated": 1, "conflicts": 1})
    assert stored() == before


def test_a_row_deleted_in_postgresql_stays_deleted_with_its_children(moved: Path) -> None:
    Lead.objects.get(pk=2).delete()  # and with it calls 2 and 3, turn 13 and meeting 1
    before = stored("leads", "calls", "conversation_history", "meetings")
    for _ in range(2):
        outcome = migrate(moved)
        assert outcome.code == 3
        assert (outcome.total("inserted"), outcome.total("updated"), outcome.total("conflicts")) == (0, 0, 0)
        assert stored(*before) == before


def test_a_row_deleted_in_postgresql_and_changed_in_sqlite_is_a_conflict(moved: Path) -> None:
    sql("DELETE FROM leads WHERE id = 4")
    change(moved, "UPDATE leads SET name = 'Dorothy' WHERE id = 4")
    only(migrate(moved), leads={"conflicts": 1})
    only(migrate(moved), leads={"conflicts": 1})
    assert migrate(moved, "--on-conflict=stop").code == 5
    only(migrate(moved, "--on-conflict=take"), leads={"inserted": 1, "conflicts": 1})
    assert sql("SELECT name FROM leads WHERE id = 4") == [("Dorothy",)]
    only(migrate(moved))


def test_rows_gone_from_sqlite_are_kept_and_listed(moved: Path) -> None:
    change(moved, "DELETE FROM conversation_history WHERE id = 12", "DELETE FROM leads WHERE id = 4")
    before = stored("leads", "conversation_history")
    for _ in range(2):
        outcome = migrate(moved)
        only(outcome)
        assert outcome.missing == [("leads", 4, False), ("conversation_history", 12, False)]
        assert stored(*before) == before


def test_delete_missing_deletes_only_unchanged_rows_that_nobody_needs(moved: Path) -> None:
    sql("UPDATE leads SET name = 'Dora, changed' WHERE id = 4")
    sql("INSERT INTO calls (lead_id) VALUES (3)")
    change(
        moved,
        "DELETE FROM leads WHERE id <> 1",
        "DELETE FROM calls WHERE id <> 1",
        "DELETE FROM conversation_history WHERE id > 11",
        "DELETE FROM meetings WHERE id = 1",
        "DELETE FROM partners WHERE id = 2",
    )
    outcome = migrate(moved, "--delete-missing")
    assert outcome.code == 0, outcome.message
    deleted = {(table, row_id) for table, row_id, done in outcome.missing if done}
    turns = {("conversation_history", 12), ("conversation_history", 13)}
    assert deleted == {("leads", 2), ("calls", 2), ("calls", 3), ("meetings", 1), ("partners", 2), *turns}
    assert {(t, i) for t, i, done in outcome.missing if not done} == {("leads", 3), ("leads", 4)}
    assert [row[0] for row in sql("SELECT id FROM leads ORDER BY id")] == [1, 3, 4]
    assert sql("SELECT partner_id FROM partner_api_keys") == [(1,)]
    assert migrate(moved).missing == [("leads", 3, False), ("leads", 4, False)]


def test_a_deleted_missing_row_can_come_back(moved: Path) -> None:
    change(moved, "DELETE FROM leads WHERE id = 4")
    migrate(moved, "--delete-missing")
    add_lead(moved, 4, "+14155550104")
    only(migrate(moved), leads={"inserted": 1})
    assert not verify(moved).findings


def test_rows_that_swap_a_unique_value(moved: Path) -> None:
    swap(moved, "leads", "phone", 1, 2)
    swap(moved, "partners", "name", 1, 2)
    swap(moved, "partners", "api_key", 1, 2)
    swap(moved, "calls", "twilio_call_sid", 1, 2)
    swap(moved, "meetings", "calendar_event_id", 1, 2)
    swap(moved, "meetings", "scheduled_time", 1, 2)
    swap(moved, "settings", "key", 1, 2)
    change(
        moved,
        "UPDATE calls SET ended_at = '2025-03-03 09:00:09' WHERE id = 3",
        "UPDATE calls SET ended_at = NULL WHERE id = 2",
    )
    two = {"updated": 2}
    only(migrate(moved), partners=two, leads=two, calls={"updated": 3}, meetings=two, settings=two)
    assert not verify(moved).findings


def test_an_earlier_turn_renumbers_the_later_ones(moved: Path) -> None:
    change(moved, "INSERT INTO conversation_history VALUES (30, 1, 'SYSTEM', 'Ring', '2025-03-01 09:00:01')")
    only(migrate(moved), conversation_history={"inserted": 1, "updated": 3})
    turns = sql("SELECT id, turn FROM conversation_history WHERE call_id = 1 ORDER BY turn")
    assert turns == [(30, 1), (10, 2), (11, 3), (12, 4)]


def test_sequences_never_go_down(moved: Path) -> None:
    sql("SELECT setval(pg_get_serial_sequence('leads', 'id'), 1000)")
    change(moved, "UPDATE leads SET name = 'Annabel' WHERE id = 1")
    only(migrate(moved), leads={"updated": 1})
    assert sql("SELECT nextval(pg_get_serial_sequence('leads', 'id'))") == [(1001,)]


def test_leads_first_and_the_rest_later(old: Path) -> None:
    outcome = migrate(old, "--tables=partners,leads")
    only(outcome, partners={"inserted": 2}, leads={"inserted": 4})
    outcome = migrate(old, "--tables=calls,conversation_history,meetings,settings")
    only(outcome, **{name: {"inserted": ROWS[name]} for name in list(ROWS)[2:]})
    only(migrate(old))
    assert not verify(old).findings


def test_leads_without_their_partners_get_them_with_the_next_whole_run(old: Path) -> None:
    outcome = migrate(old, "--tables=leads")
    assert outcome.counts("leads") == {"read": 4, "inserted": 4, "repaired": 2}
    only(migrate(old, "--tables=partners,leads"), partners={"inserted": 2}, leads={"updated": 2})
    assert migrate(old).code == 0
    assert not verify(old).findings


def test_the_time_of_a_row_without_any_stays_that_of_its_first_snapshot(old: Path) -> None:
    change(old, "UPDATE leads SET created_at = NULL, updated_at = NULL WHERE id = 1")
    assert migrate(old).code == 0
    before = sql("SELECT created_at FROM leads WHERE id = 1")
    for _ in range(2):
        only(migrate(old), leads={"repaired": 1})
    assert sql("SELECT created_at FROM leads WHERE id = 1") == before
    assert not verify(old).findings


def test_a_row_that_is_rejected_later_is_neither_lost_nor_missing(moved: Path) -> None:
    change(
        moved,
        "UPDATE meetings SET status = 'nonsense' WHERE id = 1",
        "UPDATE leads SET phone = '' WHERE id = 4",
    )
    before = stored("meetings", "leads")
    outcome = migrate(moved, "--delete-missing")
    assert (outcome.code, outcome.missing) == (3, [])
    assert outcome.counts("meetings") == {"read": 2, "unchanged": 1, "rejected": 1}
    assert stored(*before) == before
