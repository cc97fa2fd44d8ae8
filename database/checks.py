"""System checks of the database settings. Their ids are stable: people silence them by id.

The checks with the tag "database" connect, so Django runs them in `migrate` and in `check --database default` only.
A server that is away is no finding of theirs: they end within 2 s and say nothing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any, LiteralString

import psycopg
from django.conf import settings
from django.contrib.postgres.operations import CreateExtension
from django.core.checks import CheckMessage, Error, Warning
from django.db import DEFAULT_DB_ALIAS
from django.db.migrations.loader import MigrationLoader
from django.db.migrations.operations.base import Operation
from django.db.migrations.operations.special import SeparateDatabaseAndState
from psycopg import sql

from database.deadline import direct_connection

CHECK_LIMIT = 2.0  # seconds for each server

POOL = "pool"
REPLICA = "replica"
ADDRESS = ("HOST", "PORT", "NAME")

CAPACITY = """
SELECT pg_postmaster_start_time()::text, (SELECT system_identifier::text FROM pg_control_system()),
    current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int
    - coalesce(current_setting('reserved_connections', true)::int, 0)
"""
IDENTITY = "SELECT (SELECT system_identifier FROM pg_control_system()), pg_is_in_recovery()"
EXTENSIONS = """
SELECT wanted.name, versions.name IS NOT NULL,
    (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)
    OR (coalesce(versions.trusted, false) AND has_database_privilege(current_database(), 'CREATE')),
    current_database(), current_user
FROM unnest(%s::text[]) AS wanted (name)
LEFT JOIN (SELECT name, bool_or(trusted) AS trusted FROM pg_available_extension_versions GROUP BY name) AS versions
    ON versions.name = wanted.name
WHERE NOT EXISTS (SELECT FROM pg_extension WHERE extname = wanted.name)
ORDER BY 1
"""


def check_pool_and_persistent_connections(**kwargs: Any) -> list[CheckMessage]:
    """Refuse CONN_MAX_AGE beside a pool: Django would raise at the first query."""
    return [
        Error(
            f'DATABASES["{alias}"] has a pool and CONN_MAX_AGE; Django opens no connection with both.',
            hint="Set DB_POOL_MODE=persistent, or leave CONN_MAX_AGE out.",
            id="database.E001",
        )
        for alias, database in settings.DATABASES.items()
        if database.get("OPTIONS", {}).get(POOL) and database.get("CONN_MAX_AGE") != 0
    ]


def check_cursors_behind_pgbouncer(**kwargs: Any) -> list[CheckMessage]:
    """Warn of server-side cursors in transaction pooling: the next FETCH may meet another server."""
    if settings.DATABASE_POOL_MODE != "pgbouncer":
        return []
    return [
        Warning(
            f'DB_POOL_MODE is pgbouncer, but DATABASES["{alias}"] has server-side cursors on: `.iterator()` fails.',
            hint="Set DISABLE_SERVER_SIDE_CURSORS to True.",
            id="database.W003",
        )
        for alias, database in settings.DATABASES.items()
        if not database.get("DISABLE_SERVER_SIDE_CURSORS")
    ]


def check_replica_address(**kwargs: Any) -> list[CheckMessage]:
    """Warn when the replica's URL is the primary's: reports would load the server they should spare."""
    replica = settings.DATABASES.get(REPLICA)
    if replica is None:
        return []
    primary = settings.DATABASES[DEFAULT_DB_ALIAS]
    if not primary.get("HOST") or _address(primary) != _address(replica):
        return []
    return [_same_server("DATABASE_REPLICA_URL names the same host, port and database as DATABASE_URL.")]


def check_replica_is_another_server(
    *, databases: Sequence[str] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    """Warn when the replica's URL leads to the primary under another name."""
    if REPLICA not in (databases or ()) or REPLICA not in settings.DATABASES:
        return []
    found = [row for alias in (DEFAULT_DB_ALIAS, REPLICA) for row in _rows(alias, IDENTITY)]
    if len(found) < 2:
        return []
    (identifier, _), (other, in_recovery) = found
    # A standby is a copy and so has the primary's identifier; a logical replica has its own.
    if identifier != other or in_recovery:
        return []
    return [
        _same_server("DATABASE_REPLICA_URL leads to a primary, the same one as DATABASE_URL or its twin.")
    ]


def check_max_connections(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Warn when the pools of all processes may ask a server for more connections than it has."""
    processes: int = settings.DATABASE_PROCESSES
    wanted: dict[tuple[str, str], int] = defaultdict(int)
    room: dict[tuple[str, str], int] = {}
    for alias in databases or ():
        pool = settings.DATABASES[alias].get("OPTIONS", {}).get(POOL)
        if not pool:
            continue
        for start, identifier, free in _rows(alias, CAPACITY):
            # Two URLs may lead to one server.
            room[start, identifier] = free
            wanted[start, identifier] += processes * int(pool["max_size"])
    return [
        Warning(
            f"{processes} processes with full pools need {wanted[server]} connections, but the server has "
            f"{free} to give (max_connections without the reserved ones).",
            hint="Lower DB_POOL_MAX_SIZE or DB_PROCESSES, raise max_connections, or put PgBouncer in between "
            "(DB_POOL_MODE=pgbouncer); docs/operations.md has the arithmetic.",
            id="database.W002",
        )
        for server, free in room.items()
        if wanted[server] > free
    ]


def check_extensions(*, databases: Sequence[str] | None = None, **kwargs: Any) -> list[CheckMessage]:
    """Name the extensions that the migrations need and this role may not create, with the SQL that helps."""
    needed = sorted(extensions_of_migrations())
    return [
        finding
        for alias in databases or ()
        if alias != REPLICA
        for missing in _rows(alias, EXTENSIONS, [needed])
        for finding in _missing_extension(*missing)
    ]


def _missing_extension(
    name: str, available: bool, allowed: bool, database: str, user: str
) -> Iterator[CheckMessage]:
    if not available:
        yield Error(
            f"The migrations need the extension {name}, which the server does not have.",
            hint="Install PostgreSQL's contrib package on the server.",
            id="database.E003",
        )
    elif not allowed:
        statement = sql.SQL("CREATE EXTENSION IF NOT EXISTS {};").format(sql.Identifier(name)).as_string(None)
        yield Error(
            f"The migrations need the extension {name}, which the role {user} may not create.",
            hint=f"Let an administrator run in the database {database}: {statement}",
            id="database.E002",
        )


def extensions_of_migrations() -> set[str]:
    """Name the extensions that the migrations of all apps create."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    operations = chain.from_iterable(migration.operations for migration in loader.disk_migrations.values())
    return {each.name for each in _flat(operations) if isinstance(each, CreateExtension)}


def _flat(operations: Iterator[Operation] | Sequence[Operation]) -> Iterator[Operation]:
    for operation in operations:
        if isinstance(operation, SeparateDatabaseAndState):
            yield from _flat(operation.database_operations)
        else:
            yield operation


def _address(database: dict[str, Any]) -> tuple[str, str, str]:
    host, port, name = (str(database.get(part) or "") for part in ADDRESS)
    return host.lower(), port or "5432", name


def _same_server(message: str) -> CheckMessage:
    hint = "Set it to a standby's URL, or leave it empty: reports then read from the primary openly."
    return Warning(message, hint=hint, id="database.W004")


def _rows(alias: str, query: LiteralString, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Return the rows of the answer; none when the server is away or will not say."""
    try:
        with direct_connection(alias, CHECK_LIMIT) as connection:
            return connection.execute(query, parameters).fetchall()
    except psycopg.Error:
        return []
