"""Sliding windows that are exact across processes and machines, in PostgreSQL or in Redis, one round trip a hit.

Both cut the window into 600 ticks and count hits by tick, with the server's own clock: clients' clocks differ.
A hit counts until its whole tick has left the window. So no window of that length ever holds more hits than
the limit, and a hit may count a 600th longer than it must (0.1 s of a minute). A key needs at most 601 numbers,
whatever the limit is. A refused hit counts for nothing.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass
from typing import Any, NoReturn

from django.db import Error, connection
from limits.storage import MovingWindowSupport, Storage


@dataclass(frozen=True)
class Hit:
    """What a storage decided about one hit; `reset_after` is in seconds.

    When the hit was allowed, it is the time until the oldest counted hit leaves the window; when not, the time
    after which the same hit would be allowed.
    """

    allowed: bool
    limit: int
    window: int
    used: int
    reset_after: float

    @property
    def remaining(self) -> int:
        return max(0, self.limit - self.used)

    def headers(self, policy: str = "default") -> dict[str, str]:
        """Return the fields of draft-ietf-httpapi-ratelimit-headers, and Retry-After for a refusal."""
        seconds = max(1, math.ceil(self.reset_after))
        fields = {
            "RateLimit-Policy": f'"{policy}";q={self.limit};w={self.window}',
            "RateLimit": f'"{policy}";r={self.remaining};t={seconds if self.used else 0}',
        }
        return fields if self.allowed else {**fields, "Retry-After": str(seconds)}


class TickSupport(MovingWindowSupport):
    """The moving window of `limits` on top of `take`."""

    def take(self, key: str, limit: int, expiry: int, amount: int = 1) -> Hit:
        """Count `amount` hits of `key` unless that makes more than `limit` in `expiry` seconds; 0 only looks."""
        raise NotImplementedError

    def acquire_entry(self, key: str, limit: int, expiry: int, amount: int = 1) -> bool:
        return self.take(key, limit, expiry, amount).allowed

    def get_moving_window(self, key: str, limit: int, expiry: int) -> tuple[float, int]:
        """Return the time at which the oldest counted hit was made, and how many are counted."""
        hit = self.take(key, limit, expiry, 0)
        return time.time() + hit.reset_after - expiry, hit.used


class PostgresStorage(TickSupport, Storage):
    """Windows in the unlogged table `rate_limit_windows`, decided by the function `rate_limit_hit`.

    Each hit is a transaction of its own, on the request's connection: one that ran in the request's transaction
    would be forgotten with its rollback, and would lock the partner's row until the end of the request.
    """

    STORAGE_SCHEME = None

    @property
    def base_exceptions(self) -> type[Exception]:
        return Error

    def take(self, key: str, limit: int, expiry: int, amount: int = 1) -> Hit:
        """Raise RuntimeError inside `atomic()`, as `atomic(durable=True)` does; the atomics of tests are spared."""
        blocks: list[Any] = connection.atomic_blocks
        if blocks and not blocks[-1]._from_testcase:
            raise RuntimeError("A hit must be counted outside of transactions.")
        with connection.cursor() as cursor:
            cursor.execute("SELECT * FROM rate_limit_hit(%s, %s, %s, %s)", [key, limit, expiry, amount])
            allowed, used, reset_after = cursor.fetchone()
        return Hit(allowed, limit, expiry, used, reset_after)

    def clear(self, key: str) -> None:
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM rate_limit_windows WHERE key = %s", [key])

    def reset(self) -> int:
        """Forget all hits; return the number of keys that had some."""
        with connection.cursor() as cursor:
            cursor.execute("DELETE FROM rate_limit_windows")
            return cursor.rowcount

    def check(self) -> bool:
        try:
            with connection.cursor() as cursor:
                cursor.execute("SELECT 1")
        except Error:
            return False
        return True

    def _no_fixed_window(self, *arguments: Any, **options: Any) -> NoReturn:
        raise NotImplementedError("This storage keeps moving windows; it has no fixed ones.")

    incr = get = get_expiry = _no_fixed_window
