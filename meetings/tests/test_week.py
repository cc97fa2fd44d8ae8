from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from meetings.slots import DAY, Hours
from meetings.week import USUAL, Place, Week

ZURICH = ZoneInfo("Europe/Zurich")
SPRING, AUTUMN, PLAIN = date(2026, 3, 23), date(2026, 10, 19), date(2026, 5, 4)


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def test_a_meeting_lies_where_the_wall_clock_of_the_host_shows_it() -> None:
    week = Week(PLAIN, ZURICH)
    week.put([(at("2026-05-05T08:00"), at("2026-05-05T08:30"), "a")])

    (entry,) = week.columns[1].entries
    assert entry.place == Place(600, 630)
    assert week.length == 1440 and not any(column.note for column in week.columns)


def test_the_week_in_autumn_has_the_repeated_hour_twice() -> None:
    week = Week(AUTUMN, ZURICH)
    sunday = week.columns[6]
    week.put(
        [
            (at("2026-10-25T00:30"), at("2026-10-25T01:00"), "first 02:30"),
            (at("2026-10-25T01:30"), at("2026-10-25T02:00"), "second 02:30"),
            (at("2026-10-25T09:00"), at("2026-10-25T09:30"), "10:00"),
            (at("2026-10-19T08:00"), at("2026-10-19T08:30"), "10:00"),
        ]
    )

    assert week.length == 25 * 60 and week.end - week.start == 7 * DAY + 3600
    assert [entry.place for entry in sunday.entries] == [Place(150, 180), Place(210, 240), Place(660, 690)]
    assert [entry.lanes for entry in sunday.entries] == [1, 1, 1]
    assert week.columns[0].entries[0].place == Place(660, 690)
    assert sunday.note == "Clocks go back from 03:00 to 02:00: 02:00 to 03:00 happens twice."
    assert [label for _, label in week.hours(60, 300)] == ["01:00", "02:00", "02:00 again", "03:00"]


def test_the_week_in_spring_marks_the_hour_that_does_not_happen() -> None:
    week = Week(SPRING, ZURICH)
    sunday = week.columns[6]
    week.put([(at("2026-03-29T00:30"), at("2026-03-29T01:30"), "01:30 to 03:30")])

    assert week.end - week.start == 7 * DAY - 3600
    assert sunday.skipped == [Place(120, 180)]
    assert sunday.entries[0].place == Place(90, 210)
    assert sunday.note.startswith("Clocks go forward from 02:00 to 03:00")


@pytest.mark.parametrize(
    "zone", ["Australia/Lord_Howe", "America/Havana", "Africa/Casablanca", "Asia/Kathmandu", "UTC"]
)
def test_every_minute_of_a_year_has_a_place_of_its_own(zone: str) -> None:
    for number in range(53):
        week = Week(date.fromordinal(date(2026, 1, 5).toordinal() + 7 * number), ZoneInfo(zone))
        if not week.changes and number % 10:
            continue
        seen: set[tuple[date, Place]] = set()
        for instant in range(week.start, week.end, 600):
            ((column, place, _),) = week.pieces(instant, instant + 60)
            assert (column.day, place) not in seen
            seen.add((column.day, place))
            assert 0 <= place.start < place.end <= week.length


def test_a_meeting_over_midnight_lies_in_both_days_and_begins_in_one() -> None:
    week = Week(PLAIN, ZURICH)
    week.put([(at("2026-05-04T21:30"), at("2026-05-04T23:00"), "late")])

    monday, tuesday = week.columns[:2]
    assert [(each.place, each.begins_here) for each in monday.entries] == [(Place(1410, 1440), True)]
    assert [(each.place, each.begins_here) for each in tuesday.entries] == [(Place(0, 60), False)]


def test_overlapping_meetings_lie_side_by_side() -> None:
    week = Week(PLAIN, ZoneInfo("UTC"))
    times = [("09:00", "10:00"), ("09:30", "10:30"), ("10:00", "11:00"), ("12:00", "13:00")]
    week.put((at(f"2026-05-04T{a}"), at(f"2026-05-04T{b}"), a) for a, b in times)

    assert [(each.lane, each.lanes) for each in week.columns[0].entries] == [(0, 2), (1, 2), (0, 2), (0, 1)]


def test_the_hours_shown_hold_all_work_and_meetings() -> None:
    week = Week(PLAIN, ZoneInfo("UTC"))
    assert week.visible() == USUAL

    week.work(Hours(ZoneInfo("UTC"), week=(((540, 1020),),) * 7))
    week.put([(at("2026-05-04T19:15"), at("2026-05-04T19:45"), "late")])
    assert week.visible() == (540, 1200)
    assert week.columns[6].open == [Place(540, 1020)]
