"""From Django's settings to what the async service needs; the environment is read in `database.config` only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

CONNECT_TIMEOUT = 5  # seconds; a host that drops packets would otherwise hold every waiting task for minutes
# What belongs to Django's own connections: its adapters hand JSON back as text, its cursor is synchronous.
DJANGO_ONLY = ("cursor_factory", "context", "prepare_threshold", "row_factory", "autocommit")
PREPARE_AFTER = 5  # uses of the same statement on one connection


@dataclass(frozen=True)
class Limits:
    """The sizes and times of a pool, in connections and seconds, named as psycopg_pool names them."""

    min_size: int = 10
    max_size: int = 50
    timeout: float = 30.0
    max_lifetime: float = 3600.0
    max_idle: float = 300.0
    max_queries: int = 50_000  # 0: no limit

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Limits:
        """Take the values that this pool knows; the rest is for others."""
        known = {field.name for field in fields(cls)}
        return cls(**{name: value for name, value in values.items() if name in known})


@dataclass(frozen=True)
class Configuration:
    """One database as the async service uses it.

    `parameters` returns the arguments of `psycopg.connect`; it is called in a thread before every connection,
    because it may start the embedded server. `client_timeout` is the command timeout where the server cannot be told.
    """

    label: str
    parameters: Callable[[], dict[str, Any]] = field(repr=False)
    limits: Limits = Limits()
    pgbouncer: bool = False
    client_timeout: float | None = None

    @classmethod
    def of_alias(cls, alias: str = DEFAULT_DB_ALIAS, **limits: Any) -> Configuration:
        """Read `settings.DATABASES[alias]`; keywords replace single limits."""
        mode = getattr(settings, "DATABASE_POOL_MODE", "pool")
        database = connections[alias].settings_dict
        pool = database.get("ASYNC_POOL") or database["OPTIONS"].get("pool")
        return cls(
            label=f"{alias}:async",
            # Not the bound method: Django's connections belong to a thread, this is called in others.
            parameters=lambda: connections[alias].get_connection_params(),  # noqa: PLW0108
            limits=replace(Limits.of(pool if isinstance(pool, Mapping) else {}), **limits),
            pgbouncer=mode == "pgbouncer",
            # PgBouncer takes no startup options, so the server has not been told.
            client_timeout=database.get("COMMAND_TIMEOUT") or None if mode == "pgbouncer" else None,
        )

    def connect_arguments(self) -> dict[str, Any]:
        """Return the arguments for a connection of the service."""
        given = {name: value for name, value in self.parameters().items() if name not in DJANGO_ONLY}
        arguments = {"connect_timeout": CONNECT_TIMEOUT, **given}
        if not self.pgbouncer:
            # Saves the round trip of a SET; PgBouncer refuses startup options.
            arguments["options"] = f"{arguments.get('options', '')} -c timezone=UTC".strip()
        return {
            **arguments,
            "autocommit": True,
            "prepare_threshold": None if self.pgbouncer else PREPARE_AFTER,
        }
