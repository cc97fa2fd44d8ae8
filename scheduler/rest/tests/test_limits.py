"""The sliding windows, over PostgreSQL and over a real Redis: how many pass, and what a refusal says."""

import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from django.conf import settings
from django.db import connection, transaction
from limits import RateLimitItemPerMinute, RateLimitItemPerSecond
from limits.strategies import MovingWindowRateLimiter

from database.testing import wait_until
from scheduler.rest.limit_redis import RedisTicks
from scheduler.rest.limit_storages import PostgresStorage
from scheduler.rest.limits import Limiter
from scheduler.rest.tests.processes import database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(params=["postgresql", "redis"])
def storage(request):
    if request.param == "postgresql":
        yield PostgresStorage()
    else:
        ticks = RedisTicks(request.getfixturevalue("running_redis").url, 10, 10)  # for busy machines
        yield ticks
        ticks.storage.close()


def test_as_many_hits_pass_as_the_limit_says_and_refused_ones_count_for_nothing(storage):
    hits = [storage.take("a", 3, 60) for _ in range(5)]

    assert [hit.allowed for hit in hits] == [True, True, True, False, False]
    assert [hit.remaining for hit in hits] == [2, 1, 0, 0, 0]
    assert [hit.used for hit in hits] == [1, 2, 3, 3, 3]
    assert all(0 < hit.reset_after <= 60.2 for hit in hits)


def test_keys_do_not_share_their_hits(storage):
    assert storage.take("a", 1, 60).allowed
    assert storage.take("b", 1, 60).allowed
    assert not storage.take("a", 1, 60).allowed


def test_looking_counts_nothing(storage):
    assert storage.take("a", 1, 60, 0).used == 0
    assert storage.take("a", 1, 60).allowed
    assert storage.take("a", 1, 60, 0).used == 1


def test_another_limit_keeps_the_hits(storage):
    for _ in range(4):
        storage.take("a", 10, 60)

    lower = storage.take("a", 2, 60)
    assert (lower.allowed, lower.remaining) == (False, 0)
    assert storage.take("a", 5, 60).allowed
    assert not storage.take("a", 5, 60).allowed


def test_a_refused_hit_is_allowed_after_the_time_it_was_told_and_not_before(storage):
    began = time.monotonic()
    assert storage.take("a", 2, 1).allowed
    assert storage.take("a", 2, 1).allowed
    refused = storage.take("a", 2, 1)
    told = time.monotonic() + refused.reset_after

    wait_until(lambda: storage.take("a", 2, 1).allowed)

    assert time.monotonic() - began >= 1.0
    assert time.monotonic() >= told - 0.05
    assert refused.reset_after <= 1 + 1 / 600 + 0.001


def test_a_hit_that_costs_more_waits_until_as_many_have_left(storage):
    first = storage.take("a", 5, 60, 3)
    # Another tick of 0.1 s, so that the two lots leave at different times.
    wait_until(lambda: storage.take("a", 5, 60, 0).reset_after < first.reset_after - 0.1)
    storage.take("a", 5, 60, 2)

    one, four = storage.take("a", 5, 60, 1), storage.take("a", 5, 60, 4)

    assert not one.allowed and not four.allowed
    assert four.reset_after > one.reset_after


def test_no_window_ever_holds_more_than_the_limit(storage):
    """Threads hit as fast as they can over three windows, so hits stand on both sides of any border."""
    limit, times, ends = 40, [], time.monotonic() + 3.2
    lock = threading.Lock()

    def hit_until_the_end(_):
        while time.monotonic() < ends:
            before = time.monotonic()
            if storage.take("a", limit, 1).allowed:
                with lock:
                    times.append((before, time.monotonic()))
        connection.close()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(hit_until_the_end, range(8)))

    by_start = sorted(times)
    ends_in_order = sorted(end for _, end in times)
    assert len(times) >= 3 * limit
    for (start, _), end in zip(by_start, ends_in_order[limit:], strict=False):
        # Counted somewhere between its two times, so even the widest reading spans a whole window.
        assert end - start >= 1.0


