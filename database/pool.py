"""The pool of connections of one process and one database.

psycopg_pool with four things added: a connection is retired after a number of queries, one that died while idle
costs nobody an error, a server that is down is known within about a second and found again within half a second,
and the figures are right in the metrics.
"""

from __future__ import annotations

import gc
import logging
import select
import threading
from collections import Counter, deque
from collections.abc import Callable
from time import monotonic, sleep
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg import Connection
from psycopg_pool import ConnectionPool, PoolTimeout
from psycopg_pool.base import AttemptWithBackoff
from psycopg_pool.pool import AddConnection

from database import fork
from database.errors import EncryptionRefused, SignInRefused, UnknownDatabase, Unreachable
from database.metrics import (
    POOL_CONNECTIONS,
    POOL_LIMIT,
    POOL_RETIRED,
    POOL_TIMEOUTS,
    POOL_WAIT,
    POOL_WAITING,
)
from database.sentences import Address, translated

logger = logging.getLogger(__name__)

# All in seconds.
RECONNECT_INTERVAL = 0.5  # between two attempts of one pool to reach a server that is down
PATIENCE = 1.0  # a restart shorter than this is a wait, a longer one an error
ROUND_TRIP_AFTER = 30.0  # idle for so long, firewalls and proxies drop connections without a word
FAILING_FRESH = 1.0  # younger, a connection that fails its check says something about the server
DRAINED = 5  # readings after which a socket that still has something to say is asked directly

WAITING_DOES_NOT_HELP = (SignInRefused, UnknownDatabase, EncryptionRefused)
RETIRED_FOR = ("queries", "lifetime", "idle", "broken")


class PooledConnection(Connection[Any]):
    """A connection that knows how much it was used."""

    queries = 0  # execute, executemany and COPY; not the pool's own checks
    idle_since = 0.0
    lent_by: Pool | None = None

    def __del__(self, *arguments: Any) -> None:
        # The thread that had it has ended and not given it back. No lock here: the collector runs anywhere.
        if self.lent_by is not None:
            self.lent_by.lost.append(id(self))
        super().__del__(*arguments)


