"""The figures of the home page, compared with rows counted by hand, also on days when the clock changes."""

import random
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from analytics import dashboard
from analytics.period import Period
from analytics.tests.counting import call, lead, meeting, utc
from calls.models import Call
from database.tests.raw_sql import execute, plan_nodes
from leads.models import Lead
from meetings.models import MeetingHost
from partners.models import Partner

pytestmark = pytest.mark.django_db

OUTCOMES = [*Call.Outcome.values, None]


@pytest.mark.parametrize(
    ("zone", "first", "last"),
    [
        ("UTC", date(2026, 3, 28), date(2026, 3, 30)),
        ("Europe/Zurich", date(2026, 3, 28), date(2026, 3, 30)),
        ("Europe/Zurich", date(2026, 10, 24), date(2026, 10, 26)),
        ("Australia/Lord_Howe", date(2026, 4, 4), date(2026, 4, 6)),
        ("America/Havana", date(2026, 11, 1), date(2026, 11, 1)),
        ("Asia/Kathmandu", date(2026, 1, 5), date(2026, 1, 6)),
        ("Africa/Monrovia", date(1972, 1, 6), date(1972, 1, 8)),  # 44 minutes 30 seconds
    ],
)
def test_calls_are_counted_by_the_clock_on_the_wall(zone, first, last):
    with timezone.override(zone):
        period = Period(first, last)
        dice = random.Random(7)
        span = (period.end - period.begin).total_seconds()
        edges = [period.begin, period.end - timedelta(microseconds=1), period.end]
        edges += [period.begin - timedelta(microseconds=1)]
        times = edges + [period.begin + timedelta(seconds=dice.uniform(-9e3, span + 9e3)) for _ in range(250)]
        of = lead(1)
        made = [(each.astimezone(UTC), dice.choice(OUTCOMES)) for each in times]
        for started, outcome in made:
            call(of, started, outcome)

        counts = dashboard.calls_of(period)

    local = [(started.astimezone(ZoneInfo(zone)), outcome) for started, outcome in made]
    within = [(each, outcome) for each, outcome in local if first <= each.date() <= last]
    assert 100 < len(within) < len(made)
    assert counts.by_outcome == Counter(outcome for _, outcome in within)
    by_day = Counter((each.date(), outcome) for each, outcome in within)
    assert by_day == {(day, key): n for day, found in counts.by_day.items() for key, n in found.items()}
    by_hour = Counter((each.hour, outcome) for each, outcome in within)
    assert by_hour == {(hour, key): n for hour, found in counts.by_hour.items() for key, n in found.items()}


def test_leads_are_counted_by_status_all_of_them_and_those_of_the_period():
    period = Period(date(2026, 3, 28), date(2026, 3, 29))
    with timezone.override("Europe/Zurich"):
        for number, (status, created) in enumerate(
            [
                ("pending", utc(2026, 3, 27, 22, 59, 59)),
                ("pending", utc(2026, 3, 27, 23)),
                ("pending", utc(2026, 3, 29, 21, 59, 59)),
                ("pending", utc(2026, 3, 29, 22)),
                ("failed", utc(2026, 3, 28, 12)),
                ("queued", utc(2020, 1, 1)),
            ]
        ):
            lead(number, created, status=status)

        counts = {each.status: (each.total, each.came) for each in dashboard.leads_of(period)}

        assert counts.pop("pending") == (4, 2)
        assert counts.pop("failed") == (1, 1)
        assert counts.pop("queued") == (1, 0)
        assert set(counts.values()) == {(0, 0)}
        assert dashboard.leads_came(period) == 3


def test_the_funnel_has_every_status_once():
    assert sorted(dashboard.FUNNEL) == sorted(Lead.Status.values)


def test_meetings_count_when_they_were_made_and_are_booked_still():
    of, day = lead(1), utc(2026, 3, 29, 12)
    for number, status in enumerate(("scheduled", "confirmed", "completed", "cancelled", "no_show")):
        meeting(of, utc(2027, 1, 1 + number), status, created=day)
    meeting(of, day, created=utc(2026, 3, 28, 22, 59))
    with timezone.override("Europe/Zurich"):
        assert dashboard.meetings_made(Period(day.date(), day.date())) == 3


