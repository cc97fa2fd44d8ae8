"""The lines in which two texts differ, as a page shows them."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import SequenceMatcher
from typing import NamedTuple

SAME, ADDED, REMOVED, LEFT_OUT = "same", "added", "removed", "left out"
CONTEXT = 3  # equal lines shown around a difference
COMPARED_LINES = 4_000  # of both texts; more would take seconds


class Line(NamedTuple):
    """One line; for LEFT_OUT `text` is the number of lines that are equal and not shown."""

    kind: str
    text: str


def lines_between(before: str, after: str) -> list[Line]:
    """Compare line by line; empty when the texts are equal."""
    if before == after:
        return []
    old, new = before.splitlines(), after.splitlines()
    if old == new:  # but for the ends of lines
        return [Line(SAME, "The texts differ in the ends of their lines only.")]
    if len(old) + len(new) > COMPARED_LINES:
        return [*(Line(REMOVED, text) for text in old), *(Line(ADDED, text) for text in new)]
    return list(_lines(old, new))


def _lines(old: list[str], new: list[str]) -> Iterator[Line]:
    matcher = SequenceMatcher(a=old, b=new, autojunk=False)
    codes = matcher.get_opcodes()
    for place, (tag, i1, i2, j1, j2) in enumerate(codes):
        if tag == "equal":
            yield from _around(old[i1:i2], is_first=place == 0, is_last=place == len(codes) - 1)
            continue
        yield from (Line(REMOVED, text) for text in old[i1:i2])
        yield from (Line(ADDED, text) for text in new[j1:j2])


def _around(same: list[str], *, is_first: bool, is_last: bool) -> Iterator[Line]:
    head, tail = 0 if is_first else CONTEXT, 0 if is_last else CONTEXT
    if len(same) <= head + tail + 1:
        yield from (Line(SAME, text) for text in same)
        return
    yield from (Line(SAME, text) for text in same[:head])
    yield Line(LEFT_OUT, str(len(same) - head - tail))
    yield from (Line(SAME, text) for text in same[len(same) - tail :])
