"""How often a partner may ask and an address may fail to sign in.

Redis counts when there is one, PostgreSQL otherwise and while Redis is away. Each of the two is exact over all
processes and machines, but neither knows what the other counted: in a window in which Redis goes or comes, up to
twice the limit may pass.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from functools import cache
from typing import TYPE_CHECKING

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase
from limits import RateLimitItem, RateLimitItemPerMinute
from prometheus_client import Counter, Gauge

from scheduler.rest.addresses import client_address
from scheduler.rest.limit_storages import Hit, PostgresStorage
from scheduler.rest.problems import Problem

if TYPE_CHECKING:
    from scheduler.rest.limit_redis import RedisTicks

logger = logging.getLogger("scheduler.rest.limits")

FALLBACKS = Counter(
    "scheduler_rate_limit_fallbacks", "Hits that PostgreSQL counted because Redis did not answer."
)
REDIS_UP = Gauge(
    "scheduler_rate_limit_redis_up",
    "1 while Redis counts the rate limits, 0 while it is away.",
    multiprocess_mode="livemin",
)
REFUSALS = Counter("scheduler_rate_limit_refusals", "Requests answered by 429, by limit.", ["limit"])

PROBE_INTERVAL = 2.0  # seconds between two looks at a Redis that is away
FAILED_ATTEMPTS = RateLimitItemPerMinute(20)
REMEMBERED_ADDRESSES = 10_000


class Limiter:
    """Counts hits in Redis, in PostgreSQL when there is no Redis or it does not answer.

    The hit that finds Redis away loses at most the time-outs of `RedisTicks`, all later ones nothing: a thread
    looks every PROBE_INTERVAL whether Redis is back, and until then nobody else asks it.
    """

    def __init__(self, redis_url: str = "") -> None:
        self.postgres = PostgresStorage()
        self.redis = _ticks(redis_url) if redis_url else None
        self.away = False
        self._stopped = threading.Event()
        self._switching = threading.Lock()
        self._prober: threading.Thread | None = None
        if self.redis:
            REDIS_UP.set(1)

    def take(self, key: str, item: RateLimitItem, cost: int = 1) -> Hit:
        """Count a hit of `key`; the count is kept when `item` allows more or less than before.

        Raises RuntimeError inside `atomic()`, OperationalError when PostgreSQL must count and cannot.
        """
        key = f"{key}/{item.get_expiry()}"
        if self.redis is None:
            return self.postgres.take(key, item.amount, item.get_expiry(), cost)
        if not self.away:
            try:
                return self.redis.take(key, item.amount, item.get_expiry(), cost)
            except (self.redis.base_exceptions, OSError) as error:
                self._leave(error)
        self._ensure_probed()
        FALLBACKS.inc()
        return self.postgres.take(key, item.amount, item.get_expiry(), cost)

    def stop(self) -> None:
        """End the thread that looks for Redis, and close the connections to it."""
        self._stopped.set()
        if prober := self._prober:
            prober.join()
        if self.redis:
            self.redis.storage.close()

    def _leave(self, error: Exception) -> None:
        with self._switching:
            if self.away:
                return
            self.away = True
        REDIS_UP.set(0)
        # Only the kind of error: the text may hold the URL.
        kind = type(error).__name__
        logger.warning("Redis does not count (%s): PostgreSQL counts rate limits until it is back.", kind)

    def _ensure_probed(self) -> None:
        # Asked at every hit, because a fork copies `away` but not the thread.
        if self._prober and self._prober.is_alive():
            return
        with self._switching:
            if self.away and not (self._prober and self._prober.is_alive()):
                self._prober = threading.Thread(target=self._probe, name="redis-probe", daemon=True)
                self._prober.start()

    def _probe(self) -> None:
        while not self._counts():
            if self._stopped.wait(PROBE_INTERVAL):
                return
        with self._switching:
            self.away = False
            self._prober = None
        REDIS_UP.set(1)
        logger.warning("Redis counts rate limits again.")

    def _counts(self) -> bool:
        if self.redis is None:
            return False
        try:
            # A write, because a Redis that is a replica or full answers a PING as well.
            return self.redis.take("probe", 1_000_000, 1).used > 0
        except (self.redis.base_exceptions, OSError):
            return False


def _ticks(redis_url: str) -> RedisTicks:
    # Its driver is a twentieth of what the start of a process takes, and most have no Redis.
    from scheduler.rest.limit_redis import RedisTicks

    return RedisTicks(redis_url)


class Guessers:
    """Addresses that this process saw above FAILED_ATTEMPTS, so that their next attempts cost no query.

    Another process learns of such an address by its next failure there: guessing gets an attacker at most one
    further answer from each process.
    """

    def __init__(self) -> None:
        self._until: dict[str, float] = {}

    def remember(self, address: str, seconds: float) -> None:
        if len(self._until) >= REMEMBERED_ADDRESSES:
            self._until.clear()  # each will be found again at its next failure
        self._until[address] = time.monotonic() + seconds

    def forget(self) -> None:
        self._until.clear()

    def __bool__(self) -> bool:
        return bool(self._until)

    def wait(self, address: str) -> float:
        """Return for how many seconds the address is refused; 0 when it is not."""
        until = self._until.get(address)
        if until is None:
            return 0.0
        left = until - time.monotonic()
        if left <= 0:
            self._until.pop(address, None)
        return max(0.0, left)


@cache
def limiter() -> Limiter:
    """Return this process's limiter."""
    return Limiter(settings.REDIS_URL)


