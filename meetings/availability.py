"""Which slots of hosts are free, in two queries for any number of hosts and days."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.contrib.postgres.expressions import ArraySubquery
from django.db import connection
from django.db.models import F, OuterRef
from django.db.models.functions import JSONObject

from meetings.hours import BadHours, Windows, read_week, read_windows
from meetings.models import DEFAULT_MINUTES, MeetingHost, MeetingHostException
from meetings.slots import DAY, MINUTE, Hours, Rules, Span, free_starts, is_working

EPOCH = date(1970, 1, 1)
EPOCH_ORDINAL = EPOCH.toordinal()
NEXT_FREE = 5
LOOK_AHEAD = 14 * DAY

# One index scan a host and branch: the exclusion constraint's own index leaves allowed overlaps out. Whole
# seconds, rounded outwards, as two arrays a host: thousands of rows would take longer to read than to find. The span
# is compared as a tsrange in UTC, so the session's zone plays no part.
BUSY = """
SELECT h.id, array_agg(floor(date_part('epoch', lower(m.busy)))::bigint),
    array_agg(ceil(date_part('epoch', upper(m.busy)))::bigint)
FROM unnest(%(hosts)s::bigint[]) AS h (id)
CROSS JOIN LATERAL (
    SELECT id, busy FROM meetings
    WHERE host_id = h.id AND busy && tsrange(%(start)s::timestamp, %(end)s::timestamp)
        AND status IN ('scheduled', 'confirmed') AND NOT allow_overlap
    UNION ALL
    SELECT id, busy FROM meetings
    WHERE host_id = h.id AND busy && tsrange(%(start)s::timestamp, %(end)s::timestamp)
        AND status IN ('scheduled', 'confirmed') AND allow_overlap
) m
WHERE m.id IS DISTINCT FROM %(without)s
GROUP BY h.id
"""


class HostUnusable(ValueError):
    """A host's own data cannot be used; the text says which and why."""


@dataclass(frozen=True)
class Calendar:
    """A host's rules in the form that slots are computed from; `notice` and `horizon` in seconds."""

    host_id: int
    name: str
    hours: Hours
    rules: Rules
    notice: int
    horizon: int

    def lasting(self, minutes: int | None) -> Calendar:
        """Return the calendar for meetings of other length than the host's slots."""
        if minutes is None:
            return self
        return replace(self, rules=replace(self.rules, length=minutes * MINUTE))

    def bookable(self, now: datetime) -> Span:
        """Return the first and the last second at which a meeting may begin."""
        at = seconds(now, up=True)
        return at + self.notice, at + self.horizon


@dataclass(frozen=True)
class FreeSlots:
    """Free slots of one host: seconds since 1970 at which they begin, in order, and how long each lasts."""

    host_id: int
    name: str
    zone: ZoneInfo
    minutes: int
    starts: Sequence[int]


def free_slots(
    hosts: Iterable[int] | None, start: datetime, end: datetime, *, now: datetime, minutes: int | None = None
) -> list[FreeSlots]:
    """Return the slots of hosts (None: of all) by name, that begin from `start` on and before `end`.

    Slots last as long as each host's, or `minutes`. Unknown ids are left out. Raises HostUnusable for a host that
    was asked for; of all hosts the unusable are left out.
    """
    return list(free_in(calendars_of(hosts, start, end), start, end, now=now, minutes=minutes))


def free_in(
    calendars: Sequence[Calendar],
    start: datetime,
    end: datetime,
    *,
    now: datetime,
    minutes: int | None = None,
) -> Iterator[FreeSlots]:
    """Yield what `free_slots` returns, host by host, for calendars of that time."""
    calendars = [each.lasting(minutes) for each in calendars]
    first, last = seconds(start, up=True), seconds(end, up=True)
    busy = busy_spans([each.host_id for each in calendars], *_reach(calendars, first, last))
    for each in calendars:
        yield _free(each, busy.get(each.host_id, []), first, last, now)


def next_free(
    host: MeetingHost,
    after: datetime,
    *,
    now: datetime,
    minutes: int | None = None,
    without: int | None = None,
    number: int = NEXT_FREE,
) -> list[datetime]:
    """Return the next `number` free starts of a host from `after` on, fewer when the horizon comes first.

    The meeting `without` counts as free: it is the one to be moved. A host that is unusable or gone has none.
    """
    try:
        calendars = calendars_of([host.pk], after, now + timedelta(days=host.horizon_days))
    except HostUnusable:
        return []
    if not calendars:
        return []
    calendar = calendars[0].lasting(minutes)
    earliest, horizon = calendar.bookable(now)
    first, found = max(seconds(after, up=True), earliest), list[int]()
    while first <= horizon and len(found) < number:
        last = min(first + LOOK_AHEAD, horizon + 1)
        busy = busy_spans([host.pk], *_reach([calendar], first, last), without=without)
        found += free_starts(calendar.hours, calendar.rules, busy.get(host.pk, []), first, last)
        first = last
    return [moment(at) for at in found[:number]]


