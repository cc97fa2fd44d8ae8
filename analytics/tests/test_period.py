"""Which instants the days of the home page cover, and what it makes of wrong wishes."""

from datetime import date, timedelta

import pytest
from django.utils import timezone

from analytics.period import Period, chosen
from analytics.tests.counting import utc

TODAY = date(2026, 11, 22)


@pytest.mark.parametrize(
    ("zone", "day", "begin", "hours"),
    [
        ("UTC", date(2026, 3, 29), utc(2026, 3, 29), 24),
        ("Europe/Zurich", date(2026, 3, 29), utc(2026, 3, 28, 23), 23),
        ("Europe/Zurich", date(2026, 10, 25), utc(2026, 10, 24, 22), 25),
        ("Australia/Lord_Howe", date(2026, 4, 5), utc(2026, 4, 4, 13), 24.5),
        ("Asia/Kathmandu", date(2026, 4, 5), utc(2026, 4, 4, 18, 15), 24),
        # There the clock goes from 24:00 to 1:00, and back from 1:00 to 0:00.
        ("America/Havana", date(2026, 3, 8), utc(2026, 3, 8, 5), 23),
        ("America/Havana", date(2026, 11, 1), utc(2026, 11, 1, 4), 25),
    ],
)
def test_a_day_is_as_long_as_the_clock_on_the_wall_says(zone, day, begin, hours):
    with timezone.override(zone):
        period = Period(day, day)

        assert period.begin == begin
        assert period.end - period.begin == timedelta(hours=hours)


def test_the_parts_of_a_period_leave_no_gap():
    with timezone.override("Europe/Zurich"):
        period = Period(date(2026, 3, 1), date(2026, 4, 15))
        for days in (1, 7):
            parts = list(period.parts(days))
            assert (parts[0].begin, parts[-1].end) == (period.begin, period.end)
            assert [each.end for each in parts[:-1]] == [each.begin for each in parts[1:]]


@pytest.mark.parametrize(
    ("wishes", "first", "last"),
    [
        ({}, date(2026, 10, 24), TODAY),
        ({"days": "1"}, TODAY, TODAY),
        ({"days": "7"}, date(2026, 11, 16), TODAY),
        ({"days": "90"}, date(2026, 8, 25), TODAY),
        ({"from": "2026-01-05", "to": "2026-01-05"}, date(2026, 1, 5), date(2026, 1, 5)),
        ({"from": "2024-01-01", "to": "2024-12-31", "days": "7"}, date(2024, 1, 1), date(2024, 12, 31)),
    ],
)
def test_a_choice_gives_whole_days_with_both_ends(wishes, first, last):
    assert (chosen(wishes, TODAY).period, chosen(wishes, TODAY).error) == (Period(first, last), "")


@pytest.mark.parametrize(
    "wishes",
    [
        {"days": "0"},
        {"days": "31"},
        {"days": "\u0667"},  # a seven in Arabic
        {"days": "1e9"},
        {"from": "2026-01-01"},
        {"to": "2026-01-01"},
        {"from": "", "to": ""},
        {"from": "2026-02-30", "to": "2026-03-01"},
        {"from": "2026-03-02", "to": "2026-03-01"},
        {"from": "2025-01-01", "to": "2026-01-02"},
        {"from": "0001-01-01", "to": "0001-01-02"},
        {"from": "9999-12-30", "to": "9999-12-31"},
        {"from": "<script>", "to": "2026-01-01"},
    ],
)
def test_a_wrong_choice_gives_the_usual_days_and_a_sentence(wishes):
    choice = chosen(wishes, TODAY)

    assert choice.period == Period.up_to(TODAY, 30)
    assert choice.error.endswith(".")
