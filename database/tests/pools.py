"""Databases of Django for tests about pools: any server, any settings, an alias of their own."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from django.db import connections

from database.backend.base import DatabaseWrapper
from database.config import configure
from database.embedded import EmbeddedServer
from database.environment import Environment

ALIAS = "apart"
SIZES = {"DB_POOL_MIN_SIZE": "1", "DB_POOL_MAX_SIZE": "4", "DB_POOL_TIMEOUT": "10"}


@pytest.fixture(autouse=True)
def database_allowed(django_db_blocker) -> Iterator[None]:
    """Let tests of a module that imports this bring databases of their own, without the shared one."""
    with django_db_blocker.unblock():
        yield


@contextmanager
def database(server: EmbeddedServer | str, **variables: str) -> Iterator[Any]:
    """Yield Django's connections to `server` (or a URL), as the environment variables configure them."""
    url = server if isinstance(server, str) else server.url
    environment = Environment({**SIZES, "DATABASE_URL": url, **variables}, {})
    configured = configure(environment, Path("/nowhere"), ["manage.py", "runserver"], debug=False)
    entry = connections.configure_settings({"default": {}, ALIAS: configured.databases["default"]})[ALIAS]
    # In Django's own handler, because its signals look connections up by alias.
    connections.settings[ALIAS] = entry
    wrapper: Any = connections[ALIAS]
    try:
        yield connections
    finally:
        wrapper.close()
        wrapper.close_pool()
        del connections[ALIAS]
        del connections.settings[ALIAS]


def ask(handler: Any, query: str = "SELECT pg_backend_pid()", *parameters: Any) -> Any:
    """Run one query as a request would: connect, ask, give the connection back; return the first value."""
    connection = handler[ALIAS]
    try:
        with connection.cursor() as cursor:
            cursor.execute(query, parameters or None)
            return cursor.fetchone()[0] if cursor.description else None
    finally:
        connection.close()


def pool_of(handler: Any) -> Any:
    wrapper: DatabaseWrapper = handler[ALIAS]
    return wrapper.pool
