"""A connection that counts its queries and knows whether it is still alive without asking the server."""

from __future__ import annotations

import asyncio
import select
import socket
from collections.abc import Iterable, Iterator
from contextlib import suppress
from time import monotonic
from typing import Any

import psycopg
from psycopg.abc import PQGen
from psycopg.pq import ConnStatus, TransactionStatus
from psycopg.rows import AsyncRowFactory, dict_row

from database.service.holding import Hold

Row = dict[str, Any]
HUNG_UP = getattr(select, "POLLRDHUP", 0)  # Linux only; elsewhere reading finds the end
CANCEL_GRACE = 5.0  # seconds that a server gets to break off a statement before the connection is cut


class ServiceCursor(psycopg.AsyncCursor[Row]):
    """A cursor that counts statements on its connection."""

    _conn: ServiceConnection

    async def execute(self, *args: Any, **kwargs: Any) -> ServiceCursor:
        self._conn.queries += 1
        try:
            await super().execute(*args, **kwargs)
        except psycopg.errors.FeatureNotSupported:
            # "cached plan must not change result type", after a migration: refused before it did anything, and again
            # for as long as psycopg keeps what it has prepared.
            if self._conn.pgconn.transaction_status != TransactionStatus.IDLE:
                self._conn.plans_are_stale = True
                raise
            await super().execute("DEALLOCATE ALL")
            await super().execute(*args, **kwargs)
        return self

    async def executemany(self, query: Any, params_seq: Iterable[Any], **kwargs: Any) -> None:
        await super().executemany(query, self._counted(params_seq), **kwargs)

    def _counted(self, rows: Iterable[Any]) -> Iterator[Any]:
        for row in rows:
            self._conn.queries += 1
            yield row


class ServiceConnection(psycopg.AsyncConnection[Row]):
    """A connection of the async service: rows are dictionaries, statements commit by themselves."""

    def __init__(self, pgconn: Any, row_factory: AsyncRowFactory[Row] = dict_row) -> None:
        super().__init__(pgconn, row_factory)
        self.cursor_factory = ServiceCursor
        self.queries = 0
        self.idle_since = monotonic()
        self.hold: Hold | None = None
        self.plans_are_stale = False

    async def wait(self, gen: PQGen[Any], interval: float = 0.1, timeout: float | None = None) -> Any:
        """Wait for the server, as all traffic does, and note when the holder last used the connection."""
        hold = self.hold
        if hold is None:
            return await super().wait(gen, interval, timeout)
        hold.start_statement()
        try:
            return await super().wait(gen, interval, timeout)
        finally:
            hold.end_statement()

    @property
    def in_transaction(self) -> bool:
        return self.pgconn.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)

    def alive(self) -> bool:
        """Say whether the server still holds this idle connection open, as far as its socket knows.

        Costs no round trip: a server that is gone has closed its end, which makes the socket readable.
        """
        if self.pgconn.status != ConnStatus.OK:
            return False
        poll = select.poll()
        poll.register(self.pgconn.socket, select.POLLIN | HUNG_UP)
        events = poll.poll(0)
        if not events:
            return True
        if events[0][1] & ~select.POLLIN:
            return False
        # Only readable: a notification, or a setting that the server reports after a reload, or its last words.
        with suppress(psycopg.Error):
            self.pgconn.consume_input()
        return self.pgconn.status == ConnStatus.OK

    def cut(self) -> None:
        """Close both directions of the socket: whoever waits for the server gets an error at once.

        Not `pgconn.finish()`, which would free the descriptor while the event loop still watches it.
        """
        with suppress(OSError, psycopg.Error), socket.socket(fileno=self.pgconn.socket) as borrowed:
            try:
                borrowed.shutdown(socket.SHUT_RDWR)
            finally:
                borrowed.detach()


class Deadline:
    """Break off the statement that runs inside after `seconds`; the server stops it, the connection stays.

    Unlike a cancelled task this leaves no doubt about the statement: either the server reports that it was
    broken off, or it had finished, and then its result counts. A server that does not answer the request for
    CANCEL_GRACE seconds loses the connection.
    """

    def __init__(self, connection: ServiceConnection, seconds: float) -> None:
        self.connection = connection
        self.seconds = seconds
        self.expired = False
        self._tasks: list[asyncio.Task[None]] = []

    async def __aenter__(self) -> Deadline:
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.seconds, self._expire)
        self._last = loop.call_later(self.seconds + CANCEL_GRACE, self.connection.cut)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._timer.cancel()
        self._last.cancel()
        # A request that is still on its way could break off the next statement of this connection.
        for task in self._tasks:
            with suppress(psycopg.Error):
                await asyncio.shield(task)

    def _expire(self) -> None:
        self.expired = True
        self._tasks.append(asyncio.ensure_future(self.connection.cancel_safe(timeout=CANCEL_GRACE)))
