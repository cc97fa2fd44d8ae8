"""The errors of the PostgreSQL layer: each is one sentence that says what to look at and holds no secret.

All derive from Django's own, so code that catches `OperationalError` or `IntegrityError` still works.
"""

from __future__ import annotations

import psycopg
from django.db import IntegrityError, InterfaceError, OperationalError
from django.db.transaction import TransactionManagementError


class Unreachable(OperationalError):
    """No PostgreSQL answers at the host and port of the URL, or it is starting or stopping."""


class SignInRefused(OperationalError):
    """PostgreSQL refuses the user or the password of the URL."""


class UnknownDatabase(OperationalError):
    """The server has no database of the URL's name."""


class EncryptionRefused(OperationalError):
    """The URL's `sslmode` and what the server offers do not fit."""


class TooManyConnections(OperationalError):
    """The server's `max_connections` are all taken."""


class PoolExhausted(OperationalError):
    """All connections of the pool were in use for longer than DB_POOL_TIMEOUT."""


class PoolNotOpen(InterfaceError):
    """The pool has not been opened, or is closed."""


class ConnectionHeldIdle(InterfaceError):
    """A connection was held without a statement, while its task waited for something else than PostgreSQL."""


class StatementTimeout(OperationalError):
    """The server broke off a statement that ran for longer than DB_COMMAND_TIMEOUT."""


class CommitOutcomeUnknown(OperationalError):
    """The connection was lost during COMMIT: the transaction is there whole or not at all, look before you repeat."""


class RetryInsideTransaction(TransactionManagementError):
    """A retried function was called inside `atomic()`, where only the outermost transaction could be repeated."""


class RowRefused(IntegrityError):
    """PostgreSQL refused one row of a bulk operation.

    `position` counts the rows from 0 in the order in which they were given, None when it cannot be known;
    `constraint` is the name of what refused it, None when it was not a constraint.
    """

    def __init__(self, message: str, *, position: int | None = None, constraint: str | None = None) -> None:
        super().__init__(message)
        self.position = position
        self.constraint = constraint


class ValueRefused(RowRefused, ValueError):
    """A row of a bulk operation is of the wrong form, or one of its values cannot go into its `column`."""

    def __init__(self, message: str, *, position: int | None = None, column: str | None = None) -> None:
        super().__init__(message, position=position)
        self.column = column


def driver_error(error: BaseException | None) -> psycopg.Error | None:
    """Return the psycopg error that `error` is, or was translated from."""
    while error is not None and not isinstance(error, psycopg.Error):
        error = error.__cause__
    return error


def constraint_of(error: BaseException | None) -> str:
    """Return the name of the constraint that a row ran into; empty when PostgreSQL names none."""
    refused = driver_error(error)
    return (refused.diag.constraint_name if refused else None) or ""
