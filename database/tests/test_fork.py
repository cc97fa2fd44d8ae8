"""Real forks: a child neither uses nor ends the connections of its parent."""

import atexit
import gc
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
import urllib.request
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import psycopg
import pytest
from django.db import connections, transaction

from database.backend.base import pool_stats
from database.metrics import POOL_TIMEOUTS, POOL_WAIT
from database.processes import alive
from database.testing import free_port, throw_away_server, wait_until
from database.tests.pools import ALIAS, ask, database, database_allowed, pool_of

__all__ = ["database_allowed"]

PID = "SELECT pg_backend_pid()"
pytestmark = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")


@pytest.fixture(scope="module")
def server(server_template) -> Iterator:
    with throw_away_server(server_template) as running:
        yield running


def child_result(work: Callable[[], Any], leave: Callable[[int], Any] = os._exit) -> str:
    """Fork, return what `work` returned in the child as a text; the child ends by `leave`."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reader)
        try:
            answer = str(work())
        except BaseException:
            answer = traceback.format_exc()
        os.write(writer, answer.encode())
        os.close(writer)
        leave(0)
        os._exit(9)
    os.close(writer)
    with open(reader) as pipe:
        answer = pipe.read()
    assert os.waitpid(child, 0)[1] == 0
    return answer


def leave_as_programs_do(status: int) -> None:
    """End the interpreter in full: destructors, atexit, module teardown. pytest's own ends are left out."""
    connections[ALIAS].close()
    gc.collect()
    atexit._run_exitfuncs()
    os._exit(status)


@pytest.mark.parametrize("mode", ["pool", "persistent", "pgbouncer"])
def test_a_child_has_a_session_of_its_own_and_the_parents_transaction_goes_on(server, mode):
    with database(server, DB_POOL_MODE=mode) as handler, transaction.atomic(using=ALIAS):
        with handler[ALIAS].cursor() as cursor:
            cursor.execute("CREATE TABLE forked (n int)")
            cursor.execute(PID)
            parent = cursor.fetchone()[0]
            child = int(child_result(lambda: ask(handler)))
            cursor.execute("INSERT INTO forked VALUES (1)")
            cursor.execute(PID)
            assert cursor.fetchone()[0] == parent
        assert child != parent
        transaction.set_rollback(True, using=ALIAS)


@pytest.mark.parametrize("leave", [os._exit, leave_as_programs_do])
def test_the_end_of_a_child_ends_no_session_of_the_parent(server, leave):
    with database(server) as handler:
        pool = pool_of(handler)
        pool.open()
        held = [pool.getconn() for _ in range(4)]
        pids = {connection.info.backend_pid for connection in held}
        for connection in held[2:]:
            pool.putconn(connection)  # two lent, two idle

        assert child_result(lambda: "did nothing", leave) == "did nothing"
        assert int(child_result(lambda: ask(handler), leave)) not in pids

        for connection in held[:2]:
            assert connection.execute(PID).fetchone()[0] in pids
            pool.putconn(connection)
        assert {ask(handler) for _ in range(8)} == pids
        assert pool_stats(ALIAS)["retired"]["broken"] == 0


def test_a_child_that_leaves_a_transaction_by_an_exception_runs_none_of_its_hooks(server):
    def leave_the_block() -> str:
        block.__exit__(RuntimeError, RuntimeError(), None)
        return f"{hooks} {ask(handler) != parent}"

    hooks: list[str] = []
    with database(server) as handler:
        block = transaction.Atomic(ALIAS, True, False)
        block.__enter__()
        with handler[ALIAS].cursor() as cursor:
            cursor.execute(PID)
            parent = cursor.fetchone()[0]
        transaction.on_commit(lambda: hooks.append("ran"), using=ALIAS)

        assert child_result(leave_the_block) == "[] True"
        block.__exit__(None, None, None)
        assert hooks == ["ran"]


def test_a_fork_in_any_thread_spares_the_connections_of_all_others(server):
    def hold() -> None:
        with handler[ALIAS].cursor() as cursor:
            cursor.execute("BEGIN")
            cursor.execute(PID)
            pids.append(cursor.fetchone()[0])
            ready.wait(20)
            forked.wait(20)
            cursor.execute(PID)
            pids.append(cursor.fetchone()[0])
            cursor.execute("COMMIT")
        handler[ALIAS].close()

    pids: list[int] = []
    ready, forked = threading.Barrier(3), threading.Barrier(3)
    with database(server, DB_POOL_MAX_SIZE="4") as handler:
        threads = [threading.Thread(target=hold) for _ in range(2)]
        for thread in threads:
            thread.start()
        ready.wait(20)
        with ThreadPoolExecutor(1) as forker:
            own = [int(forker.submit(child_result, lambda: ask(handler)).result(30)) for _ in range(3)]
        forked.wait(20)
        for thread in threads:
            thread.join(20)

    assert len(pids) == 4
    assert len(set(pids)) == 2
    assert not set(own) & set(pids)


def _asked_in_a_process(queue: Any) -> None:
    queue.put(ask(connections))


