from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from legacy.convert import FROM_SNAPSHOT
from legacy.tests.handmade import (
    BARE,
    KEYED,
    LATER,
    NOON,
    Note,
    RawText,
    bring,
    call,
    lead,
    meeting,
    moment,
    notes,
    run,
    setting,
    stored,
    turn,
    write,
)

pytestmark = pytest.mark.django_db

# 2025-11-02 14:03:11 UTC in every form; digits in text come from columns without a type.
EPOCH = 1762092191
FORMS: dict[Any, str] = {
    "2025-11-02 14:03:11": "2025-11-02 14:03:11",
    "2025-11-02 14:03:11.123456": "2025-11-02 14:03:11.123456",
    "2025-11-02 14:03:11.120000": "2025-11-02 14:03:11.12",
    "2025-11-02 14:03:11.000000": "2025-11-02 14:03:11",
    "2025-11-02T14:03:11": "2025-11-02 14:03:11",
    "2025-11-02T14:03:11Z": "2025-11-02 14:03:11",
    "2025-11-02 14:03:11Z": "2025-11-02 14:03:11",
    "2025-11-02T14:03:11.5Z": "2025-11-02 14:03:11.5",
    "2025-11-02T14:03:11+00:00": "2025-11-02 14:03:11",
    "2025-11-02T16:03:11+02:00": "2025-11-02 14:03:11",
    "2025-11-02 16:03:11 +0200": "2025-11-02 14:03:11",
    "2025-11-02T16:03:11+02": "2025-11-02 14:03:11",
    "2025-11-02": "2025-11-02 00:00:00",
    " 2025-11-02 14:03:11\n": "2025-11-02 14:03:11",
    EPOCH: "2025-11-02 14:03:11",
    EPOCH + 0.5: "2025-11-02 14:03:11.5",
    EPOCH * 1000 + 250: "2025-11-02 14:03:11.25",
    EPOCH * 1000.0: "2025-11-02 14:03:11",
    f"{EPOCH}": "2025-11-02 14:03:11",
    f"{EPOCH}.5": "2025-11-02 14:03:11.5",
    f"{EPOCH}250": "2025-11-02 14:03:11.25",
    "2025110212345": "2034-03-04 18:36:52.345",  # milliseconds, though it begins like a date
    631152000: "1990-01-01 00:00:00",
    "2100-12-31 23:59:59.999999": "2100-12-31 23:59:59.999999",
}
UNREADABLE: tuple[Any, ...] = (
    "last tuesday",
    "",
    " ",
    "0000-00-00 00:00:00",
    "2025-02-30 12:00:00",
    "2025-04-31 12:00:00.123456",
    "2025-11-02 24:00:00",
    "2025-11-02 25:00:00",
    "1989-12-31 23:59:59",
    "2101-01-01 00:00:00",
    "9999-12-31 23:59:59",
    "nan",
    "inf",
    0,
    -1,
    EPOCH * 1_000_000,
    2**63 - 1,
    float("inf"),
    b"2025-11-02 14:03:11",
    RawText(b"2025-11-02 14:03:11\0"),
    RawText(b"2025-11-02 14:03:11\0.12345"),
    RawText(b"2025-11-02 14:03:1\xff"),
)


@pytest.mark.parametrize("layout", [BARE, KEYED])
def test_every_form_of_a_time_is_read_without_a_repair(tmp_path: Path, layout: str) -> None:
    rows = [lead(number, created_at=form) for number, form in enumerate(FORMS, 1)]
    report = bring(tmp_path, layout, leads=rows)
    found = {row["id"]: (row["created_at"], wanted) for row, wanted in zip(rows, FORMS.values(), strict=True)}
    held = stored("leads")
    assert {form: held[row_id]["created_at"] for row_id, (form, _) in found.items()} == {
        form: moment(wanted) for form, wanted in found.values()
    }
    assert report.tables["leads"].repaired == 0
    assert notes("leads") == []


def test_another_spelling_of_a_time_is_kept_for_the_way_back_but_is_no_repair(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead(created_at="2025-11-02T14:03:11Z")])
    kept = Note("spelling", "created_at", "2025-11-02T14:03:11Z", "another spelling of the time")
    assert notes("leads", spelling=True) == [kept]


@pytest.mark.parametrize("layout", [BARE, KEYED])
def test_an_unreadable_time_is_replaced_and_noted(tmp_path: Path, layout: str) -> None:
    rows = [lead(number, created_at=junk, updated_at=LATER) for number, junk in enumerate(UNREADABLE, 1)]
    report = bring(tmp_path, layout, leads=rows)
    held = stored("leads")
    assert {row["created_at"] for row in held.values()} == {moment(LATER)}
    assert report.tables["leads"].repaired == len(UNREADABLE) == len(held)
    for number in held:
        (note,) = notes("leads", number)
        assert (note.kind, note.column) == ("repaired", "created_at")
        assert note.reason.endswith("; updated_at taken")