guessers = Guessers()


def count_partner_request(request: HttpRequest, partner_id: int, per_minute: int) -> None:
    """Count a request of a partner; raises Problem 429 above its limit."""
    hit = limiter().take(f"partner:{partner_id}", RateLimitItemPerMinute(per_minute))
    request.rate_limit = hit  # type: ignore[attr-defined]
    if not hit.allowed:
        REFUSALS.labels("partner").inc()
        sentence = f"Rate limit exceeded. Maximum {hit.limit} requests per {hit.window} seconds."
        raise Problem(429, "rate_limited", sentence, headers=hit.headers())


def add_limit_headers(request: HttpRequest, response: HttpResponseBase) -> None:
    """Write `RateLimit` and `RateLimit-Policy` on the answer to a request that was counted."""
    hit: Hit | None = getattr(request, "rate_limit", None)
    if hit is not None:
        for name, value in hit.headers().items():
            response.headers.setdefault(name, value)


def refuse_guessers(request: HttpRequest) -> None:
    """Raise Problem 429 for an address with too many failed attempts. Call it before looking at a key or token."""
    if guessers and (seconds := guessers.wait(client_address(request))):
        raise _guessing(seconds)


def count_failed_attempt(request: HttpRequest) -> None:
    """Count a wrong key or token; raises Problem 429 above FAILED_ATTEMPTS of the client's address.

    Good requests count for nothing, and so do those without any key.
    """
    address = client_address(request)
    hit = limiter().take(f"failed:{address}", FAILED_ATTEMPTS)
    if not hit.allowed:
        guessers.remember(address, hit.reset_after)
        raise _guessing(hit.reset_after)


def wait_of_guesser(request: HttpRequest) -> float:
    """Return for how many seconds an address must not try; 0 when it may.

    Unlike `refuse_guessers` it asks the storage, so it is exact over all processes: for sign-ins, which are rare.
    """
    hit = limiter().take(f"failed:{client_address(request)}", FAILED_ATTEMPTS, cost=0)
    return 0.0 if hit.remaining else hit.reset_after


def _guessing(seconds: float) -> Problem:
    REFUSALS.labels("failed_attempts").inc()
    wait = max(1, math.ceil(seconds))
    return Problem(
        429,
        "too_many_failed_attempts",
        f"Too many failed attempts to sign in from your address. Try again in {wait} seconds.",
        headers={"Retry-After": str(wait)},
    )
