"""The system behind Debian's PgBouncer in transaction mode: the tests of its parts run again, through it."""

import os
import subprocess
import sys

import psycopg
import pytest
from django.conf import settings

from database.tests.bouncer import SERVER_CONNECTIONS, pgbouncer

THROUGH_IT = [
    "database/tests/test_bulk_insert.py",
    "database/tests/test_bulk_change.py",
    "database/tests/test_bulk_races.py",
    "leads/tests/test_bulk.py",
    "meetings/tests/test_bulk.py",
    "partners/tests/test_constraints.py",
    "partners/tests/test_api.py",
    "leads/tests/test_api.py",
    "calls/tests/test_api.py",
    "scheduler/tests/test_jobs.py",
]


@pytest.fixture
def bouncer_url(private_server):
    with pgbouncer(private_server) as url:
        yield url


def test_clients_share_few_server_connections(bouncer_url):
    clients = [psycopg.connect(bouncer_url, autocommit=True) for _ in range(4 * SERVER_CONNECTIONS)]
    try:
        backends = {row for client in clients for row in client.execute("SELECT pg_backend_pid()")}
    finally:
        for client in clients:
            client.close()

    assert len(backends) <= SERVER_CONNECTIONS


def test_the_tests_pass_through_pgbouncer(bouncer_url):
    # --reuse-db leaves the test database: PgBouncer's own connections would be in the way of DROP DATABASE.
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--reuse-db", *THROUGH_IT]
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "TESTS_"))
    }

    done = subprocess.run(
        command,
        cwd=settings.BASE_DIR,
        env={**inherited, "DATABASE_URL": bouncer_url, "DB_POOL_MODE": "pgbouncer"},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )

    assert done.returncode == 0, done.stdout[-3000:]
    assert " passed" in done.stdout
