"""The pool of the async service over time: retired connections, restarts, exhaustion, health, forty thousand uses."""

import asyncio
import os
import signal
from collections import Counter
from time import monotonic

import pytest
from django.db import OperationalError
from prometheus_client import REGISTRY

from database.errors import Unreachable
from database.testing import wait_until
from database.tests.services import connections_of_service, on_server, run, service_on, until

LABEL = "test:async"


def retired_in_metrics(reason):
    labels = {"alias": LABEL, "reason": reason}
    return REGISTRY.get_sample_value("scheduler_pool_connections_retired_total", labels) or 0


def test_a_connection_is_replaced_after_its_queries(private_server):
    async def use():
        async with service_on(private_server, max_size=1, max_queries=10) as database:
            before = retired_in_metrics("queries")
            pids = [await database.fetch_value("SELECT pg_backend_pid()") for _ in range(100)]
            assert set(Counter(pids).values()) == {10}
            assert database.pool_stats().retired["queries"] in (9, 10)
            assert retired_in_metrics("queries") - before == database.pool_stats().retired["queries"]
            await until(lambda: connections_of_service(private_server) == 1)

    run(use())


def test_no_limit_of_queries_retires_nothing(private_server):
    async def use():
        async with service_on(private_server, max_size=1, max_queries=0) as database:
            assert len({await database.fetch_value("SELECT pg_backend_pid()") for _ in range(50)}) == 1

    run(use())


def test_a_connection_past_its_lifetime_is_replaced_though_nobody_uses_it(private_server):
    async def use():
        async with service_on(private_server, max_size=2, min_size=2, max_lifetime=0.3) as database:
            await until(lambda: database.pool_stats().retired.get("lifetime", 0) >= 4)
            await until(lambda: database.pool_stats().size == connections_of_service(private_server) == 2)

    run(use())


def test_idle_connections_above_the_minimum_are_closed(private_server):
    async def use():
        async with service_on(private_server, min_size=1, max_size=8, max_idle=0.3) as database:
            await asyncio.gather(*(database.fetch("SELECT pg_sleep(0.1)") for _ in range(8)))
            grown = database.pool_stats().size
            assert grown > 1
            await until(lambda: connections_of_service(private_server) == 1)
            stats = database.pool_stats()
            assert (stats.size, stats.idle) == (1, 1)
            # The one that stays may be a young one, if the pool was still growing.
            assert stats.retired["idle"] >= grown - 1

    run(use())


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_the_first_query_after_a_restart_works(private_server, mode):
    async def use():
        async with service_on(private_server, min_size=5) as database:
            await until(lambda: database.pool_stats().idle == 5)
            private_server.stop(mode)
            private_server.start()
            assert await database.fetch_value("SELECT 1") == 1
            await until(lambda: database.pool_stats().size >= 5)
            await until(lambda: connections_of_service(private_server) == database.pool_stats().size)
            assert database.pool_stats().used == 0

    run(use())


def test_a_server_that_is_down_is_told_at_once_and_found_when_it_is_back(private_server):
    async def use():
        async with service_on(private_server, min_size=5, timeout=30) as database:
            await until(lambda: database.pool_stats().idle == 5)
            private_server.stop("fast")
            down = monotonic()
            with pytest.raises(Unreachable, match="there is no such socket"):
                await database.fetch("SELECT 1")
            # Far below the 30 s of the pool's own limit.
            assert monotonic() - down < 10
            health = await database.health_check()
            assert not health.ok
            assert "there is no such socket" in health.problem
            # Long enough for a pause that doubles to grow: attempts go on all the same.
            failures = 0
            while monotonic() - down < 4:
                with pytest.raises(OperationalError):
                    await database.fetch("SELECT 1")
                failures += 1
            assert failures >= 2
            await asyncio.to_thread(private_server.start)
            back = monotonic()
            assert await database.fetch_value("SELECT 1") == 1
            assert monotonic() - back < 2
            await until(lambda: database.pool_stats().size >= 5)
            assert (await database.health_check()).ok

    run(use())


