"""No connection is held while a task waits for a third party; who does it is found out by line."""

import asyncio

import pytest
from prometheus_client import REGISTRY

from database.errors import ConnectionHeldIdle
from database.tests.services import on_server, run, service_on

TASKS = 500
INSERT = "INSERT INTO notes VALUES (%s)"


@pytest.fixture
def server(private_server):
    on_server(private_server, "CREATE TABLE notes (n int)")
    return private_server


class LanguageModel:
    """Answers when all who asked wait for it, and sees how many connections are held at that moment."""

    def __init__(self, database, askers):
        self.database, self.askers = database, askers
        self.asked = 0
        self.used_while_all_wait = None
        self.answer = asyncio.Event()

    async def ask(self):
        self.asked += 1
        if self.asked == self.askers:
            self.used_while_all_wait = self.database.pool_stats().used
            self.answer.set()
        await self.answer.wait()


async def short_transactions(database, model, number):
    async with database.transaction() as work:
        await work.execute(INSERT, number)
    await model.ask()
    async with database.transaction() as work:
        await work.execute(INSERT, number)


async def held_transaction(database, model, number):
    async with database.transaction() as work:
        await work.execute(INSERT, number)
        await model.ask()
        await work.execute(INSERT, number)


async def used_while_waiting(database, conversation, askers):
    model = LanguageModel(database, askers)
    async with asyncio.timeout(40):
        await asyncio.gather(*(conversation(database, model, number) for number in range(askers)))
    return model.used_while_all_wait


def test_five_hundred_conversations_hold_no_connection_while_they_wait(server):
    async def use():
        async with service_on(server, min_size=10, max_size=10) as database:
            assert await used_while_waiting(database, short_transactions, TASKS) == 0

    run(use())
    assert on_server(server, "SELECT count(*) FROM notes") == 2 * TASKS


def test_the_same_check_sees_a_conversation_that_holds_its_connection(server):
    async def use():
        async with service_on(server, min_size=10, max_size=10) as database:
            assert await used_while_waiting(database, held_transaction, 10) == 10

    run(use())


def test_in_strict_mode_a_connection_held_while_waiting_is_an_error(server):
    async def use():
        async with service_on(server, strict=True, hold_limit=0.05) as database:
            async with database.transaction() as work:
                await work.execute(INSERT, 1)
            with pytest.raises(
                ConnectionHeldIdle, match=r"test_service_holding\.py:\d+ was held for 0\.[1-9]"
            ):
                async with database.transaction() as work:
                    await work.execute(INSERT, 1)
                    await asyncio.sleep(0.2)
                    await work.execute(INSERT, 1)
            # Time spent in PostgreSQL itself is no idleness.
            async with database.transaction() as work:
                await work.fetch("SELECT pg_sleep(0.2)")
            assert database.pool_stats().used == 0

    run(use())


def test_an_overlong_hold_is_counted_and_logged_with_its_line_while_it_lasts(server, caplog):
    labels = {"alias": "test:async"}
    before = REGISTRY.get_sample_value("scheduler_pool_held_idle_total", labels) or 0

    async def use():
        async with service_on(server, hold_limit=0.05, max_idle=0.2) as database, database.acquire():
            async with asyncio.timeout(20):
                while not database.pool_stats().held_idle:
                    await asyncio.sleep(0.01)
            (held,) = database.held()
            assert held.where.startswith("database/tests/test_service_holding.py:")
            assert held.idle_seconds >= 0.05
            assert held.task

    run(use())
    assert REGISTRY.get_sample_value("scheduler_pool_held_idle_total", labels) == before + 1
    (complaint,) = [record for record in caplog.messages if "without a statement" in record]
    assert "database/tests/test_service_holding.py:" in complaint
