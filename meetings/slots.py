"""Free slots as arithmetic, without database and clock: instants are whole seconds since 1970 in UTC.

A host works at an instant when the host's wall clock shows a time inside a window of that day. So a window
that lies in the hour which spring skips is shorter or does not occur, and one in the hour that autumn repeats
occurs twice. Slots begin where the wall clock shows the window's start plus a multiple of the slot length;
they last as long as they say, in real minutes, all of them inside working hours.
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from itertools import islice
from typing import NamedTuple
from zoneinfo import ZoneInfo

from meetings.hours import ALWAYS, Windows

DAY = 86_400
MINUTE = 60
# 1970-01-01 was a Thursday.
EPOCH_WEEKDAY = 3

Span = tuple[int, int]


@dataclass(frozen=True)
class Hours:
    """When a host works; `exceptions` has the windows of single days, by days since 1970."""

    zone: ZoneInfo
    week: tuple[Windows, ...] = ALWAYS
    exceptions: Mapping[int, Windows] = field(default_factory=dict)

    def windows(self, day: int) -> Windows:
        """Return the windows of a day, counted from 1970-01-01."""
        found = self.exceptions.get(day)
        return self.week[(day + EPOCH_WEEKDAY) % 7] if found is None else found


@dataclass(frozen=True)
class Rules:
    """What a slot needs, in seconds: `step` from one start to the next, `length`, and the buffers around it."""

    step: int
    length: int
    before: int = 0
    after: int = 0


class Stretch(NamedTuple):
    """A time during which a zone keeps its offset to UTC, in seconds."""

    start: int
    end: int
    offset: int


class Opening(NamedTuple):
    """A piece of a window; slots begin at `anchor` plus multiples of their step."""

    start: int
    end: int
    anchor: int


def stretches(zone: ZoneInfo, start: int, end: int) -> Iterator[Stretch]:
    """Cut the span where the zone changes its offset; two changes within a day are taken for none."""
    begun, offset, at = start, _offset(zone, start), start
    while at < end:
        # At whole days, so that hosts of one zone and later questions look up the same instants.
        following = min((at // DAY + 1) * DAY, end)
        if (other := _offset(zone, following)) != offset:
            change = _first_with_other_offset(zone, at, following, offset)
            yield Stretch(begun, change, offset)
            begun, offset = change, other
        at = following
    if begun < end:
        yield Stretch(begun, end, offset)


def openings(hours: Hours, start: int, end: int) -> Iterator[Opening]:
    """Yield the pieces of working time in order; where windows touch, the pieces do too."""
    for stretch in stretches(hours.zone, start, end):
        local_start, local_end = stretch.start + stretch.offset, stretch.end + stretch.offset
        for day in range(local_start // DAY, (local_end - 1) // DAY + 1):
            for first, last in hours.windows(day):
                opens, closes = day * DAY + first * MINUTE, day * DAY + last * MINUTE
                begin, stop = max(opens, local_start), min(closes, local_end)
                if begin < stop:
                    yield Opening(begin - stretch.offset, stop - stretch.offset, opens - stretch.offset)


def merged(spans: Iterable[Span]) -> list[Span]:
    """Join sorted spans that touch or overlap."""
    joined: list[Span] = []
    for start, end in spans:
        if joined and start <= joined[-1][1]:
            joined[-1] = (joined[-1][0], max(end, joined[-1][1]))
        else:
            joined.append((start, end))
    return joined


def free_starts(hours: Hours, rules: Rules, busy: Iterable[Span], first: int, end: int) -> list[int]:
    """Return where slots may begin, from `first` on and before `end`, in order.

    `busy` are the spans that meetings take, their own buffers included.
    """
    # A day more than needed, so that a span of work is whole where a slot near the end reaches into it.
    pieces = list(openings(hours, first, end + rules.length + DAY))
    working = merged((piece.start, piece.end) for piece in pieces)
    allowed = list(_allowed(working, sorted(busy), rules, first, end))
    ends = [last for _, last in allowed]
    starts: list[int] = []
    for piece in pieces:
        for at in range(bisect_left(ends, piece.start), len(allowed)):
            earliest, latest = max(piece.start, allowed[at][0]), min(piece.end - 1, allowed[at][1])
            if allowed[at][0] >= piece.end:
                break
            starts.extend(range(earliest + (piece.anchor - earliest) % rules.step, latest + 1, rules.step))
    return starts


def is_working(hours: Hours, start: int, end: int) -> bool:
    """Tell whether the whole span lies in working hours."""
    spans = merged((piece.start, piece.end) for piece in openings(hours, start, end))
    return spans == [(start, end)]


def _allowed(
    working: Sequence[Span], busy: Sequence[Span], rules: Rules, first: int, end: int
) -> Iterator[Span]:
    """Yield the first and last second at which a slot may begin, for each free stretch."""
    taken = merged((start - rules.length - rules.after + 1, stop + rules.before) for start, stop in busy)
    starts, stops = [start for start, _ in taken], [stop for _, stop in taken]
    for opens, closes in working:
        start, last = max(opens, first), min(closes - rules.length, end - 1)
        for begins, stops_at in islice(taken, bisect_left(stops, start), bisect_right(starts, last)):
            if start < begins:
                yield start, begins - 1
            start = max(start, stops_at)
        if start <= last:
            yield start, last


@lru_cache(maxsize=4096)
def _offset(zone: ZoneInfo, at: int) -> int:
    offset = datetime.fromtimestamp(at, UTC).astimezone(zone).utcoffset()
    assert offset is not None
    return int(offset.total_seconds())


def _first_with_other_offset(zone: ZoneInfo, low: int, high: int, offset: int) -> int:
    while high - low > 1:
        middle = (low + high) // 2
        if _offset(zone, middle) == offset:
            low = middle
        else:
            high = middle
    return high
