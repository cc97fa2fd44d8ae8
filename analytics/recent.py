"""Figures that take long to count, kept for a minute; whoever shows them says of when they are.

`scheduler.rest.kept` keeps what is still exact, which on a busy server is true for milliseconds only. Here a busy
call centre of millions of rows looks at figures of a minute ago, and a small one always at those of this moment.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from datetime import datetime
from threading import Lock
from time import monotonic
from typing import Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections
from django.utils import timezone

from database.replica import read

T = TypeVar("T")

WORTH_KEEPING = 0.05  # seconds that counting took; what is quicker is counted every time
KEPT_FOR = 60.0  # seconds
MOST = 200  # figures in a process


@dataclass(frozen=True)
class Counted(Generic[T]):
    """A value, and when its count began."""

    value: T
    at: datetime


@dataclass(frozen=True)
class _Kept(Generic[T]):
    counted: Counted[T]
    until: float


class Recent(Generic[T]):
    """Values by a key that names what was counted."""

    def __init__(self, worth_keeping: float = WORTH_KEEPING, kept_for: float = KEPT_FOR) -> None:
        self.worth_keeping = worth_keeping
        self.kept_for = kept_for
        self._kept: dict[Hashable, _Kept[T]] = {}
        self._counting: dict[Hashable, Lock] = {}

    def get(self, key: Hashable, count: Callable[[], T]) -> Counted[T]:
        """Return what was counted for `key` in the last minute if that took long, else count (on the replica)."""
        connection = connections[DEFAULT_DB_ALIAS]
        if connection.in_atomic_block:
            # A transaction sees rows that nobody else may see yet.
            return Counted(count(), timezone.now())
        key = (connection.settings_dict["NAME"], key)
        if found := self._fresh(key):
            return found
        # Of many who ask at once one counts; the others wait for what it finds.
        with self._counting.setdefault(key, Lock()):
            return self._fresh(key) or self._count(key, count)

    def _fresh(self, key: Hashable) -> Counted[T] | None:
        found = self._kept.get(key)
        return found.counted if found and monotonic() < found.until else None

    def _count(self, key: Hashable, count: Callable[[], T]) -> Counted[T]:
        at, begin = timezone.now(), monotonic()
        counted = Counted(read(count), at)
        if (took := monotonic() - begin) >= self.worth_keeping:
            if len(self._kept) >= MOST:
                self.forget()
            # What takes a minute to count is not counted every minute.
            self._kept[key] = _Kept(counted, monotonic() + max(self.kept_for, 10 * took))
        return counted

    def forget(self) -> None:
        self._kept.clear()
        self._counting.clear()
