from pathlib import Path
from typing import Any

import pytest
from django.db import connection

from legacy.tables import LEAD_STATUSES, MEETING_STATUSES, OUTCOMES, ROLES
from legacy.tests.handmade import (
    BARE,
    KEYED,
    Note,
    RawText,
    bring,
    call,
    counts,
    lead,
    meeting,
    notes,
    partner,
    setting,
    stored,
    turn,
)

pytestmark = pytest.mark.django_db

LAYOUTS = pytest.mark.parametrize("layout", [KEYED, BARE])


def spellings(value: str) -> tuple[str, ...]:
    return value.upper(), value, value.title(), f" {value} "


@LAYOUTS
def test_ids_are_kept(tmp_path: Path, layout: str) -> None:
    ids = [-3, 0, 7, 2**40, 2**62]
    rows = [lead(each, phone=f"+1415555{200 + n:04}") for n, each in enumerate(ids)]
    bring(tmp_path, layout, leads=rows, calls=[call(9, lead_id=2**62)])
    assert (list(stored("leads")), stored("calls")[9]["lead_id"]) == (ids, 2**62)


def test_identities_go_on_above_the_highest_id_also_in_empty_tables(tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        for table in ("leads", "calls", "settings"):  # no rollback sets a sequence back
            cursor.execute(f"ALTER TABLE {table} ALTER id RESTART")
    bring(tmp_path, leads=[lead(41), lead(7)], calls=[])
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO leads (name, phone) VALUES ('new', '+41446681800') RETURNING id")
        assert cursor.fetchall() == [(42,)]
        cursor.execute("INSERT INTO calls (lead_id) VALUES (42) RETURNING id")
        assert cursor.fetchall() == [(1,)]
        cursor.execute("INSERT INTO settings (key, value) VALUES ('a', 'b') RETURNING id")
        assert cursor.fetchall() == [(1,)]


def test_identities_leave_room_for_rejected_rows_to_come_in_later(tmp_path: Path) -> None:
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE leads ALTER id RESTART")
    bring(tmp_path, leads=[lead(1), lead(9, phone=""), lead(2**62, phone="")])
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO leads (name, phone) VALUES ('new', '+41446681800') RETURNING id")
        assert cursor.fetchall() == [(10,)]


def test_ids_that_are_no_whole_numbers_are_rejected_and_numbers_in_text_repaired(tmp_path: Path) -> None:
    ids: list[Any] = ["5", 6.0, " 8 ", None, "x", 1.5, 2**63 * 1.0, float("inf"), b"9", "", RawText(b"\xff")]
    rows = [lead(n, phone=f"+1415555{200 + n:04}") | {"id": each} for n, each in enumerate(ids)]
    report = bring(tmp_path, BARE, leads=rows)
    assert list(stored("leads")) == [5, 6, 8, 9]
    assert counts(report)["leads"] == (11, 4, 7)
    assert notes("leads", 5) == [Note("repaired", "id", "5", "was text, not a number")]
    reasons = [note.reason for note in notes("leads") if note.kind == "rejected"]
    assert reasons == [
        "id is empty",
        "id is not a number",
        "id is not a whole number",
        "id is out of range",
        "id is not a whole number",
        "id is empty",
        "id is not a number",
    ]


def test_an_id_that_occurs_twice_is_imported_once(tmp_path: Path) -> None:
    rows = [lead(1), lead(1, phone="+41446681800"), lead(1, phone="+41446681800") | {"id": "1"}]
    report = bring(tmp_path, BARE, leads=rows)
    assert counts(report)["leads"] == (3, 1, 2)
    assert {note.reason for note in notes("leads")} == {"id 1 occurs twice"}
    assert notes("leads", 1)[0].original == rows[1]


@LAYOUTS
def test_enum_names_and_values_are_known_in_any_case(tmp_path: Path, layout: str) -> None:
    statuses = [each for value in LEAD_STATUSES for each in spellings(value)]
    outcomes = [each for value in OUTCOMES for each in spellings(value)] + [None]
    roles = [each for value in ROLES for each in spellings(value)]
    bookings = [each for value in MEETING_STATUSES for each in spellings(value)]
    report = bring(
        tmp_path,
        layout,
        leads=[lead(n, status=each) for n, each in enumerate(statuses)],
        calls=[call(n, outcome=each) for n, each in enumerate(outcomes)],
        conversation_history=[turn(n, role=each) for n, each in enumerate(roles)],
        meetings=[meeting(n + 1, status=each) for n, each in enumerate(bookings)],
    )
    assert sum(each.repaired + each.rejected for each in report.tables.values()) == 0
    assert [row["status"] for row in stored("leads").values()] == [each.lower().strip() for each in statuses]
    assert [row["outcome"] for row in stored("calls").values()] == [
        each and each.lower().strip() for each in outcomes
    ]
    assert [row["role"] for row in stored("conversation_history").values()] == [
        each.lower().strip() for each in roles
    ]
    assert [row["status"] for row in stored("meetings").values()] == [
        each.lower().strip() for each in bookings
    ]


@LAYOUTS
def test_the_first_outcomes_become_todays_and_others_null(tmp_path: Path, layout: str) -> None:
    old = {
        "COMPLETED": "busy",
        "in_progress": "busy",
        "Meeting_Scheduled": "interested",
        "FAILED": "no_answer",
        "VOICEMAIL": "no_answer",
        "DECLINED": "not_interested",
        "MAYBE": None,
        "": None,
        7: None,
    }
    report = bring(tmp_path, layout, leads=[lead()], calls=[call(n, outcome=o) for n, o in enumerate(old, 1)])
    assert [row["outcome"] for row in stored("calls").values()] == list(old.values())
    found = notes("calls")
    assert report.tables["calls"].repaired == len(old) == len(found)
    assert {note.column for note in found} == {"outcome"}
    assert [note.original for note in found][:6] == list(old)[:6]


@LAYOUTS
def test_an_unknown_lead_status_becomes_failed(tmp_path: Path, layout: str) -> None:
    junk = ["ARCHIVED", None, "", 3, b"PENDING\xff", RawText(b"PENDING\0")]
    bring(tmp_path, layout, leads=[lead(n, status=each) for n, each in enumerate(junk, 1)])
    held = [row["status"] for row in stored("leads").values()]
    assert held[:5] == ["failed"] * 5
    assert [note.column for note in notes("leads")][:5] == ["status"] * 5
    assert notes("leads", 1)[0].original == "ARCHIVED"


@LAYOUTS
@pytest.mark.parametrize("junk", ["POSTPONED", None, "", 5])
def test_an_unknown_meeting_status_or_turn_role_is_rejected(tmp_path: Path, layout: str, junk: Any) -> None:
    report = bring(
        tmp_path,
        layout,
        leads=[lead()],
        calls=[call()],
        meetings=[meeting(status=junk)],
        conversation_history=[turn(role=junk)],
    )
    assert (counts(report)["meetings"], counts(report)["conversation_history"]) == ((1, 0, 1), (1, 0, 1))
    assert notes("meetings")[0].reason.startswith("status is ")
    assert notes("conversation_history")[0].reason.startswith("role is ")


@LAYOUTS
def test_nul_is_removed_from_text_and_the_original_kept_in_hex(tmp_path: Path, layout: str) -> None:
    hidden = RawText(b"An\0na\0")
    bring(tmp_path, layout, leads=[lead(1, name=hidden), lead(2, email=RawText(b"\0"))])
    assert (stored("leads")[1]["name"], stored("leads")[2]["email"]) == ("Anna", "")
    assert notes("leads", 1) == [Note("repaired", "name", {"text_hex": hidden.hex()}, "NUL removed")]


@LAYOUTS
def test_text_that_is_not_utf8_has_a_mark_and_its_bytes_are_kept(tmp_path: Path, layout: str) -> None:
    broken = {1: RawText(b"caf\xe9"), 2: RawText(b"\xed\xa0\xbd"), 3: RawText(b"\xff\xfe\0A"), 4: b"caf\xe9"}
    bring(tmp_path, layout, leads=[lead(n, name=each) for n, each in broken.items()])
    names = [row["name"] for row in stored("leads").values()]
    assert names == ["caf�", "���", "��A", "caf�"]
    assert [note.original for note in notes("leads")] == [
        {"text_hex": broken[1].hex()},
        {"text_hex": broken[2].hex()},
        {"text_hex": broken[3].hex()},
        {"blob_hex": broken[4].hex()},
    ]
    assert {note.kind for note in notes("leads")} == {"repaired"}


@LAYOUTS
def test_text_of_any_length_and_with_any_character_is_kept(tmp_path: Path, layout: str) -> None:
    texts = [
        "x" * 3_000_000,
        "a\tb\nc\r\\d\\N \\. \x01\x1e\x1f\x7f",
        "\N{PILE OF POO}﻿￾",
        "\\.",
        "\\N",
        "",
        " ",
    ]
    calls = [call(n, transcript=each, summary=each) for n, each in enumerate(texts, 1)]
    report = bring(tmp_path, layout, leads=[lead()], calls=calls)
    held = stored("calls")
    assert [
        row["transcript"] == text == row["summary"] for row, text in zip(held.values(), texts, strict=True)
    ]
    assert [row["transcript"] for row in held.values()] == texts
    assert report.tables["calls"].repaired == 0


def test_a_number_in_a_text_column_becomes_text_and_is_noted(tmp_path: Path) -> None:
    bring(tmp_path, BARE, leads=[lead(1, country_code=41), lead(2, name=1.5)], settings=[setting(value=5)])
    assert (stored("leads")[1]["country_code"], stored("leads")[2]["name"]) == ("41", "1.5")
    assert stored("settings")[1]["value"] == "5"
    assert notes("leads", 1) == [Note("repaired", "country_code", 41, "was a number, not text")]


def test_an_empty_required_text_is_left_blank_and_noted(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead(name=None)], settings=[setting(value=None)])
    assert (stored("leads")[1]["name"], stored("settings")[1]["value"]) == ("", "")
    assert notes("leads") == [Note("repaired", "name", None, "empty; left blank")]


