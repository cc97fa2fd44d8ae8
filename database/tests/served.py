"""Django's connection to a server of the test's own, and a proxy that cuts it in the middle of COMMIT."""

import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, Literal

from django.db import connections
from prometheus_client import REGISTRY

ENGINE = "database.backend"
COMMIT = b"Q" + struct.pack("!i", 4 + len(b"COMMIT\0")) + b"COMMIT\0"
Cut = Literal["before it arrives", "after it arrived"]


@contextmanager
def served(alias: str, host: Path | str, **settings: Any) -> Iterator[str]:
    """Make `alias` a database of Django: the server whose socket is in `host`."""
    entry = {"ENGINE": ENGINE, "NAME": "ai_scheduler", "USER": "postgres", "HOST": str(host), **settings}
    configured = connections.configure_settings({"default": {}, alias: entry})
    connections.settings[alias] = configured[alias]
    try:
        yield alias
    finally:
        wrapper: Any = connections[alias]
        wrapper.close()
        wrapper.close_pool()
        del connections[alias]
        del connections.settings[alias]


def run(alias: str, query: str, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connections[alias].cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []


def counted(name: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(f"{name}_total", labels) or 0.0


class CuttingProxy:
    """Between one client at a time and the server; `cut` decides over the next COMMIT only."""

    def __init__(self, folder: Path, server: Path) -> None:
        self.cut: Cut | None = None
        self.commits = 0
        self._server = str(server / ".s.PGSQL.5432")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(folder / ".s.PGSQL.5432"))
        self._listener.listen()
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def close(self) -> None:
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for thread in self._threads:
            thread.join(10)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                answered = threading.Event()
                for work in (self._requests, self._answers):
                    thread = threading.Thread(target=work, args=(client, server, answered), daemon=True)
                    self._threads.append(thread)
                    thread.start()

    def _requests(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with suppress(OSError), server:
            while data := client.recv(65536):
                if data.endswith(COMMIT):
                    self.commits += 1
                    if self.cut == "before it arrives":
                        self.cut = None
                        client.shutdown(socket.SHUT_RDWR)
                        break
                    if self.cut:
                        committing.set()
                server.sendall(data)
            server.shutdown(socket.SHUT_RDWR)

    def _answers(self, client: socket.socket, server: socket.socket, committing: threading.Event) -> None:
        with suppress(OSError), client:
            while data := server.recv(65536):
                if committing.is_set():
                    # The server has answered, so the transaction is there; the client never learns it.
                    self.cut = None
                    break
                client.sendall(data)
            client.shutdown(socket.SHUT_RDWR)
