"""The state of the database in words that need no explanation, for administrators."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.apps import apps
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connection, connections
from django.urls import reverse

from analytics.reading import rows
from database.config import EMBEDDED
from database.info import pools_in_use
from database.metrics import REPLICA_LAG
from database.replica import replica_watch
from database.replica_watch import DOWN, WELL

MODES = {
    "pool": "a pool in each process",
    "persistent": "one connection for each thread, kept open",
    "pgbouncer": "PgBouncer, which pools them",
}
SERVER = """
SELECT current_setting('server_version') AS version, current_database() AS name,
    current_setting('max_connections')::int AS most,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS used
"""
FULL = 0.8  # of the server's connections


@dataclass(frozen=True)
class Line:
    """One fact: what it is about, a sentence, and whether somebody should act."""

    subject: str
    sentence: str
    is_bad: bool = False


@dataclass(frozen=True)
class LastImport:
    """The newest run of the import; `rejected` rows are waiting to be looked at."""

    address: str
    started_at: datetime
    read: int
    rejected: int


def database_state() -> list[Line]:
    """Describe the database, how it is connected to, and its replica; no password is ever part of it."""
    (server,) = rows(SERVER)
    return [
        Line("Database", _which(server)),
        Line("Address", _source()),
        Line("Connections", _connections(server), server["used"] >= FULL * server["most"]),
        _pool(),
        _replica(),
    ]


def _which(server: dict[str, Any]) -> str:
    info = connection.connection.info
    where = "a socket of this machine" if info.host.startswith("/") else f"{info.host}, port {info.port}"
    return f"PostgreSQL {server['version'].split()[0]}, database {server['name']}, on {where}."


def _source() -> str:
    if settings.DATABASE_URL_SOURCE == EMBEDDED:
        return "DATABASE_URL is not set, so this is the embedded server for development."
    return f"DATABASE_URL, taken from: {settings.DATABASE_URL_SOURCE}."


def _connections(server: dict[str, Any]) -> str:
    mode = MODES.get(settings.DATABASE_POOL_MODE, settings.DATABASE_POOL_MODE)
    return f"{server['used']} of the {server['most']} that the server allows are open, by {mode}."


def _pool() -> Line:
    pool = connections[DEFAULT_DB_ALIAS].settings_dict["OPTIONS"].get("pool")
    if not pool:
        return Line("Pool", "This process has none.")
    limit = f"each process may open {pool['max_size']}" if isinstance(pool, dict) else "each process has one"
    figures = pools_in_use(DEFAULT_DB_ALIAS)
    if figures is None:
        return Line("Pool", f"No figures at this moment; {limit}.")
    waiting = figures["waiting"]
    queue = "nobody waits" if not waiting else f"{waiting} requests wait for one"
    return Line(
        "Pool",
        f"{figures['used']} in use, {figures['idle']} idle, {queue}; {_processes(figures['processes'])}, {limit}.",
        is_bad=waiting > 0,
    )


def _processes(number: int) -> str:
    return "1 process on this machine" if number == 1 else f"{number} processes on this machine"


def _replica() -> Line:
    watch = replica_watch()
    if watch is None:
        return Line("Replica", "There is none; everything is read from this database.")
    state = watch.state()
    if state == DOWN:
        return Line("Replica", "It does not answer; everything is read from this database.", is_bad=True)
    lag = next(iter(REPLICA_LAG.collect())).samples[0].value
    if state == WELL:
        return Line("Replica", f"{lag:.1f} s behind; the figures of this page are read from it.")
    allowed = f"more than the {watch.max_lag:g} s allowed"
    return Line(
        "Replica", f"{lag:.1f} s behind, {allowed}; everything is read from this database.", is_bad=True
    )


def last_import() -> LastImport | None:
    """Return the newest import; None when there was none, or no legacy app any more."""
    if not apps.is_installed("legacy"):
        return None
    # By name: analytics and legacy stand side by side, and legacy will be deleted one day.
    run = apps.get_model("legacy", "ImportRun")._default_manager.order_by("-id").first()
    if run is None:
        return None
    tables = [each for each in (run.report.get("tables") or {}).values() if isinstance(each, dict)]
    return LastImport(
        address=reverse("admin:legacy_importrun_change", args=[run.pk]),
        started_at=run.started_at,
        read=sum(each.get("read", 0) for each in tables),
        rejected=sum(each.get("rejected", 0) for each in tables),
    )
