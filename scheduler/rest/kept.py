"""Results that are expensive to compute, kept for as long as nobody has changed anything.

Beside the result stands PostgreSQL's snapshot, the set of transactions that it saw. A later request asks for the
snapshot alone; as long as it is the same, no transaction has ended in between and the result is still exact. On a
busy server results live for some milliseconds only, but a crowd that asks for the same shares them.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from threading import Lock
from typing import Generic, TypeVar

from django.db import DEFAULT_DB_ALIAS, connections

from scheduler.rest.prepared import fetch_all

T = TypeVar("T")

# A standby's snapshot does not list the running transactions, but what it has replayed tells the same.
STATE = """
SELECT CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn()::text ELSE pg_current_snapshot()::text END
"""
MOST = 100  # results in a process


class Kept(Generic[T]):
    """Results of one kind, by a key that names what was asked for."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[str, T]] = {}
        self._computing: dict[Hashable, Lock] = {}

    def get(self, key: Hashable, compute: Callable[[], T], *, using: str = DEFAULT_DB_ALIAS) -> T:
        """Return what is kept for `key` if it is still true, else what `compute` says."""
        connection = connections[using]
        if connection.in_atomic_block:
            # What a transaction itself has written does not show in its snapshot.
            return compute()
        key = (using, connection.settings_dict["NAME"], key)
        if (found := self._kept.get(key)) and found[0] == state_of(using):
            return found[1]
        # Of many who ask at once one computes; the others wait for what it finds.
        with self._computing.setdefault(key, Lock()):
            before = state_of(using)
            if (found := self._kept.get(key)) and found[0] == before:
                return found[1]
            value = compute()
            if state_of(using) == before:
                self._keep(key, before, value)
            return value

    def _keep(self, key: Hashable, state: str, value: T) -> None:
        if len(self._kept) >= MOST:
            self._kept.clear()
            self._computing.clear()
        self._kept[key] = (state, value)


def state_of(using: str) -> str:
    ((state,),) = fetch_all(STATE, [], using)
    return str(state)
