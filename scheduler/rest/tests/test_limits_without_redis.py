"""Redis goes away while it counts: nobody waits for it, PostgreSQL counts, and it is taken back when it returns."""

import os
import socket
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
from django.db import connection
from limits import RateLimitItemPerHour

from database.testing import wait_until
from scheduler.rest import limits
from scheduler.rest.limit_redis import RedisTicks
from scheduler.rest.limits import Limiter
from scheduler.rest.tests.redis_server import RedisServer

pytestmark = pytest.mark.django_db(transaction=True)

TEN = RateLimitItemPerHour(10)
# The promise is 0.1 s; the rest is for busy machines. redis-py's own default is 19 s.
SOON = 1.0


@pytest.fixture(autouse=True)
def quick_probes(monkeypatch):
    monkeypatch.setattr(limits, "PROBE_INTERVAL", 0.05)


@pytest.fixture
def limiter(running_redis):
    limiter = Limiter(running_redis.url)
    yield limiter
    running_redis.go_on()
    wait_until(lambda: not limiter.away or running_redis.process.poll() is not None)
    limiter.stop()


@pytest.fixture
def patient_limiter(limiter, running_redis):
    """A limiter that does not take a busy machine for a Redis that is away."""
    limiter.redis.storage.close()
    limiter.redis = RedisTicks(running_redis.url, 0.5, 0.5)
    return limiter


def fallbacks() -> float:
    return limits.FALLBACKS._value.get()


def counted_by_redis(limiter: Limiter) -> bool:
    before = fallbacks()
    limiter.take("other", RateLimitItemPerHour(1_000_000))
    return fallbacks() == before


def went_away(server: RedisServer, how: str) -> None:
    {"hangs": server.hang, "is killed": server.kill}[how]()


@pytest.mark.parametrize("how", ["hangs", "is killed"])
def test_nobody_waits_for_a_redis_that(how, limiter, running_redis, caplog):
    assert limiter.take("a", TEN).used == 1
    before = fallbacks()
    went_away(running_redis, how)

    began = time.monotonic()
    first = limiter.take("a", TEN)
    took = time.monotonic() - began

    assert took < SOON
    assert (first.allowed, first.used) == (True, 1)  # PostgreSQL knows nothing of Redis's hits
    assert fallbacks() == before + 1
    assert limits.REDIS_UP._value.get() == 0
    (record,) = [record for record in caplog.records if record.name == "scheduler.rest.limits"]
    assert record.getMessage().startswith("Redis does not count (")
    assert running_redis.url not in record.getMessage()


@pytest.mark.parametrize("how", ["hangs", "is killed"])
def test_postgresql_counts_exactly_while_redis(how, patient_limiter, running_redis):
    limiter = patient_limiter
    limiter.take("a", TEN)
    went_away(running_redis, how)

    def hit(_: int) -> bool:
        try:
            return limiter.take("a", TEN).allowed
        finally:
            connection.close()

    began = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        allowed = sum(pool.map(hit, range(60)))

    assert allowed == 10
    assert time.monotonic() - began < 5


def test_a_redis_that_goes_on_counts_again_and_knows_its_hits(patient_limiter, running_redis, caplog):
    limiter = patient_limiter
    limiter.take("a", TEN)
    limiter.take("a", TEN)
    running_redis.hang()
    limiter.take("a", TEN)
    running_redis.go_on()

    wait_until(lambda: not limiter.away)

    assert counted_by_redis(limiter)
    # Commands that were sent before it hung may be carried out when it goes on; none is forgotten.
    assert limiter.take("a", TEN).used in (3, 4)
    assert limits.REDIS_UP._value.get() == 1
    assert "Redis counts rate limits again." in caplog.messages


def test_a_redis_that_was_started_again_counts_again(patient_limiter, running_redis):
    limiter = patient_limiter
    limiter.take("a", TEN)
    running_redis.kill()
    assert not counted_by_redis(limiter)

    running_redis.start()

    wait_until(lambda: not limiter.away)
    assert counted_by_redis(limiter)


def test_a_redis_that_never_was_there_is_no_hindrance():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    limiter = Limiter(f"redis://:hunter2@127.0.0.1:{port}/0")

    assert [limiter.take("a", RateLimitItemPerHour(2)).allowed for _ in range(3)] == [True, True, False]
    limiter.stop()


def test_a_server_that_takes_connections_and_never_answers_is_no_hindrance():
    with socket.create_server(("127.0.0.1", 0)) as mute:
        limiter = Limiter(f"redis://:hunter2@127.0.0.1:{mute.getsockname()[1]}/0")
        began = time.monotonic()
        assert limiter.take("a", TEN).allowed
        assert time.monotonic() - began < SOON
        limiter.stop()


def test_a_redis_that_cannot_be_written_is_away(patient_limiter, running_redis):
    """A replica answers PING and refuses to count."""
    limiter = patient_limiter
    client = limiter.redis.storage
    client.execute_command("REPLICAOF", "127.0.0.1", "1")

    assert not counted_by_redis(limiter)
    assert not counted_by_redis(limiter)
    client.execute_command("REPLICAOF", "NO", "ONE")

    wait_until(lambda: not limiter.away)
    assert counted_by_redis(limiter)


@pytest.mark.filterwarnings(
    "ignore:This process:DeprecationWarning"
)  # forking with threads is what is tested
def test_a_fork_looks_for_redis_by_itself(limiter, running_redis):
    """A fork copies that Redis is away, but not the thread that looks for it."""
    limiter.take("a", TEN)
    running_redis.kill()
    limiter.take("a", TEN)
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            limiter._ensure_probed()
            wait_until(lambda: not limiter.away)
            os.write(writing, b"back")
        finally:
            os._exit(0)  # nothing of pytest may run twice
    os.close(writing)
    running_redis.start()
    assert os.read(reading, 4) == b"back"
    os.waitpid(child, 0)
    os.close(reading)
