"""A worker process that gets SIGTERM: transactions finish, queries stop on the server, nothing stays connected."""

import json
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager
from pathlib import Path

import pytest

from database.testing import wait_until
from database.tests.services import connections_of_service, on_server, running

PROJECT = Path(__file__).resolve().parent.parent.parent
WORKER = """
import asyncio, json, os, sys
os.environ["DJANGO_SETTINGS_MODULE"] = "scheduler.settings"
import django
django.setup()
from database.service import Configuration, DatabaseService, Limits

parameters = json.loads(sys.argv[1])
configuration = Configuration("worker:async", lambda: dict(parameters), Limits(3, 3))
database = DatabaseService(configuration=configuration)

async def main():
{body}

asyncio.run(main())
print("ended in good order", flush=True)
"""
TRANSACTION = """
    async with database.serving(grace={grace}):
        async with database.transaction() as work:
            await work.execute("INSERT INTO notes VALUES (1)")
            await work.fetch("SELECT pg_sleep({seconds})")
        print("committed", flush=True)
        while True:
            await database.fetch("SELECT 1")
            await asyncio.sleep(0.01)
"""
ANNOUNCED = """
    async def announce(serving):
        await serving.stopping.wait()
        print("stopping", flush=True)

    async with database.serving(grace=1000) as serving:
        announcing = asyncio.create_task(announce(serving))
        await database.fetch("SELECT pg_sleep(1000)")
"""
BACKGROUND = """
    async def insert():
        async with database.transaction() as work:
            await work.execute("INSERT INTO notes VALUES (1)")
            await work.fetch("SELECT pg_sleep(1)")

    async with database.serving() as serving:
        tasks = [asyncio.create_task(insert()) for _ in range(3)]
        await serving.stopping.wait()
        await asyncio.gather(*tasks)
"""


@pytest.fixture
def server(private_server):
    on_server(private_server, "CREATE TABLE notes (n int)")
    return private_server


@contextmanager
def worker(server, body):
    code = WORKER.format(body=textwrap.indent(textwrap.dedent(body).strip("\n"), "    "))
    parameters = json.dumps({**server.conninfo, "application_name": "service-under-test"})
    process = subprocess.Popen(
        [sys.executable, "-W", "error", "-c", code, parameters],
        cwd=PROJECT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def end(process):
    output, errors = process.communicate(timeout=30)
    return process.returncode, output, errors


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_running_transaction_is_finished_and_the_process_ends_well(server, number):
    with worker(server, TRANSACTION.format(grace=20, seconds=1)) as process:
        wait_until(lambda: running(server) == 1, timeout=30)
        process.send_signal(number)
        status, output, errors = end(process)
    assert (status, output) == (0, "committed\nended in good order\n"), errors
    assert "Traceback" not in errors
    assert on_server(server, "SELECT count(*) FROM notes") == 1
    wait_until(lambda: connections_of_service(server) == 0, timeout=30)


def test_after_the_grace_the_query_is_cancelled_on_the_server(server):
    with worker(server, TRANSACTION.format(grace=0.2, seconds=1000)) as process:
        wait_until(lambda: running(server) == 1, timeout=30)
        process.send_signal(signal.SIGTERM)
        status, output, _errors = end(process)
    assert (status, output) == (128 + signal.SIGTERM, "")
    assert on_server(server, "SELECT count(*) FROM notes") == 0
    wait_until(lambda: connections_of_service(server) == 0, timeout=30)


def test_a_second_signal_ends_the_grace(server):
    with worker(server, ANNOUNCED) as process:
        wait_until(lambda: running(server) == 1, timeout=30)
        process.send_signal(signal.SIGTERM)
        assert process.stdout.readline() == "stopping\n"
        process.send_signal(signal.SIGINT)
        status, _output, _errors = end(process)
    assert status == 128 + signal.SIGTERM
    wait_until(lambda: connections_of_service(server) == 0, timeout=30)


def test_an_idle_worker_ends_at_once(server):
    with worker(server, "async with database.serving():\n    await asyncio.Event().wait()") as process:
        wait_until(lambda: connections_of_service(server) == 3, timeout=30)
        process.send_signal(signal.SIGTERM)
        status, output, errors = end(process)
    assert (status, output) == (0, "ended in good order\n"), errors
    wait_until(lambda: connections_of_service(server) == 0, timeout=30)


def test_a_body_may_wait_for_the_signal_and_finish_its_tasks(server):
    with worker(server, BACKGROUND) as process:
        wait_until(lambda: running(server) == 3, timeout=30)
        process.send_signal(signal.SIGTERM)
        status, output, errors = end(process)
    assert (status, output) == (0, "ended in good order\n"), errors
    assert on_server(server, "SELECT count(*) FROM notes") == 3
    wait_until(lambda: connections_of_service(server) == 0, timeout=30)
