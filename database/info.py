"""Which database is in force, from where, how it is connected to, and how full it is."""

from __future__ import annotations

import math
from collections import defaultdict
from typing import Any

import psycopg
from django.conf import settings
from django.db import DEFAULT_DB_ALIAS, connections

from database.deadline import direct_connection
from database.health import unapplied_migrations
from database.metric_files import FolderBusy, MetricsFolder
from database.metrics import POOL_CONNECTIONS, POOL_WAITING
from database.replica_check import Checker, NoAnswer
from database.sentences import Address, translated

LIMIT = 5.0  # seconds for each server
REPLICA = "replica"
NO_STANDBY = "It is no standby."
NO_PRIMARY = "It follows no primary, or nobody knows how far behind it is."

FACTS = """
SELECT current_setting('server_version'), current_database(), current_user,
    current_setting('max_connections')::int,
    (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend')
"""


def database_info(alias: str = DEFAULT_DB_ALIAS) -> dict[str, Any]:
    """Connect and describe the database; no password is ever part of the answer.

    `pool` is None unless this process would use one, `pools_in_use` sums up the processes of this machine that run
    now; times are seconds. Raises Django's database errors, one sentence each.
    """
    configured = connections[alias].settings_dict
    facts = _asked(alias)
    return {
        "engine": connections[alias].display_name,
        **{name: facts[name] for name in ("server_version", "host", "port", "database", "user")},
        "url_from": settings.DATABASE_URL_SOURCE,
        "pool_mode": settings.DATABASE_POOL_MODE,
        "pool": configured["OPTIONS"].get("pool"),
        "pools_in_use": pools_in_use(alias),
        "conn_max_age": configured["CONN_MAX_AGE"],
        "statement_timeout": facts["statement_timeout"],
        "max_connections": facts["max_connections"],
        "connections_used": facts["connections_used"],
        "replica": replica_info(),
        "unapplied_migrations": facts["unapplied_migrations"],
    }


def _asked(alias: str) -> dict[str, Any]:
    try:
        # Not through the pool: it hides why it cannot connect, and for 30 s.
        with direct_connection(alias, LIMIT) as connection:
            ((version, database, user, most, used),) = connection.execute(FACTS).fetchall()
            unapplied = len(unapplied_migrations(connection))
            return {
                "server_version": version,
                "host": connection.info.host or connection.info.hostaddr,
                "port": connection.info.port,
                "database": database,
                "user": user,
                "statement_timeout": _session_timeout(connection),
                "max_connections": most,
                "connections_used": used,
                "unapplied_migrations": unapplied,
            }
    except psycopg.Error as error:
        where = Address.of(connections[alias].get_connection_params())
        raise translated(error, where=where) from None


def _session_timeout(connection: psycopg.Connection[Any]) -> str:
    # The transaction before had a limit of its own.
    connection.rollback()
    ((timeout,),) = connection.execute("SELECT current_setting('statement_timeout')").fetchall()
    return str(timeout)


def replica_info() -> dict[str, Any] | None:
    """Describe the replica: where it is and how far behind, or why it cannot say; None without one."""
    if REPLICA not in connections:
        return None
    parameters = connections[REPLICA].get_connection_params()
    address = Address.of(parameters)
    info: dict[str, Any] = {"host": address.host, "port": int(address.port or 5432)}
    try:
        with direct_connection(REPLICA, LIMIT) as connection:
            ((standby,),) = connection.execute("SELECT pg_is_in_recovery()").fetchall()
    except psycopg.Error as error:
        return info | {"unavailable": str(translated(error, where=address))}
    # The very question that decides whether reads go there.
    checker = Checker(parameters)
    try:
        lag = checker.lag(LIMIT)
    except NoAnswer:
        return info | {"unavailable": NO_PRIMARY if standby else NO_STANDBY}
    finally:
        checker.close()
    # JSON has no infinity.
    return info | ({"lag_seconds": lag} if math.isfinite(lag) else {"unavailable": NO_PRIMARY})


def pools_in_use(alias: str) -> dict[str, int] | None:
    """Add up the pools of the processes that run on this machine now; None when there are none, or who knows."""
    sums: dict[str, int] = defaultdict(int)
    processes = set()
    try:
        metrics = MetricsFolder(settings.METRICS_DIR).collect()
    except FolderBusy:
        return None
    for metric in metrics:
        for sample in metric.samples:
            if sample.labels.get("alias") != alias:
                continue
            if sample.name == POOL_CONNECTIONS._name:
                sums[sample.labels["state"]] += int(sample.value)
                processes.add(sample.labels["pid"])
            elif sample.name == POOL_WAITING._name:
                sums["waiting"] += int(sample.value)
    if not processes:
        return None
    return {"processes": len(processes), **{name: sums[name] for name in ("used", "idle", "waiting")}}
