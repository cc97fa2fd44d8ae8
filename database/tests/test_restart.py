"""The pool while its server restarts, stays away, and comes back."""

import threading
import time

import pytest
from django.db import DatabaseError

from database.backend.base import pool_stats
from database.errors import Unreachable
from database.testing import wait_until
from database.tests.pools import ALIAS, ask, database, database_allowed, pool_of

__all__ = ["database_allowed"]


def fill(handler, size: int) -> None:
    pool = pool_of(handler)
    pool.open()
    held = [pool.getconn() for _ in range(size)]
    for connection in held:
        pool.putconn(connection)


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_the_first_request_after_a_restart_succeeds(private_server, mode):
    with database(private_server) as handler:
        fill(handler, 4)
        private_server.stop(mode)
        private_server.start()

        assert ask(handler, "SELECT 'served'") == "served"
        assert pool_stats(ALIAS)["retired"]["broken"] >= 1
        assert all(ask(handler, "SELECT 'served'") == "served" for _ in range(8))


def test_a_dead_connection_is_noticed_without_asking_the_server(private_server):
    with database(private_server) as handler:
        fill(handler, 1)
        pool = pool_of(handler)
        asked: list[object] = []
        pool.check_connection = asked.append
        private_server.stop("fast")
        private_server.start()

        assert ask(handler, "SELECT 'served'") == "served"
        assert asked == []


def test_a_connection_that_was_idle_for_long_is_asked(private_server):
    with database(private_server, DB_POOL_MAX_SIZE="1") as handler:
        first = ask(handler)
        (connection,) = pool_of(handler)._pool
        connection.idle_since -= 31
        assert ask(handler, "SELECT 1") == 1
        asked: list[object] = []
        pool = pool_of(handler)
        pool.check_connection = asked.append
        assert ask(handler) == first
        assert asked == []
        connection.idle_since -= 31
        assert ask(handler) == first
        assert asked == [connection]


def test_while_the_server_is_down_the_reason_comes_quickly_and_afterwards_so_does_the_answer(private_server):
    with database(private_server, DB_POOL_TIMEOUT="30", DB_POOL_MIN_SIZE="2") as handler:
        fill(handler, 4)
        private_server.stop("fast")
        for _ in range(3):
            started = time.monotonic()
            with pytest.raises(
                Unreachable, match="^No PostgreSQL answers at the socket in .*: there is no such"
            ):
                ask(handler)
            assert time.monotonic() - started < 10
        wait_until(lambda: not pool_stats(ALIAS)["idle"], timeout=20)
        private_server.start()

        started = time.monotonic()
        assert ask(handler, "SELECT 'served'") == "served"
        assert time.monotonic() - started < 2
        assert pool_stats(ALIAS)["used"] == 0


def test_a_long_outage_costs_few_attempts_and_no_delay_at_its_end(private_server):
    with database(private_server, DB_POOL_MIN_SIZE="4", DB_POOL_MAX_SIZE="8") as handler:
        fill(handler, 8)
        pool = pool_of(handler)
        private_server.stop("immediate")
        with pytest.raises(Unreachable):
            ask(handler)
        # As if the outage had lasted for hours: psycopg_pool would wait for minutes or have given up.
        pool._failing_since -= 36_000
        attempts, started = pool._stats[pool._CONNECTIONS_NUM], time.monotonic()
        wait_until(lambda: pool._stats[pool._CONNECTIONS_NUM] >= attempts + 4, timeout=20)
        assert time.monotonic() - started > 1  # at two a second, whatever the number of connections missing
        private_server.start()

        started = time.monotonic()
        assert ask(handler, "SELECT 'served'") == "served"
        assert time.monotonic() - started < 2
        wait_until(lambda: pool_stats(ALIAS)["idle"] >= 4, timeout=20)


def test_a_pool_that_never_met_its_server_is_filled_when_it_starts(private_server):
    private_server.stop("fast")
    with database(private_server, DB_POOL_MIN_SIZE="3") as handler:
        with pytest.raises(Unreachable):
            ask(handler)
        private_server.start()

        assert ask(handler, "SELECT 'served'") == "served"
        wait_until(lambda: pool_stats(ALIAS)["idle"] >= 3, timeout=20)


@pytest.mark.parametrize("mode", ["fast", "immediate"])
def test_requests_of_many_threads_survive_restarts_and_no_connection_is_lost(private_server, mode):
    def work() -> None:
        while not stop.is_set():
            try:
                answers.append(ask(handler, "SELECT 1"))
            except DatabaseError as error:
                failures.append(error)

    def more_than(count: int) -> None:
        wait_until(lambda: len(answers) > count, timeout=20)

    stop = threading.Event()
    answers: list[int] = []
    failures: list[DatabaseError] = []
    with database(private_server, DB_POOL_MAX_SIZE="4", DB_POOL_MAX_QUERIES="20") as handler:
        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        for _ in range(3):
            served = len(answers)
            more_than(served + 50)
            private_server.stop(mode)
            private_server.start()
        served = len(answers)
        more_than(served + 50)
        stop.set()
        for thread in threads:
            thread.join(30)

        assert not any(thread.is_alive() for thread in threads)
        wait_until(lambda: pool_stats(ALIAS)["idle"] == pool_stats(ALIAS)["size"], timeout=20)
        assert pool_stats(ALIAS)["used"] == pool_stats(ALIAS)["waiting"] == 0
        assert 1 <= pool_stats(ALIAS)["size"] <= 4
        assert pool_stats(ALIAS)["timeouts"] == 0
