"""A day of a pool in small: connections come and go by the thousand, and nothing is left behind."""

import gc
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psutil
import psycopg
import pytest

from database.backend.base import pool_stats
from database.testing import throw_away_server, wait_until
from database.tests.pools import ALIAS, ask, database, database_allowed

__all__ = ["database_allowed"]

pytestmark = pytest.mark.soak
THREADS = 6
GROWTH = 8 * 1024**2  # bytes that the allocator may keep; 10,000 leaked connections would be over 100 MB
VARIABLES = {
    "queries": {"DB_POOL_MAX_QUERIES": "1"},
    "lifetime": {"DB_POOL_MAX_LIFETIME": "0.001"},
    "idle": {"DB_POOL_MAX_INACTIVE_LIFETIME": "0.01", "DB_POOL_MIN_SIZE": "0"},
}


@pytest.fixture(scope="module")
def server(server_template) -> Iterator:
    with throw_away_server(server_template) as running:
        yield running


def used_memory() -> int:
    gc.collect()
    return int(psutil.Process(os.getpid()).memory_info().rss)


def sessions(server) -> int:
    query = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    with psycopg.connect(**server.conninfo) as connection:
        ((count,),) = connection.execute(query).fetchall()
    return int(count)


@pytest.mark.parametrize(("reason", "cycles"), [("queries", 10_000), ("lifetime", 10_000), ("idle", 10_000)])
def test_nothing_is_left_of_connections_that_were_replaced(server, reason, cycles):
    def rounds(count: int) -> None:
        target = pool_stats(ALIAS)["retired"][reason] + count
        with ThreadPoolExecutor(THREADS) as threads:
            while pool_stats(ALIAS)["retired"][reason] < target:
                assert all(answer == 1 for answer in threads.map(ask_one, range(100)))
                if reason == "idle":
                    wait_until(lambda: pool_stats(ALIAS)["size"] == 0, timeout=20)

    def ask_one(_: int) -> int:
        return int(ask(handler, "SELECT 1"))

    with database(server, DB_POOL_MAX_SIZE="4", **VARIABLES[reason]) as handler:
        ask_one(0)
        rounds(cycles // 10)
        descriptors, memory = len(os.listdir("/proc/self/fd")), used_memory()
        rounds(cycles)

        stats = pool_stats(ALIAS)
        assert stats["used"] == stats["waiting"] == stats["timeouts"] == 0
        assert stats["size"] <= 4
        wait_until(lambda: sessions(server) <= 4, timeout=20)
        assert len(os.listdir("/proc/self/fd")) <= descriptors + 8
        assert used_memory() - memory < GROWTH
    wait_until(lambda: sessions(server) == 0, timeout=20)