def objection(calendar: Calendar, start: datetime, now: datetime) -> tuple[str, str] | None:
    """Return why nobody may book that start with the host, as (code, sentence); None when one may.

    Whether it is taken is not asked.
    """
    at, (earliest, latest) = seconds(start), calendar.bookable(now)
    if start < now:
        return "in_the_past", "That time is in the past."
    if at < earliest:
        return "too_soon", f"{calendar.name} needs {_span(calendar.notice)} notice."
    if at > latest:
        return "beyond_horizon", f"{calendar.name} can be booked {_span(calendar.horizon)} ahead at most."
    end = seconds(start + timedelta(seconds=calendar.rules.length), up=True)
    if not is_working(calendar.hours, at, end):
        return "out_of_hours", f"That time is not within the working hours of {calendar.name}."
    return None


def calendars_of(hosts: Iterable[int] | None, start: datetime, end: datetime) -> list[Calendar]:
    """Read hosts (None: all) with their exceptions of that time in one query, by name.

    Raises HostUnusable for a host that was asked for.
    """
    # Two days more at both ends: a host's day is not that of UTC, and a slot may reach into the next one.
    days = {"last_day__gte": (start - timedelta(days=2)).date(), "first_day__lte": _day_after(end)}
    exceptions = MeetingHostException.objects.filter(host=OuterRef("pk"), **days).order_by()
    listed = exceptions.values(each=JSONObject(first=F("first_day"), last=F("last_day"), hours=F("hours")))
    rows = MeetingHost.objects.order_by("name", "pk").annotate(listed=ArraySubquery(listed))
    if hosts is not None:
        return [_calendar(row, row.listed) for row in rows.filter(pk__in=list(hosts))]
    found = []
    for row in rows:
        with suppress(HostUnusable):
            found.append(_calendar(row, row.listed))
    return found


def busy_spans(
    hosts: Sequence[int], start: datetime, end: datetime, *, without: int | None = None
) -> dict[int, list[Span]]:
    """Return the time that live meetings of each host take between two moments, buffers included."""
    parameters: dict[str, Any] = {
        "hosts": list(hosts),
        "start": start.astimezone(UTC).replace(tzinfo=None),
        "end": end.astimezone(UTC).replace(tzinfo=None),
        "without": without,
    }
    with connection.cursor() as cursor:
        cursor.execute(BUSY, parameters)
        return {host: list(zip(begins, stops, strict=True)) for host, begins, stops in cursor.fetchall()}


def seconds(at: datetime, *, up: bool = False) -> int:
    """Return whole seconds since 1970; a fraction is cut off or, with `up`, rounded up."""
    whole = int((at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1))
    return whole + 1 if up and at.microsecond else whole


def moment(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _free(calendar: Calendar, busy: list[Span], first: int, last: int, now: datetime) -> FreeSlots:
    earliest, latest = calendar.bookable(now)
    first, last = max(first, earliest), min(last, latest + 1)
    starts = free_starts(calendar.hours, calendar.rules, busy, first, last) if first < last else []
    minutes = calendar.rules.length // MINUTE
    return FreeSlots(calendar.host_id, calendar.name, calendar.hours.zone, minutes, starts)


def _reach(calendars: Sequence[Calendar], first: int, last: int) -> tuple[datetime, datetime]:
    """Return the time in which a meeting could stand in the way of slots that begin in the span."""
    rules = [each.rules for each in calendars]
    before = max((each.before for each in rules), default=0)
    after = max((each.length + each.after for each in rules), default=0)
    return moment(first - before), moment(last + after)


def _calendar(host: MeetingHost, exceptions: list[dict[str, Any]]) -> Calendar:
    try:
        hours = Hours(ZoneInfo(host.timezone), read_week(host.working_hours), dict(_days(exceptions)))
    except BadHours as error:
        raise HostUnusable(f"The working hours of {host.name} cannot be read: {error}") from None
    except (KeyError, ValueError, OSError):
        raise HostUnusable(f"{host.name} has no known time zone.") from None
    rules = Rules(
        step=host.slot_minutes * MINUTE,
        length=(host.slot_minutes or DEFAULT_MINUTES) * MINUTE,
        before=host.buffer_before * MINUTE,
        after=host.buffer_after * MINUTE,
    )
    return Calendar(host.pk, host.name, hours, rules, host.minimum_notice * MINUTE, host.horizon_days * DAY)


def _days(exceptions: list[dict[str, Any]]) -> Iterator[tuple[int, Windows]]:
    for each in exceptions:
        windows = read_windows(each["hours"])
        first, last = (date.fromisoformat(each[name]).toordinal() for name in ("first", "last"))
        for ordinal in range(first, last + 1):
            yield ordinal - EPOCH_ORDINAL, windows


def _day_after(end: datetime) -> date:
    return (end + timedelta(days=3)).date()


def _span(length: int) -> str:
    for size, name in ((DAY, "day"), (3600, "hour"), (MINUTE, "minute")):
        if length and length % size == 0:
            count = length // size
            return f"{count} {name}{'' if count == 1 else 's'}"
    return f"{length} seconds"