def test_multiprocessing_by_fork_gives_each_process_a_session(server):
    context = multiprocessing.get_context("fork")
    with database(server, DB_POOL_MAX_SIZE="1") as handler:
        parent = {ask(handler) for _ in range(4)}
        queue = context.SimpleQueue()
        processes = [context.Process(target=_asked_in_a_process, args=(queue,)) for _ in range(3)]
        for process in processes:
            process.start()
        pids = [queue.get() for _ in processes]
        for process in processes:
            process.join(30)
            assert process.exitcode == 0

        assert len(set(pids)) == 3
        assert not parent & set(pids)
        assert {ask(handler) for _ in range(4)} == parent


PROGRAM = """
import os, sys, django
django.setup()
from django.db import connection, transaction
def pid():
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        return cursor.fetchone()[0]
with transaction.atomic():
    parent = pid()
    if os.fork() == 0:
        pid()
        sys.exit(0)
    assert os.wait()[1] == 0
    assert pid() == parent
    if os.fork() == 0:
        sys.exit(0)
    assert os.wait()[1] == 0
    assert pid() == parent
print("unharmed")
"""


def test_a_program_whose_children_exit_normally_inside_a_transaction_goes_on(server):
    done = subprocess.run(
        [sys.executable, "-W", "error::ResourceWarning", "-c", PROGRAM],
        env={**os.environ, "DATABASE_URL": server.url, "DJANGO_SETTINGS_MODULE": "scheduler.settings"},
        cwd=Path(__file__).parents[2],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.stdout.strip() == "unharmed", done.stderr
    assert "Traceback" not in done.stderr


def test_workers_of_granian_have_sessions_of_their_own_and_one_that_dies_harms_no_other(server, tmp_path):
    (tmp_path / "pidapp.py").write_text(
        "import os\n"
        "from scheduler.wsgi import application as _project\n"
        "from django.db import connection\n"
        "def application(environ, start_response):\n"
        "    with connection.cursor() as cursor:\n"
        "        cursor.execute('SELECT pg_backend_pid()')\n"
        "        answer = f'{os.getpid()} {cursor.fetchone()[0]}'\n"
        "    connection.close()\n"
        "    start_response('200 OK', [('Content-Type', 'text/plain')])\n"
        "    return [answer.encode()]\n"
    )
    port = free_port()
    command = [
        str(Path(sys.executable).with_name("granian")), "--interface", "wsgi", "--no-ws", "--workers", "2",
        "--blocking-threads", "2", "--respawn-failed-workers", "--host", "127.0.0.1", "--port", str(port),
        "pidapp:application",
    ]  # fmt: skip
    project = Path(__file__).parents[2]
    environment = {
        **os.environ, "DATABASE_URL": server.url, "DB_POOL_MAX_SIZE": "2", "DB_POOL_MIN_SIZE": "1",
        "PYTHONPATH": f"{tmp_path}:{project}",
    }  # fmt: skip
    with open(tmp_path / "log", "w") as log:
        granian = subprocess.Popen(command, env=environment, cwd=project, stdout=log, stderr=log)
    try:
        seen = _workers(port, 2)
        everyone = [session for sessions in seen.values() for session in sessions]
        assert len(everyone) == len(set(everyone))

        victim, survivor = sorted(seen)
        os.kill(victim, signal.SIGKILL)
        wait_until(lambda: victim not in _children(granian.pid), timeout=30)
        after = _workers(port, 2)
        assert survivor in after
        assert after[survivor] & seen[survivor]
    finally:
        granian.terminate()
        granian.wait(30)


def _children(pid: int) -> set[int]:
    found = {process.pid for process in psutil.Process(pid).children(recursive=True)}
    return {each for each in found if alive(each)}  # zombies are not


def _workers(port: int, count: int) -> dict[int, set[int]]:
    """Ask until `count` workers have answered some times; return the sessions of each."""
    seen: dict[int, set[int]] = {}
    answers = 0
    deadline = time.monotonic() + 60
    while len(seen) < count or answers < 40:
        assert time.monotonic() < deadline, "too few workers answered in time"
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=5) as response:
                worker, session = map(int, response.read().split())
        except OSError:
            time.sleep(0.05)
            continue
        seen.setdefault(worker, set()).add(session)
        answers += 1
    return seen


def test_a_kept_connection_of_psycopg_does_not_end_the_session_when_a_child_drops_it(server):
    # What the hook relies on, besides its own references: psycopg closes only in the process that connected.
    connection: Any = psycopg.connect(**server.conninfo)
    holder = [connection]
    pid = connection.info.backend_pid

    def drop() -> str:
        holder.clear()
        return "dropped"

    del connection
    assert child_result(drop) == "dropped"
    assert holder[0].execute(PID).fetchone()[0] == pid
    holder[0].close()


def ended(child: int) -> bool:
    return os.waitpid(child, os.WNOHANG)[0] == child


def test_a_child_counts_although_threads_of_its_parent_held_the_locks_of_the_metrics():
    over, interval = threading.Event(), sys.getswitchinterval()

    def count():
        POOL_WAIT.labels("forked").observe(0.1)
        POOL_TIMEOUTS.labels("forked").inc()

    def count_on():
        while not over.is_set():
            count()

    threads = [threading.Thread(target=count_on) for _ in range(4)]
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        for _ in range(20):
            if (child := os.fork()) == 0:
                count()
                os._exit(0)
            try:
                wait_until(partial(ended, child), timeout=20)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                raise
    finally:
        over.set()
        sys.setswitchinterval(interval)