def test_the_service_may_be_opened_before_its_server_is_there(private_server):
    private_server.stop("fast")

    async def use():
        async with service_on(private_server) as database:
            with pytest.raises(Unreachable):
                await database.fetch("SELECT 1")
            await asyncio.to_thread(private_server.start)
            assert await database.fetch_value("SELECT 1") == 1

    run(use())


def test_health_says_that_the_pool_is_exhausted_and_does_not_hang(private_server):
    async def use():
        async with service_on(private_server, max_size=2) as database:
            assert (await database.health_check()).ok
            release = asyncio.Event()

            async def hold():
                async with database.acquire():
                    await release.wait()

            holding = [asyncio.create_task(hold()) for _ in range(2)]
            await until(lambda: database.pool_stats().used == 2)
            health = await database.health_check()
            assert not health.ok
            assert "2 of at most 2 are in use" in health.problem
            assert health.seconds < 5
            release.set()
            await asyncio.gather(*holding)
            assert (await database.health_check()).ok

    run(use())


def test_health_does_not_hang_on_a_server_that_does_not_react(private_server):
    pid = private_server.pid

    async def use():
        async with service_on(private_server, max_size=1) as database:
            backend = await database.fetch_value("SELECT pg_backend_pid()")
            for process in (pid, backend):
                os.kill(process, signal.SIGSTOP)
            try:
                health = await database.health_check()
            finally:
                for process in (backend, pid):
                    os.kill(process, signal.SIGCONT)
            assert not health.ok
            assert "no answer within 2 s" in health.problem
            assert health.seconds < 5
            await until(lambda: database.pool_stats().used == 0)
            assert await database.fetch_value("SELECT 1") == 1

    run(use())


def test_figures_add_up(private_server):
    async def use():
        async with service_on(private_server, min_size=2, max_size=3) as database:
            await until(lambda: database.pool_stats().idle == 2)
            async with database.acquire():
                stats = database.pool_stats()
            assert (stats.used, stats.idle, stats.size, stats.waiting) == (1, 1, 2, 0)
            assert (stats.min_size, stats.max_size, stats.requests) == (2, 3, 1)
            waits = asyncio.gather(*(database.fetch("SELECT pg_sleep(0.05)") for _ in range(9)))
            await until(lambda: database.pool_stats().waiting > 0)
            await waits
            stats = database.pool_stats()
            assert 0 < stats.longest_wait <= stats.wait_seconds
            labels = {"alias": LABEL, "state": "idle"}
            await until(lambda: REGISTRY.get_sample_value("scheduler_pool_connections", labels) == stats.size)

    run(use())


@pytest.mark.soak
def test_ten_thousand_replaced_connections_leave_no_connection_and_no_memory_behind(private_server):
    """A day in small: connections are replaced by number of queries, by age and for idleness, and cut off."""
    import psutil

    memory = psutil.Process().memory_info

    async def use():
        async with service_on(
            private_server, min_size=2, max_size=10, max_queries=3, max_lifetime=0.4, max_idle=0.1
        ) as database:

            async def work(number):
                async with database.acquire() as session:
                    await session.fetch("SELECT %s::int", number)
                    if number % 50 == 0:
                        session.connection.cut()

            async def until_retired(total):
                number = 0
                while sum(database.pool_stats().retired.values()) < total:
                    await asyncio.gather(*(work(number + more) for more in range(30)), return_exceptions=True)
                    number += 30
                    if number % 3000 == 0:
                        await asyncio.sleep(0.3)

            await until_retired(2000)
            settled = memory().rss
            await until_retired(10_000)
            assert memory().rss - settled < 8 * 1024**2
            await until(lambda: database.pool_stats().retired.get("lifetime"))
            assert {"queries", "idle", "broken"} <= set(database.pool_stats().retired)
            await until(lambda: database.pool_stats().size == connections_of_service(private_server))
            assert database.pool_stats().size <= 10
            assert database.pool_stats().used == 0

    asyncio.run(use())
    wait_until(lambda: connections_of_service(private_server) == 0)
    assert on_server(private_server, "SELECT 1") == 1
