from pathlib import Path

import pytest

from legacy.tables import IMPORTED_HOST
from legacy.tests.handmade import BARE, KEYED, Note, Row, bring, lead, meeting, notes, stored
from meetings.models import MeetingHost

pytestmark = pytest.mark.django_db
REASON = "overlaps a meeting with a lower id"


def at(clock: str) -> str:
    return f"2025-12-01 {clock}:00.000000"


def overlapping(folder: Path, *rows: Row, layout: str = KEYED) -> list[int]:
    """Import meetings of one lead and return the ids of those that may overlap."""
    report = bring(folder, layout, leads=[lead()], meetings=list(rows))
    found = [row_id for row_id, row in stored("meetings").items() if row["allow_overlap"]]
    assert [row_id for row_id in found if notes("meetings", row_id)[-1].reason != REASON] == []
    assert report.tables["meetings"].repaired == len(found)
    return found


def test_all_meetings_belong_to_the_imported_calendar(tmp_path: Path) -> None:
    overlapping(tmp_path, meeting(1), meeting(2))
    host = MeetingHost.objects.get()
    assert host.name == IMPORTED_HOST
    assert {row["host_id"] for row in stored("meetings").values()} == {host.pk}


@pytest.mark.parametrize("layout", [KEYED, BARE])
def test_of_overlapping_meetings_the_lowest_id_stays_as_it_is(tmp_path: Path, layout: str) -> None:
    rows = [
        meeting(1, scheduled_time=at("10:15")),
        meeting(2, scheduled_time=at("10:00")),
        meeting(3, scheduled_time=at("12:00"), status="confirmed"),
        meeting(4, scheduled_time=at("12:00")),
        meeting(5, scheduled_time=at("14:00")),
    ]
    assert overlapping(tmp_path, *rows, layout=layout) == [2, 4]
    assert notes("meetings", 2) == [Note("repaired", "scheduled_time", at("10:00"), REASON)]


def test_every_later_meeting_of_a_chain_may_overlap(tmp_path: Path) -> None:
    clocks = ["10:00", "10:20", "10:40", "11:00"]
    rows = [meeting(n, scheduled_time=at(each)) for n, each in enumerate(clocks, 1)]
    assert overlapping(tmp_path, *rows) == [2, 3, 4]


def test_a_short_meeting_inside_long_ones_is_seen(tmp_path: Path) -> None:
    rows = [
        meeting(1, scheduled_time=at("11:50"), duration=5),
        meeting(5, scheduled_time=at("09:00"), duration=480),
        meeting(4, scheduled_time=at("09:30"), duration=15),
        meeting(3, scheduled_time=at("10:00"), duration=15),
        meeting(2, scheduled_time=at("17:00"), duration=60),
    ]
    assert overlapping(tmp_path, *rows) == [5]


def test_meetings_that_touch_do_not_overlap(tmp_path: Path) -> None:
    rows = [meeting(1, scheduled_time=at("10:00")), meeting(2, scheduled_time=at("10:30"), duration=None)]
    assert overlapping(tmp_path, *rows, meeting(3, scheduled_time=at("11:00"))) == []


def test_an_empty_duration_counts_as_half_an_hour(tmp_path: Path) -> None:
    rows = [meeting(1, scheduled_time=at("10:00"), duration=None), meeting(2, scheduled_time=at("10:29"))]
    assert overlapping(tmp_path, *rows) == [2]
    assert stored("meetings")[1]["duration"] is None


def test_a_meeting_of_no_minutes_counts_as_half_an_hour(tmp_path: Path) -> None:
    rows = [meeting(1, scheduled_time=at("10:00")), meeting(2, scheduled_time=at("10:10"), duration=0)]
    assert overlapping(tmp_path, *rows, meeting(3, scheduled_time=at("10:10"), duration=0)) == [2, 3]


@pytest.mark.parametrize("status", ["CANCELLED", "completed", "NO_SHOW"])
def test_meetings_that_are_over_or_off_overlap_nothing(tmp_path: Path, status: str) -> None:
    rows = [
        meeting(1, scheduled_time=at("10:00"), status=status),
        meeting(2, scheduled_time=at("10:00")),
        meeting(3, scheduled_time=at("10:00"), status=status),
    ]
    assert overlapping(tmp_path, *rows) == []


def test_meetings_overlap_whatever_forms_their_times_have(tmp_path: Path) -> None:
    rows = [
        meeting(1, scheduled_time="2025-12-01T12:00:00+02:00"),
        meeting(2, scheduled_time=at("10:29")),
        meeting(3, scheduled_time=1764584940),  # 10:29 too
        meeting(4, scheduled_time="2025-12-01 10:30:00"),
    ]
    assert overlapping(tmp_path, *rows) == [2, 3, 4]


def test_the_overlap_of_a_rejected_meeting_does_not_count(tmp_path: Path) -> None:
    rows = [meeting(1, scheduled_time=at("10:00"), lead_id=5), meeting(2, scheduled_time=at("10:00"))]
    bring(tmp_path, leads=[lead()], meetings=rows)
    assert not stored("meetings")[2]["allow_overlap"]


def test_meetings_at_the_edges_of_time_do_not_stop_the_import(tmp_path: Path) -> None:
    rows = [
        meeting(1, scheduled_time="2100-12-31 23:59:59.999999", duration=527_040),
        meeting(2, scheduled_time="1990-01-01 00:00:00", duration=527_040),
        meeting(3, scheduled_time="2100-12-31 23:59:59.999999", duration=527_041),
    ]
    assert overlapping(tmp_path, *rows[:2]) == []
    (tmp_path / "ai_scheduler.db").unlink()
    bring(tmp_path, leads=[lead()], meetings=rows)
    assert [note.column for note in notes("meetings", 3)] == ["duration", "scheduled_time"]


def test_an_event_id_that_occurs_twice_stays_with_the_lowest_id(tmp_path: Path) -> None:
    rows = [meeting(n, calendar_event_id=each) for n, each in enumerate(["a", "b", "a", None, None, ""], 1)]
    bring(tmp_path, leads=[lead()], meetings=rows)
    assert [row["calendar_event_id"] for row in stored("meetings").values()] == [
        "a",
        "b",
        None,
        None,
        None,
        "",
    ]
    reason = "occurs twice; the lowest id keeps it"
    assert notes("meetings") == [Note("repaired", "calendar_event_id", "a", reason)]
