"""Reads that may be answered by the replica, by code that asks for it; everything else meets the primary.

`read(function)` is the way to ask: when the replica fails in the middle, the function runs again on the primary.
`reading_from_replica()` is for reads that cannot run twice, such as a stream that is already on its way.

A replica whose link to the primary was cut silently counts as following it until its `wal_receiver_timeout` (60 s)
has passed; set that to DB_REPLICA_MAX_LAG where this matters.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from contextvars import ContextVar
from dataclasses import dataclass
from functools import wraps
from typing import Any, ParamSpec, TypeVar

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, Error, connections

from database.errors import driver_error
from database.metrics import REPLICA_READS
from database.replica_watch import WELL, ReplicaWatch, watch_of
from database.retry import cause_of

REPLICA = "replica"
# A query on the replica is broken off when it would hold up the replay of what the primary has removed or locked.
CONFLICTS = ("40001", "40P01")

P = ParamSpec("P")
R = TypeVar("R")


@dataclass
class Block:
    """Who answers the reads of one block, and why; a write in it sends the reads after it to the primary."""

    alias: str
    reason: str


_block: ContextVar[Block | None] = ContextVar("replica_block", default=None)


class ReplicaRouter:
    """Django's router: the replica is read from inside a block that asks for it, and never written to."""

    def db_for_read(self, model: type, **hints: Any) -> str | None:
        if _elsewhere(hints):
            return None
        # Not None: Django would follow an object that came from the replica back there, outside of any block.
        block = _block.get()
        if block is None or connections[DEFAULT_DB_ALIAS].in_atomic_block:
            return DEFAULT_DB_ALIAS
        return block.alias

    def db_for_write(self, model: type, **hints: Any) -> str | None:
        if _elsewhere(hints):
            return None
        if (block := _block.get()) is not None:
            block.alias = DEFAULT_DB_ALIAS
        return DEFAULT_DB_ALIAS

    def allow_relation(self, first: Any, second: Any, **hints: Any) -> bool | None:
        both = {first._state.db, second._state.db}
        return True if both <= {DEFAULT_DB_ALIAS, REPLICA} else None

    def allow_migrate(self, db: str, app_label: str, **hints: Any) -> bool | None:
        return False if db == REPLICA else None


def _elsewhere(hints: dict[str, Any]) -> bool:
    """Say whether the hint is an object of a third database, which Django then stays with."""
    state = getattr(hints.get("instance"), "_state", None)
    return state is not None and state.db not in (None, DEFAULT_DB_ALIAS, REPLICA)


@contextmanager
def reading_from_replica() -> Iterator[str]:
    """Let the replica answer the reads inside, if it is there and well; yield the alias of who answers.

    Raises OperationalError, within about a second, when the replica fails inside; the next block then meets the
    primary. A block inside another one changes nothing.
    """
    if (outer := _block.get()) is not None:
        yield outer.alias
        return
    block = _decide()
    try:
        with _block_of(block), _cut_when_down(block):
            yield block.alias
    except Error as error:
        if block.reason == "asked":
            _replica_failed(error)
        raise
    _count(block)


def read(function: Callable[P, R], *args: P.args, **kwargs: P.kwargs) -> R:
    """Return `function(...)`, read from the replica where possible, and again from the primary if it fails there.

    The function may run twice, must evaluate its querysets itself, and must not write.
    """
    block = _block.get() or _decide()
    if block.alias != REPLICA:
        with _block_of(block):
            answer = function(*args, **kwargs)
        _count(block)
        return answer
    try:
        with _block_of(block), _cut_when_down(block):
            answer = function(*args, **kwargs)
    except Error as error:
        reason = _replica_failed(error)
        if reason is None:
            raise
    else:
        _count(block)
        return answer
    return _read_from_primary(reason, lambda: function(*args, **kwargs))


def read_from_replica(function: Callable[P, R]) -> Callable[P, R]:
    """Decorate a function so that each call goes through `read`."""

    @wraps(function)
    def reading(*args: P.args, **kwargs: P.kwargs) -> R:
        return read(function, *args, **kwargs)

    return reading


def replica_watch() -> ReplicaWatch | None:
    """Return the watch of this process, or None when there is no replica."""
    if REPLICA not in connections.settings:
        return None
    return watch_of(
        REPLICA,
        _parameters,
        getattr(settings, "DATABASE_REPLICA_MAX_LAG", 10.0),
    )


def _parameters() -> dict[str, Any]:
    # Called in the thread of the watch, where the connection is that thread's own, and never opened.
    return connections[REPLICA].get_connection_params()


def _decide() -> Block:
    watch = replica_watch()
    if watch is None:
        return Block(DEFAULT_DB_ALIAS, "")
    if connections[DEFAULT_DB_ALIAS].in_atomic_block:
        # It has to see what the transaction has written.
        return Block(DEFAULT_DB_ALIAS, "transaction")
    state = watch.state()
    return Block(REPLICA, "asked") if state == WELL else Block(DEFAULT_DB_ALIAS, state)


@contextmanager
def _block_of(block: Block) -> Iterator[None]:
    token = _block.set(block)
    try:
        yield
    finally:
        _block.reset(token)


def _cut_when_down(block: Block) -> Any:
    watch = replica_watch()
    if watch is None or block.alias != REPLICA:
        return nullcontext()
    return watch.reading(connections[REPLICA])  # type: ignore[arg-type]


def _replica_failed(error: Error) -> str | None:
    """Return why the primary has to answer instead, None when it would fail in the same way."""
    if getattr(error, "raised_by", None) != REPLICA:
        return None  # what was asked of another database failed there
    origin, connection = driver_error(error), connections[REPLICA]
    if origin is not None and origin.sqlstate in CONFLICTS:
        if connection.connection is not None and connection.connection.closed:
            connection.close()  # a conflict may end the session too
        return "conflict"
    if cause_of(error) is None:
        return None
    connection.close()
    if (watch := replica_watch()) is not None:
        watch.failed()
    return "down"


def _read_from_primary(reason: str, function: Callable[[], R]) -> R:
    block = Block(DEFAULT_DB_ALIAS, reason)
    with _block_of(block):
        answer = function()
    _count(block)
    return answer


def _count(block: Block) -> None:
    if block.reason:
        answered = "replica" if block.reason == "asked" else "primary"
        REPLICA_READS.labels(answered, block.reason).inc()
