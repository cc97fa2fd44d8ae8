"""The figures of the home page; docs/analytics.md defines each. Days and hours are those of the current time zone."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from typing import Any

from django.db import models
from django.utils import timezone

from analytics.period import Period, begin_of
from analytics.reading import rows
from analytics.recent import Recent
from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting

BOOKED = (Meeting.Status.SCHEDULED, Meeting.Status.CONFIRMED, Meeting.Status.COMPLETED)
OUTCOMES = (*Call.Outcome.values, None)  # None: undecided
# From the first day of a lead to its last.
FUNNEL = (
    Lead.Status.PENDING,
    Lead.Status.QUEUED,
    Lead.Status.CALLING,
    Lead.Status.NO_ANSWER,
    Lead.Status.CONTACTED,
    Lead.Status.MEETING_SCHEDULED,
    Lead.Status.NOT_INTERESTED,
    Lead.Status.FAILED,
)
PARTNERS_SHOWN = 10
MEETINGS_SHOWN = 5
DAYS_AHEAD = 7

# Grouped by spans of absolute time, which PostgreSQL cuts at a fifth of the cost of local hours and days.
CALLS = """
SELECT date_bin(%(span)s, started_at, '2000-01-01 00:00:00+00') AS span, outcome, count(*) AS count
FROM calls WHERE started_at >= %(begin)s AND started_at < %(end)s GROUP BY 1, 2
"""
NEWEST_CALL = "SELECT max(started_at) AS at FROM calls"
LEADS = """
SELECT status, count(*) AS total, count(*) FILTER (WHERE created_at >= %(begin)s AND created_at < %(end)s) AS came
FROM leads GROUP BY status
"""
LEADS_CAME = "SELECT count(*) AS count FROM leads WHERE created_at >= %(begin)s AND created_at < %(end)s"
MEETINGS_MADE = """
SELECT count(*) AS count FROM meetings
WHERE created_at >= %(begin)s AND created_at < %(end)s AND status = ANY(%(booked)s)
"""
PARTNERS = """
SELECT p.id, p.name, l.came, l.met
FROM (
    SELECT partner_id, count(*) AS came, count(*) FILTER (WHERE status = 'meeting_scheduled') AS met
    FROM leads WHERE partner_id IS NOT NULL AND created_at >= %(begin)s AND created_at < %(end)s
    GROUP BY partner_id
) l JOIN partners p ON p.id = l.partner_id
ORDER BY l.came DESC, l.met DESC, p.name LIMIT %(most)s
"""
MEETINGS_AHEAD = """
SELECT date_bin(%(span)s, scheduled_time, '2000-01-01 00:00:00+00') AS span, count(*) AS count FROM meetings
WHERE status IN ('scheduled', 'confirmed') AND scheduled_time >= %(begin)s AND scheduled_time < %(end)s GROUP BY 1
"""
# Each from an index of its own: the calls without an end, the leads that wait, those that may be called.
# MATERIALIZED: for the oldest alone PostgreSQL would walk all calls until one has no end.
NOW = """
WITH active AS MATERIALIZED (SELECT started_at FROM calls WHERE ended_at IS NULL)
SELECT (SELECT count(*) FROM active) AS active, (SELECT min(started_at) FROM active) AS oldest,
    (SELECT count(*) FROM leads WHERE status = 'queued') AS queued,
    (SELECT count(*) FROM leads WHERE status = 'queued' AND NOT do_not_call AND phone_valid
        AND duplicate_of_id IS NULL) AS callable,
    (SELECT count(*) FROM leads WHERE status = 'queued' AND NOT do_not_call AND phone_valid
        AND duplicate_of_id IS NULL AND next_attempt_at > now()) AS later
