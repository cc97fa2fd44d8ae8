"""PostgreSQL as Django knows it, with our pool, our errors, and the embedded server where no URL is set."""

from functools import cache, cached_property
from threading import Lock
from types import TracebackType
from typing import Any
from weakref import WeakSet

import psycopg
from django.core.exceptions import ImproperlyConfigured
from django.db import DataError, IntegrityError
from django.db.backends.base.base import NO_DB_ALIAS
from django.db.backends.postgresql import base
from django.db.backends.postgresql.client import DatabaseClient
from django.db.utils import DatabaseErrorWrapper

from database import fork
from database.backend.cursors import Cursor, ServerBindingCursor
from database.backend.outcome import WatchedCommit
from database.backend.schema import SchemaEditor
from database.embedded import EmbeddedServer
from database.embedded_home import wheel_binaries
from database.errors import StatementTimeout
from database.metrics import COMMAND_TIMEOUTS
from database.pool import Pool, PooledConnection
from database.sentences import Address, translated


@cache
def embedded_server(data_dir: str) -> EmbeddedServer:
    """Return this process's handle of the server in `data_dir`; nothing is started."""
    return EmbeddedServer(data_dir)


class Client(DatabaseClient):
    """`manage.py dbshell`, for the embedded server with its own psql: a bare machine has no other."""

    def runshell(self, parameters: Any) -> None:
        if "EMBEDDED_DATA_DIR" in self.connection.settings_dict:
            self.connection.get_connection_params()
            self.executable_name = str(wheel_binaries() / "psql")
        super().runshell(parameters)


class ErrorBorder(DatabaseErrorWrapper):
    """Raise what the rest of the program may see instead of psycopg's errors, which stay as the cause."""

    wrapper: "DatabaseWrapper"

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if not isinstance(exc_value, psycopg.Error):
            return
        error = translated(exc_value, where=self.wrapper.address)
        if not isinstance(error, DataError | IntegrityError):
            # Django looks at the connection before it uses it again.
            self.wrapper.errors_occurred = True
        if isinstance(error, StatementTimeout):
            COMMAND_TIMEOUTS.labels(self.wrapper.alias).inc()
        # Who reads from the replica has to know which of the two servers it was.
        error.raised_by = self.wrapper.alias  # type: ignore[attr-defined]
        raise error.with_traceback(traceback) from exc_value


class DatabaseWrapper(WatchedCommit, base.DatabaseWrapper):
    client_class = Client
    SchemaEditorClass = SchemaEditor
    # Django keeps its pools in a dictionary of its own class, which other backends share.
    _connection_pools: dict[str, Pool] = {}
    _making_pool = Lock()
    _all: WeakSet["DatabaseWrapper"] = WeakSet()

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        DatabaseWrapper._all.add(self)

    @property
    def address(self) -> Address:
        configured = self.settings_dict
        keys = {"host": "HOST", "port": "PORT", "dbname": "NAME", "user": "USER"}
        named = {name: configured[key] for name, key in keys.items() if configured[key]}
        return Address.of({**configured["OPTIONS"], **named})

    @cached_property
    def wrap_database_errors(self) -> ErrorBorder:
        return ErrorBorder(self)

    @property
    def pool(self) -> Pool | None:
        options = self.settings_dict["OPTIONS"].get("pool")
        if self.alias == NO_DB_ALIAS or not options:
            return None
        found = self._connection_pools.get(self.alias)
        if found is None or not self._is_ours(found):
            with DatabaseWrapper._making_pool:
                # Another thread may have made it meanwhile, and be using it.
                found = self._connection_pools.get(self.alias)
                if found is None or not self._is_ours(found):
                    self.close_pool()
                    found = self._connection_pools[self.alias] = self._new_pool(options)
        return found

    def close_pool(self) -> None:
        if found := self._connection_pools.pop(self.alias, None):
            found.close()

    def get_connection_params(self) -> dict[str, Any]:
        if server := self._embedded():
            server.ensure_running()
            # The folder of the socket is known only now; dbshell and the figures read it from here.
            self.settings_dict["HOST"] = str(server.socket_dir)
        parameters: dict[str, Any] = super().get_connection_params()
        binding = issubclass(parameters["cursor_factory"], base.ServerBindingCursor)
        parameters["cursor_factory"] = ServerBindingCursor if binding else Cursor
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        if server := self._embedded():
            # A pool fixed its parameters long ago; this is the moment to notice that the server was stopped.
            server.ensure_running()
        return super().get_new_connection(conn_params)

    def _set_autocommit(self, autocommit: bool) -> None:
        # Each request takes a connection that is as it should be; psycopg would lock it to find that out.
        if self.connection.autocommit != autocommit:
            super()._set_autocommit(autocommit)

    def create_cursor(self, name: str | None = None) -> Any:
        if name and isinstance(self.connection, PooledConnection):
            self.connection.queries += 1
        return super().create_cursor(name)

    def forget(self) -> None:
        """Drop the parent's connection in its child, with the transaction that it may be in."""
        if self.connection is not None:
            fork.keep(self.connection)
            self.connection._pool = None  # silences the warning of a connection left open
        self.connection = None
        self.in_atomic_block = self.needs_rollback = self.closed_in_transaction = False
        self.savepoint_ids, self.atomic_blocks = [], []
        # They belong to the parent's transaction and run there.
        self.run_on_commit = []

    def _is_ours(self, pool: Pool) -> bool:
        # Tests change the name of the database, maybe after something connected to the other one.
        return pool.address.database == self.settings_dict["NAME"]

    def _new_pool(self, sizes: dict[str, Any]) -> Pool:
        if self.settings_dict["CONN_MAX_AGE"] != 0:
            raise ImproperlyConfigured("A pool keeps the connections, so CONN_MAX_AGE must be 0.")
        # Django sets autocommit itself later on.
        parameters = {**self.get_connection_params(), "autocommit": True}
        # A wrapper of its own, which never connects: the pool would keep this one, and the connection of its
        # thread, alive for ever.
        configure = self.copy()._configure_connection
        return Pool(self.alias, parameters, configure=configure, **sizes)

    def _embedded(self) -> EmbeddedServer | None:
        data_dir = self.settings_dict.get("EMBEDDED_DATA_DIR")
        return embedded_server(data_dir) if data_dir else None


def pool_stats(alias: str = "default") -> dict[str, Any]:
    """Return the figures of the pool of `alias` in this process, none when there is no pool; see Pool.stats."""
    found = DatabaseWrapper._connection_pools.get(alias)
    return found.stats() if found else {}


def _forget_all() -> None:
    DatabaseWrapper._connection_pools.clear()
    DatabaseWrapper._making_pool = Lock()  # a thread that stayed in the parent may hold the other one
    for wrapper in list(DatabaseWrapper._all):
        wrapper.forget()


fork.in_child(_forget_all)