def test_what_is_noted_of_a_time_is_what_the_file_had(tmp_path: Path) -> None:
    hidden = RawText(b"2025-11-02 14:03:11\0")
    rows = [lead(1, created_at="soon"), lead(2, created_at=b"\xff"), lead(3, created_at=float("inf"))]
    bring(tmp_path, BARE, leads=[*rows, lead(4, created_at=None), lead(5, created_at=hidden)])
    originals = [note.original for note in notes("leads")]
    assert originals == ["soon", {"blob_hex": "ff"}, {"real": "inf"}, None, {"text_hex": hidden.hex()}]
    reasons = [note.reason.removesuffix("; updated_at taken") for note in notes("leads")]
    assert reasons == ["not a time", "not a time", "not a time", "empty", "not a time"]


def test_an_unreadable_created_at_of_a_call_takes_started_at(tmp_path: Path) -> None:
    bring(
        tmp_path, leads=[lead()], calls=[call(created_at="junk", started_at=NOON), call(2, created_at=None)]
    )
    assert [row["created_at"] for row in stored("calls").values()] == [moment(NOON)] * 2
    assert notes("calls") == [
        Note("repaired", "created_at", "junk", "not a time; started_at taken"),
        Note("repaired", "created_at", None, "empty; started_at taken"),
    ]


def test_an_unreadable_started_at_takes_created_at(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead()], calls=[call(started_at=None, created_at=NOON)])
    assert stored("calls")[1]["started_at"] == moment(NOON)
    assert notes("calls") == [Note("repaired", "started_at", None, "empty; created_at taken")]


def test_an_unreadable_updated_at_takes_created_at(tmp_path: Path) -> None:
    report = bring(
        tmp_path,
        leads=[lead(updated_at=None, created_at=NOON)],
        meetings=[meeting(updated_at="", created_at=NOON)],
    )
    assert stored("leads")[1]["updated_at"] == stored("meetings")[1]["updated_at"] == moment(NOON)
    assert notes("leads") == [Note("repaired", "updated_at", None, "empty; created_at taken")]
    assert (report.tables["leads"].repaired, report.tables["meetings"].repaired) == (1, 1)


def test_a_row_without_any_time_takes_that_of_the_snapshot_and_stays_so(tmp_path: Path) -> None:
    tables = {
        "leads": [lead()],
        "calls": [call()],
        "conversation_history": [turn(created_at=None)],
        "settings": [setting(updated_at="never")],
    }
    first = run(write(tmp_path / "ai_scheduler.db", tables))
    taken = stored("conversation_history")[1]["created_at"]
    assert taken == stored("settings")[1]["updated_at"]
    assert notes("settings") == [Note("repaired", "updated_at", "never", FROM_SNAPSHOT)]
    second = run(tmp_path / "ai_scheduler.db")
    assert (first.tables["settings"].inserted, second.tables["settings"].unchanged) == (1, 1)
    assert second.tables["conversation_history"].updated == 0
    assert stored("conversation_history")[1]["created_at"] == taken


@pytest.mark.parametrize("junk", ["soon", None, "9999-01-01 00:00:00"])
def test_a_meeting_without_a_readable_scheduled_time_is_rejected(tmp_path: Path, junk: str | None) -> None:
    report = bring(tmp_path, leads=[lead()], meetings=[meeting(scheduled_time=junk)])
    assert stored("meetings") == {}
    (note,) = notes("meetings")
    assert (note.kind, note.column, note.original) == ("rejected", None, meeting(scheduled_time=junk))
    assert note.reason.startswith("scheduled_time is ")
    assert (report.tables["meetings"].read, report.tables["meetings"].rejected) == (1, 1)


def test_an_unreadable_ended_at_becomes_null_and_an_empty_one_needs_no_note(tmp_path: Path) -> None:
    bring(
        tmp_path,
        leads=[lead(1), lead(2)],
        calls=[call(1, ended_at="junk"), call(2, lead_id=2, ended_at=None)],
    )
    assert [row["ended_at"] for row in stored("calls").values()] == [None, None]
    assert notes("calls") == [Note("repaired", "ended_at", "junk", "not a time")]


def test_a_naive_time_is_in_the_zone_that_was_given(tmp_path: Path) -> None:
    rows = [
        lead(1, created_at="2025-07-02 14:00:00", updated_at="2025-11-02 14:00:00.500000"),
        lead(2, created_at="2025-07-02T14:00:00Z", updated_at=EPOCH),
        lead(3, created_at="2025-07-02", updated_at="2025-07-02 14:00:00+00:00"),
    ]
    bring(tmp_path, zone=ZoneInfo("Europe/Zurich"), leads=rows)
    held = [(row["created_at"], row["updated_at"]) for row in stored("leads").values()]
    assert held == [
        (moment("2025-07-02 12:00:00"), moment("2025-11-02 13:00:00.5")),
        (moment("2025-07-02 14:00:00"), moment("2025-11-02 14:03:11")),
        (moment("2025-07-01 22:00:00"), moment("2025-07-02 14:00:00")),
    ]
    assert notes("leads") == []