def hammer(redis_url: str, limit: int, threads: int, hits: int) -> subprocess.Popen[str]:
    script = settings.BASE_DIR / "scheduler" / "rest" / "tests" / "hammer.py"
    variables = {
        "DATABASE_URL": database_url(),
        "PYTHONPATH": str(settings.BASE_DIR),
        "DB_POOL_MAX_SIZE": "8",
    }
    return subprocess.Popen(
        [sys.executable, str(script), redis_url, str(limit), str(threads), str(hits)],
        env={**os.environ, **variables},
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("kind", ["postgresql", "redis"])
def test_four_processes_of_many_threads_get_exactly_the_limit(kind, request):
    url = request.getfixturevalue("running_redis").url if kind == "redis" else ""

    processes = [hammer(url, limit=500, threads=16, hits=15) for _ in range(4)]
    allowed = [int(process.communicate(timeout=60)[0]) for process in processes]

    assert sum(allowed) == 500
    assert all(process.returncode == 0 for process in processes)


def test_the_strategy_of_limits_works_upon_the_storage(storage):
    limiter, item = MovingWindowRateLimiter(storage), RateLimitItemPerMinute(2)

    assert [limiter.hit(item, "a") for _ in range(3)] == [True, True, False]
    stats = limiter.get_window_stats(item, "a")
    assert stats.remaining == 0
    assert 50 < stats.reset_time - time.time() <= 60.2


def test_a_limit_of_a_million_needs_one_number_a_tick():
    storage = PostgresStorage()
    for _ in range(200):
        assert storage.take("a", 1_000_000, 1).allowed

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT cardinality(ticks), (SELECT sum(c) FROM unnest(counts) c) FROM rate_limit_windows"
        )
        ticks, counted = cursor.fetchone()
    assert ticks <= 601
    assert counted <= 200


def test_a_hit_inside_a_transaction_is_a_fault():
    with pytest.raises(RuntimeError, match="outside of transactions"), transaction.atomic():
        PostgresStorage().take("a", 1, 60)


def test_a_request_that_is_rolled_back_has_been_counted():
    PostgresStorage().take("a", 1, 60)
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        raise ZeroDivisionError

    assert not PostgresStorage().take("a", 1, 60).allowed


def test_a_hit_is_one_statement(django_assert_num_queries):
    PostgresStorage().take("a", 9, 60)
    with django_assert_num_queries(1):
        PostgresStorage().take("a", 9, 60)


def test_a_clock_that_is_set_back_forgets_no_hit():
    storage = PostgresStorage()
    storage.take("a", 2, 60)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rate_limit_windows SET ticks = ARRAY[ticks[1] + 50]")  # five seconds ahead

    assert storage.take("a", 2, 60).allowed
    assert not storage.take("a", 2, 60).allowed


def test_keys_that_are_long_gone_are_taken_away_by_those_that_come():
    storage = PostgresStorage()
    for number in range(6):
        storage.take(f"old{number}", 1, 60)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE rate_limit_windows SET expires_at = now() - interval '1 second'")
        for number in range(3):
            storage.take(f"new{number}", 1, 60)
        cursor.execute("SELECT key FROM rate_limit_windows ORDER BY key")
        assert [key for (key,) in cursor.fetchall()] == ["new0", "new1", "new2"]


def test_hits_of_redis_leave_nothing_behind(running_redis):
    RedisTicks(running_redis.url).take("a", 9, 1)
    with redis.Redis(port=running_redis.port) as client:
        assert client.dbsize() == 1
        wait_until(lambda: client.dbsize() == 0)


def test_counting_hits_writes_no_log_of_postgresql():
    with connection.cursor() as cursor:
        cursor.execute("SELECT relpersistence FROM pg_class WHERE relname = 'rate_limit_windows'")
        assert cursor.fetchone() == ("u",)


@pytest.mark.slow
def test_hits_survive_a_restart_of_postgresql_and_not_a_crash(migrated_server, manage):
    look = (
        "from scheduler.rest.limit_storages import PostgresStorage as P; print(P().take('a', 9, 3600).used)"
    )

    def used() -> str:
        return manage("shell", "-v0", "-c", look, DATABASE_URL=migrated_server.url).stdout.strip()

    assert used() == "1"
    migrated_server.stop("fast")
    migrated_server.start()
    assert used() == "2"
    migrated_server.stop("immediate")
    migrated_server.start()
    assert used() == "1"


def test_limits_of_seconds_and_minutes_of_one_key_are_counted_apart():
    limiter = Limiter()

    assert limiter.take("a", RateLimitItemPerMinute(1)).allowed
    assert limiter.take("a", RateLimitItemPerSecond(1)).allowed
    assert not limiter.take("a", RateLimitItemPerMinute(1)).allowed
