"""Whether the replica is fit to be read from, known without waiting: a thread looks while anybody reads.

It looks every CHECK_EVERY seconds and waits CHECK_LIMIT for the answer, so that a reader who was sent to a replica
that hangs is freed within a second. That takes two looks a second; they end IDLE_AFTER the last reader.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Condition, Thread, current_thread
from time import monotonic
from typing import Any, Protocol

from database import fork
from database.metrics import REPLICA_LAG
from database.replica_check import Checker, NoAnswer

logger = logging.getLogger(__name__)

# All in seconds.
CHECK_EVERY = 0.5
CHECK_LIMIT = 0.4
# An older verdict counts for nothing: the thread that should have renewed it may hang itself.
FRESH = 2 * (CHECK_EVERY + CHECK_LIMIT)
IDLE_AFTER = 10.0

WELL, LAG, DOWN = "well", "lag", "down"


class Line(Protocol):
    """A connection that can be cut from another thread."""

    def cut(self) -> None: ...


@dataclass(frozen=True)
class Verdict:
    """`state` is well, lag or down; `at` is monotonic."""

    state: str
    at: float


class ReplicaWatch:
    """Watches one replica for all threads of a process. `max_lag` is in seconds."""

    def __init__(self, parameters: Callable[[], dict[str, Any]], max_lag: float) -> None:
        self._parameters = parameters
        self.max_lag = max_lag
        self._changed = Condition()
        self._verdict = Verdict(DOWN, -math.inf)
        self._asked = -math.inf
        self._thread: Thread | None = None
        self._stopped = False
        self._reading: dict[object, Line] = {}

    def state(self) -> str:
        """Return well, lag or down; waits up to CHECK_LIMIT only when nobody has asked for a while."""
        with self._changed:
            self._asked = monotonic()
            self._start()
            self._changed.wait_for(self._is_fresh, CHECK_LIMIT)
            return self._verdict.state if self._is_fresh() else DOWN

    @contextmanager
    def reading(self, line: Line) -> Iterator[None]:
        """Cut `line` if the replica stops answering before the block has ended."""
        key = object()
        with self._changed:
            self._reading[key] = line
        try:
            yield
        finally:
            with self._changed:
                del self._reading[key]
                self._asked = monotonic()

    def failed(self) -> None:
        """Tell the watch that a reader has lost the replica: the others need not find out by themselves."""
        self._publish(DOWN, math.nan)

    def stop(self) -> None:
        """End the thread; the next reader starts another one."""
        with self._changed:
            self._stopped, thread = True, self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(5)

    def _is_fresh(self) -> bool:
        return monotonic() - self._verdict.at < FRESH

    def _start(self) -> None:
        if self._thread is None:
            self._stopped = False
            self._thread = Thread(target=self._watch, name="replica-watch", daemon=True)
            self._thread.start()

    def _watch(self) -> None:
        checker: Checker | None = None
        try:
            checker = Checker(self._parameters())
            while self._wanted():
                started = monotonic()
                self._look(checker)
                with self._changed:
                    self._changed.wait_for(
                        lambda: self._stopped, max(0.0, CHECK_EVERY - (monotonic() - started))
                    )
        finally:
            if checker is not None:
                checker.close()
            with self._changed:
                if self._thread is current_thread():
                    self._thread = None

    def _wanted(self) -> bool:
        with self._changed:
            idle = not self._reading and monotonic() - self._asked > IDLE_AFTER
            if idle or self._stopped:
                # Under the lock: a reader who comes now must find that it has to start a thread.
                self._thread = None
                return False
            return True

    def _look(self, checker: Checker) -> None:
        try:
            lag = checker.lag(CHECK_LIMIT)
        except NoAnswer as error:
            self._publish(DOWN, math.nan, str(error))
            self._cut_readers()
        else:
            self._publish(LAG if lag > self.max_lag else WELL, lag)

    def _publish(self, state: str, lag: float, why: str = "") -> None:
        REPLICA_LAG.set(lag)
        with self._changed:
            before, self._verdict = self._verdict, Verdict(state, monotonic())
            self._changed.notify_all()
        if before.state != state:
            level = logging.INFO if state == WELL else logging.WARNING
            logger.log(level, "The replica is %s%s.", state, f" ({why})" if why else "")

    def _cut_readers(self) -> None:
        with self._changed:
            for line in self._reading.values():
                line.cut()


_watches: dict[str, ReplicaWatch] = {}


def watch_of(alias: str, parameters: Callable[[], dict[str, Any]], max_lag: float) -> ReplicaWatch:
    """Return the watch of this process over the replica `alias`."""
    found = _watches.get(alias)
    if found is None:
        found = _watches.setdefault(alias, ReplicaWatch(parameters, max_lag))
    return found


def forget_watches() -> None:
    """Forget all watches without ending their threads, which a forked child does not have."""
    for watch in _watches.values():
        fork.keep(watch)
    _watches.clear()


fork.in_child(forget_watches)
