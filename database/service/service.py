"""The database for asyncio: pooled connections, short transactions, statements that can be broken off."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import psycopg
from django.db import DEFAULT_DB_ALIAS
from psycopg_pool import PoolClosed

from database.errors import ConnectionHeldIdle, PoolExhausted, PoolNotOpen
from database.metrics import POOL_CONNECTIONS, POOL_HELD_IDLE, POOL_LIMIT, POOL_WAITING
from database.sentences import Address, translated
from database.service.configuration import Configuration
from database.service.connection import ServiceConnection
from database.service.holding import Held, Hold
from database.service.pool import ServicePool
from database.service.session import Session, Statements
from database.service.shutdown import Serving, stop_on_signals

logger = logging.getLogger(__name__)

HEALTH_LIMIT = 2.0  # seconds for the whole answer
CLOSE_GRACE = 5.0
HOLD_LIMIT = 1.0


@dataclass(frozen=True)
class PoolStats:
    """The state of the pool; times are seconds, counts run from the opening.

    `size` = `used` + `idle`; `retired` counts closed connections by reason (queries, lifetime, idle, broken).
    """

    used: int
    idle: int
    waiting: int
    size: int
    min_size: int
    max_size: int
    requests: int
    wait_seconds: float
    longest_wait: float
    held_idle: int
    retired: dict[str, int]


@dataclass(frozen=True)
class Health:
    """`problem` is one sentence, empty when all is well; `seconds` is how long the answer took."""

    ok: bool
    problem: str
    seconds: float


class DatabaseService(Statements):
    """Asynchronous access to one database of `settings.DATABASES`.

        async with DatabaseService() as database:
            async with database.transaction() as work:
                await work.execute("UPDATE ...", value)

    A task holds one connection at most: within `acquire()` and `transaction()` all calls of the same task, on the
    service too, use that connection. Another task, also one of `asyncio.gather` or `wait_for`, uses its own.

    No connection should be held while something else than PostgreSQL is waited for: take it, use it, give it back,
    then call the LLM. One that is held for over `hold_limit` seconds without a statement is logged and counted with
    the line that took it; with `strict` it raises ConnectionHeldIdle, for tests.

    It belongs to the event loop and the process that opened it. After a fork the child opens it anew.
    """

    def __init__(
        self,
        alias: str = DEFAULT_DB_ALIAS,
        *,
        configuration: Configuration | None = None,
        hold_limit: float = HOLD_LIMIT,
        strict: bool = False,
        **limits: Any,
    ) -> None:
        """Read the settings; `limits` replace single values: min_size, max_size, timeout, max_idle, ..."""
        self.configuration = configuration or Configuration.of_alias(alias, **limits)
        self.hold_limit = hold_limit
        self.strict = strict
        self._pool: ServicePool | None = None
        self._pid = 0
        self._closed = False
        self._refusing: str | None = None
        self._holding_back = False
        self._held_back: set[asyncio.Task[Any]] = set()
        self._held_idle = 0
        self._sessions: dict[asyncio.Task[Any] | None, Session] = {}

    async def open(self) -> None:
        """Start connecting; the first use waits for a connection and tells why there is none.

        A service that is open stays as it is; one that was closed, or was opened by the parent process, opens anew.
        """
        if self._inherited():
            self._pool, self._sessions = None, {}
        if self._pool is not None:
            return
        self._pid, self._loop = os.getpid(), asyncio.get_running_loop()
        self._pool = ServicePool(self.configuration, self._watch)
        self._refusing, self._holding_back = None, False
        await self._pool.open()

    async def close(self, grace: float = CLOSE_GRACE) -> int:
        """Wait for the transactions in progress, cancel them after `grace` seconds, and close all connections.

        No statement starts any more: PoolNotOpen. Returns how many tasks had to be cancelled.
        """
        pool = self._pool
        if pool is None:
            return 0
        if self._inherited():
            self._pool, self._sessions = None, {}
            return 0
        self._refusing = "is closed"
        cancelled = await self.drain(grace)
        self._pool, self._closed = None, True
        await pool.close()
        for connection in list(pool.held):
            connection.cut()
        return cancelled

    async def __aenter__(self) -> Self:
        await self.open()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @asynccontextmanager
    async def serving(self, grace: float = 10.0) -> AsyncIterator[Serving]:
        """Open the service for the main part of a worker, which SIGTERM or SIGINT ends in good order.

        On the signal no transaction begins any more: a task that asks for a connection waits until it is cancelled.
        Those in progress get `grace` seconds, then their queries are cancelled on the server. Then the body is
        cancelled and left without an error, so the program goes on after the block and ends with status 0;
        SystemExit(128 + signal) is raised when a transaction had to be cancelled. A second signal ends the grace.
        A body that waits for `serving.stopping` may end by itself.
        """
        async with self, stop_on_signals(self, grace) as serving:
            yield serving

    def hold_back(self) -> None:
        """Give no further connections out; who asks for one waits, and `drain()` cancels them."""
        self._holding_back = True

    async def drain(self, grace: float) -> int:
        """Wait until no connection is held, cancel the holding tasks after `grace` seconds; return how many.

        Tasks that were held back are cancelled at the end; they hold nothing and are not counted.
        """
        try:
            return await self._drain_holders(grace)
        finally:
            for task in self._held_back:
                task.cancel()

    async def _drain_holders(self, grace: float) -> int:
        if await self._idle_within(grace):
            return 0
        tasks = [task for task in self._sessions if task and task is not asyncio.current_task()]
        for task in tasks:
            task.cancel()
        await self._idle_within(CLOSE_GRACE)
        return len(tasks)

    async def _idle_within(self, seconds: float) -> bool:
        deadline = asyncio.get_running_loop().time() + seconds
        while own_apart(self._sessions):
            if asyncio.get_running_loop().time() >= deadline:
                return False
            await asyncio.sleep(0.01)
        return True

    def acquire(self, *, timeout: float | None = None) -> AbstractAsyncContextManager[Session]:
        """Take a connection for several statements; each commits by itself. Yields a Session.

        Raises PoolExhausted after `timeout` seconds (DB_POOL_TIMEOUT when None), PoolNotOpen, and the reason why
        PostgreSQL cannot be reached.
        """
        return Acquired(self, timeout)

    def session_of_task(self) -> Session | None:
        """Return the session of the current task, if it holds a connection."""
        return self._sessions.get(asyncio.current_task())

    async def take(self, timeout: float | None) -> Session:
        """Take a connection for the current task; `give_back()` must follow. Use `acquire()`."""
        pool = self._usable_pool()
        if self._holding_back:
            await self._wait_to_be_cancelled()
        try:
            connection = await pool.getconn(timeout)
        except PoolClosed:
            raise self._not_open("is closed") from None
        session = Session(
            connection,
            label=self.configuration.label,
            address=pool.address,
            client_timeout=self.configuration.client_timeout,
        )
        self._sessions[asyncio.current_task()] = session
        return session

    async def _wait_to_be_cancelled(self) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._held_back.add(task)
        try:
            await asyncio.get_running_loop().create_future()
        finally:
            self._held_back.discard(task)

    async def give_back(self, session: Session) -> None:
        """Give the connection of `take()` back. Raises ConnectionHeldIdle in strict mode."""
        connection = session.release()
        self._sessions.pop(asyncio.current_task(), None)
        hold, pool = connection.hold, connection._pool
        assert isinstance(pool, ServicePool)
        await pool.putconn(connection)
        if hold is not None and hold.idle_seconds() > self.hold_limit:
            self._report(hold)
            if self.strict:
                raise ConnectionHeldIdle(self._complaint(hold))

    async def health_check(self) -> Health:
        """Say within 2 s whether the service can answer queries, and if not, why; never raises."""
        loop = asyncio.get_running_loop()
        started = loop.time()
        # A task of its own: breaking off a query on a server that does not react takes longer than we have.
        probe = asyncio.ensure_future(self._problem())
        done, _ = await asyncio.wait({probe}, timeout=HEALTH_LIMIT - 0.1)
        if not done:
            probe.cancel()
        problem = probe.result() if done else f"PostgreSQL gave no answer within {HEALTH_LIMIT:g} s."
        return Health(not problem, problem, loop.time() - started)

    async def _problem(self) -> str:
        try:
            async with self.acquire(timeout=HEALTH_LIMIT / 2) as session:
                await session.run("SELECT 1", (), None)
        except PoolExhausted as exhausted:
            return await self._problem_besides_the_pool() or str(exhausted)
        except Exception as error:
            return str(translated(error, where=Address()))
        return ""

    async def _problem_besides_the_pool(self) -> str:
        """Ask PostgreSQL itself, to tell a pool that is too small from a server that hangs."""
        arguments = await asyncio.to_thread(self.configuration.connect_arguments)
        try:
            connection = await ServiceConnection.connect(**arguments)
        except psycopg.Error as error:
            return str(translated(error, where=Address.of(arguments)))
        try:
            await connection.execute("SELECT 1")
        finally:
            await connection.close()
        return ""

    def pool_stats(self) -> PoolStats:
        """Return the state of the pool. Raises PoolNotOpen."""
        pool = self._usable_pool()
        raw = pool.get_stats()
        return PoolStats(
            used=len(pool.held),
            idle=pool.idle,
            waiting=pool.waiting,
            size=pool.size,
            min_size=pool.min_size,
            max_size=pool.max_size,
            requests=raw.get("requests_num", 0),
            wait_seconds=pool.wait_seconds,
            longest_wait=pool.longest_wait,
            held_idle=self._held_idle,
            retired=dict(pool.retired),
        )

    def held(self) -> list[Held]:
        """Return who holds a connection at this moment, the longest first."""
        holds = self._usable_pool().held.values()
        return sorted(map(Held.of, holds), key=lambda held: held.seconds, reverse=True)

    def _inherited(self) -> bool:
        # What the parent opened was dropped in this process at the fork.
        return self._pool is not None and self._pid != os.getpid()

    def _usable_pool(self) -> ServicePool:
        pool = self._pool
        if pool is None:
            raise self._not_open("is closed" if self._closed else "is not open")
        if self._inherited():
            raise self._not_open("was opened by the parent process")
        try:
            running = asyncio.get_running_loop()
        except RuntimeError:
            running = self._loop  # figures may be read from outside
        if running is not self._loop:
            raise self._not_open("was opened in another event loop, each loop needs its own service")
        if self._refusing:
            raise self._not_open(self._refusing)
        return pool

    def _not_open(self, state: str) -> PoolNotOpen:
        return PoolNotOpen(
            f"The async pool {self.configuration.label} {state}: "
            "call `await service.open()` first, or use `async with service:`."
        )

    def _watch(self) -> None:
        """Set the gauges and report overlong holds, once a second."""
        pool = self._pool
        if pool is None:
            return
        label = self.configuration.label
        POOL_CONNECTIONS.labels(label, "idle").set(pool.idle)
        POOL_CONNECTIONS.labels(label, "used").set(len(pool.held))
        POOL_LIMIT.labels(label).set(pool.max_size)
        POOL_WAITING.labels(label).set(pool.waiting)
        for hold in pool.held.values():
            if hold.idle_seconds() > self.hold_limit:
                self._report(hold)

    def _report(self, hold: Hold) -> None:
        if not hold.reported:
            hold.reported = True
            self._held_idle += 1
            POOL_HELD_IDLE.labels(self.configuration.label).inc()
            logger.warning("%s", self._complaint(hold))

    def _complaint(self, hold: Hold) -> str:
        return (
            f"A connection taken at {hold.where} was held for {hold.idle_seconds():.1f} s without a statement; "
            "give it back before waiting for anything else than PostgreSQL."
        )


class Acquired(AbstractAsyncContextManager[Session]):
    """A connection that is taken on entering and given back on leaving, unless the task holds one already."""

    def __init__(self, service: DatabaseService, timeout: float | None) -> None:
        self._service = service
        self._timeout = timeout
        self._taken: Session | None = None

    async def __aenter__(self) -> Session:
        if session := self._service.session_of_task():
            return session
        self._taken = await self._service.take(self._timeout)
        return self._taken

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._taken is None:
            return
        # From the psycopg connection itself, which a session hands out.
        refusal = self._taken.refusal(error, None) if isinstance(error, psycopg.Error) else None
        await self._service.give_back(self._taken)
        if refusal is not None:
            raise refusal from error


def own_apart(sessions: dict[asyncio.Task[Any] | None, Session]) -> bool:
    """Say whether another task than the current one holds a connection."""
    return any(task is not asyncio.current_task() for task in sessions)
