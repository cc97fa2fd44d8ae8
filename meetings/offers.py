"""Availability as the API tells it: the guest's time zone, bounds, and slots as objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from datetime import timezone as fixed_offset
from typing import Any
from zoneinfo import ZoneInfo

from django.utils import timezone
from ninja import Schema
from pydantic import AwareDatetime, Field

from meetings.availability import Calendar, FreeSlots, HostUnusable, calendars_of, free_in, moment
from meetings.models import DAY_MINUTES
from meetings.slots import DAY, MINUTE, stretches
from scheduler.rest.answers import moment as written
from scheduler.rest.problems import Invalid, Problem

MOST_DAYS = 93
MOST_HOSTS = 50
MOST_SLOTS = 50_000  # in an answer, about 8 MB
MINUTES = [f"T{minute // 60:02}:{minute % 60:02}:" for minute in range(24 * 60)]
FIRST_YEAR, LAST_YEAR = 1970, 2199


class AvailabilityQuery(Schema):
    """When, and on whose clock."""

    start: str = Field(
        alias="from", max_length=40, description="A day, or a time; without offset on the guest's clock."
    )
    end: str = Field(
        alias="to",
        max_length=40,
        description=f"A day, which is included, or a time; {MOST_DAYS} days and {MOST_SLOTS:,} slots at most.",
    )
    timezone: str = Field("UTC", max_length=64, description="The guest's, such as Europe/Zurich.")
    duration: int | None = Field(
        None, ge=1, le=DAY_MINUTES, description="Minutes; default: each host's slots."
    )


class Slot(Schema):
    start: AwareDatetime
    end: AwareDatetime
    local: AwareDatetime = Field(description="The start on the guest's clock.")


class HostSlots(Schema):
    host_id: int
    name: str = Field(examples=["Ruth"])
    timezone: str = Field(examples=["Europe/Zurich"])
    duration: int = Field(description="Minutes.", examples=[30])
    slots: list[Slot]


class Availability(Schema):
    start: AwareDatetime = Field(alias="from")
    end: AwareDatetime = Field(alias="to")
    timezone: str = Field(examples=["Europe/Zurich"])
    hosts: list[HostSlots]


def availability(hosts: Collection[int], asked: AvailabilityQuery) -> dict[str, Any]:
    """Answer a question for free slots of hosts; when none is named, of all that can be read.

    Raises Problem: 422 for bounds and names, and named hosts: 404 for an unknown one, 409 for one that cannot be read.
    """
    guest = _zone(asked.timezone)
    start = _time(asked.start, guest, "from")
    end = _time(asked.end, guest, "to", is_end=True)
    if not timedelta() < end - start <= timedelta(days=MOST_DAYS, hours=2):
        raise Invalid([("/query/to", f"must come after `from`, by {MOST_DAYS} days at most")])
    calendars = _calendars(set(hosts), start, end)
    free = free_in(calendars, start, end, now=timezone.now(), minutes=asked.duration)
    return {
        "from": written(start),
        "to": written(end),
        "timezone": asked.timezone,
        "hosts": [_written(each, guest) for each in _bounded(free)],
    }


def _calendars(hosts: set[int], start: datetime, end: datetime) -> list[Calendar]:
    try:
        found = calendars_of(hosts or None, start, end)
    except HostUnusable as error:
        raise Problem(409, "host_unusable", str(error)) from None
    if len(found) < len(hosts):
        raise Problem(404, "host_not_found", "Host not found")
    if len(found) > MOST_HOSTS:
        raise Invalid([("/query/host", f"name the hosts, {MOST_HOSTS} at most")])
    return found


def _bounded(free: Iterable[FreeSlots]) -> list[FreeSlots]:
    """Collect the hosts' slots; stop at the host with which they become too many, before any is written."""
    found, number = [], 0
    for each in free:
        number += len(each.starts)
        if number > MOST_SLOTS:
            sentence = f"these are more than {MOST_SLOTS:,} slots; ask for fewer days or hosts"
            raise Invalid([("/query/to", sentence)])
        found.append(each)
    return found


def _written(slots: FreeSlots, guest: ZoneInfo) -> dict[str, Any]:
    return {
        "host_id": slots.host_id,
        "name": slots.name,
        "timezone": slots.zone.key,
        "duration": slots.minutes,
        "slots": list(slot_objects(slots.starts, slots.minutes * MINUTE, guest)),
    }


def slot_objects(starts: Sequence[int], length: int, guest: ZoneInfo) -> Iterator[dict[str, str]]:
    """Yield slots of `length` seconds that begin at these seconds, in order."""
    if not starts:
        return
    # The offset is looked up once for each change of the guest's clock, not for each slot.
    changes = stretches(guest, starts[0], starts[-1] + 1)
    stretch = next(changes)
    utc, local = Clock(0), Clock(stretch.offset)
    for at in starts:
        while at >= stretch.end:
            stretch = next(changes)
            local = Clock(stretch.offset)
        yield {"start": utc.text(at), "end": utc.text(at + length), "local": local.text(at)}


class Clock:
    """Writes seconds since 1970 as `isoformat` would, at a tenth of its cost: thousands of slots share few days."""

    def __init__(self, offset: int) -> None:
        self.offset = offset
        self.suffix = datetime.fromtimestamp(0, fixed_offset(timedelta(seconds=offset))).isoformat()[19:]
        self.days: dict[int, str] = {}

    def text(self, at: int) -> str:
        number, second = divmod(at + self.offset, DAY)
        if (day := self.days.get(number)) is None:
            day = self.days[number] = moment(number * DAY).date().isoformat()
        return f"{day}{MINUTES[second // 60]}{second % 60:02}{self.suffix}"


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise Invalid([("/query/timezone", "must be an IANA name such as Europe/Zurich")]) from None


def _time(text: str, guest: ZoneInfo, name: str, *, is_end: bool = False) -> datetime:
    """Read a day, whose first moment counts or, at the end, that of the next one, or a time."""
    try:
        if len(text) <= len("2026-05-04"):
            day = date.fromisoformat(text) + timedelta(days=1 if is_end else 0)
            found = datetime(day.year, day.month, day.day, tzinfo=guest)
        else:
            # A plus sign that was not written as %2B arrives as a space.
            found = datetime.fromisoformat(text.replace(" ", "+") if "T" in text else text)
            found = found.replace(tzinfo=guest) if timezone.is_naive(found) else found
        if not FIRST_YEAR < found.year < LAST_YEAR:
            raise ValueError
    except (ValueError, OverflowError):
        raise Invalid([(f"/query/{name}", "must be a day or a time such as 2026-05-04T09:00Z")]) from None
    return found.astimezone(UTC)
