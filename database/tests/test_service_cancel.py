"""Statements that are broken off are gone from the server, and their connection goes on serving."""

import asyncio
from contextlib import suppress

import pytest
from django.db import OperationalError

from database.errors import CommitOutcomeUnknown, PoolExhausted, StatementTimeout, Unreachable
from database.tests.services import (
    APPLICATION,
    connections_of_service,
    on_server,
    run,
    running,
    service_on,
    until,
)

SLEEP = "SELECT pg_sleep(100)"
TERMINATE = """
SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE application_name = %s AND state LIKE %s
"""
COMMITTING = """
SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state = 'active' AND query ILIKE 'commit%%'
"""
INSERT = "INSERT INTO notes VALUES (%s)"


async def assert_clean(database, server, size=1):
    """The query is gone, and the connections are those of before, at rest and outside any transaction."""
    await until(lambda: running(server) == 0)
    stats = database.pool_stats()
    assert (stats.used, stats.idle, stats.size, stats.retired) == (0, size, size, {})
    await until(lambda: connections_of_service(server, "idle") == size)
    assert await database.fetch_value("SELECT 1") == 1


@pytest.mark.parametrize("way", ["cancel", "asyncio.timeout", "wait_for"])
def test_a_cancelled_task_stops_its_query_on_the_server(private_server, way):
    async def use():
        async with service_on(private_server, max_size=1) as database:
            task = asyncio.create_task(database.fetch(SLEEP))
            await until(lambda: running(private_server) == 1)
            if way == "cancel":
                task.cancel()
                with pytest.raises(asyncio.CancelledError):
                    await task
            elif way == "wait_for":
                with pytest.raises(TimeoutError):
                    await asyncio.wait_for(task, 0.01)
            else:
                with pytest.raises(TimeoutError):
                    async with asyncio.timeout(0.01):
                        await task
            await assert_clean(database, private_server)

    run(use())


def test_a_task_cancelled_inside_a_transaction_leaves_nothing_behind(private_server):
    on_server(private_server, "CREATE TABLE notes (n int)")

    async def use():
        async with service_on(private_server, max_size=1) as database:

            async def work():
                async with database.transaction() as session:
                    await session.execute(INSERT, 1)
                    await session.fetch(SLEEP)

            task = asyncio.create_task(work())
            await until(lambda: running(private_server) == 1)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            await assert_clean(database, private_server)
            assert await database.fetch_value("SELECT count(*) FROM notes") == 0

    run(use())


def test_a_call_has_a_limit_of_its_own(private_server):
    async def use():
        async with service_on(private_server, max_size=1) as database:
            with pytest.raises(StatementTimeout, match=r"after 0\.05 s"):
                await database.fetch(SLEEP, timeout=0.05)
            await assert_clean(database, private_server)
            # A transaction can go on, if the statement was in a savepoint.
            async with database.transaction() as work:
                with pytest.raises(StatementTimeout):
                    async with work.transaction():
                        await work.execute(SLEEP, timeout=0.05)
                assert await work.fetch_value("SELECT 2") == 2

    run(use())


def test_a_limit_that_is_not_reached_leaves_no_trace(private_server):
    async def use():
        async with service_on(private_server, max_size=1) as database:
            for _ in range(20):
                assert await database.fetch_value("SELECT 1", timeout=30) == 1
            await assert_clean(database, private_server)

    run(use())


def test_limits_around_the_time_of_the_statement_never_hit_the_next_one(private_server):
    """A request to cancel that arrives late would break off the statement after it."""
    on_server(private_server, "CREATE TABLE notes (n int)")

    async def use():
        stored = 0
        async with service_on(private_server, max_size=1) as database:
            for _ in range(100):
                with suppress(StatementTimeout):
                    stored += await database.execute(
                        "INSERT INTO notes SELECT 1 FROM pg_sleep(0.003)", timeout=0.003
                    )
                # What was broken off is not there, what was not is.
                assert await database.fetch_value("SELECT count(*) FROM notes") == stored
            await assert_clean(database, private_server)

    run(use())


