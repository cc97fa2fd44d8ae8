"""From the environment to `DATABASES`: the only place that reads a database variable."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import dj_database_url
from django.core.exceptions import ImproperlyConfigured

from database.environment import Environment

EMBEDDED = "embedded"
EMBEDDED_ENGINE = "database.backend"
EMBEDDED_NAME = "ai_scheduler"
POSTGRESQL_ENGINE = "django.db.backends.postgresql"
POSTGRESQL_SCHEMES = ("postgres", "postgresql")

POOL_MODES = ("pool", "persistent", "pgbouncer")

# Run by a person who is watching, with long statements on few connections. A limit meant for requests would
# break off an index build or a COPY half-way, and a pool would answer "no connection after 30 s" where the
# person needs to read what is wrong.
ONE_OFF_COMMANDS = frozenset(
    {"migrate", "dbshell", "migrate_from_sqlite", "verify_import", "export_to_sqlite", "test", "demo"}
)


@dataclass(frozen=True)
class Configuration:
    """The database settings of one process, and where the URL came from."""

    databases: dict[str, dict[str, Any]]
    url_source: str
    pool_mode: str


def configure(environment: Environment, base_dir: Path, argv: Sequence[str], *, debug: bool) -> Configuration:
    """Build `DATABASES` for the process started as `argv`.

    Raises ImproperlyConfigured, one sentence that names the variable and never quotes a URL.
    """
    mode = environment.choice("DB_POOL_MODE", POOL_MODES)
    database = _address(environment, base_dir, debug=debug)
    options: dict[str, Any] = database.setdefault("OPTIONS", {})
    database.update(_connection_reuse(environment, mode))
    timeout = environment.seconds("DB_COMMAND_TIMEOUT", 10, zero_allowed=True)
    one_off = len(argv) > 1 and argv[1] in ONE_OFF_COMMANDS
    if mode == "pgbouncer":
        # In transaction pooling two statements may meet two servers: no cursor and no prepared statement
        # lives on, and PgBouncer refuses a startup `options` parameter.
        database["DISABLE_SERVER_SIDE_CURSORS"] = True
        options["prepare_threshold"] = None
    elif timeout and not one_off:
        options["options"] = _with_statement_timeout(str(options.get("options", "")), timeout)
    sizes = _pool_sizes(environment)
    if mode == "pool" and not one_off:
        options["pool"] = sizes
    source = environment.source("DATABASE_URL") if environment.text("DATABASE_URL") else None
    return Configuration({"default": database}, source or EMBEDDED, mode)


def _address(environment: Environment, base_dir: Path, *, debug: bool) -> dict[str, Any]:
    url = environment.text("DATABASE_URL")
    if url:
        return _parsed(url)
    if not debug:
        raise ImproperlyConfigured(
            "DATABASE_URL is not set; it is required when DEBUG is off "
            "(the embedded PostgreSQL is for development only)."
        )
    return {
        "ENGINE": EMBEDDED_ENGINE,
        "NAME": EMBEDDED_NAME,
        "USER": "postgres",
        "EMBEDDED_DATA_DIR": str(base_dir / ".local" / "postgres"),
    }


def _parsed(url: str) -> dict[str, Any]:
    scheme = url.partition(":")[0].lower()
    if scheme.startswith("sqlite"):
        raise ImproperlyConfigured(
            "DATABASE_URL names a SQLite file, but this system runs on PostgreSQL only: "
            "set a postgresql:// URL and bring the file in with `manage.py migrate_from_sqlite <file>`."
        )
    if scheme not in POSTGRESQL_SCHEMES:
        raise ImproperlyConfigured("DATABASE_URL must start with postgresql://.")
    try:
        urlsplit(url).port  # noqa: B018  (raises on a port that is no number)
        parsed = dict(dj_database_url.parse(url, engine=POSTGRESQL_ENGINE))
    except ValueError:
        # `from None`: the parser's own message quotes the piece it stumbled over, which may be the password.
        raise ImproperlyConfigured(
            "DATABASE_URL cannot be read; special characters in its user or password must be percent-encoded."
        ) from None
    if not parsed.get("NAME"):
        raise ImproperlyConfigured("DATABASE_URL must name a database after the host.")
    parsed["HOST"] = _host_as_written(url, str(parsed["HOST"]))
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
    """Return the arguments of `psycopg_pool.ConnectionPool`."""
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
    }


def _with_statement_timeout(options: str, seconds: float) -> str:
    return f"{options} -c statement_timeout={round(seconds * 1000)}".strip()
