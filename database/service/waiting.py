"""A place in the queue for a connection, and the pauses between attempts to reach a server that is down."""

from __future__ import annotations

import asyncio

from psycopg_pool import PoolTimeout
from psycopg_pool.base import AttemptWithBackoff

from database.service.connection import ServiceConnection

RECONNECT_DELAYS = (0.1, 0.2, 0.5)  # seconds; the last one repeats


class Waiter:
    """A task in the queue for a connection, in the shape that psycopg_pool's `close()` expects."""

    __slots__ = ("future",)

    def __init__(self) -> None:
        self.future: asyncio.Future[ServiceConnection] = asyncio.get_running_loop().create_future()

    def hand(self, connection: ServiceConnection) -> bool:
        """Give the connection to the waiter; return False when it no longer waits."""
        if self.future.done():
            return False
        self.future.set_result(connection)
        return True

    async def fail(self, error: BaseException) -> bool:
        if self.future.done():
            return False
        self.future.set_exception(error)
        return True

    def expire(self) -> None:
        if not self.future.done():
            self.future.set_exception(PoolTimeout("timeout"))


class Reconnect(AttemptWithBackoff):
    """The state of the one attempt that goes on while the server is down."""

    def __init__(self) -> None:
        super().__init__(timeout=float("inf"))
        self.tries = 0

    def next_delay(self) -> float:
        delay = RECONNECT_DELAYS[min(self.tries, len(RECONNECT_DELAYS) - 1)]
        self.tries += 1
        return delay