def test_the_server_s_own_limit_is_a_statement_timeout_too(private_server):
    async def use():
        async with service_on(private_server, max_size=1, statement_timeout=50) as database:
            with pytest.raises(StatementTimeout):
                await database.fetch(SLEEP)
            await assert_clean(database, private_server)

    run(use())


def test_a_storm_of_cancellations_loses_no_connection(private_server):
    """Tasks die while they wait for a connection, while they get one, in a query and while giving it back."""

    async def use():
        async with service_on(private_server, min_size=3, max_size=3) as database:

            async def work(number):
                async with database.transaction() as session:
                    await session.fetch("SELECT pg_sleep(%s)", number % 7 / 2000)

            for round_ in range(40):
                tasks = [asyncio.create_task(work(number)) for number in range(12)]
                await asyncio.sleep(round_ % 10 / 2000)
                for task in tasks[round_ % 3 :: 2]:
                    task.cancel()
                await asyncio.gather(*tasks, return_exceptions=True)
                stats = database.pool_stats()
                assert (stats.used, stats.waiting) == (0, 0)
            await until(lambda: database.pool_stats().idle == 3)
            assert database.pool_stats().size == 3
            await until(lambda: connections_of_service(private_server) == 3)

    run(use())


def test_those_who_wait_in_vain_learn_who_holds_the_connections(private_server):
    async def use():
        async with service_on(private_server, max_size=1) as database:
            async with database.acquire():
                waiting = asyncio.create_task(database.acquire(timeout=0.05).__aenter__())
                with pytest.raises(
                    PoolExhausted, match=r"1 of at most 1 are in use.*test_service_cancel\.py:\d+"
                ):
                    await waiting
            assert database.pool_stats().waiting == 0
            assert await database.fetch_value("SELECT 1") == 1

    run(use())


@pytest.mark.parametrize("statement", ["INSERT INTO notes SELECT 1 FROM pg_sleep(100)", SLEEP])
def test_a_lost_answer_is_unknown_for_a_change_and_plain_for_a_query(private_server, statement):
    on_server(private_server, "CREATE TABLE notes (n int)")
    expected = CommitOutcomeUnknown if statement.startswith("INSERT") else Unreachable

    async def use():
        async with service_on(private_server, max_size=1) as database:
            task = asyncio.create_task(database.execute(statement))
            await until(lambda: running(private_server) == 1)
            on_server(private_server, TERMINATE, APPLICATION, "active")
            with pytest.raises(expected):
                await task
            assert await database.fetch_value("SELECT 1") == 1
            assert database.pool_stats().retired == {"broken": 1}

    run(use())


def test_a_connection_lost_during_commit_has_an_unknown_outcome(private_server):
    on_server(private_server, "CREATE TABLE notes (n int)")
    # A deferred trigger runs inside COMMIT and makes it last.
    on_server(
        private_server,
        """
        CREATE FUNCTION linger() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(100); RETURN NULL; END';
        CREATE CONSTRAINT TRIGGER slow_commit AFTER INSERT ON notes DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION linger();
        """,
    )

    async def use():
        async with service_on(private_server, max_size=1) as database:

            async def work():
                async with database.transaction() as session:
                    await session.execute(INSERT, 1)

            task = asyncio.create_task(work())
            # Not as soon as something runs: that may be the INSERT, and between the two there is nothing to end.
            await until(lambda: on_server(private_server, COMMITTING, APPLICATION) == 1)
            on_server(private_server, TERMINATE, APPLICATION, "active")
            with pytest.raises(CommitOutcomeUnknown):
                await task
            assert await database.fetch_value("SELECT 1") == 1

    run(use())


def test_a_connection_lost_before_commit_stored_nothing_and_says_so(private_server):
    on_server(private_server, "CREATE TABLE notes (n int)")

    async def use():
        async with service_on(private_server, max_size=1) as database:
            with pytest.raises(OperationalError, match="lost before COMMIT: nothing"):
                async with database.transaction() as session:
                    await session.execute(INSERT, 1)
                    on_server(private_server, TERMINATE, APPLICATION, "idle in transaction")
                    await until(lambda: connections_of_service(private_server) == 0)
            assert await database.fetch_value("SELECT count(*) FROM notes") == 0

    run(use())
