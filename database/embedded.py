"""A real PostgreSQL from a wheel, for development and tests.

`start(data_dir, durable=...)` returns an EmbeddedServer that accepts connections. All processes of the
machine that name the same directory share one server; it outlives the process that started it.
"""

import fcntl
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from socket import AF_UNIX, socket
from typing import Any, Literal
from urllib.parse import quote

from database import embedded_home
from database.embedded_home import EmbeddedServerError, Home
from database.processes import Watch, alive, working_in

__all__ = ["EmbeddedServer", "EmbeddedServerError", "start"]

Command = list[str | Path]

START_TIMEOUT = 60.0  # seconds; crash recovery of a large development database fits in it
POLL_INTERVAL = 0.02
STOP_SIGNALS = {"fast": signal.SIGINT, "immediate": signal.SIGQUIT, "kill": signal.SIGKILL}
SUPERUSER = "postgres"
PROGRAM = "postgres"
PORT = 5432  # only the name of the socket has it, unless the server listens on TCP

SERVER_SETTINGS = {
    # Nobody but the owner of the socket's folder can connect, which is why no password is needed.
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "max_connections": "200",
    "shared_buffers": "128MB",
    "max_wal_size": "2GB",
    # No standby ever reads this server's log, so bulk loads into new tables may skip it.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "timezone": "UTC",
    "log_timezone": "UTC",
    # A failing statement and its DETAIL line carry names and phone numbers.
    "log_min_error_statement": "panic",
    "log_error_verbosity": "terse",
}
INITDB_OPTIONS = (
    "--auth=trust",
    "--encoding=UTF8",
    "--locale=C",
    # The same sort order on every operating system.
    "--locale-provider=builtin",
    "--builtin-locale=C.UTF-8",
    "--no-instructions",
)
# Does not survive a power cut, but any kill. With synchronous_commit off as well, a killed server would
# forget transactions that it had confirmed, and tests that kill it could not tell this from a fault of ours.
# Everybody on the machine can reach a TCP port, so there a password is asked for.
TCP_RULES = "local all all trust\nhost all all 127.0.0.1/32 scram-sha-256\n"
NOT_DURABLE = {"fsync": "off", "full_page_writes": "off"}


