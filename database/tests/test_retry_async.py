"""The asyncio twin of retried transactions, over the real service."""

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest

from database.embedded import EmbeddedServer
from database.errors import CommitOutcomeUnknown, RetryInsideTransaction
from database.retry import retry_transient_async
from database.service import Configuration, DatabaseService, Limits
from database.testing import throw_away_server
from database.tests.retried import RAISE, TABLE, rows
from database.tests.served import CuttingProxy, counted
from database.tests.services import service_on

INSERT = "INSERT INTO effects VALUES (1)"


@pytest.fixture(scope="module")
def module_server(server_template) -> Iterator[EmbeddedServer]:
    with throw_away_server(server_template) as server:
        yield server


@pytest.fixture
def server(module_server) -> EmbeddedServer:
    module_server.start()
    with psycopg.connect(**module_server.conninfo, autocommit=True) as connection:
        connection.execute(TABLE)
    return module_server


def test_a_serialization_failure_is_tried_again_and_takes_effect_once(server):
    tries: list[int] = []
    before = counted("scheduler_transaction_retries", cause="serialization")

    async def main() -> str:
        async with service_on(server) as service:

            @retry_transient_async(service.transaction)
            async def work(session: Any, answer: str) -> str:
                tries.append(1)
                await session.execute(INSERT)
                if len(tries) < 3:
                    await session.execute(RAISE.format("40001"))
                return answer

            return await work("done")

    assert asyncio.run(main()) == "done"
    assert len(tries) == 3 and rows(server) == 1
    assert counted("scheduler_transaction_retries", cause="serialization") == before + 2


@pytest.mark.parametrize("mode", ["fast", "immediate"])
@pytest.mark.parametrize("moment", ["before a statement", "before commit"])
def test_a_restart_before_commit_is_tried_again_and_takes_effect_once(server, mode, moment):
    tries = []

    async def main() -> None:
        async with service_on(server) as service:

            @retry_transient_async(service.transaction)
            async def work(session: Any) -> None:
                tries.append(1)
                await session.execute(INSERT)
                if len(tries) == 1:
                    await asyncio.to_thread(server.stop, mode)
                    await asyncio.to_thread(server.start)
                if moment == "before a statement":
                    await session.execute("SELECT 1")

            await work()

    asyncio.run(main())
    assert len(tries) == 2 and rows(server) == 1


@pytest.mark.parametrize(("cut", "there"), [("before it arrives", 0), ("after it arrived", 1)])
@pytest.mark.parametrize("kind", ["the service", "psycopg alone"])
def test_a_loss_during_commit_is_unknown_and_not_repeated(server, server_folder, cut, there, kind):
    proxy = CuttingProxy(server_folder, server.socket_dir)
    conninfo = {**server.conninfo, "host": str(server_folder)}
    unknown = counted("scheduler_commits_unknown")
    tries = []

    async def work(session: Any) -> None:
        tries.append(1)
        await session.execute(INSERT)
        proxy.cut = cut

    async def main() -> None:
        if kind == "psycopg alone":
            await retry_transient_async(lambda: bare(conninfo))(work)()
            return
        configuration = Configuration("cut:async", lambda: conninfo, Limits(min_size=1, max_size=2))
        async with DatabaseService(configuration=configuration) as service:
            await retry_transient_async(service.transaction)(work)()

    with pytest.raises(CommitOutcomeUnknown):
        asyncio.run(main())

    proxy.close()
    assert len(tries) == 1 and rows(server) == there
    assert counted("scheduler_commits_unknown") == unknown + 1


class bare:
    """A transaction of psycopg alone, which raises its own errors."""

    def __init__(self, conninfo: dict[str, Any]) -> None:
        self._conninfo = conninfo

    async def __aenter__(self) -> Any:
        self._connection = await psycopg.AsyncConnection.connect(**self._conninfo)
        return self._connection

    async def __aexit__(self, kind: Any, *_: object) -> None:
        try:
            await (self._connection.rollback() if kind else self._connection.commit())
        finally:
            await self._connection.close()


def test_other_failures_pass_through_at_once(server):
    tries = []

    async def main() -> None:
        async with service_on(server) as service:

            @retry_transient_async(service.transaction)
            async def work(session: Any) -> None:
                tries.append(1)
                await session.execute(RAISE.format("23505"))

            await work()

    with pytest.raises(Exception) as raised:
        asyncio.run(main())

    assert getattr(raised.value.__cause__, "sqlstate", None) == "23505"
    assert len(tries) == 1


def test_it_refuses_to_be_nested_but_not_beside_another(server):
    async def main() -> None:
        async with service_on(server) as service:

            @retry_transient_async(service.transaction)
            async def inner(session: Any) -> None:
                await session.execute(INSERT)

            @retry_transient_async(service.transaction)
            async def outer(session: Any) -> None:
                await inner()

            with pytest.raises(RetryInsideTransaction):
                await outer()
            with pytest.raises(RetryInsideTransaction):
                async with service.transaction():
                    await inner()
            await asyncio.gather(inner(), inner())

    asyncio.run(main())
    assert rows(server) == 2


def test_a_plain_function_is_refused():
    with pytest.raises(TypeError, match="no coroutine function"):
        retry_transient_async(lambda: None)(lambda session: None)  # type: ignore[arg-type,return-value]
