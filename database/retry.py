"""Whole transactions, tried again after failures that pass by themselves.

Repeated: nobody answers at the server's address (`Unreachable`, `TooManyConnections`), a serialization failure
(40001) or a deadlock (40P01), and a connection lost before COMMIT was sent (57P01 to 57P03, class 08, a closed
stream). Nothing else is: not what would fail again (constraints, a wrong password, an unknown database), not
`StatementTimeout` and `PoolExhausted`, where another try would add to the load that caused them, and never
`CommitOutcomeUnknown`, where it could act twice.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from inspect import isasyncgenfunction, iscoroutinefunction, isgeneratorfunction
from typing import Any, Concatenate, ParamSpec, TypeVar, overload

import psycopg
import stamina
from django.db import DEFAULT_DB_ALIAS, OperationalError, connections, transaction

from database.backend.outcome import WatchedCommit, outcome_unknown, reported_by_server
from database.errors import (
    CommitOutcomeUnknown,
    RetryInsideTransaction,
    TooManyConnections,
    Unreachable,
    driver_error,
)
from database.metrics import RETRIES, RETRIES_GIVEN_UP
from database.sentences import Address, translated

P = ParamSpec("P")
R = TypeVar("R")
C = TypeVar("C")

# Together they outlast a restart of PostgreSQL (5 to 7 s of waiting) and let a request end before its client does.
ATTEMPTS = 8
TOTAL_TIME = 15.0  # seconds
FIRST_WAIT, LONGEST_WAIT, JITTER = 0.05, 2.0, 0.25  # seconds

CAUSES = {
    "40001": "serialization",
    "40P01": "deadlock",
    "57P01": "restart",
    "57P02": "restart",
    "57P03": "restart",
}
CONNECTION_EXCEPTION = "08"
RESOLUTION_UNKNOWN = "08007"
# What libpq and psycopg say about a connection that ended without a last word of the server.
LOST = re.compile(
    r"connection is (lost|closed)|closed the connection|no connection to the server|consuming input failed"
    r"|could not (receive|send) data|SSL (SYSCALL )?error|[Cc]onnection reset|Broken pipe"
)

_retried_in: ContextVar[asyncio.Task[Any] | None] = ContextVar("retried_in", default=None)


def cause_of(error: BaseException) -> str | None:
    """Name the transient failure: connect, lost, restart, serialization, deadlock; None is never retried."""
    if isinstance(error, psycopg.Error):
        error = translated(error, where=Address())
    if isinstance(error, Unreachable | TooManyConnections):
        return "connect"
    origin = driver_error(error)
    if origin is None or isinstance(error, CommitOutcomeUnknown):
        return None
    if origin.sqlstate:
        return _cause_of_state(origin.sqlstate)
    # Only the plain class: its subclasses are failures with names of their own.
    return "lost" if type(error) is OperationalError and LOST.search(str(error)) else None


def _cause_of_state(sqlstate: str) -> str | None:
    if sqlstate.startswith(CONNECTION_EXCEPTION):
        return None if sqlstate == RESOLUTION_UNKNOWN else "lost"
    return CAUSES.get(sqlstate)


@dataclass
class _Tries:
    """The tries of one call: how many, until when, and why the last one failed."""

    attempts: int
    total_time: float
    started: float = field(default_factory=time.monotonic)
    cause: str | None = None
    committed: bool = False
    next_wait: float = 0.0

    def context(self) -> Any:
        return stamina.retry_context(
            on=self.another_helps,
            attempts=self.attempts,
            timeout=self.total_time,
            wait_initial=FIRST_WAIT,
            wait_max=LONGEST_WAIT,
            wait_jitter=JITTER,
        )

    def another_helps(self, error: Exception) -> bool:
        # A hook of on_commit() may fail like a transaction, but the effect is there.
        self.cause = None if self.committed else cause_of(error)
        # stamina looks at the clock before it waits; the next try would begin only after.
        ends = time.monotonic() - self.started + self.next_wait
        return self.cause is not None and (stamina.is_testing() or ends < self.total_time)

    def begin(self, attempt: Any) -> None:
        self.next_wait = attempt.next_wait
        if attempt.num > 1:
            RETRIES.labels(self.cause).inc()

    def give_up(self) -> None:
        if self.cause is not None:
            RETRIES_GIVEN_UP.labels(self.cause).inc()


@overload
def retry_transient(function: Callable[P, R], /) -> Callable[P, R]: ...


@overload
def retry_transient(
    *, using: str = DEFAULT_DB_ALIAS, attempts: int = ATTEMPTS, total_time: float = TOTAL_TIME
) -> Callable[[Callable[P, R]], Callable[P, R]]: ...


def retry_transient(
    function: Callable[..., Any] | None = None,
    /,
    *,
    using: str = DEFAULT_DB_ALIAS,
    attempts: int = ATTEMPTS,
    total_time: float = TOTAL_TIME,
) -> Any:
    """Run the function in a transaction of its own, again from the start after a transient failure.

    Everything that the function does outside the database is repeated with it; what must happen once belongs into
    `transaction.on_commit`. `attempts` counts the first try too; no try begins later than `total_time` seconds after
    the call. The last failure is raised as it is; `CommitOutcomeUnknown` and failing hooks of on_commit at once.

    Raises RetryInsideTransaction inside `atomic()`; the transaction of Django's TestCase does not count.
    """

    def decorate(decorated: Callable[..., R]) -> Callable[..., R]:
        _refuse_lazy(decorated)

        @wraps(decorated)
        def retried(*args: Any, **kwargs: Any) -> R:
            _refuse_nesting(using, decorated.__name__)
            tries = _Tries(attempts, total_time)
            try:
                for attempt in tries.context():
                    tries.begin(attempt)
                    with attempt:
                        return _one_try(tries, using, lambda: decorated(*args, **kwargs))
            except Exception:
                tries.give_up()
                raise
            raise AssertionError("the last try neither returned nor raised")

        return retried

    return decorate if function is None else decorate(function)


def _one_try(tries: _Tries, using: str, work: Callable[[], R]) -> R:
    connection = connections[using]
    assert isinstance(connection, WatchedCommit), f"{using} needs ENGINE database.backend"
    before = connection.commits
    try:
        with transaction.atomic(using=using, durable=True):
            return work()
    finally:
        tries.committed = connection.commits != before


def _refuse_lazy(function: Callable[..., Any]) -> None:
    if iscoroutinefunction(function):
        raise TypeError(
            f"{function.__name__} is a coroutine function: decorate it with retry_transient_async."
        )
    if isgeneratorfunction(function) or isasyncgenfunction(function):
        raise TypeError(f"{function.__name__} is a generator: it would run after its transaction has ended.")


def _refuse_nesting(using: str, name: str) -> None:
    connection = connections[using]
    blocks: list[Any] = connection.atomic_blocks
    of_test = bool(blocks) and blocks[-1]._from_testcase
    by_hand = connection.connection is not None and not connection.autocommit
    if (connection.in_atomic_block or by_hand) and not of_test:
        raise _nested(name)


def _nested(name: str) -> RetryInsideTransaction:
    return RetryInsideTransaction(
        f"{name}() repeats its whole transaction, so it cannot be called inside another one; "
        "call it outside, or decorate the outermost function instead."
    )


def retry_transient_async(
    transaction: Callable[[], AbstractAsyncContextManager[C]],
    *,
    attempts: int = ATTEMPTS,
    total_time: float = TOTAL_TIME,
) -> Callable[[Callable[Concatenate[C, P], Awaitable[R]]], Callable[P, Awaitable[R]]]:
    """Run the coroutine function in a transaction of its own, like `retry_transient`.

    `transaction()` returns the context manager that begins one and commits at its end; what it yields becomes the
    function's first argument. A failure after the function's end that the server has not reported as an error
    raises CommitOutcomeUnknown. Raises RetryInsideTransaction inside another retried function of the same task.
    """

    def decorate(
        decorated: Callable[Concatenate[C, P], Awaitable[R]],
    ) -> Callable[P, Awaitable[R]]:
        if not iscoroutinefunction(decorated):
            raise TypeError(
                f"{decorated.__name__} is no coroutine function: decorate it with retry_transient."
            )

        @wraps(decorated)
        async def retried(*args: P.args, **kwargs: P.kwargs) -> R:
            task = asyncio.current_task()
            # A task that was started inside inherits the value, but has a transaction of its own.
            if _retried_in.get() is task:
                raise _nested(decorated.__name__)
            outer = _retried_in.set(task)
            tries = _Tries(attempts, total_time)
            try:
                async for attempt in tries.context():
                    tries.begin(attempt)
                    with attempt:
                        return await _one_async_try(
                            decorated.__name__, transaction, lambda conn: decorated(conn, *args, **kwargs)
                        )
            except Exception:
                tries.give_up()
                raise
            finally:
                _retried_in.reset(outer)
            raise AssertionError("the last try neither returned nor raised")

        return retried

    return decorate


async def _one_async_try(
    name: str, transaction: Callable[[], AbstractAsyncContextManager[C]], work: Callable[[C], Awaitable[R]]
) -> R:
    done = False
    block = transaction()
    try:
        async with block as connection:
            if not getattr(block, "outermost", True):
                # DatabaseService makes a savepoint of it when the task is in a transaction already.
                raise _nested(name)
            result = await work(connection)
            done = True
        return result
    except CommitOutcomeUnknown:
        raise
    except Exception as error:
        if done and driver_error(error) is not None and not reported_by_server(error):
            raise outcome_unknown() from error
        raise