def test_partners_are_ranked_by_leads_of_the_period_and_share_those_with_a_meeting():
    period = Period(date(2026, 3, 29), date(2026, 3, 29))
    ann, ben, _ = (Partner.objects.create(name=name) for name in ("Ann", "Ben", "Without leads"))
    rows = [(ann, "pending"), (ben, "meeting_scheduled"), (ben, "contacted"), (None, "meeting_scheduled")]
    for number, (partner, status) in enumerate(rows):
        lead(number, utc(2026, 3, 29, 12), partner=partner, status=status)
    lead(9, utc(2026, 3, 30), partner=ann, status="meeting_scheduled")

    assert dashboard.partners_of(period) == [
        {"id": ben.pk, "name": "Ben", "came": 2, "met": 1},
        {"id": ann.pk, "name": "Ann", "came": 1, "met": 0},
    ]


@pytest.mark.parametrize(("zone", "hours"), [("Europe/Zurich", 167), ("UTC", 168)])
def test_meetings_ahead_are_those_of_seven_days_from_now_on(zone, hours):
    with timezone.override(zone):
        now = datetime(2026, 3, 25, 0, 0, tzinfo=ZoneInfo(zone))
        end = now + timedelta(days=7)
        assert (end.astimezone(UTC) - now.astimezone(UTC)) == timedelta(hours=hours)
        of = lead(1)
        for when in (now - timedelta(seconds=1), now, now + timedelta(hours=30), end):
            meeting(of, when)
        meeting(of, end - timedelta(seconds=1), "confirmed")
        meeting(of, now + timedelta(hours=1), "cancelled")

        days = dashboard.meetings_ahead(now)

        assert [each.count for each in days] == [1, 1, 0, 0, 0, 0, 1]
        assert [each.day for each in days] == [date(2026, 3, 25) + timedelta(days=n) for n in range(7)]
        assert (days[0].begin, days[-1].end) == (now, end)


def test_the_queue_is_told_apart_by_who_may_be_called():
    later = timezone.now() + timedelta(hours=1)
    first = lead(1, status="queued")
    lead(2, status="queued", next_attempt_at=timezone.now() - timedelta(hours=1))
    lead(3, status="queued", next_attempt_at=later)
    lead(4, status="queued", do_not_call=True, next_attempt_at=later)
    lead(5, status="queued", phone_valid=False)
    lead(6, status="queued", duplicate_of=first)
    of = lead(7, status="calling")
    begun = timezone.now() - timedelta(minutes=3)
    call(of, begun, ended_at=None)
    call(of, begun)

    now = dashboard.now()

    assert (now.queued, now.callable, now.later) == (6, 3, 1)
    assert (now.active, now.oldest) == (1, begun)


FULL = """
INSERT INTO leads (name, phone, status, created_at)
SELECT 'Lead ' || n, '+4144' || lpad(n::text, 7, '0'), 'pending', %(begin)s + n * interval '1 hour'
FROM generate_series(-2000, 2000) n;
INSERT INTO calls (lead_id, outcome, started_at, ended_at)
SELECT id, (ARRAY['interested', 'no_answer', 'busy', NULL])[1 + id %% 4], created_at + n * interval '1 minute',
    created_at + (n + 1) * interval '1 minute'
FROM leads, generate_series(0, 3) n;
INSERT INTO meetings (lead_id, host_id, status, scheduled_time, created_at, allow_overlap)
SELECT id, %(host)s, (ARRAY['scheduled', 'cancelled'])[1 + id %% 2], created_at + interval '1 day', created_at, true
FROM leads
"""


@pytest.mark.django_db(transaction=True)
def test_figures_of_a_period_are_read_from_an_index_alone():
    """On tables of months, counted and vacuumed as autovacuum does: what the planner takes of its own accord."""
    values: dict[str, Any] = {"begin": utc(2026, 3, 1), "end": utc(2026, 3, 2), "span": timedelta(hours=1)}
    values |= {"booked": ["scheduled", "confirmed"], "host": MeetingHost.objects.create(name="Host").pk}
    for statement in FULL.split(";"):
        execute(statement, values)
    for table in ("leads", "calls", "meetings"):
        execute(f"VACUUM ANALYZE {table}")

    for query, indexes in (
        (dashboard.CALLS, {"calls_by_outcome"}),
        (dashboard.LEADS_CAME, {"leads_newest"}),
        (dashboard.MEETINGS_MADE, {"meetings_made"}),
        (dashboard.MEETINGS_AHEAD, {"meetings_by_status"}),
        (dashboard.NEWEST_CALL, {"calls_newest"}),
    ):
        scans = [node for node in plan_nodes(query, values) if "Scan" in node["Node Type"]]
        assert {node["Node Type"] for node in scans} == {"Index Only Scan"}, query
        assert {node["Index Name"] for node in scans} == indexes, query