class EmbeddedServer:
    """One server per data directory. Methods may be called from any thread and any process.

    `durable` is used by the process that starts the server, `database` by the one that creates the data. With
    `tcp_port` the server listens on 127.0.0.1 too, as `tcp_rules` (pg_hba.conf) allow: for tests and benchmarks.
    """

    def __init__(
        self,
        data_dir: Path | str,
        *,
        durable: bool = True,
        database: str = "ai_scheduler",
        tcp_port: int | None = None,
        tcp_rules: str = TCP_RULES,
    ) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.durable = durable
        self.database = database
        self.tcp_port = tcp_port
        self.tcp_rules = tcp_rules
        self._watch: Watch | None = None
        self._data = embedded_home.locate(self.data_dir)

    def start(self) -> "EmbeddedServer":
        """Make sure that the server accepts connections; create the data if there is none.

        Blocks up to START_TIMEOUT seconds. Raises EmbeddedServerError (an OperationalError).
        """
        with self._locked() as lock:
            home = embedded_home.prepare(self.data_dir)
            self._data = home.data
            if not self._settled():
                if not (home.data / "PG_VERSION").exists():
                    self._initialise(home, lock)
                self._launch(home)
            self._watch = Watch(self.pid or 0)
        return self

    def ensure_running(self) -> None:
        """Start the server unless this process has seen it running and it still is (some microseconds)."""
        if self._watch is None or not self._watch.alive():
            self.start()

    def stop(self, mode: Literal["fast", "immediate", "kill"] = "fast") -> bool:
        """Stop the server and wait until its last process is gone; return False when none was running.

        "fast" breaks off the transactions, "immediate" does not even write a checkpoint, as in a crash, and
        "kill" leaves the sockets and pid files of a dead server behind.
        """
        if not self.data_dir.parent.is_dir():
            return False
        with self._locked():
            self._data = embedded_home.locate(self.data_dir)
            pid = self.pid
            if pid is None or pid not in working_in(self._data, PROGRAM):
                return False
            os.kill(pid, STOP_SIGNALS[mode])
            self._wait_for_the_end(pid)
            return True

    def remove(self) -> None:
        """Stop the server and delete its data, also where the data directory is only a link."""
        self.stop("immediate")
        real = embedded_home.locate(self.data_dir)
        shutil.rmtree(real, ignore_errors=True)
        if self.data_dir.is_symlink():
            self.data_dir.unlink()
            shutil.rmtree(real.parent, ignore_errors=True)

    def is_running(self) -> bool:
        """Say whether the server accepts connections now."""
        self._data = embedded_home.locate(self.data_dir)
        return self._accepts()

    @property
    def pid(self) -> int | None:
        """The postmaster's process id by `postmaster.pid`, which a killed server leaves behind."""
        lines = self._pid_file()
        return int(lines[0]) if lines and lines[0].isdigit() else None

    @property
    def socket_dir(self) -> Path:
        lines = self._pid_file()
        if len(lines) > 4 and lines[4]:
            return Path(lines[4])
        return Home(self._data, Path(), None).socket_dir()

    @property
    def log_path(self) -> Path:
        return self._data / "server.log"

    @property
    def conninfo(self) -> dict[str, Any]:
        """Arguments of `psycopg.connect`."""
        address = {"host": str(self.socket_dir), "user": SUPERUSER, "dbname": self.database}
        return {**address, "port": self.tcp_port} if self.tcp_port else address

    @property
    def url(self) -> str:
        """A DATABASE_URL. The folder is a parameter because parsers turn the host part to lower case."""
        folder = quote(str(self.socket_dir), safe="")
        port = f"&port={self.tcp_port}" if self.tcp_port else ""
        return f"postgresql://{SUPERUSER}@/{self.database}?host={folder}{port}"

    @property
    def _lock_path(self) -> Path:
        return self.data_dir.with_name(self.data_dir.name + ".lock")

    @contextmanager
    def _locked(self) -> Iterator[int]:
        """Let one thread of one process at a time start or stop this server; yield the lock's descriptor."""
        try:
            self._lock_path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(self._lock_path, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                yield descriptor
            finally:
                os.close(descriptor)
        except OSError as error:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL cannot use {self.data_dir}: {error.strerror or error}."
            ) from error

    def _initialise(self, home: Home, lock: int) -> None:
        """Create the data beside its place and move it there: a killed process leaves no half of it."""
        # Rests of a killed attempt; nobody is writing them, see pass_fds below.
        for rest in home.data.parent.glob(home.data.name + ".new-*"):
            shutil.rmtree(rest, ignore_errors=True)
        new = Path(tempfile.mkdtemp(prefix=home.data.name + ".new-", dir=home.data.parent))
        home.own(new)
        initdb: Command = [home.binaries / "initdb", "-D", new, "-U", SUPERUSER, *INITDB_OPTIONS]
        self._run_to_the_end(home, initdb if self.durable else [*initdb, "--no-sync"], lock)
        single: Command = [home.binaries / PROGRAM, "--single", "-D", new, "postgres"]
        self._run_to_the_end(home, single, lock, input=f'CREATE DATABASE "{self.database}"\n')
        # Only an empty folder may be in the way; anything else is not ours to overwrite.
        new.replace(home.data)

    def _run_to_the_end(self, home: Home, command: Command, lock: int, input: str = "") -> None:
        # The lock goes with the child: when we are killed, the next process waits until the child is done.
        done = home.run(
            command,
            input=input,
            pass_fds=[lock],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        if done.returncode:
            last = (done.stdout.strip().splitlines() or ["no message"])[-1]
            raise EmbeddedServerError(f"The embedded PostgreSQL cannot be created in {self.data_dir}: {last}")

    def _launch(self, home: Home) -> None:
        folder = home.make_socket_dir()
        # The pids in left-over files may belong to anything by now, even to a zombie that nobody reaps, and
        # PostgreSQL then refuses to start. _settled() has seen that no process works in the directory.
        name = _socket_name(self.tcp_port or PORT)
        for rest in (home.data / "postmaster.pid", folder / name, folder / f"{name}.lock"):
            rest.unlink(missing_ok=True)
        if self.log_path.exists():
            self.log_path.replace(self.log_path.with_suffix(".log.1"))
        # The shell ends at once, so the server belongs to init: it is reaped there, and neither a pipe nor a
        # process group connects it with the process that happened to need it first.
        shell: Command = ["/bin/sh", "-c", '"$@" >>"$0" 2>&1 </dev/null & echo $!', self.log_path]
        started = home.run(
            [*shell, *self._server_command(home, folder)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        self._wait_until_ready(int(started.stdout))

    def _server_command(self, home: Home, socket_dir: Path) -> Command:
        settings = SERVER_SETTINGS | ({} if self.durable else NOT_DURABLE)
        if self.tcp_port:
            rules = home.data / "tcp_rules.conf"
            rules.write_text(self.tcp_rules)
            settings |= {"listen_addresses": "127.0.0.1", "port": str(self.tcp_port), "hba_file": str(rules)}
        # A list of folders for PostgreSQL, in which quotes protect commas and spaces.
        settings["unix_socket_directories"] = '"' + str(socket_dir).replace('"', '""') + '"'
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return [home.binaries / PROGRAM, "-D", home.data, *options]

    def _wait_until_ready(self, pid: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while not self._accepts():
            if not alive(pid) or time.monotonic() > deadline:
                raise EmbeddedServerError(f"The embedded PostgreSQL did not start: {self._last_log_line()}")
            time.sleep(POLL_INTERVAL)

    def _settled(self) -> bool:
        """Wait for a server that is starting or stopping; return whether one accepts connections."""
        deadline = time.monotonic() + START_TIMEOUT
        while not self._accepts():
            if not working_in(self._data, PROGRAM):
                return False
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The embedded PostgreSQL is stuck: {self._last_log_line()}")
            time.sleep(POLL_INTERVAL)
        return True

    def _wait_for_the_end(self, pid: int) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        # Looking at one process is cheap, looking for the last child among all of them is not.
        while alive(pid) or working_in(self._data, PROGRAM):
            if time.monotonic() > deadline:
                raise EmbeddedServerError(f"The embedded PostgreSQL does not stop; see {self.log_path}.")
            time.sleep(POLL_INTERVAL)

    def _accepts(self) -> bool:
        lines = self._pid_file()
        if len(lines) < 8 or lines[7].strip() != "ready" or not alive(int(lines[0])):
            return False
        with socket(AF_UNIX) as probe:
            try:
                probe.connect(str(Path(lines[4]) / _socket_name(int(lines[3]))))
            except PermissionError as error:
                raise EmbeddedServerError(
                    f"The embedded PostgreSQL in {self.data_dir} was started by another user."
                ) from error
            except OSError:
                return False
        return True

    def _pid_file(self) -> list[str]:
        try:
            return (self._data / "postmaster.pid").read_text().splitlines()
        except FileNotFoundError:
            return []
        except PermissionError as error:
            raise EmbeddedServerError(
                f"The embedded PostgreSQL in {self.data_dir} belongs to another user."
            ) from error

    def _last_log_line(self) -> str:
        try:
            lines = self.log_path.read_text(errors="replace").strip().splitlines()
        except OSError:
            lines = []
        last = next(
            (line for line in reversed(lines) if "FATAL" in line), lines[-1] if lines else "no message"
        )
        return f"{last} (see {self.log_path})"


def _socket_name(port: int) -> str:
    return f".s.PGSQL.{port}"


def start(data_dir: Path | str, *, durable: bool = True, database: str = "ai_scheduler") -> EmbeddedServer:
    """Start, or join, the server of `data_dir`; see EmbeddedServer."""
    return EmbeddedServer(data_dir, durable=durable, database=database).start()
