"""Cursors that count what they do, so that the pool can retire a connection after so many queries."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg
from django.db.backends.postgresql import base

from database.pool import PooledConnection
from database.sentences import without_values


class CountingMixin:
    """One call is one query, however many rows it sends."""

    connection: Any

    def execute(self, *args: Any, **kwargs: Any) -> Any:
        self._count()
        return super().execute(*args, **kwargs)  # type: ignore[misc]

    def executemany(self, *args: Any, **kwargs: Any) -> Any:
        self._count()
        return super().executemany(*args, **kwargs)  # type: ignore[misc]

    @contextmanager
    def copy(self, *args: Any, **kwargs: Any) -> Iterator[Any]:
        self._count()
        try:
            with super().copy(*args, **kwargs) as copy:  # type: ignore[misc]
                yield copy
        except psycopg.Error as error:
            # Django does not translate the errors of COPY, whose context quotes a line of the data.
            without_values(error)
            raise

    def _count(self) -> None:
        connection = self.connection
        if isinstance(connection, PooledConnection):
            connection.queries += 1


class Cursor(CountingMixin, base.Cursor):
    pass


class ServerBindingCursor(CountingMixin, base.ServerBindingCursor):
    pass