@LAYOUTS
def test_durations_that_are_numbers_are_kept_and_those_in_text_repaired(tmp_path: Path, layout: str) -> None:
    given = [0, 180, 12.5, 0.1, 1 / 3, 1e308, 5e-324, 2**53, -0.0]
    texts = {" 12.5 ": 12.5, "7": 7.0, "1e3": 1000.0, b"9": 9.0}
    calls = [call(n, duration=each) for n, each in enumerate([*given, *texts], 1)]
    bring(tmp_path, layout, leads=[lead()], calls=calls)
    assert [float(row["duration"]) for row in stored("calls").values()] == [*given, *texts.values()]
    noted = {note.original if isinstance(note.original, str) else b"9" for note in notes("calls")}
    # A column declared FLOAT makes numbers of such text itself.
    assert noted == (set(texts) if layout == BARE else {b"9"})


@LAYOUTS
def test_numbers_that_are_none_become_null_and_are_noted(tmp_path: Path, layout: str) -> None:
    junk = [
        "abc",
        "",
        "-5",
        -1,
        -0.5,
        float("inf"),
        -float("inf"),
        "nan",
        "inf",
        "1e999",
        b"\xff",
        "1_000",
        "٣",
    ]
    rows = [call(n, duration=each) for n, each in enumerate(junk, 1)]
    bookings = [meeting(n, duration=each) for n, each in enumerate([*junk, 2**40], 1)]
    report = bring(tmp_path, layout, leads=[lead()], calls=rows, meetings=bookings)
    assert {row["duration"] for row in stored("calls").values()} == {None}
    assert {row["duration"] for row in stored("meetings").values()} == {None}
    assert (report.tables["calls"].repaired, report.tables["meetings"].repaired) == (len(junk), len(junk) + 1)
    assert notes("calls", 1) == [Note("repaired", "duration", "abc", "not a number")]
    assert notes("calls", 6)[0].original == {"real": "inf"}


