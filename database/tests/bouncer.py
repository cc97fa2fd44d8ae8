"""Debian's PgBouncer before a server of the tests, in transaction mode."""

import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

import psycopg
import pytest

from database import embedded_home
from database.embedded import EmbeddedServer
from database.testing import wait_until

PORT = 6432  # only the name of the socket's file: nothing listens on TCP
SERVER_CONNECTIONS = 5

CONFIGURATION = """
[databases]
* = host={server} user=postgres

[pgbouncer]
listen_addr =
listen_port = {port}
unix_socket_dir = {folder}
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
server_idle_timeout = 5
logfile = {folder}/pgbouncer.log
admin_users = postgres
"""


def pgbouncer_program() -> str:
    """Return the path of pgbouncer; skip the test without it, or fail it where services are required."""
    program = shutil.which("pgbouncer", path=os.environ.get("PATH", "") + ":/usr/sbin")
    if program is None:
        if os.environ.get("REQUIRE_SERVICES") == "1":
            pytest.fail("pgbouncer is missing: apt-get install pgbouncer")
        pytest.skip("pgbouncer is not installed")
    return program


@contextmanager
def pgbouncer(server: EmbeddedServer) -> Iterator[str]:
    """Yield the URL of `server`'s database through a PgBouncer with few connections to the server."""
    program = pgbouncer_program()
    home = embedded_home.prepare(server.data_dir)
    # Below /tmp and not beside the data: the path of a socket is limited to about 100 characters.
    folder = Path(tempfile.mkdtemp(prefix="bouncer-"))
    home.own(folder)
    file = folder / "pgbouncer.ini"
    file.write_text(
        CONFIGURATION.format(server=server.socket_dir, port=PORT, folder=folder, size=SERVER_CONNECTIONS)
    )
    file.chmod(0o644)
    process = subprocess.Popen(
        [program, "--quiet", str(file)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        cwd="/",
        **embedded_home.identity(home.user),
    )
    url = f"postgresql://postgres@/{server.database}?host={quote(str(folder), safe='')}&port={PORT}"
    try:
        wait_until(lambda: accepts(url), timeout=10)
        yield url
    finally:
        process.terminate()
        process.wait(10)
        shutil.rmtree(folder, ignore_errors=True)


def accepts(url: str) -> bool:
    try:
        psycopg.connect(url).close()
    except psycopg.OperationalError:
        return False
    return True
