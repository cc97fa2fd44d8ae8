"""A host's week as columns of days, without database and clock.

All days share one axis of the host's wall clock, in minutes. Where autumn repeats an hour the axis holds it twice, so
that what happens in the second one has a place of its own; what spring leaves out is marked on its day.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from itertools import pairwise
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from meetings.slots import DAY, MINUTE, Hours, Stretch, openings, stretches

DAY_LENGTH = 24 * 60
EPOCH = date(1970, 1, 1)
USUAL = (8 * 60, 18 * 60)  # shown when there is nothing that asks for more


class Change(NamedTuple):
    """Clocks are put back (`shift` > 0) or forward by `shift` minutes.

    `minute` is what they show before, on `day`, counted from 1970.
    """

    at: int
    day: int
    minute: int
    shift: int


class Place(NamedTuple):
    """A piece of a day on the axis, in minutes from its beginning."""

    start: int
    end: int


@dataclass
class Entry:
    """Something that lies in a day: `what` is the caller's, `lane` of `lanes` side by side where they overlap."""

    what: Any
    place: Place
    begins_here: bool = True
    lane: int = 0
    lanes: int = 1


@dataclass
class Column:
    """One day; `skipped` is the time that its clocks leave out."""

    day: date
    open: list[Place] = field(default_factory=list)
    skipped: list[Place] = field(default_factory=list)
    entries: list[Entry] = field(default_factory=list)
    note: str = ""


class Week:
    """Seven days from a Monday on, in a zone."""

    def __init__(self, monday: date, zone: ZoneInfo) -> None:
        self.monday, self.zone = monday, zone
        self.days = [monday + timedelta(days=number) for number in range(7)]
        self.start, self.end = _midnight(monday, zone), _midnight(monday + timedelta(days=7), zone)
        self._stretches = list(stretches(zone, self.start, self.end))
        self.changes = list(_changes(self._stretches))
        self.back = next((change for change in self.changes if change.shift > 0), None)
        self.length = DAY_LENGTH + (self.back.shift if self.back else 0)
        self.columns = [Column(day, note=self._note(day)) for day in self.days]
        for change in self.changes:
            if change.shift < 0:
                place = Place(self._on_axis(change.minute), self._on_axis(change.minute - change.shift))
                self.columns[change.day - _number(monday)].skipped.append(place)

    def work(self, hours: Hours) -> None:
        """Mark when the host works."""
        for piece in openings(hours, self.start, self.end):
            for column, place, _ in self.pieces(piece.start, piece.end):
                column.open.append(place)

    def put(self, items: Iterable[tuple[int, int, Any]]) -> None:
        """Put in what lies between two instants, a piece for each day that it reaches into."""
        for start, end, what in items:
            for column, place, begins_here in self.pieces(start, end):
                column.entries.append(Entry(what, place, begins_here))
        for column in self.columns:
            column.entries.sort(key=lambda entry: entry.place)
            _share_lanes(column.entries)

    def pieces(self, start: int, end: int) -> Iterator[tuple[Column, Place, bool]]:
        """Yield where a span lies, by day, and whether it begins there."""
        for column in self.columns:
            first, last = (
                _midnight(column.day, self.zone),
                _midnight(column.day + timedelta(days=1), self.zone),
            )
            begin, stop = max(start, first), min(end, last)
            if begin < stop:
                # By their last instant: the end of a day is the beginning of another one.
                place = Place(self.position(begin), self.position(stop - MINUTE) + 1)
                yield column, place, begin == start

    def position(self, at: int) -> int:
        """Return the minute of the axis for an instant of the week."""
        offset = next(
            (piece.offset for piece in self._stretches if at < piece.end), self._stretches[-1].offset
        )
        day, second = divmod(at + offset, DAY)
        minute = second // MINUTE
        if self.back and day == self.back.day and at >= self.back.at:
            return minute + self.back.shift
        return self._on_axis(minute)

    def hours(self, first: int, end: int) -> list[tuple[int, str]]:
        """Return the full hours between two minutes of the axis, with their labels."""
        found = []
        for hour in range(25):
            found.append((self._on_axis(hour * 60), f"{hour:02}:00"))
            if self.back and self.back.minute - self.back.shift <= hour * 60 < self.back.minute:
                found.append((hour * 60 + self.back.shift, f"{hour:02}:00 again"))
        return sorted((at, label) for at, label in found if first <= at < end)

    def visible(self) -> tuple[int, int]:
        """Return the whole hours of the axis that hold all work and entries."""
        places = [place for column in self.columns for place in column.open]
        places += [entry.place for column in self.columns for entry in column.entries]
        if not places:
            return USUAL
        first = min(place.start for place in places) // 60 * 60
        return first, min(-(-max(place.end for place in places) // 60) * 60, self.length)

    def _on_axis(self, minute: int) -> int:
        return minute + self.back.shift if self.back and minute >= self.back.minute else minute

    def _note(self, day: date) -> str:
        for change in self.changes:
            if EPOCH + timedelta(days=change.day) == day:
                shown, to = _clock(change.minute), _clock((change.minute - change.shift) % DAY_LENGTH)
                if change.shift > 0:
                    return f"Clocks go back from {shown} to {to}: {to} to {shown} happens twice."
                return f"Clocks go forward from {shown} to {to}: {shown} to {to} does not happen."
        return ""


def _share_lanes(entries: Sequence[Entry]) -> None:
    """Give entries that overlap lanes beside each other; `entries` are in order."""
    cluster: list[Entry] = []
    ends: list[int] = []
    for entry in entries:
        if ends and entry.place.start >= max(ends):
            cluster, ends = [], []
        lane = next((number for number, end in enumerate(ends) if end <= entry.place.start), len(ends))
        ends[lane : lane + 1] = [entry.place.end]
        entry.lane = lane
        cluster.append(entry)
        for each in cluster:
            each.lanes = len(ends)


def _changes(pieces: Sequence[Stretch]) -> Iterator[Change]:
    for before, after in pairwise(pieces):
        shift = (before.offset - after.offset) // MINUTE
        # An hour that is repeated belongs to the day that it ends, one left out to the day that it begins.
        local = after.start + before.offset
        day = (local - 1) // DAY if shift > 0 else local // DAY
        yield Change(after.start, day, (local - day * DAY) // MINUTE, shift)


def _midnight(day: date, zone: ZoneInfo) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _number(day: date) -> int:
    return (day - EPOCH).days


def _clock(minute: int) -> str:
    return f"{minute // 60:02}:{minute % 60:02}"
