"""The windows of `scheduler.rest.limit_storages` in Redis; imported only where there is one."""

from __future__ import annotations

from typing import Any

import redis
from limits.storage import RedisStorage
from redis.backoff import NoBackoff
from redis.retry import Retry

from scheduler.rest.limit_storages import Hit, TickSupport

# Seconds. Together they stay below the 100 ms that a request may lose to a Redis that hangs.
CONNECT_TIMEOUT = 0.03
ANSWER_TIMEOUT = 0.05

# Fields of the hash are ticks, values are counts. TIME is Redis's own clock.
REDIS_HIT = """
local limit, window, cost = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local clock = redis.call('TIME')
local now = tonumber(clock[1]) + tonumber(clock[2]) / 1000000
local tick = math.floor(now * 600 / window)
local flat, used, ticks, counts, gone = redis.call('HGETALL', KEYS[1]), 0, {}, {}, {}
for i = 1, #flat, 2 do
    local at, count = tonumber(flat[i]), tonumber(flat[i + 1])
    if at > tick - 601 then
        used, counts[at] = used + count, count
        ticks[#ticks + 1] = at
    else
        gone[#gone + 1] = flat[i]
    end
end
table.sort(ticks)
if #ticks > 0 then tick = math.max(tick, ticks[#ticks]) end
local allowed = used + cost <= limit
-- A refused hit waits for as many to leave as are too many; an allowed one names the oldest.
local leaving, waits_for = 0, ticks[1] or tick
if not allowed then
    waits_for = tick
    for _, at in ipairs(ticks) do
        leaving = leaving + counts[at]
        if leaving >= used + cost - limit then
            waits_for = at
            break
        end
    end
end
if allowed and cost > 0 then
    if #gone > 0 then redis.call('HDEL', KEYS[1], unpack(gone)) end
    redis.call('HINCRBY', KEYS[1], string.format('%.0f', tick), cost)
    redis.call('EXPIRE', KEYS[1], window + math.ceil(window / 600))
    used = used + cost
end
return {allowed and 1 or 0, used, tostring((waits_for + 601) * window / 600 - now)}
"""


class RedisTicks(TickSupport, RedisStorage):
    """Windows in Redis. Never waits longer than the two times (seconds), never tries twice: see `limits.Limiter`."""

    def __init__(
        self, url: str, connect_timeout: float = CONNECT_TIMEOUT, answer_timeout: float = ANSWER_TIMEOUT
    ) -> None:
        options: dict[str, Any] = {
            "socket_connect_timeout": connect_timeout,
            "socket_timeout": answer_timeout,
            "retry": Retry(NoBackoff(), 0),
            # Protocol 3 and the name of the driver would be three more answers to wait for.
            "protocol": 2,
            "driver_info": None,
        }
        super().__init__(url, key_prefix="ai-scheduler", **options)

    def initialize_storage(self, uri: str) -> None:
        super().initialize_storage(uri)
        self._hit = self.storage.register_script(REDIS_HIT)

    @property
    def base_exceptions(self) -> type[Exception]:
        return redis.RedisError

    def take(self, key: str, limit: int, expiry: int, amount: int = 1) -> Hit:
        allowed, used, reset_after = self._hit([self.prefixed_key(key)], [limit, expiry, amount])
        return Hit(bool(allowed), limit, expiry, int(used), float(reset_after))
