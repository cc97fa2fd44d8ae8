"""Free slots against an oracle that looks at every minute by itself."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from meetings.hours import ALWAYS, Windows
from meetings.slots import DAY, MINUTE, Hours, Rules, free_starts, is_working, stretches

EPOCH = date(1970, 1, 1)
# Days around which the clocks of a zone change, or a plain one.
CHANGES = {
    "Europe/Zurich": ("2026-03-29", "2026-10-25"),
    "America/New_York": ("2026-03-08", "2026-11-01"),
    "Australia/Lord_Howe": ("2026-04-05", "2026-10-04"),
    "Asia/Kathmandu": ("2026-03-29",),
    "Africa/Casablanca": ("2026-02-15", "2026-03-22"),
    "Africa/Cairo": ("2026-04-24", "2026-10-30"),
    "America/Havana": ("2026-03-08", "2026-11-01"),
    "UTC": ("2026-05-04",),
}


def instant(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp())


def clock(at: int, zone: str = "UTC") -> str:
    return f"{datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone)):%d %H:%M%z}"


def days_since_1970(day: str) -> int:
    return (date.fromisoformat(day) - EPOCH).days


def window_at(hours: Hours, at: int) -> tuple[int, int] | None:
    """Return the minute of the day on the host's clock and the start of the window it lies in."""
    local = datetime.fromtimestamp(at, UTC).astimezone(hours.zone)
    minute = local.hour * 60 + local.minute
    day = (local.date() - EPOCH).days
    windows = hours.exceptions.get(day, hours.week[local.weekday()])
    return next(((minute, start) for start, end in windows if start <= minute < end), None)


def oracle(hours: Hours, rules: Rules, busy: list[tuple[int, int]], first: int, end: int) -> list[int]:
    found = []
    for at in range(first + -first % MINUTE, end, MINUTE):
        place = window_at(hours, at)
        if place is None or (place[0] - place[1]) * MINUTE % rules.step:
            continue
        if not all(window_at(hours, each) for each in range(at, at + rules.length, MINUTE)):
            continue
        mine = set(range(at - rules.before, at + rules.length + rules.after, MINUTE))
        if not any(mine & set(range(start, stop, MINUTE)) for start, stop in busy):
            found.append(at)
    return found


def windows() -> st.SearchStrategy[Windows]:
    edges = st.lists(st.integers(0, 96).map(lambda n: n * 15), min_size=0, max_size=6, unique=True).map(
        sorted
    )
    return edges.map(lambda e: tuple(zip(e[::2], e[1::2], strict=False)))


@st.composite
def cases(draw):
    zone = draw(st.sampled_from(sorted(CHANGES)))
    day = days_since_1970(draw(st.sampled_from(CHANGES[zone])))
    first = (day - 1) * DAY + draw(st.integers(0, 24 * 60)) * MINUTE
    always = draw(st.booleans())
    week = ALWAYS if always else tuple(draw(windows()) for _ in range(7))
    exceptions = draw(st.dictionaries(st.integers(day - 1, day + 2), windows(), max_size=2))
    minutes = st.integers(0, 4).map(lambda n: n * 10 * MINUTE)
    length = st.sampled_from([10, 30, 45, 60, 90])
    rules = Rules(draw(length) * MINUTE, draw(length) * MINUTE, draw(minutes), draw(minutes))
    starts = draw(st.lists(st.integers(-60, 36 * 12).map(lambda n: first + n * 5 * MINUTE), max_size=4))
    busy = [(at, at + draw(st.integers(1, 30)) * 5 * MINUTE) for at in starts]
    return Hours(ZoneInfo(zone), week, exceptions), rules, busy, first, first + 36 * 3600


@settings(max_examples=50, deadline=None)
@given(cases())
def test_free_starts_are_what_looking_at_every_minute_finds(case) -> None:
    hours, rules, busy, first, end = case

    assert free_starts(hours, rules, busy, first, end) == oracle(hours, rules, busy, first, end)


@settings(max_examples=40, deadline=None)
@given(cases(), st.integers(0, 36 * 60), st.integers(1, 600))
def test_a_span_is_working_time_when_each_of_its_minutes_is(case, after: int, minutes: int) -> None:
    hours, _, _, first, _ = case
    start = first + after * MINUTE
    end = start + minutes * MINUTE

    assert is_working(hours, start, end) == all(window_at(hours, at) for at in range(start, end, MINUTE))


def office(zone: str, start: str, end: str, **exceptions: Windows) -> Hours:
    window = tuple(int(text[:2]) * 60 + int(text[3:]) for text in (start, end))
    return Hours(ZoneInfo(zone), ((window,),) * 7)  # type: ignore[arg-type]


def test_in_the_hour_that_spring_skips_nothing_begins() -> None:
    hours = office("Europe/Zurich", "01:00", "04:00")
    starts = free_starts(
        hours, Rules(1800, 1800), [], instant("2026-03-29T00:00+01:00"), instant("2026-03-29T12:00Z")
    )

    assert [clock(at, "Europe/Zurich") for at in starts] == [
        "29 01:00+0100",
        "29 01:30+0100",
        "29 03:00+0200",
        "29 03:30+0200",
    ]


def test_the_hour_that_autumn_repeats_is_offered_twice() -> None:
    hours = office("America/New_York", "01:00", "02:00")
    starts = free_starts(
        hours, Rules(1800, 1800), [], instant("2026-11-01T00:00-04:00"), instant("2026-11-01T12:00Z")
    )

    assert [clock(at, "America/New_York") for at in starts] == [
        "01 01:00-0400",
        "01 01:30-0400",
        "01 01:00-0500",
        "01 01:30-0500",
    ]


def test_a_change_of_half_an_hour_and_an_offset_of_a_quarter_are_kept() -> None:
    howe = free_starts(
        office("Australia/Lord_Howe", "01:30", "03:30"),
        Rules(1800, 1800),
        [],
        instant("2026-10-03T12:00Z"),
        instant("2026-10-04T00:00Z"),
    )
    kathmandu = free_starts(
        office("Asia/Kathmandu", "09:00", "10:00"),
        Rules(3600, 3600),
        [],
        instant("2026-05-04T00:00Z"),
        instant("2026-05-05T00:00Z"),
    )

    assert [clock(at, "Australia/Lord_Howe") for at in howe] == [
        "04 01:30+1030",
        "04 02:30+1100",
        "04 03:00+1100",
    ]
    assert [clock(at) for at in kathmandu] == ["04 03:15+0000"]


def test_working_time_runs_on_through_midnight_where_windows_touch() -> None:
    hours = Hours(ZoneInfo("Europe/Zurich"))

    assert is_working(hours, instant("2026-05-04T21:30Z"), instant("2026-05-04T22:30Z"))


@pytest.mark.parametrize("zone", sorted(CHANGES))
def test_stretches_cover_the_year_and_name_each_change_of_the_clocks(zone: str) -> None:
    start, end = instant("2026-01-01T00:00Z"), instant("2027-01-01T00:00Z")
    found = list(stretches(ZoneInfo(zone), start, end))

    assert (found[0].start, found[-1].end) == (start, end)
    assert all(one.end == two.start and one.offset != two.offset for one, two in pairwise(found))
    for stretch in found:
        for at in (stretch.start, stretch.end - 1):
            local = datetime.fromtimestamp(at, UTC).astimezone(ZoneInfo(zone))
            assert local.utcoffset() == timedelta(seconds=stretch.offset)
