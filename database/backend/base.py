"""PostgreSQL as Django knows it, except that the first connection starts the embedded server."""

from functools import cache
from typing import Any

from django.db.backends.postgresql import base
from django.db.backends.postgresql.client import DatabaseClient

from database.embedded import EmbeddedServer
from database.embedded_home import wheel_binaries


@cache
def embedded_server(data_dir: str) -> EmbeddedServer:
    """Return this process's handle of the server in `data_dir`; nothing is started."""
    return EmbeddedServer(data_dir)


class EmbeddedClient(DatabaseClient):
    """`manage.py dbshell` with the psql that came with the server: a bare machine has no other."""

    def runshell(self, parameters: Any) -> None:
        self.connection.get_connection_params()
        self.executable_name = str(wheel_binaries() / "psql")
        super().runshell(parameters)


class DatabaseWrapper(base.DatabaseWrapper):
    client_class = EmbeddedClient

    def get_connection_params(self) -> dict[str, Any]:
        server = embedded_server(self.settings_dict["EMBEDDED_DATA_DIR"])
        server.ensure_running()
        # The folder of the socket is known only now; dbshell and the figures read it from here.
        self.settings_dict["HOST"] = str(server.socket_dir)
        return super().get_connection_params()

    def get_new_connection(self, conn_params: dict[str, Any]) -> Any:
        # A pool fixed its parameters long ago; this is the moment to notice that the server was stopped.
        embedded_server(self.settings_dict["EMBEDDED_DATA_DIR"]).ensure_running()
        return super().get_new_connection(conn_params)
