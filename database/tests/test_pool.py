"""The pool against a real server: counting, replacing, and figures."""

import gc
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from prometheus_client import REGISTRY

from database.backend.base import DatabaseWrapper, pool_stats
from database.errors import PoolExhausted, PoolNotOpen
from database.testing import throw_away_server, wait_until
from database.tests.pools import ALIAS, ask, database, database_allowed, pool_of

__all__ = ["database_allowed"]


@pytest.fixture(scope="module")
def server(server_template) -> Iterator:
    with throw_away_server(server_template) as running:
        yield running


def pids_on_the_server(server) -> set[int]:
    query = (
        "SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    )
    with psycopg.connect(**server.conninfo) as connection:
        return {pid for (pid,) in connection.execute(query)}


def sample(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"scheduler_pool_{name}", {"alias": ALIAS, **labels}) or 0.0


def test_requests_share_one_connection(server):
    with database(server, DB_POOL_MAX_SIZE="1") as handler:
        assert len({ask(handler) for _ in range(20)}) == 1


def test_a_connection_is_replaced_after_so_many_queries(server):
    with database(server, DB_POOL_MAX_QUERIES="3", DB_POOL_MAX_SIZE="1") as handler:
        pids = [ask(handler) for _ in range(12)]

        assert [len(set(pids[start : start + 3])) for start in range(0, 12, 3)] == [1, 1, 1, 1]
        assert len(set(pids)) == 4
        wait_until(lambda: len(pids_on_the_server(server)) == 1, timeout=20)
        assert not pids_on_the_server(server) & set(pids)
        assert pool_stats(ALIAS)["retired"] == {"queries": 4, "lifetime": 0, "idle": 0, "broken": 0}
        assert pool_stats(ALIAS)["size"] == 1


def test_zero_means_that_queries_do_not_retire_a_connection(server):
    with database(server, DB_POOL_MAX_QUERIES="0", DB_POOL_MAX_SIZE="1") as handler:
        assert len({ask(handler) for _ in range(60)}) == 1


def test_execute_executemany_and_copy_count_and_the_own_checks_do_not(server):
    with database(server) as handler:
        connection = handler[ALIAS]
        with connection.cursor() as cursor:
            cursor.execute("CREATE TEMP TABLE counted (n int)")
            cursor.executemany("INSERT INTO counted VALUES (%s)", [(1,), (2,), (3,)])
            with cursor.copy("COPY counted FROM STDIN") as copy:
                copy.write_row([4])
        with connection.chunked_cursor() as cursor:
            cursor.execute("SELECT n FROM counted")
            assert len(cursor.fetchall()) == 4
        raw = connection.connection
        assert raw.queries == 4
        raw.idle_since = -1000.0
        pool_of(handler)._check_connection(raw)
        assert raw.queries == 4


def test_threads_retire_connections_and_none_is_lost(server):
    def request(number: int) -> int:
        return ask(handler)

    with database(server, DB_POOL_MAX_QUERIES="5", DB_POOL_MAX_SIZE="4") as handler:
        with ThreadPoolExecutor(8) as threads:
            pids = list(threads.map(request, range(400)))

        # 400 queries, at most 5 on each connection.
        assert len(set(pids)) >= 80
        assert max(pids.count(pid) for pid in set(pids)) <= 5
        stats = pool_stats(ALIAS)
        wait_until(lambda: pool_stats(ALIAS)["idle"] == pool_stats(ALIAS)["size"], timeout=20)
        assert stats["used"] == stats["waiting"] == 0
        assert 1 <= pool_stats(ALIAS)["size"] <= 4
        assert len(pids_on_the_server(server)) == pool_stats(ALIAS)["size"]


def test_a_connection_is_replaced_after_its_lifetime(server):
    with database(server, DB_POOL_MAX_LIFETIME="0.2", DB_POOL_MAX_SIZE="1") as handler:
        first = ask(handler)

        wait_until(lambda: ask(handler) != first, timeout=20)
        assert pool_stats(ALIAS)["retired"]["lifetime"] >= 1
        assert pool_stats(ALIAS)["retired"]["queries"] == 0


def test_idle_connections_above_the_minimum_are_closed(server):
    with database(server, DB_POOL_MAX_INACTIVE_LIFETIME="0.2") as handler:
        pool = pool_of(handler)
        pool.open()
        held = [pool.getconn() for _ in range(4)]
        assert pool_stats(ALIAS)["used"] == pool_stats(ALIAS)["size"] == 4
        for connection in held:
            pool.putconn(connection)

        wait_until(lambda: pool_stats(ALIAS)["size"] == 1, timeout=20)
        wait_until(lambda: len(pids_on_the_server(server)) == 1, timeout=20)
        assert pool_stats(ALIAS)["retired"]["idle"] == 3


def test_a_full_pool_makes_the_next_one_wait_and_then_says_so(server):
    with database(server, DB_POOL_MAX_SIZE="1", DB_POOL_TIMEOUT="0.3") as handler:
        timeouts = sample("timeouts_total")
        pool = pool_of(handler)
        pool.open()
        held = pool.getconn()
        started = time.monotonic()
        with pytest.raises(PoolExhausted, match=r"became free within DB_POOL_TIMEOUT: 1 of 1 are in use"):
            ask(handler)
        assert time.monotonic() - started >= 0.3
        assert pool_stats(ALIAS)["timeouts"] == 1
        assert sample("timeouts_total") == timeouts + 1
        pool.putconn(held)
        assert ask(handler)


def test_those_who_wait_are_served_when_a_connection_comes_back(server):
    with database(server, DB_POOL_MAX_SIZE="1") as handler:
        pool = pool_of(handler)
        pool.open()
        held = pool.getconn()
        with ThreadPoolExecutor(1) as threads:
            waiting = threads.submit(ask, handler)
            wait_until(lambda: pool_stats(ALIAS)["waiting"] == 1, timeout=20)
            assert sample("waiting") == 1
            pool.putconn(held)
            assert waiting.result(10) == held.info.backend_pid
        assert sample("waiting") == 0
        assert pool_stats(ALIAS)["wait_ms_total"] > 0


def test_the_metrics_follow_checkout_and_return(server):
    with database(server, DB_POOL_MAX_SIZE="1") as handler:
        waits = sample("wait_seconds_count")
        ask(handler)
        assert (sample("connections", state="used"), sample("connections", state="idle")) == (0, 1)
        with handler[ALIAS].cursor() as cursor:
            cursor.execute("SELECT 1")
            assert (sample("connections", state="used"), sample("connections", state="idle")) == (1, 0)
        handler[ALIAS].close()
        assert sample("max_connections") == 1
        assert sample("wait_seconds_count") == waits + 2
        assert (pool_stats(ALIAS)["used"], pool_stats(ALIAS)["idle"]) == (0, 1)
    assert sample("connections", state="idle") == 0


def test_a_thread_that_ends_without_giving_back_costs_the_pool_no_place(server):
    def forgetful() -> None:
        handler[ALIAS].ensure_connection()

    with database(server, DB_POOL_MAX_SIZE="2", DB_POOL_TIMEOUT="5") as handler:
        for _ in range(10):
            thread = threading.Thread(target=forgetful)
            thread.start()
            thread.join()
        assert pool_stats(ALIAS)["timeouts"] == 0
        # A thread's locals go a moment after its end.
        wait_until(lambda: gc.collect() >= 0 and ask(handler) and pool_stats(ALIAS)["used"] == 0, timeout=20)
        wait_until(lambda: len(pids_on_the_server(server)) <= 2, timeout=20)


def test_a_transaction_left_open_is_rolled_back_before_the_next_request(server):
    with database(server) as handler:
        ask(handler, "CREATE TABLE left_open (n int)")
        connection = handler[ALIAS]
        connection.set_autocommit(False)
        with connection.cursor() as cursor:
            cursor.execute("INSERT INTO left_open VALUES (1)")
        connection.close()

        assert ask(handler, "SELECT count(*) FROM left_open") == 0


def test_a_closed_pool_says_so(server):
    with database(server) as handler:
        ask(handler)
        pool_of(handler).close()
        with pytest.raises(PoolNotOpen):
            ask(handler)


def test_the_pool_follows_the_name_of_the_database(server):
    with database(server, DB_POOL_MAX_SIZE="1") as handler:
        ask(handler)
        with psycopg.connect(**server.conninfo, autocommit=True) as admin:
            admin.execute("CREATE DATABASE other_name")
        handler[ALIAS].settings_dict["NAME"] = "other_name"

        assert ask(handler, "SELECT current_database()") == "other_name"
        wait_until(lambda: len(pids_on_the_server(server)) == 1, timeout=20)


@pytest.mark.parametrize("mode", ["pool", "persistent", "pgbouncer"])
def test_the_modes_answer_alike(server, mode):
    with database(server, DB_POOL_MODE=mode) as handler:
        assert ask(handler, "SELECT 'answered'") == "answered"
        connection = handler[ALIAS]
        assert (connection.pool is None) == (mode != "pool")


def test_threads_that_need_the_first_connection_at_once_share_one_pool(server, monkeypatch):
    first, others_have_it = threading.Lock(), threading.Event()
    close_pool = DatabaseWrapper.close_pool

    def late(wrapper):
        # The thread that came first loses its turn here, for as long as the others get on without it.
        if first.acquire(blocking=False):
            others_have_it.wait(0.5)
        close_pool(wrapper)

    with database(server) as handler, ThreadPoolExecutor(2) as threads:
        monkeypatch.setattr(DatabaseWrapper, "close_pool", late)
        early = threads.submit(lambda: pool_of(handler))
        wait_until(first.locked, timeout=20)
        pools = {threads.submit(lambda: pool_of(handler)).result(30)}
        others_have_it.set()
        pools.add(early.result(30))
        monkeypatch.undo()

        assert len(pools) == 1
        assert ask(handler, "SELECT 7") == 7