def test_a_whole_number_that_a_float_cannot_hold_is_noted(tmp_path: Path) -> None:
    bring(tmp_path, BARE, leads=[lead()], calls=[call(duration=2**53 + 1)])
    (note,) = notes("calls")
    assert (note.kind, note.original, stored("calls")[1]["duration"]) == ("repaired", 2**53 + 1, 2.0**53)


def test_minutes_with_a_fraction_are_rounded_and_noted(tmp_path: Path) -> None:
    bring(tmp_path, BARE, leads=[lead()], meetings=[meeting(1, duration=45.6), meeting(2, duration=45.0)])
    assert [row["duration"] for row in stored("meetings").values()] == [46, 45]
    assert [note.original for note in notes("meetings")] == [45.6]


@LAYOUTS
def test_booleans_are_known_in_every_spelling(tmp_path: Path, layout: str) -> None:
    true, false = [1, "1", 1.0, "true", "T", "Yes", " TRUE "], [0, "0", "false", "F", "NO", 0.0]
    rows = [partner(n, is_active=each) for n, each in enumerate([*true, *false], 1)]
    report = bring(tmp_path, layout, partners=rows)
    held = [row["is_active"] for row in stored("partners").values()]
    assert held == [True] * len(true) + [False] * len(false)
    assert report.tables["partners"].repaired == 0


@LAYOUTS
def test_an_empty_boolean_is_true_and_junk_rejects_the_row(tmp_path: Path, layout: str) -> None:
    junk = ["perhaps", "", 2, -1, 0.5, b"1"]
    rows = [partner(n, is_active=each) for n, each in enumerate([None, *junk], 1)]
    report = bring(tmp_path, layout, partners=rows)
    assert (list(stored("partners")), stored("partners")[1]["is_active"]) == ([1], True)
    assert notes("partners", 1) == [Note("repaired", "is_active", None, "empty; true taken")]
    assert counts(report)["partners"] == (7, 1, 6)
    assert {note.reason for note in notes("partners")[1:]} == {"is_active is not a yes or no"}
