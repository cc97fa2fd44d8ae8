"""PostgreSQL servers for tests: one shared by all test runs of this checkout, and throw-away ones."""

import fcntl
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import socket
from typing import Any

import psycopg
from psycopg import sql

from database.embedded import EmbeddedServer

DATABASE_PREFIX = "test_run_"
MEMORY = Path("/dev/shm")
ROOM = 2 * 1024**3  # bytes


class SharedTestServer:
    """The tests' own server. The first run starts it, the last one stops it; durability is off.

    Each run uses a database of its own, so two people may test in one checkout at the same time.
    """

    def __init__(self, local: Path) -> None:
        self.server = EmbeddedServer(local / "test-postgres", durable=False)
        self.database = f"{DATABASE_PREFIX}{os.getpid()}"
        local.mkdir(exist_ok=True)
        self._runs = os.open(local / "test-postgres.runs", os.O_RDWR | os.O_CREAT, 0o600)

    def start(self) -> EmbeddedServer:
        """Join the other runs; alone, drop the databases that killed runs left behind."""
        alone = self._try_alone()
        if not alone:
            fcntl.flock(self._runs, fcntl.LOCK_SH)
        self.server.start()
        if alone:
            self._drop_left_overs()
            fcntl.flock(self._runs, fcntl.LOCK_SH)
        return self.server

    def stop(self) -> None:
        """Leave; the last one stops the server."""
        if self._try_alone():
            self.server.stop()
        os.close(self._runs)

    def _try_alone(self) -> bool:
        try:
            fcntl.flock(self._runs, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _drop_left_overs(self) -> None:
        with psycopg.connect(**self.server.conninfo, autocommit=True) as connection:
            query = "SELECT datname FROM pg_database WHERE starts_with(datname, %s)"
            for (name,) in connection.execute(query, [DATABASE_PREFIX]).fetchall():
                connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(sql.Identifier(name)))


@contextmanager
def reachable_folder(*, in_memory: bool = False) -> Iterator[Path]:
    """Yield a temporary folder that the system user can enter when the tests run as root.

    `in_memory` is for data: where there is room for it, creating a server is several times quicker there.
    Programs may be forbidden to run from it.
    """
    parent = MEMORY if in_memory and _has_room(MEMORY) else None
    folder = Path(tempfile.mkdtemp(prefix="scheduler-", dir=parent)).resolve()
    if os.geteuid() == 0:
        folder.chmod(0o755)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def wait_until(condition: Callable[[], object], *, timeout: float = 10.0, pause: float = 0.01) -> None:
    """Return as soon as `condition` is true; raise TimeoutError when it is not within `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"It did not come true within {timeout:g} s.")
        time.sleep(pause)


def _has_room(folder: Path) -> bool:
    return os.access(folder, os.W_OK) and shutil.disk_usage(folder).free > ROOM


@contextmanager
def throw_away_server(template: Path, **options: Any) -> Iterator[EmbeddedServer]:
    """Yield a running server that the test may stop, kill and start again; all of it is deleted after.

    `options` are those of EmbeddedServer. Its data is a copy of `template`, the directory of a stopped server,
    because copying is much quicker than creating.
    """
    with reachable_folder(in_memory=True) as folder:
        # Unlike shutil, cp keeps the owner, and PostgreSQL starts for nobody else.
        subprocess.run(["cp", "-a", str(template.resolve()), str(folder / "postgres")], check=True)
        server = EmbeddedServer(folder / "postgres", durable=False, **options)
        try:
            yield server.start()
        finally:
            server.remove()


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nobody listens at this moment."""
    with socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextmanager
def template_data() -> Iterator[Path]:
    """Yield the data directory of a new, stopped server."""
    with reachable_folder(in_memory=True) as folder:
        server = EmbeddedServer(folder / "postgres", durable=False)
        server.start().stop()
        yield server.data_dir
        server.remove()