class Pool(ConnectionPool[PooledConnection]):
    """Connections to one address, at most `max_size`; `getconn` raises psycopg's errors.

    `max_queries` is the number after which a connection is replaced when it comes back, 0 for never; the other
    `sizes` are those of psycopg_pool. PoolTimeout means that all were in use; when no server could be reached, the
    error of the last attempt is raised instead.
    """

    alive: WeakSet[Pool] = WeakSet()

    def __init__(
        self,
        alias: str,
        parameters: dict[str, Any],
        *,
        configure: Callable[[Any], Any] | None = None,
        max_queries: int = 0,
        **sizes: Any,
    ) -> None:
        self.alias = alias
        self.address = Address.of(parameters)
        self.max_queries = max_queries
        self.used = 0
        self.timeouts = 0
        self.waited = 0.0  # seconds, all callers together
        self.retired: Counter[str] = Counter()
        self.lost: deque[int] = deque()
        self._borrowers: dict[int, threading.Thread] = {}
        self._failure: Exception | None = None
        self._failing_since = 0.0
        self._next_attempt = 0.0
        self._wait = POOL_WAIT.labels(alias)
        self._gauges = [POOL_CONNECTIONS.labels(alias, state) for state in ("used", "idle")]
        self._gauges.append(POOL_WAITING.labels(alias))
        super().__init__(
            kwargs=parameters,
            connection_class=PooledConnection,
            configure=configure,
            open=False,
            name=alias,
            **sizes,
        )
        Pool.alive.add(self)

    def open(self, wait: bool = False, timeout: float = 30.0) -> None:
        super().open(wait, timeout)
        POOL_LIMIT.labels(self.alias).set(self.max_size)

    def close(self, timeout: float = 5.0) -> None:
        super().close(timeout)
        self._show()

    def abandon(self) -> None:
        """Forget everything, in a child that inherited the pool; nothing is closed and no lock is taken."""
        self._closed = True  # or its destructor would wait for threads that stayed in the parent
        fork.keep(self)

    def getconn(self, timeout: float | None = None) -> PooledConnection:
        self._replace_lost()
        if not self._pool:
            self._find_lost()
            self._gauges[2].set(len(self._waiting) + 1)
        started = monotonic()
        try:
            connection = super().getconn(timeout)
        except PoolTimeout:
            self.timeouts += 1
            POOL_TIMEOUTS.labels(self.alias).inc()
            self._show()
            raise self._no_connection(monotonic() - started) from None
        seconds = monotonic() - started
        self._wait.observe(seconds)
        connection.lent_by = self
        with self._lock:
            self.used += 1
            self.waited += seconds
            self._borrowers[id(connection)] = threading.current_thread()
        self._show()
        return connection

    def putconn(self, conn: PooledConnection) -> None:
        self._check_pool_putconn(conn)
        conn.lent_by = None
        with self._lock:
            self.used -= 1
            self._borrowers.pop(id(conn), None)
        super().putconn(conn)
        self._show()

    def stats(self) -> dict[str, Any]:
        """Return the figures of this moment, and since the start of the pool; times are milliseconds."""
        requests = self._stats[self._REQUESTS_NUM]
        return {
            "used": self.used,
            "idle": len(self._pool),
            "waiting": len(self._waiting),
            "size": self._nconns,
            "min": self.min_size,
            "max": self.max_size,
            "requests": requests,
            "wait_ms_total": round(self.waited * 1000, 3),
            "wait_ms_avg": round(self.waited * 1000 / requests, 3) if requests else 0.0,
            "retired": {reason: self.retired[reason] for reason in RETIRED_FOR},
            "timeouts": self.timeouts,
        }

    def _getconn_with_check_loop(self, deadline: float) -> PooledConnection:
        while True:
            connection = self._getconn_unchecked(deadline - monotonic())
            try:
                self._check_connection(connection)
            except psycopg.Error:
                fresh = monotonic() - connection._created_at < FAILING_FRESH
                self._discard(connection)
                if fresh:
                    # The server takes connections and drops them: no busy loop then. After a restart
                    # all that are idle are old and dead, and nobody should wait for each of them.
                    sleep(min(RECONNECT_INTERVAL, max(0.0, deadline - monotonic())))
            except BaseException:
                self._discard(connection)
                raise
            else:
                return connection

    def _discard(self, connection: PooledConnection) -> None:
        pool, connection._pool = connection._pool, None
        connection.close()
        connection._pool = pool
        self._putconn(connection, from_getconn=True)

    def _check_connection(self, conn: PooledConnection) -> None:
        """Raise psycopg.Error when the server has gone; asks it only where its silence proves nothing."""
        socket = select.poll()
        socket.register(conn.pgconn.socket, select.POLLIN)
        spoken = 0
        while spoken < DRAINED and socket.poll(0):
            # The end of the stream raises; a notice or a changed setting is read and kept by libpq.
            conn.pgconn.consume_input()
            spoken += 1
        if spoken or monotonic() - conn.idle_since > ROUND_TRIP_AFTER:
            queries = conn.queries
            self.check_connection(conn)
            conn.queries = queries

    def _return_connection(self, conn: PooledConnection, from_getconn: bool) -> None:
        reason = "broken" if conn.closed else self._outworn(conn)
        if reason == "queries":
            conn._expire_at = 0.0
        super()._return_connection(conn, from_getconn)
        if reason:
            self._count(reason)

    def _outworn(self, conn: PooledConnection) -> str:
        if self.max_queries and conn.queries >= self.max_queries:
            return "queries"
        if conn._expire_at <= monotonic() or conn._created_at <= self._drained_at:
            return "lifetime"
        return ""

    def _shrink_pool(self) -> None:
        with self._lock:
            oldest = self._pool[0] if self._pool else None
            super()._shrink_pool()
        if oldest is not None and oldest.closed:
            self._count("idle")
        self._show()

    def _add_to_pool(self, conn: PooledConnection) -> None:
        conn.idle_since = monotonic()
        super()._add_to_pool(conn)

    def _add_connection(self, attempt: AttemptWithBackoff | None, growing: bool = False) -> None:
        """Connect, or try again later, for ever; one attempt at a time while the server is down.

        psycopg_pool doubles the pause without a limit and gives up in the end, which would leave a pool
        empty for minutes after a long outage.
        """
        if pause := self._pause():
            self.schedule_task(AddConnection(self, attempt, growing=growing), pause)
            return
        started = monotonic()
        try:
            connection = self._connect()
        except Exception as error:
            self._connect_failed(error, started)
            self.schedule_task(AddConnection(self, attempt, growing=growing), RECONNECT_INTERVAL)
            return
        self._connected()
        self._add_to_pool(connection)
        self._show()
        if growing:
            self._grow_on()

    def _grow_on(self) -> None:
        with self._lock:
            if self._nconns < self._min_size or (self._nconns < self._max_size and self._waiting):
                self._nconns += 1
                self.run_task(AddConnection(self, growing=True))
            else:
                self._growing = False

    def _pause(self) -> float:
        """Return for how many seconds this attempt has to wait; 0 gives it the turn."""
        with self._lock:
            now = monotonic()
            if self._failure is None or now >= self._next_attempt:
                self._next_attempt = now + RECONNECT_INTERVAL
                return 0.0
            return self._next_attempt - now

    def _connected(self) -> None:
        with self._lock:
            failed, self._failure = self._failure, None
        if failed is not None:
            logger.warning(
                "Pool %s: connected again after %.1f s.", self.alias, monotonic() - self._failing_since
            )

    def _connect_failed(self, error: Exception, started: float) -> None:
        told = translated(error, where=self.address)
        with self._lock:
            first = self._failure is None
            self._failure = error
            if first:
                self._failing_since = started
            self._next_attempt = monotonic() + RECONNECT_INTERVAL
            waiting = list(self._waiting) if self._hopeless(told) else []
            if waiting:
                self._waiting.clear()
        if first:
            # Only the first of an outage: there are two attempts a second.
            logger.warning("Pool %s: %s", self.alias, told)
        for client in waiting:
            client.fail(_copy(error))

    def _hopeless(self, error: BaseException) -> bool:
        """Say whether those who wait should learn of `error` instead of waiting on."""
        if self.used and not isinstance(error, Unreachable):
            return False  # what others use still works, and will come back
        if isinstance(error, WAITING_DOES_NOT_HELP):
            return True
        return monotonic() - self._failing_since >= PATIENCE

    def _no_connection(self, seconds: float) -> Exception:
        if self._failure is not None:
            return _copy(self._failure)
        return PoolTimeout(f"{self.used} of {self.max_size} are in use, waited {seconds:.1f} s")

    def _find_lost(self) -> None:
        """Have the collector look for connections of threads that have ended; until it does, nobody gets them."""
        if self.used < self._max_size:
            return
        with self._lock:
            ended = [key for key, thread in self._borrowers.items() if not thread.is_alive()]
            for key in ended:
                # Once is enough: a connection that is still there was handed to another thread.
                del self._borrowers[key]
        if ended:
            gc.collect()
            self._replace_lost()

    def _replace_lost(self) -> None:
        while self.lost:
            key = self.lost.popleft()
            with self._lock:
                self.used -= 1
                self._borrowers.pop(key, None)
            self._count("broken")
            logger.warning("Pool %s: a thread ended without giving its connection back.", self.alias)
            self.run_task(AddConnection(self))

    def _count(self, reason: str) -> None:
        self.retired[reason] += 1
        POOL_RETIRED.labels(self.alias, reason).inc()

    def _show(self) -> None:
        for gauge, value in zip(self._gauges, (self.used, len(self._pool), len(self._waiting)), strict=True):
            gauge.set(value)


def _copy(error: Exception) -> Exception:
    # Each caller needs its own: a raised exception collects the traceback of whoever raised it.
    return type(error)(*error.args)


def _abandon_all() -> None:
    for pool in list(Pool.alive):
        pool.abandon()


fork.in_child(_abandon_all)
