"""A server of their own for the tests of retried transactions, and a table of effects to count."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import psycopg
import pytest
from django.db import connections

from database.embedded import EmbeddedServer
from database.testing import throw_away_server
from database.tests.served import CuttingProxy, counted, run, served

TABLE = "DROP TABLE IF EXISTS effects; CREATE TABLE effects (id int, place int DEFAULT 0)"
INSERT = "INSERT INTO effects VALUES (1)"
ALIAS = "private"
RAISE = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"


@pytest.fixture(scope="module")
def module_server(server_template) -> Iterator[EmbeddedServer]:
    with throw_away_server(server_template) as server:
        yield server


@pytest.fixture
def server(module_server, django_db_blocker) -> Iterator[EmbeddedServer]:
    """Return a running server with an empty table, known to Django as `private`."""
    module_server.start()
    with django_db_blocker.unblock(), served(ALIAS, module_server.socket_dir):
        run(ALIAS, TABLE)
        yield module_server


@pytest.fixture
def proxied(server, server_folder) -> Iterator[SimpleNamespace]:
    proxy = CuttingProxy(server_folder, server.socket_dir)
    with served("proxied", server_folder):
        yield SimpleNamespace(proxy=proxy, server=server)
    proxy.close()


def rows(server: EmbeddedServer) -> int:
    """Count the effects over a connection of its own."""
    with psycopg.connect(**server.conninfo) as connection:
        ((count,),) = connection.execute("SELECT count(*) FROM effects").fetchall()
        return count


def in_threads(*functions) -> None:
    def closing(function) -> None:
        try:
            function()
        finally:
            connections[ALIAS].close()

    with ThreadPoolExecutor(len(functions)) as threads:
        for future in [threads.submit(closing, function) for function in functions]:
            future.result(timeout=60)


def retries(cause: str) -> float:
    return counted("scheduler_transaction_retries", cause=cause)
