"""A primary and a standby that follows it by streaming, both throw-away servers."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psycopg

from database import embedded_home
from database.embedded import PROGRAM, SUPERUSER, Command, EmbeddedServer
from database.embedded_home import Home
from database.processes import working_in
from database.testing import reachable_folder

# In place of the embedded server's own, which keeps no log for a standby. The command line's last word counts.
REPLICATING = {"wal_level": "replica", "max_wal_senders": "5", "wal_retrieve_retry_interval": "200ms"}


class ReplicatingServer(EmbeddedServer):
    def _server_command(self, home: Home, socket_dir: Path) -> Command:
        options = [part for name, value in REPLICATING.items() for part in ("-c", f"{name}={value}")]
        return [*super()._server_command(home, socket_dir), *options]

    def answer(self, query: str) -> Any:
        """Run one statement; return the first value, if there is one."""
        with psycopg.connect(**self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(query)
            return cursor.fetchall()[0][0] if cursor.description else None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        """Let it hang: the kernel accepts connections and data, but nobody answers."""
        pids = working_in(self.data_dir.resolve(), PROGRAM)
        _signal(pids, signal.SIGSTOP)
        try:
            yield
        finally:
            _signal(pids, signal.SIGCONT)


def _signal(pids: list[int], number: signal.Signals) -> None:
    # A backend whose client has just left may end in between.
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, number)


@contextmanager
def replicated(template: Path) -> Iterator[tuple[ReplicatingServer, ReplicatingServer]]:
    """Yield a running primary, from a copy of `template`, and its running standby."""
    with reachable_folder(in_memory=True) as folder:
        subprocess.run(["cp", "-a", str(template.resolve()), str(folder / "primary")], check=True)
        primary = ReplicatingServer(folder / "primary", durable=False)
        standby = ReplicatingServer(folder / "standby", durable=False)
        try:
            primary.start()
            _copy(primary, standby)
            standby.start()
            yield primary, standby
        finally:
            standby.remove()
            primary.remove()


def _copy(primary: EmbeddedServer, standby: EmbeddedServer) -> None:
    home = embedded_home.prepare(standby.data_dir)
    home.data.mkdir()
    home.own(home.data)
    source: Command = ["-h", primary.socket_dir, "-U", SUPERUSER]
    how: Command = [
        "-D",
        home.data,
        "--write-recovery-conf",
        "--wal-method=stream",
        "--checkpoint=fast",
        "--no-sync",
    ]
    done = home.run([home.binaries / "pg_basebackup", *source, *how], stderr=subprocess.PIPE)
    assert done.returncode == 0, done.stderr
