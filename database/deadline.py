"""Questions to PostgreSQL that end by a deadline, past the pool: for health probes, metrics and checks."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from threading import Lock, Thread
from typing import Any, Generic, TypeVar

import psycopg
from django.db import connections

CONNECT_TIMEOUT = 2  # seconds; libpq takes no less

Answer = TypeVar("Answer")


class _Connection(psycopg.Connection[Any]):
    """Raises OperationalError when the deadline passes, also when the server hangs in the middle of an answer."""

    deadline = math.inf

    def wait(self, *args: Any, **options: Any) -> Any:
        options["timeout"] = max(self.deadline - time.monotonic(), 0.001)
        return super().wait(*args, **options)


@contextmanager
def direct_connection(
    alias: str, seconds: float, statement_seconds: float | None = None
) -> Iterator[psycopg.Connection[Any]]:
    """Yield a connection that is not the pool's, in a transaction; close it after.

    All of it takes `seconds` at most, but for the name of the host, which the system resolves at its own pace, and
    for a URL with several hosts, each of which may take 2 s. Raises psycopg's errors.
    """
    deadline = time.monotonic() + seconds
    parameters = {**connections[alias].get_connection_params(), "connect_timeout": CONNECT_TIMEOUT}
    connection = _Connection.connect(**parameters)
    try:
        connection.deadline = deadline
        limit_statements(connection, statement_seconds or seconds)
        yield connection
        # PgBouncer drops the server's connection of a client that leaves in a transaction.
        connection.commit()
    finally:
        # Not close() of the context: it would wait for a server that may hang.
        connection.pgconn.finish()


def limit_statements(connection: psycopg.Connection[Any], seconds: float) -> None:
    """Let the server break off a statement of this transaction: it does not notice that we are gone."""
    limit = f"{max(round(seconds * 1000), 1)}ms"
    # For the transaction only: behind PgBouncer the session serves others after us.
    connection.execute("SELECT set_config('statement_timeout', %s, true)", [limit])


class Shared(Generic[Answer]):
    """The latest answer to a question that may hang.

    One thread asks at a time, and everybody who comes meanwhile or within `fresh` seconds shares its answer: a
    server in trouble meets one connection of each process, however many probes there are.
    """

    def __init__(self, ask: Callable[[], Answer], *, limit: float, fresh: float = 1.0) -> None:
        self._ask = ask
        self._limit = limit
        self._fresh = fresh
        self.forget()
        os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        """Let the next caller ask anew; a thread that still asks is left to itself."""
        self._lock = Lock()
        self._running: Future[Answer] | None = None
        self._started = self._ended = -math.inf

    def answer(self) -> Answer | None:
        """Return the answer, or None when there is none `limit` seconds after the question was put."""
        with self._lock:
            running = self._running
            now = time.monotonic()
            if running is None or (running.done() and now - self._ended > self._fresh):
                running = self._running = Future()
                self._started = now
                Thread(target=self._run, args=(running,), daemon=True, name="probe").start()
            remaining = self._started + self._limit - now
        try:
            return running.result(max(remaining, 0))
        except TimeoutError:
            return None

    def _run(self, future: Future[Answer]) -> None:
        try:
            answer = self._ask()
        except BaseException as error:
            self._ended = time.monotonic()
            future.set_exception(error)
        else:
            self._ended = time.monotonic()
            future.set_result(answer)
