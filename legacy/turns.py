"""The numbers of turns within their calls."""

from __future__ import annotations

import sqlite3
from array import array
from collections import defaultdict
from collections.abc import Iterable, MutableSequence

from legacy.layout import OLD
from legacy.tables import TURNS

DENSE_UP_TO = 16_000_000  # eight bytes a call: memory is bounded, and files with such ids are far larger
FEW = tuple(b"%d" % number for number in range(4096))


class PerCall:
    """An integer for each call, zero at first; compact when ids are ordinary."""

    def __init__(self, highest: int | None) -> None:
        self.values: MutableSequence[int] | defaultdict[int, int] = (
            defaultdict(int) if highest is None else array("q", bytes(8 * (highest + 1)))
        )

    @classmethod
    def for_file(cls, connection: sqlite3.Connection) -> PerCall:
        low, high = connection.execute(
            f"SELECT min(call_id), max(call_id) FROM {OLD}.{TURNS.name} NOT INDEXED WHERE typeof(call_id) = 'integer'"
        ).fetchone()
        return cls(high if low is not None and low >= 0 and high <= DENSE_UP_TO else None)


class TurnNumbers:
    """Numbers plain turns 1, 2, 3 per call, as they pass in the order of their ids."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self.counts = PerCall.for_file(connection).values

    def of(self, calls: Iterable[bytes]) -> list[bytes]:
        """Return the next number of each of the calls."""
        counts, numbers = self.counts, []
        for call in map(int, calls):
            counts[call] = number = counts[call] + 1
            numbers.append(FEW[number] if number < len(FEW) else b"%d" % number)
        return numbers
