"""One look at the replica: does it answer in time, does it still follow the primary, and how far is it behind."""

from __future__ import annotations

import math
import select
from dataclasses import dataclass
from time import monotonic
from typing import Any

from psycopg import pq
from psycopg.conninfo import make_conninfo

# `streaming` is a receiver of WAL that has a connection; a role that may not read its status sees only its pid.
# Without one, "everything received is replayed" says nothing: the replica does not know what it misses.
LOOK = b"""
    SELECT pg_is_in_recovery(),
        EXISTS (SELECT FROM pg_stat_wal_receiver WHERE pid IS NOT NULL AND coalesce(status, 'streaming') = 'streaming'),
        pg_last_wal_replay_lsn() >= pg_last_wal_receive_lsn(),
        extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp())
"""
# The other arguments of psycopg.connect are no parameters of libpq.
NOT_FOR_LIBPQ = ("autocommit", "context", "cursor_factory", "prepare_threshold", "row_factory")


class NoAnswer(Exception):
    """The replica cannot be asked, is too slow, or follows nobody."""


@dataclass(frozen=True)
class Sight:
    """What the replica says of itself; `behind` is the age in seconds of the last transaction replayed."""

    streaming: bool
    replayed_all: bool
    behind: float


class Checker:
    """Asks over one connection of its own; `look` takes no longer than its limit, whatever the replica does."""

    def __init__(self, parameters: dict[str, Any]) -> None:
        known = {name: value for name, value in parameters.items() if name not in NOT_FOR_LIBPQ}
        self._conninfo = make_conninfo(**known).encode()
        self._connection: pq.abc.PGconn | None = None
        self._caught_up: float | None = None

    def lag(self, limit: float) -> float:
        """Return the seconds behind the primary, inf when nobody knows. Raises NoAnswer after `limit` seconds."""
        sight = self._look(monotonic() + limit)
        now = monotonic()
        if sight.streaming and sight.replayed_all:
            self._caught_up = now
            return 0.0
        if self._caught_up is None or not sight.streaming:
            return sight.behind
        # After an idle hour the last transaction is an hour old, while the replica is behind for a moment only.
        return min(sight.behind, now - self._caught_up)

    def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.finish()

    def _look(self, deadline: float) -> Sight:
        try:
            if self._connection is None:
                self._connection = self._connect(deadline)
            return self._answer(self._connection, deadline)
        except NoAnswer:
            self.close()
            raise
        except Exception as error:
            self.close()
            raise NoAnswer(type(error).__name__) from error

    def _connect(self, deadline: float) -> pq.abc.PGconn:
        connection = pq.PGconn.connect_start(self._conninfo)
        waits = {pq.PollingStatus.READING: select.POLLIN, pq.PollingStatus.WRITING: select.POLLOUT}
        try:
            while (status := connection.connect_poll()) != pq.PollingStatus.OK:
                if status not in waits:
                    raise NoAnswer("the connection failed")
                _wait(connection, waits[pq.PollingStatus(status)], deadline)
        except BaseException:
            connection.finish()
            raise
        connection.nonblocking = 1
        return connection

    def _answer(self, connection: pq.abc.PGconn, deadline: float) -> Sight:
        connection.send_query(LOOK)
        while connection.flush():
            _wait(connection, select.POLLOUT, deadline)
        values: list[bytes | None] = []
        while True:
            while connection.is_busy():
                _wait(connection, select.POLLIN, deadline)
                connection.consume_input()
            result = connection.get_result()
            if result is None:
                break
            if result.status != pq.ExecStatus.TUPLES_OK:
                raise NoAnswer("it refuses to answer")
            values = [result.get_value(0, column) for column in range(4)]
        return _sight(values)


def _sight(values: list[bytes | None]) -> Sight:
    in_recovery, streaming, replayed_all, behind = values
    if in_recovery != b"t":
        raise NoAnswer("it is a primary: it follows nobody")
    return Sight(streaming == b"t", replayed_all == b"t", math.inf if behind is None else float(behind))


def _wait(connection: pq.abc.PGconn, event: int, deadline: float) -> None:
    ready = select.poll()
    ready.register(connection.socket, event)
    if not ready.poll(max(0, math.ceil((deadline - monotonic()) * 1000))):
        raise NoAnswer("no answer in time")