"""

recent: Recent[Any] = Recent()


@dataclass
class CallCounts:
    """Calls that began in a period, by outcome: in all, for each day, and for each hour of the clock."""

    by_outcome: Counter[str | None] = field(default_factory=Counter)
    by_day: dict[date, Counter[str | None]] = field(default_factory=dict)
    by_hour: dict[int, Counter[str | None]] = field(default_factory=dict)

    @property
    def total(self) -> int:
        return self.by_outcome.total()


def calls_of(period: Period) -> CallCounts:
    """Count the calls that began in a period."""
    counts = CallCounts()
    zone = timezone.get_current_timezone()
    bounds = {"begin": period.begin, "end": period.end, "span": _span(period)}
    for each in rows(CALLS, bounds):
        local, outcome, number = each["span"].astimezone(zone), each["outcome"], each["count"]
        counts.by_outcome[outcome] += number
        counts.by_day.setdefault(local.date(), Counter())[outcome] += number
        counts.by_hour.setdefault(local.hour, Counter())[outcome] += number
    return counts


def _span(period: Period) -> timedelta:
    """Return the longest span that no local hour or day of the period cuts."""
    edges = [timezone.localtime(begin_of(part.first)) for part in period.parts(1)]
    edges.append(timezone.localtime(period.end))
    offsets = [edge.utcoffset() or timedelta() for edge in edges]
    for minutes in (60, 15):
        if not any(offset % timedelta(minutes=minutes) for offset in offsets):
            return timedelta(minutes=minutes)
    return timedelta(seconds=1)  # local mean time, before there were zones


def newest_call() -> datetime | None:
    """Return when the newest call began."""
    return rows(NEWEST_CALL)[0]["at"]


@dataclass(frozen=True)
class StatusCount:
    status: str
    total: int
    came: int


def leads_of(period: Period) -> list[StatusCount]:
    """Count the leads by status in the order of the funnel: all, and those that came in during a period."""
    found = {each["status"]: each for each in rows(LEADS, _bounds(period))}
    nothing = {"total": 0, "came": 0}
    return [
        StatusCount(status, *(found.get(status, nothing)[name] for name in ("total", "came")))
        for status in FUNNEL
    ]


def leads_came(period: Period) -> int:
    """Count the leads that came in."""
    return int(rows(LEADS_CAME, _bounds(period))[0]["count"])


def meetings_made(period: Period) -> int:
    """Count the meetings that were made in a period, whenever they take place, and are booked still."""
    return int(rows(MEETINGS_MADE, {**_bounds(period), "booked": list(BOOKED)})[0]["count"])


def partners_of(period: Period) -> list[dict[str, Any]]:
    """List the partners with most leads of a period: `came`, and `met`, those of them that have a meeting."""
    return rows(PARTNERS, {**_bounds(period), "most": PARTNERS_SHOWN})


@dataclass(frozen=True)
class Ahead:
    """Live meetings of a day that is still to come; of today those from now on."""

    day: date
    begin: datetime
    end: datetime
    count: int


def meetings_ahead(now: datetime) -> list[Ahead]:
    """Count the live meetings of today, from `now` on, and of the six days after."""
    period = Period.up_to(timezone.localdate(now) + timedelta(days=DAYS_AHEAD - 1), DAYS_AHEAD)
    counts: Counter[date] = Counter()
    for each in rows(MEETINGS_AHEAD, {"begin": now, "end": period.end, "span": _span(period)}):
        counts[timezone.localdate(each["span"])] += each["count"]
    return [Ahead(part.first, max(part.begin, now), part.end, counts[part.first]) for part in period.parts(1)]


def next_meetings(now: datetime) -> models.QuerySet[Meeting]:
    """Return the live meetings that come next, with lead and host."""
    coming = Meeting.objects.filter(status__in=Meeting.LIVE, scheduled_time__gte=now)
    return coming.select_related("lead", "host").order_by("scheduled_time", "id")[:MEETINGS_SHOWN]


@dataclass(frozen=True)
class Now:
    """What goes on at this moment. Of the `queued` leads `callable` may be called, `later` of these not yet."""

    active: int
    oldest: datetime | None
    queued: int
    callable: int
    later: int


def now() -> Now:
    """Count the active calls and the queue, on the primary."""
    return Now(**rows(NOW)[0])


def _bounds(period: Period) -> dict[str, datetime]:
    return {"begin": period.begin, "end": period.end}
