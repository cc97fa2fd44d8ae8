"""Whether this process can do its work: asked over a connection of its own, so a full pool does not hide it."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from typing import Any

import psycopg
from django.db import DEFAULT_DB_ALIAS
from django.db.migrations.loader import MigrationLoader

from database import errors
from database.backend.base import pool_stats
from database.deadline import Shared, direct_connection
from database.sentences import Address, translated

ANSWER_LIMIT = 1.5  # seconds; a probe gets its answer within 2, on a busy machine too
QUERY_LIMIT = 1.3  # seconds, without connecting

POOL_FIGURES = ("used", "idle", "waiting", "size", "min", "max", "timeouts")

TOO_SLOW = "The database does not answer within 2 s."
NOT_ASKED = "The database cannot be asked."
MIGRATIONS_MISSING = "Migrations are not applied."
# The sentences of the errors themselves name the host, which is nobody's business who can reach a probe.
REASONS: dict[type[BaseException], str] = {
    errors.Unreachable: "No PostgreSQL answers.",
    errors.SignInRefused: "PostgreSQL refuses the user or the password.",
    errors.UnknownDatabase: "The server has no such database.",
    errors.EncryptionRefused: "The server and sslmode do not fit.",
    errors.TooManyConnections: "PostgreSQL takes no more connections.",
    errors.StatementTimeout: TOO_SLOW,
}


@dataclass(frozen=True)
class Database:
    """What the probe's own connection found. `unapplied` is None when it could not be read."""

    connected: bool
    unapplied: list[str] | None = None
    reason: str | None = None


@dataclass(frozen=True)
class Readiness:
    """The answer of /health/ready: no host, no user, no text of an exception."""

    ready: bool
    database: Database
    pool: dict[str, Any] | None = field(default=None)

    def as_json(self) -> dict[str, Any]:
        answer: dict[str, Any] = {
            "status": "ready" if self.ready else "not_ready",
            "database": "connected" if self.database.connected else "disconnected",
            "pool": self.pool,
            "unapplied_migrations": self.database.unapplied,
        }
        return answer | ({"reason": self.database.reason} if self.database.reason else {})


def readiness() -> Readiness:
    """Say within 2 s whether requests can be served; never raises because of the database.

    A pool whose connections are all in use is shown and is no reason to be taken out of service: that would push its
    load onto the others.
    """
    database = _probe.answer() or Database(connected=False, reason=TOO_SLOW)
    pool = pool_figures(DEFAULT_DB_ALIAS)
    ready = database.connected and not database.unapplied
    if database.unapplied is None:
        # max_connections reached: the server lives, and a process that holds connections goes on serving.
        ready = database.connected and bool(pool and pool.get("size"))
    return Readiness(ready, database, pool)


def _ask() -> Database:
    try:
        with direct_connection(DEFAULT_DB_ALIAS, QUERY_LIMIT) as connection:
            unapplied = unapplied_migrations(connection)
    except psycopg.Error as error:
        kind = type(translated(error, where=Address()))
        full = kind is errors.TooManyConnections
        timed_out = isinstance(error, psycopg.errors._WaitTimeout | psycopg.errors.ConnectionTimeout)
        reason = TOO_SLOW if timed_out else REASONS.get(kind, NOT_ASKED)
        return Database(connected=full, reason=reason)
    except Exception:  # the embedded server cannot be started, a certificate's file cannot be read
        return Database(connected=False, reason=NOT_ASKED)
    return Database(True, unapplied, MIGRATIONS_MISSING if unapplied else None)


def unapplied_migrations(connection: psycopg.Connection[Any]) -> list[str]:
    """Name the migrations, as `leads.0002_more`, that the code has and the database has not."""
    try:
        applied = {(app, name) for app, name in connection.execute("SELECT app, name FROM django_migrations")}
    except psycopg.errors.UndefinedTable:
        connection.rollback()
        applied = set()
    replacing = {key: replaced for key, replaced in migrations_of_the_code().items() if replaced}
    done = applied | {key for key, replaced in replacing.items() if replaced <= applied}
    # What a squashed migration replaces stays on the disk until nobody needs it.
    done |= {key for squashed, replaced in replacing.items() if squashed in applied for key in replaced}
    missing = migrations_of_the_code().keys() - done
    # Of a squash and what it replaces one of the two is to be applied; the squash stands for both.
    missing -= {key for squashed, replaced in replacing.items() if squashed in missing for key in replaced}
    return [".".join(key) for key in sorted(missing)]


@cache
def migrations_of_the_code() -> dict[tuple[str, str], frozenset[tuple[str, str]]]:
    """Return the migrations of all apps, each with those that it replaces."""
    loader = MigrationLoader(None, load=False)
    loader.load_disk()
    return {
        key: frozenset((app, name) for app, name in migration.replaces)
        for key, migration in loader.disk_migrations.items()
    }


def pool_figures(alias: str) -> dict[str, Any] | None:
    """Return the figures of this process's pool; None when it has none, or has not opened it yet."""
    stats = pool_stats(alias)
    return {name: stats[name] for name in POOL_FIGURES} if stats else None


_probe = Shared(_ask, limit=ANSWER_LIMIT)
