"""Working hours as people write them, `{"mon": [["09:00", "17:00"]]}`, and as minutes of the day."""

from __future__ import annotations

import re
from itertools import pairwise
from typing import Any

WEEKDAYS = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")
DAY_MINUTES = 24 * 60
CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]|24:00")

# From and to, in minutes since midnight on the clock of the host, in order.
Windows = tuple[tuple[int, int], ...]

ALWAYS: tuple[Windows, ...] = (((0, DAY_MINUTES),),) * 7


class BadHours(ValueError):
    """Hours that cannot be read; the text is a sentence for whoever wrote them."""


def read_week(value: Any) -> tuple[Windows, ...]:
    """Return the windows of Monday to Sunday; an empty object means always.

    Raises BadHours.
    """
    if not isinstance(value, dict):
        raise BadHours('Write working hours as {"mon": [["09:00", "17:00"]]}.')
    if not value:
        return ALWAYS
    for day in value:
        if day not in WEEKDAYS:
            raise BadHours(f'"{day}" is no weekday; use {", ".join(WEEKDAYS)}.')
    return tuple(read_windows(value.get(day, []), f"{day}: ") for day in WEEKDAYS)


def read_windows(value: Any, where: str = "") -> Windows:
    """Return the windows of one day in order; those that run into each other become one.

    Raises BadHours, whose sentence begins with `where`.
    """
    if not isinstance(value, list):
        raise BadHours(f'{where}write the hours of a day as [["09:00", "12:00"], ["13:00", "17:00"]].')
    merged: list[tuple[int, int]] = []
    for start, end in sorted(_window(window, where) for window in value):
        if merged and start < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(end, merged[-1][1]))
        else:
            merged.append((start, end))
    return tuple(merged)


def require_no_overlap(value: Any, where: str = "") -> None:
    """Raise BadHours when two windows of readable hours overlap: one of them is probably a slip."""
    if isinstance(value, dict):
        for day, windows in value.items():
            require_no_overlap(windows, f"{day}: ")
        return
    windows = sorted(value)
    for (start, end), (next_start, next_end) in pairwise(windows):
        if next_start < end:
            raise BadHours(f"{where}{start} to {end} and {next_start} to {next_end} overlap.")


def _window(window: Any, where: str) -> tuple[int, int]:
    if not isinstance(window, list) or len(window) != 2:
        raise BadHours(f'{where}write each span as ["09:00", "17:00"].')
    start, end = (_minutes(clock, where) for clock in window)
    if start >= end:
        raise BadHours(
            f"{where}{window[1]} is not after {window[0]}; split a span that runs over midnight into two days."
        )
    return start, end


def _minutes(clock: Any, where: str) -> int:
    if not isinstance(clock, str) or not CLOCK.fullmatch(clock):
        raise BadHours(f'{where}"{clock}" is no time of day; write it as 09:00, up to 24:00.')
    return int(clock[:2]) * 60 + int(clock[3:])
