"""A real server process for tests that come from outside, as clients and browsers do."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http.client import HTTPConnection
from pathlib import Path
from tempfile import TemporaryFile

from django.conf import settings

from database.testing import wait_until


@contextmanager
def served(url: str, metrics: Path, **variables: str) -> Iterator[str]:
    """Serve the whole project by granian from the database of `url`; yields the address.

    Keywords in capitals are environment variables.
    """
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [str(Path(sys.executable).parent / "granian"), "--interface", "wsgi", "--no-ws", "--workers", "1",
               "--blocking-threads", "4", "--host", "127.0.0.1", "--port", str(port),
               "scheduler.wsgi:application"]  # fmt: skip
    environment = {**os.environ, **variables, "DATABASE_URL": url, "PROMETHEUS_MULTIPROC_DIR": str(metrics)}
    with TemporaryFile() as log:
        process = subprocess.Popen(command, cwd=settings.BASE_DIR, env=environment, stdout=log, stderr=log)
        try:
            with suppress(TimeoutError):
                wait_until(lambda: is_ready(port) or process.poll() is not None, timeout=180, pause=0.1)
            if not is_ready(port):
                log.seek(0)
                raise RuntimeError(f"The server does not answer; it wrote: {log.read()[-2000:].decode()}")
            yield f"http://127.0.0.1:{port}"
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()
            process.wait(10)


def is_ready(port: int) -> bool:
    connection = HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        connection.request("GET", "/health")
        return connection.getresponse().status == 200
    except OSError:
        return False
    finally:
        connection.close()
