"""The numbers of turns within their calls."""

from __future__ import annotations

from array import array
from collections import defaultdict
from collections.abc import Iterable, Iterator, MutableSequence

from legacy.layout import SourceTable
from legacy.tables import TURNS
from legacy.workspace import Workspace

DENSE_UP_TO = 16_000_000  # eight bytes a call: memory is bounded, and files with such ids are far larger
FIRST_TIME = 19_900_101_000_000  # as digits; no plain time is earlier
FEW = tuple(b"%d" % number for number in range(4096))


class PerCall:
    """An integer for each call, zero at first; compact when ids are ordinary."""

    def __init__(self, highest: int | None) -> None:
        self.values: MutableSequence[int] | defaultdict[int, int] = (
            defaultdict(int) if highest is None else array("q", bytes(8 * (highest + 1)))
        )

    @classmethod
    def for_file(cls, workspace: Workspace) -> PerCall:
        low, high = workspace.call_ids
        return cls(
            high if low is not None and high is not None and low >= 0 and high <= DENSE_UP_TO else None
        )

    def used(self) -> Iterator[int]:
        """Yield the calls whose integer is not zero."""
        pairs = self.values.items() if isinstance(self.values, defaultdict) else enumerate(self.values)
        return (call for call, value in pairs if value)


class TurnNumbers:
    """Numbers plain turns 1, 2, 3 per call, as they pass in the order of their ids."""

    def __init__(self, workspace: Workspace) -> None:
        self.counts = PerCall.for_file(workspace).values

    def of(self, calls: Iterable[bytes]) -> list[bytes]:
        """Return the next number of each of the calls."""
        counts, numbers = self.counts, []
        for call in map(int, calls):
            counts[call] = number = counts[call] + 1
            numbers.append(FEW[number] if number < len(FEW) else b"%d" % number)
        return numbers


class TurnOrder:
    """Looks for calls whose turns are not in the order of their ids, chunk by chunk."""

    COLUMNS = (
        "group_concat(CASE typeof(call_id) WHEN 'integer' THEN call_id ELSE 0 END),"
        " group_concat(CASE typeof(created_at) WHEN 'text' THEN created_at ELSE '' END, '|')"
    )

    def __init__(self, workspace: Workspace) -> None:
        self.workspace = workspace
        self.latest = PerCall.for_file(workspace)
        self.odd: set[int] = set()

    def look_at(self, calls: bytes, times: bytes) -> None:
        """Look at the calls and times of a chunk of turns, both in the order of the ids."""
        latest, odd = self.latest.values, self.odd
        for call, time in zip(map(int, calls.split(b",")), _sortable(times), strict=True):
            if time < latest[call]:
                odd.add(call)
            else:
                latest[call] = time

    def fix_odd_calls(self, source: SourceTable) -> None:
        """Take all turns of calls with a turn out of order, or in need of care, into the workspace.

        Turns are numbered while they are read; that is right only for calls all of whose turns are plain.
        """
        work = self.workspace.connection
        work.execute("CREATE TABLE odd_calls (id INTEGER PRIMARY KEY)")
        work.executemany("INSERT INTO odd_calls VALUES (?)", ((call,) for call in self.odd))
        work.execute(f"INSERT OR IGNORE INTO odd_calls SELECT call_id FROM fixed_{TURNS.name}")
        rows = self.workspace.source_rows(
            source,
            f"WHERE call_id IN (SELECT id FROM odd_calls) AND id NOT IN (SELECT id FROM touched_{TURNS.name})",
        )
        self.workspace.fix_all(TURNS, rows)

    def store_calls(self) -> None:
        """Store which calls have turns, so that orphans are found without a look at every turn."""
        self.workspace.connection.executemany(
            f"INSERT OR IGNORE INTO parents_of_{TURNS.name} VALUES (?)",
            ((call,) for call in self.latest.used()),
        )


def _sortable(times: bytes) -> Iterable[int]:
    """Return an integer for each of the plain times, all others 0: a turn that has one is looked at anyway."""
    digits = times.translate(None, b"- :").split(b"|")
    if b"." not in times:
        try:
            return [(int(time) - FIRST_TIME) * 1_000_000 for time in digits]
        except ValueError:
            pass
    return [_sortable_one(time) for time in digits]


def _sortable_one(digits: bytes) -> int:
    second, _, fraction = digits.partition(b".")
    if len(second) != len(str(FIRST_TIME)) or not (second + fraction).isdigit():
        return 0
    return (int(second) - FIRST_TIME) * 1_000_000 + int(fraction[:6].ljust(6, b"0"))
