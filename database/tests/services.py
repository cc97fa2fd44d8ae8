"""The async service on a server of the test's own, and what that server says about it."""

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import psycopg

from database.embedded import EmbeddedServer
from database.service import Configuration, DatabaseService, Limits

APPLICATION = "service-under-test"
ACTIVITY = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND state LIKE %s"


def configuration(server: EmbeddedServer, *, statement_timeout: int = 0, **limits: Any) -> Configuration:
    """Return one for the server as it is at the moment of each connection; the timeout is in milliseconds."""

    def parameters() -> dict[str, Any]:
        return {
            **server.conninfo,
            "application_name": APPLICATION,
            "options": f"-c statement_timeout={statement_timeout}",
        }

    return Configuration("test:async", parameters, Limits(**{"min_size": 1, "max_size": 5, **limits}))


def service_on(
    server: EmbeddedServer, *, strict: bool = False, hold_limit: float = 1.0, **limits: Any
) -> Any:
    return DatabaseService(
        configuration=configuration(server, **limits), strict=strict, hold_limit=hold_limit
    )


def on_server(server: EmbeddedServer, query: Any, *parameters: Any) -> Any:
    """Ask the server over a connection that has nothing to do with the service; return the first value."""
    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        cursor = connection.execute(query, parameters or None)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


def connections_of_service(server: EmbeddedServer, state: str = "%") -> int:
    return int(on_server(server, ACTIVITY, APPLICATION, state))


def running(server: EmbeddedServer) -> int:
    """Count the statements of the service that the server works on."""
    return connections_of_service(server, "active")


async def until(condition: Callable[[], Any], *, seconds: float = 20) -> None:
    """Wait until the condition is true; fail after the time."""
    deadline = monotonic() + seconds
    while not (await asyncio.to_thread(condition)):
        assert monotonic() < deadline, "the condition never became true"
        await asyncio.sleep(0.01)


def run(coroutine: Awaitable[Any]) -> Any:
    """Run the coroutine in a loop of its own, not longer than a minute."""

    async def limited() -> Any:
        async with asyncio.timeout(60):
            return await coroutine

    return asyncio.run(limited())
