"""psycopg's asyncio pool, made to retire connections, to fail fast, and to be back with the server.

What is replaced of psycopg_pool, and why:

- A connection is taken and given back without suspending, so a cancelled task can never lose one.
- A connection found dead is replaced at once; psycopg_pool sleeps 1, 2, 4 s between two such finds.
- While the server is down one attempt goes on every RECONNECT_DELAYS, without end, and whoever waits for a connection
  is told the true reason; psycopg_pool doubles its delay for five minutes, gives up, and waiters learn nothing.
- The connection used last is handed out first, so that the others fall idle and can be closed.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections import Counter
from collections.abc import Callable
from time import monotonic
from typing import Any
from weakref import WeakSet

import psycopg
from psycopg.pq import TransactionStatus
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from psycopg_pool.base import AttemptWithBackoff
from psycopg_pool.pool_async import AddConnection, MaintenanceTask

from database import fork
from database.errors import PoolExhausted
from database.metrics import POOL_RETIRED, POOL_TIMEOUTS, POOL_WAIT
from database.pool import PATIENCE, ROUND_TRIP_AFTER, WAITING_DOES_NOT_HELP
from database.sentences import Address, translated
from database.service.configuration import Configuration
from database.service.connection import ServiceConnection
from database.service.holding import Hold, calling_line
from database.service.waiting import Reconnect, Waiter

logger = logging.getLogger(__name__)
# Its INFO is a line for every connection taken and given back.
logging.getLogger("psycopg.pool").setLevel(logging.ERROR)

ASK_LIMIT = 2.0
SWEEP_EVERY = 1.0
IDLE = TransactionStatus.IDLE


class Sweep(MaintenanceTask):
    """Close what is too old or idle for too long, and look at what is held for too long."""

    async def _run(self, pool: AsyncConnectionPool[Any]) -> None:
        assert isinstance(pool, ServicePool)
        # First, so that an error below does not end the sweeping.
        await pool.schedule_task(self, pool.sweep_every)
        await pool.sweep()


class ServicePool(AsyncConnectionPool[ServiceConnection]):
    """The pool of a DatabaseService; use that."""

    alive: WeakSet[ServicePool] = WeakSet()

    def __init__(self, configuration: Configuration, on_sweep: Callable[[], None]) -> None:
        limits = configuration.limits
        super().__init__(
            connection_class=ServiceConnection,
            kwargs=self._arguments,
            min_size=limits.min_size,
            max_size=limits.max_size,
            timeout=limits.timeout,
            max_lifetime=limits.max_lifetime,
            max_idle=limits.max_idle,
            name=configuration.label,
            configure=self._prepare_connection,
            open=False,
        )
        self.configuration = configuration
        self.address = Address()
        self.max_queries = limits.max_queries
        self.sweep_every = max(0.02, min(SWEEP_EVERY, limits.max_idle / 4, limits.max_lifetime / 4))
        self.retired: Counter[str] = Counter()
        self.wait_seconds = 0.0
        self.longest_wait = 0.0
        self.held: dict[ServiceConnection, Hold] = {}
        self._on_sweep = on_sweep
        self._established: set[ServiceConnection] = set()
        self._failure: BaseException | None = None
        self._failing_since = 0.0
        self._observe_wait = POOL_WAIT.labels(self.name).observe
        ServicePool.alive.add(self)

    @property
    def waiting(self) -> int:
        return sum(not waiter.future.done() for waiter in self._queue)

    @property
    def idle(self) -> int:
        return len(self._pool)

    @property
    def size(self) -> int:
        """Established connections, idle or held."""
        return len(self._established)

    @property
    def failure(self) -> BaseException | None:
        """The error of the last attempt to connect; None once one has succeeded."""
        return self._failure

    @property
    def _queue(self) -> Any:
        # psycopg_pool's own waiters need two locks and a task each; Waiter stands in for them.
        return self._waiting

    # Taking a connection

    async def getconn(self, timeout: float | None = None) -> ServiceConnection:
        """Take a connection; it must be given back with `putconn()`.

        Raises PoolExhausted after `timeout` seconds (DB_POOL_TIMEOUT when None), psycopg's PoolClosed, and what
        connecting raised while no connection could be made.
        """
        self._check_open_getconn()
        limit = self.timeout if timeout is None else timeout
        started = monotonic()
        self._stats[self._REQUESTS_NUM] += 1
        while True:
            connection = self._pool.pop() if self._pool else await self._wait_for_one(started, limit)
            if await self._usable(connection):
                break
        waited = monotonic() - started
        self.longest_wait = max(self.longest_wait, waited)
        self.wait_seconds += waited
        self._observe_wait(waited)
        connection._pool = self
        connection.hold = self.held[connection] = Hold(asyncio.current_task(), calling_line())
        return connection

    async def _wait_for_one(self, started: float, limit: float) -> ServiceConnection:
        waiter = Waiter()
        self._queue.append(waiter)
        self._stats[self._REQUESTS_QUEUED] += 1
        self._maybe_grow_pool()
        left = max(0.0, started + limit - monotonic())
        timer = asyncio.get_running_loop().call_later(left, waiter.expire)
        try:
            return await waiter.future
        except PoolTimeout:
            self._leave_queue(waiter)
            raise self._exhausted(limit) from None
        except asyncio.CancelledError:
            self._leave_queue(waiter)
            # The connection may have been handed over in the same round of the loop that cancelled us.
            if waiter.future.done() and not waiter.future.cancelled() and not waiter.future.exception():
                self._give(waiter.future.result())
            raise
        finally:
            timer.cancel()

    def _leave_queue(self, waiter: Waiter) -> None:
        # Whoever gave a connection back in the meantime has taken it out already.
        if waiter in self._queue:
            self._queue.remove(waiter)

    def _exhausted(self, limit: float) -> BaseException:
        self._stats[self._REQUESTS_ERRORS] += 1
        POOL_TIMEOUTS.labels(self.name).inc()
        if self._failure is not None and not self._established:
            return translated(self._failure, where=self.address)
        holds = sorted(self.held.values(), key=Hold.seconds, reverse=True)
        longest = f"; the longest use is {holds[0].seconds():.1f} s, from {holds[0].where}" if holds else ""
        return PoolExhausted(
            f"No connection of the pool {self.name} became free within {limit:g} s: "
            f"{len(holds)} of at most {self.max_size} are in use{longest}."
        )

    async def _usable(self, connection: ServiceConnection) -> bool:
        """Say whether the connection still works; one that does not is replaced."""
        if not connection.alive():
            # Whatever closed it has probably closed the others as well.
            self._replace(connection, "broken")
            self._drop_dead()
            return False
        if monotonic() - connection.idle_since < ROUND_TRIP_AFTER:
            return True
        limit = asyncio.get_running_loop().call_later(ASK_LIMIT, connection.cut)
        try:
            await connection.execute("")
        except psycopg.Error:
            self._replace(connection, "broken")
            return False
        except BaseException:
            self._replace(connection, "broken")
            raise
        finally:
            limit.cancel()
        return True

    def _drop_dead(self) -> None:
        for connection in [idle for idle in self._pool if not idle.alive()]:
            self._pool.remove(connection)
            self._replace(connection, "broken")

    # Giving it back

    async def putconn(self, connection: ServiceConnection) -> None:
        """Give a connection back; it is replaced when it is broken, too old or has served its queries."""
        self._check_pool_putconn(connection)
        self.held.pop(connection, None)
        connection.hold = None
        if self._closed:
            self._forget(connection)
            return
        await self._return_connection(connection, from_getconn=False)

    async def _return_connection(self, connection: ServiceConnection, from_getconn: bool) -> None:
        if connection.in_transaction:
            await self._roll_back(connection)
        if connection.pgconn.transaction_status != IDLE:
            # Broken, or given back in the middle of a statement: nobody knows what its answer would belong to.
            self._replace(connection, "broken")
        elif connection.plans_are_stale or 0 < self.max_queries <= connection.queries:
            self._replace(connection, "queries")
        elif connection._created_at <= self._drained_at or connection._expire_at <= monotonic():
            self._replace(connection, "lifetime")
        else:
            connection.idle_since = monotonic()
            self._give(connection)

    async def _roll_back(self, connection: ServiceConnection) -> None:
        try:
            await connection.rollback()
        except psycopg.Error:
            self._forget(connection)
        except BaseException:
            self._replace(connection, "broken")
            raise

    async def _add_to_pool(self, connection: ServiceConnection) -> None:
        self._give(connection)

    def _give(self, connection: ServiceConnection) -> None:
        """Hand the connection to the first task that waits, or lay it aside."""
        if self._closed:
            self._forget(connection)
            return
        connection._pool = None  # psycopg_pool: no reference loop while nobody uses it
        while self._queue:
            if self._queue.popleft().hand(connection):
                return
        self._pool.append(connection)
        if self._pool_full_event and len(self._pool) >= self._min_size:
            self._pool_full_event.set()

    def _forget(self, connection: ServiceConnection) -> None:
        self._established.discard(connection)
        connection._pool = None
        connection._closed = True
        connection.pgconn.finish()

    async def _close_connection(self, connection: ServiceConnection) -> None:
        self._forget(connection)

    def _retire(self, connection: ServiceConnection, reason: str) -> None:
        self._forget(connection)
        self.retired[reason] += 1
        POOL_RETIRED.labels(self.name, reason).inc()
        self._nconns -= 1

    def _replace(self, connection: ServiceConnection, reason: str) -> None:
        """Close the connection, and open another one where the minimum or a waiting task asks for it."""
        self._retire(connection, reason)
        self._refill()

    # Connecting

    async def _arguments(self) -> dict[str, Any]:
        # In a thread: the embedded server may have to be started first.
        arguments = await asyncio.to_thread(self.configuration.connect_arguments)
        self.address = Address.of(arguments)
        return arguments

    async def _prepare_connection(self, connection: ServiceConnection) -> None:
        """Bring what PgBouncer hands us to UTC; elsewhere the startup options have done it."""
        try:
            if connection.info.parameter_status("TimeZone") != "UTC":
                await connection.execute("SET TIME ZONE 'UTC'")
            connection.queries = 0
        except BaseException:
            connection.pgconn.finish()
            raise

    async def _connect(self, timeout: float | None = None) -> ServiceConnection:
        connection = await super()._connect(timeout)
        self._established.add(connection)
        return connection

    async def _add_connection(self, attempt: AttemptWithBackoff | None, growing: bool = False) -> None:
        try:
            connection = await self._connect()
        except Exception as error:
            await self._connecting_failed(error, attempt)
            return
        except BaseException:
            self._nconns -= 1
            raise
        if self._failure is not None:
            logger.warning("Connections to %s can be made again.", self.address)
        self._failure = None
        self._give(connection)
        self._refill()

    async def _connecting_failed(self, error: BaseException, attempt: AttemptWithBackoff | None) -> None:
        """Keep one attempt going; tell the reason to those who wait, unless a connection in use may serve them."""
        reason = translated(error, where=self.address)
        probing = isinstance(attempt, Reconnect)
        if self._failure is None:
            logger.warning("%s", reason)
            attempt, probing = Reconnect(), True
            self._failing_since = monotonic()
        self._failure = error
        hopeless = isinstance(reason, WAITING_DOES_NOT_HELP)
        if not self._established and (hopeless or monotonic() - self._failing_since >= PATIENCE):
            while self._queue:
                await self._queue.popleft().fail(_again(reason, error))
        if probing and isinstance(attempt, Reconnect):
            await self.schedule_task(AddConnection(self, attempt), attempt.next_delay())
        else:
            self._nconns -= 1

    def _maybe_grow_pool(self) -> None:
        self._refill()

    def _refill(self) -> None:
        """Open what is missing to the minimum and for the tasks that wait; while the server is down, nothing."""
        if self._closed or self._failure is not None:
            return
        coming = self._nconns - len(self._established)
        missing = max(self._min_size - self._nconns, len(self._queue) - coming)
        for _ in range(min(missing, self._max_size - self._nconns)):
            self._nconns += 1
            self.run_task(AddConnection(self))

    # Over time

    def _start_initial_tasks(self) -> None:
        for _ in range(self._nconns):
            self.run_task(AddConnection(self))
        self.run_task(Sweep(self))

    async def sweep(self) -> None:
        """Close idle connections that are dead, past their lifetime, or idle for too long above the minimum."""
        now = monotonic()
        self._drop_dead()
        for connection in [idle for idle in self._pool if idle._expire_at <= now]:
            self._pool.remove(connection)
            self._replace(connection, "lifetime")
        # The longest idle ones stand first, because the pool is a stack.
        while self._nconns > self._min_size and self._pool:
            if now - self._pool[0].idle_since < self.max_idle:
                break
            self._retire(self._pool.popleft(), "idle")
        self._on_sweep()

    async def close(self, timeout: float = 5.0) -> None:
        """Close the pool; connections in use are closed as they come back."""
        workers = [*self._workers, self._sched_runner]
        await super().close(timeout)
        for worker in workers:
            # One that is still connecting to a host that does not answer.
            if worker and not worker.done():
                worker.cancel()

    def abandon(self) -> None:
        """Forget the connections in a forked child without a word to the server: they are the parent's."""
        self._closed = True
        fork.keep(self)
        for connection in self._established:
            # finish() would send a farewell through the socket that the parent goes on using.
            os.close(connection.pgconn.socket)


def _again(reason: BaseException, cause: BaseException) -> BaseException:
    """Return a copy of the error, because each task adds its own traceback to what it raises."""
    copy = type(reason)(*reason.args)
    copy.__cause__ = cause
    return copy


def _abandon_all() -> None:
    for pool in list(ServicePool.alive):
        pool.abandon()


fork.in_child(_abandon_all)
