"""Connections to the read replica: opened within a limit, and cut from outside when the replica hangs.

They are not pooled: each thread that reads from the replica keeps one for CONN_MAX_AGE. A pool would hand out
connections to a replica that has stopped answering, and nobody could tell from outside which thread has which.
"""

from __future__ import annotations

import socket
from contextlib import suppress
from threading import Event, Lock, Thread
from typing import Any

import psycopg

from database.backend import base

# Seconds. libpq's own limit is whole seconds, two at least.
CONNECT_LIMIT = 0.6


class DatabaseWrapper(base.DatabaseWrapper):
    """`cut()` may be called from any thread; everything else from the one that reads."""

    _line: socket.socket | None = None

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        connection = _Opening(lambda: super(DatabaseWrapper, self).get_new_connection(conn_params)).result()
        self._drop_line()
        # A descriptor of our own: psycopg's may be closed at any moment and its number be another connection's.
        self._line = socket.socket(fileno=_duplicate(connection.fileno()))
        return connection

    def cut(self) -> None:
        """Close both directions of the socket: whoever waits for the replica gets an error at once."""
        line = self._line
        if line is not None:
            with suppress(OSError):
                line.shutdown(socket.SHUT_RDWR)

    def forget(self) -> None:
        super().forget()
        # Only this process's descriptor: the parent reads on.
        self._drop_line()

    def _close(self) -> None:
        try:
            super()._close()
        finally:
            self._drop_line()

    def _drop_line(self) -> None:
        line, self._line = self._line, None
        if line is not None:
            line.close()

    def __del__(self) -> None:
        self._drop_line()


def _duplicate(descriptor: int) -> int:
    with socket.socket(fileno=descriptor) as borrowed:
        try:
            return borrowed.dup().detach()
        finally:
            borrowed.detach()


class _Opening:
    """One attempt to connect, in a thread of its own; a connection that comes too late is closed."""

    def __init__(self, connect: Any) -> None:
        self._connect = connect
        self._done = Event()
        self._lock = Lock()
        self._late = False
        self._answer: Any = None

    def result(self) -> Any:
        """Return the connection; raise what `connect` raises, or ConnectionTimeout after CONNECT_LIMIT."""
        Thread(target=self._open, name="replica-connect", daemon=True).start()
        self._done.wait(CONNECT_LIMIT)
        with self._lock:
            self._late = not self._done.is_set()
        if self._late:
            raise psycopg.errors.ConnectionTimeout("connection timeout expired")
        if isinstance(self._answer, BaseException):
            raise self._answer
        return self._answer

    def _open(self) -> None:
        try:
            self._answer = self._connect()
        except Exception as error:
            self._answer = error
        with self._lock:
            self._done.set()
            if self._late and not isinstance(self._answer, BaseException):
                self._answer.close()
