"""What psycopg and psycopg_pool raise, said in one sentence and without a secret or a row's value.

`translated()` is used at both borders: by the Django backend and by the async service.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import django.db
import psycopg
import psycopg_pool
from django.db import DatabaseError, InterfaceError

from database.errors import (
    EncryptionRefused,
    PoolExhausted,
    PoolNotOpen,
    SignInRefused,
    StatementTimeout,
    TooManyConnections,
    UnknownDatabase,
    Unreachable,
)

CONNECTING = ("connection failed:", "connection is bad:", "failed to resolve host", "connection timeout")
# The class of SQLSTATEs for values that do not fit; their messages quote the value.
DATA_EXCEPTION = "22"
QUERY_CANCELED = "57014"
STATEMENT_TIMEOUT = "statement timeout"

DJANGO_ERRORS = (
    "DataError",
    "OperationalError",
    "IntegrityError",
    "InternalError",
    "ProgrammingError",
    "NotSupportedError",
    "DatabaseError",
    "InterfaceError",
    "Error",
)

NO_ENTRY = re.compile("no pg_hba.conf entry")
SIGN_IN = re.compile(
    r"authentication failed|no password supplied|pg_hba\.conf|role .+ (does not exist|is not permitted)"
    r"|no such user|authentication method|auth failed"
)
UNKNOWN_DATABASE = re.compile(r"database .+ does not exist|no such database")
FULL = re.compile(r"too many clients|too many connections|connection slots|no more connections allowed")
NOT_POSTGRESQL = re.compile(r"invalid response to SSL negotiation|expected authentication request")
ENCRYPTION = re.compile(r"\bSSL\b|\bTLS\b|certificate|sslmode|sslnegotiation|private key")
# The server answers, and would refuse the same setting every time; PgBouncer has words of its own.
SETTING = re.compile(
    r"(unrecognized configuration parameter|invalid value for parameter|[^:]* outside the valid range for parameter"
    r"|permission denied to set parameter|unsupported startup parameter)[^\n\"]*(\"[^\"\n]*\"|: *\w+)?"
)

NOBODY_ANSWERS = (
    (re.compile("refused"), "the connection was refused"),
    (re.compile("resolve host|translate host name"), "the host name is unknown"),
    (re.compile("timeout|timed out"), "no answer in time"),
    (re.compile("No such file"), "there is no such socket"),
    (re.compile("starting up|not yet accepting|recovery"), "the server is starting"),
    (re.compile("shutting down|administrator command|crash"), "the server is stopping"),
    (re.compile("unreachable|No route"), "there is no way to it through the network"),
    (NOT_POSTGRESQL, "what answers is no PostgreSQL"),
    (re.compile("closed the connection"), "the server closed the connection"),
)


@dataclass(frozen=True)
class Address:
    """Where a connection goes, as far as a person may read it: never the password."""

    host: str = ""
    port: str = ""
    database: str = ""
    user: str = ""
    sslmode: str = ""

    @classmethod
    def of(cls, parameters: Mapping[str, Any]) -> Address:
        """Take the address out of the arguments of `psycopg.connect`."""
        names = {"host": "host", "port": "port", "database": "dbname", "user": "user", "sslmode": "sslmode"}
        return cls(**{field: str(parameters.get(name) or "") for field, name in names.items()})

    def __str__(self) -> str:
        if self.host.startswith("/"):
            return f"the socket in {self.host}"
        # As libpq would fill it in; PGHOST is nobody's concern here, because the URL is the only source.
        return f"{self.host or 'the local socket'}:{self.port or 5432}"


def translated(error: BaseException, *, where: Address) -> BaseException:
    """Return the error to raise instead of `error`, one of `database.errors` or Django's class for it.

    `raise translated(error, where=...) from error`: the psycopg error stays as the cause, with its `diag`; its own
    text is cut to the primary message and its copy of the password dropped, because tracebacks and error pages
    show causes as well. Anything that is not psycopg's comes back unchanged.
    """
    if not isinstance(error, psycopg.Error):
        return error
    without_values(error)
    text = str(error)
    if isinstance(error, psycopg_pool.PoolTimeout | psycopg_pool.TooManyRequests):
        return PoolExhausted(f"No connection to {where} became free within DB_POOL_TIMEOUT: {text}.")
    if isinstance(error, psycopg_pool.PoolClosed):
        return PoolNotOpen(f"The pool of connections to {where} is not open: {text}.")
    if text.startswith(CONNECTING) and error.sqlstate is None:
        return _connecting(text, where)
    if is_statement_timeout(error):
        return StatementTimeout(
            "The server broke off a statement that ran for longer than DB_COMMAND_TIMEOUT."
        )
    return _counterpart(error)(text)


def is_statement_timeout(error: BaseException) -> bool:
    """Tell a statement over `statement_timeout` from one that a person or `cancel()` broke off."""
    # One SQLSTATE serves both, so the text decides.
    return (
        isinstance(error, psycopg.Error)
        and error.sqlstate == QUERY_CANCELED
        and STATEMENT_TIMEOUT in str(error)
    )


def without_values(error: psycopg.Error) -> psycopg.Error:
    """Cut the text of `error` to what holds no value: no DETAIL, no CONTEXT, no line of the statement; return it."""
    error.args = (_primary(error),)
    # A failed connection attempt keeps all its parameters, and they are shown by every repr.
    error._pgconn = None
    return error


def _primary(error: psycopg.Error) -> str:
    primary = error.diag.message_primary
    if primary is None:
        text = str(error).strip()
        # The reason why nobody could be reached stands behind the first line when several hosts were tried.
        return text if text.startswith(CONNECTING) else text.partition("\n")[0]
    if (error.sqlstate or "").startswith(DATA_EXCEPTION):
        # From the first quote to the last, as the value may hold quotes itself.
        return re.sub(r'".*"', '"…"', primary, flags=re.DOTALL)
    return primary


def _counterpart(error: psycopg.Error) -> type[DatabaseError] | type[InterfaceError]:
    for name in DJANGO_ERRORS:
        if isinstance(error, getattr(psycopg, name)):
            found: type[DatabaseError] = getattr(django.db, name)
            return found
    return DatabaseError


def _connecting(text: str, where: Address) -> DatabaseError:
    if FULL.search(text):
        return TooManyConnections(
            f"PostgreSQL at {where} takes no more connections "
            "(max_connections, or a limit of the user or the database)."
        )
    if UNKNOWN_DATABASE.search(text):
        return UnknownDatabase(f'PostgreSQL at {where} has no database "{where.database}".')
    if _about_encryption(text, where):
        return EncryptionRefused(
            f"PostgreSQL at {where} does not fit sslmode={where.sslmode or 'prefer'}: {_encryption(text)}."
        )
    if SIGN_IN.search(text):
        return SignInRefused(f'PostgreSQL at {where} refuses user "{where.user}": {_sign_in(text)}.')
    if setting := SETTING.search(text):
        return django.db.OperationalError(
            f"PostgreSQL at {where} refuses a setting that the URL asks for: {setting[0].strip()}."
        )
    reason = next(
        (reason for pattern, reason in NOBODY_ANSWERS if pattern.search(text)), "the connection failed"
    )
    return Unreachable(f"No PostgreSQL answers at {where}: {reason}.")


def _about_encryption(text: str, where: Address) -> bool:
    if NO_ENTRY.search(text):
        # The server's rules may ask for encryption; where we offered it, the rule is about something else.
        return where.sslmode in ("disable", "allow") and "no encryption" in text
    return bool(ENCRYPTION.search(text)) and not (SIGN_IN.search(text) or NOT_POSTGRESQL.search(text))


def _encryption(text: str) -> str:
    if NO_ENTRY.search(text):
        return "the server lets nobody in without encryption"
    if "does not support SSL" in text:
        return "the server offers no encryption"
    if "invalid sslmode" in text:
        return "there is no such mode"
    return "its certificate cannot be verified" if "certificate" in text else "encryption failed"


def _sign_in(text: str) -> str:
    if NO_ENTRY.search(text):
        return "pg_hba.conf has no entry for this user, database and machine"
    if re.search("role .+ does not exist|no such user", text):
        return "there is no such user"
    if "not permitted" in text:
        return "this user may not log in"
    return "no password in the URL" if "no password supplied" in text else "wrong password"
