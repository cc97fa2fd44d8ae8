"""From the environment to `DATABASES`: the only place that reads a database variable."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured
from psycopg import pq

from database.environment import Environment

ENGINE = "database.backend"
EMBEDDED = "embedded"
EMBEDDED_NAME = "ai_scheduler"
POSTGRESQL_SCHEMES = ("postgres", "postgresql")
REDIS_SCHEMES = ("redis", "rediss", "unix")
REPLICA = "replica"
REPLICA_ENGINE = "database.replica_backend"
REPLICA_CONN_MAX_AGE = 60  # seconds; each thread that reads from the replica keeps a connection for so long
# Seconds for one attempt; libpq would wait for minutes on a machine that does not answer at all.
CONNECT_TIMEOUT = 3

# What a URL may say behind its question mark; psycopg's and Django's own arguments would undo what is set here.
URL_PARAMETERS = frozenset(each.keyword.decode() for each in pq.Conninfo.get_defaults()) | {
    "isolation_level",
    "assume_role",
}

POOL_MODES = ("pool", "persistent", "pgbouncer")

# Run by a person who is watching, with long statements on few connections. A limit meant for requests would
# break off an index build or a COPY half-way, and a pool would answer "no connection after 30 s" where the
# person needs to read what is wrong.
ONE_OFF_COMMANDS = frozenset(
    {"migrate", "dbshell", "migrate_from_sqlite", "verify_import", "export_to_sqlite", "test", "demo"}
)


# A server whose network is gone answers nothing, not even that it is gone; Linux alone would wait for a quarter of an
# hour with data under way, and for two hours without. Seconds, but for the last one.
VANISHED_PEER = {
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 30_000,
}


@dataclass(frozen=True)
class Configuration:
    """The database settings of one process, and where the URL came from.

    `processes` is how many processes of all machines share the server, `replica_max_lag` is in seconds.
    """

    databases: dict[str, dict[str, Any]]
    url_source: str
    pool_mode: str
    processes: int = 1
    replica_max_lag: float = 10
    redis_url: str = ""


def configure(environment: Environment, base_dir: Path, argv: Sequence[str], *, debug: bool) -> Configuration:
    """Build `DATABASES` for the process started as `argv`.

    Raises ImproperlyConfigured, one sentence that names the variable and never quotes a URL.
    """
    mode = environment.choice("DB_POOL_MODE", POOL_MODES)
    one_off = len(argv) > 1 and argv[1] in ONE_OFF_COMMANDS
    reuse = _connection_reuse(environment, mode)
    options = _options(environment, mode, one_off=one_off)
    databases = {"default": _address(environment, base_dir, debug=debug)}
    if url := environment.text("DATABASE_REPLICA_URL"):
        # Tests have one database: what they write must be there for those who read from the replica.
        databases[REPLICA] = {**_parsed("DATABASE_REPLICA_URL", url), "TEST": {"MIRROR": "default"}}
    for database in databases.values():
        database.update(reuse)
        database["OPTIONS"] = _merged(database.get("OPTIONS", {}), options)
        # In transaction pooling two statements may meet two servers, so no cursor lives on.
        database["DISABLE_SERVER_SIDE_CURSORS"] = mode == "pgbouncer"
        # The async service has a pool in every mode.
        database["ASYNC_POOL"] = _pool_sizes(environment)
        database["COMMAND_TIMEOUT"] = environment.seconds("DB_COMMAND_TIMEOUT", 10, zero_allowed=True)
    if REPLICA in databases:
        _make_replica(databases[REPLICA], mode)
    source = environment.source("DATABASE_URL") if environment.text("DATABASE_URL") else None
    return Configuration(
        databases,
        source or EMBEDDED,
        mode,
        processes=environment.whole("DB_PROCESSES", 1, minimum=1),
        replica_max_lag=environment.seconds("DB_REPLICA_MAX_LAG", 10),
        redis_url=_redis_url(environment),
    )


def _make_replica(database: dict[str, Any], mode: str) -> None:
    """Turn a database like the primary into a replica: not pooled, and read-only whatever the URL names."""
    database["ENGINE"] = REPLICA_ENGINE
    database["OPTIONS"].pop("pool", None)
    database["CONN_MAX_AGE"] = database["CONN_MAX_AGE"] or REPLICA_CONN_MAX_AGE
    database["CONN_HEALTH_CHECKS"] = True
    if mode != "pgbouncer":
        database["OPTIONS"]["options"] += " -c default_transaction_read_only=on"


def _options(environment: Environment, mode: str, *, one_off: bool) -> dict[str, Any]:
    """Return the `OPTIONS` that all databases have in common; every variable is checked, used or not."""
    timeout = environment.seconds("DB_COMMAND_TIMEOUT", 10, zero_allowed=True)
    pool = _pool_sizes(environment)
    options: dict[str, Any] = {"connect_timeout": CONNECT_TIMEOUT, **VANISHED_PEER}
    if mode == "pgbouncer":
        # No prepared statement outlives a transaction, and PgBouncer refuses a startup `options` parameter: there
        # the role carries the timeout (docs/decisions.md).
        options["prepare_threshold"] = None
    else:
        # 0 is said as well: the role or the database may carry a limit of its own.
        # Rounded up: a tiny limit must not become 0, which is none.
        options["options"] = f"-c statement_timeout={0 if one_off else math.ceil(timeout * 1000)}"
    if mode == "pool" and not one_off:
        options["pool"] = pool
    return options


def _merged(of_url: dict[str, Any], ours: dict[str, Any]) -> dict[str, Any]:
    merged = {**ours, **of_url}
    if "options" in ours:
        merged["options"] = f"{of_url.get('options', '')} {ours['options']}".strip()
    return merged


def _address(environment: Environment, base_dir: Path, *, debug: bool) -> dict[str, Any]:
    url = environment.text("DATABASE_URL")
    if url:
        return _parsed("DATABASE_URL", url)
    if not debug:
        raise ImproperlyConfigured(
            "DATABASE_URL is not set; it is required when DEBUG is off "
            "(the embedded PostgreSQL is for development only)."
        )
    return {
        "ENGINE": ENGINE,
        "NAME": EMBEDDED_NAME,
        "USER": "postgres",
        "EMBEDDED_DATA_DIR": str(base_dir / ".local" / "postgres"),
    }


def _parsed(name: str, url: str) -> dict[str, Any]:
    scheme = url.partition(":")[0].lower()
    if scheme.startswith("sqlite"):
        raise ImproperlyConfigured(
            f"{name} names a SQLite file, but this system runs on PostgreSQL only: "
            "set a postgresql:// URL and bring the file in with `manage.py migrate_from_sqlite <file>`."
        )
    if scheme not in POSTGRESQL_SCHEMES:
        raise ImproperlyConfigured(f"{name} must start with postgresql://.")
    try:
        urlsplit(url).port  # noqa: B018  (raises on a port that is no number)
        parsed: dict[str, Any] = dict(dj_database_url.parse(url, engine=ENGINE))
    except ValueError:
        # `from None`: the parser's own message quotes the piece it stumbled over, which may be the password.
        raise ImproperlyConfigured(
            f"{name} cannot be read; special characters in its user or password must be percent-encoded."
        ) from None
    if not parsed.get("NAME"):
        raise ImproperlyConfigured(f"{name} must name a database after the host.")
    if not set(parsed.get("OPTIONS", {})) <= URL_PARAMETERS:
        # Not by its name: of a password that is not percent-encoded a part may stand behind the question mark.
        raise ImproperlyConfigured(
            f"{name} has a parameter that libpq does not know (sslmode, application_name and so on are known); "
            "the pool is set by DB_POOL_* and the age of connections by CONN_MAX_AGE."
        )
    parsed["HOST"] = _host_as_written(url, str(parsed["HOST"]))
    for name in ("host", "port"):
        # libpq takes them as parameters too, but psql (dbshell) is told the settings' HOST and PORT only.
        if value := parsed.get("OPTIONS", {}).pop(name, ""):
            parsed[name.upper()] = value
    return parsed


def _host_as_written(url: str, host: str) -> str:
    """Return the host; the folder of a socket keeps its capitals, which URL parsers take from host names."""
    if not host.startswith("/"):
        return host
    return unquote(urlsplit(url).netloc.rpartition("@")[2].partition(":")[0])


def _connection_reuse(environment: Environment, mode: str) -> dict[str, Any]:
    if mode == "persistent":
        return {"CONN_MAX_AGE": environment.whole("CONN_MAX_AGE", 60), "CONN_HEALTH_CHECKS": True}
    if environment.whole("CONN_MAX_AGE", 0):
        raise ImproperlyConfigured(
            f"CONN_MAX_AGE works only with DB_POOL_MODE=persistent (it is {mode}); unset one of the two."
        )
    return {"CONN_MAX_AGE": 0, "CONN_HEALTH_CHECKS": mode == "pool"}


def _pool_sizes(environment: Environment) -> dict[str, Any]:
    """Return the arguments of `database.pool.Pool`; times are seconds."""
    minimum = environment.whole("DB_POOL_MIN_SIZE", 10)
    maximum = environment.whole("DB_POOL_MAX_SIZE", 50, minimum=1)
    if minimum > maximum:
        raise ImproperlyConfigured("DB_POOL_MIN_SIZE must not be larger than DB_POOL_MAX_SIZE.")
    return {
        "min_size": minimum,
        "max_size": maximum,
        "timeout": environment.seconds("DB_POOL_TIMEOUT", 30),
        "max_lifetime": environment.seconds("DB_POOL_MAX_LIFETIME", 3600),
        "max_idle": environment.seconds("DB_POOL_MAX_INACTIVE_LIFETIME", 300),
        "max_queries": environment.whole("DB_POOL_MAX_QUERIES", 50_000),
    }


def _redis_url(environment: Environment) -> str:
    url = environment.text("REDIS_URL")
    if url and url.partition("://")[0] not in REDIS_SCHEMES:
        raise ImproperlyConfigured("REDIS_URL must start with redis://, rediss:// or unix://.")
    return url
