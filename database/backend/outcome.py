"""What became of a transaction when its connection is lost: rolled back for sure, or unknown.

A loss before COMMIT was sent is a rollback. A loss after it leaves two possibilities, which only the data can tell
apart: `CommitOutcomeUnknown`. An error that the server reports at COMMIT (a deferred constraint, 40001) is a rollback.
"""

from __future__ import annotations

import select
from contextlib import suppress
from typing import Any

import django.db
import psycopg
from psycopg.pq import ConnStatus

from database.errors import CommitOutcomeUnknown, driver_error
from database.metrics import COMMITS_UNKNOWN

SESSION_ENDS = ("FATAL", "PANIC")
UNKNOWN = (
    "The connection was lost during COMMIT: the transaction is there whole or not at all; "
    "look before you repeat it."
)

# The stubs of Django leave out the methods of a wrapper that begin with an underscore.
Wrapper: Any = object


def still_there(connection: psycopg.Connection | psycopg.AsyncConnection) -> bool:
    """Say whether nothing is known yet of the connection's end; does not wait and sends nothing."""
    pgconn = connection.pgconn
    if pgconn.status != ConnStatus.OK:
        return False
    waiting = select.poll()
    waiting.register(pgconn.socket, select.POLLIN)
    try:
        # The last words of a server that stops come first, the end of the stream only in a later read.
        while waiting.poll(0):
            pgconn.consume_input()
    except psycopg.Error:
        return False
    return pgconn.status == ConnStatus.OK


def reported_by_server(error: BaseException) -> bool:
    """Say whether PostgreSQL answered with an error and goes on serving the session."""
    severity = _severity(error)
    return severity is not None and severity not in SESSION_ENDS


def _severity(error: BaseException) -> str | None:
    origin = driver_error(error)
    # PgBouncer's own errors have only the field that PostgreSQL translates.
    return (origin.diag.severity_nonlocalized or origin.diag.severity) if origin else None


def outcome_unknown() -> CommitOutcomeUnknown:
    """Count a lost COMMIT and return the error to raise for it."""
    COMMITS_UNKNOWN.inc()
    return CommitOutcomeUnknown(UNKNOWN)


class WatchedCommit(Wrapper):
    """Part of the DatabaseWrapper: COMMIT and ROLLBACK over a connection that may be lost.

    `commits` counts the transactions that the server confirmed.
    """

    connection: Any
    commits: int = 0

    def _commit(self) -> None:
        if self.connection is None:
            return
        with self.wrap_database_errors:
            if not still_there(self.connection):
                raise psycopg.OperationalError("the connection is lost; COMMIT was not sent")
        try:
            super()._commit()
        except django.db.Error as error:
            if reported_by_server(error) or not (self._lost() or _severity(error)):
                raise
            self._abandon()
            raise outcome_unknown() from error
        self.commits += 1

    def _rollback(self) -> None:
        try:
            super()._rollback()
        except django.db.Error:
            if self._lost():
                self._abandon()
            raise

    def _lost(self) -> bool:
        return self.connection is None or self.connection.closed

    def _abandon(self) -> None:
        """Drop the lost connection so that the end of `atomic()` does not open another one.

        It would, only to switch on autocommit; while the server is down its failure would hide the reason for the
        loss, with a pool after DB_POOL_TIMEOUT, and a COMMIT of unknown outcome would look like a failed connect.
        """
        with suppress(django.db.Error):
            self._close()
        self.connection = None
        self.closed_in_transaction = True
