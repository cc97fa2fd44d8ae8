"""The embedded server as Django meets it: in processes of their own, with a pool and without."""

import shutil
from pathlib import Path

import pytest

from database.embedded import EmbeddedServer

PROJECT = Path(__file__).resolve().parents[2]

QUERY_KILL_QUERY = """
import os, signal
from django.db import connection
from database.backend.base import embedded_server
from database.processes import alive
connection.ensure_connection()
server = embedded_server(connection.settings_dict["EMBEDDED_DATA_DIR"])
connection.close()
server.stop("kill")
with connection.cursor() as cursor:
    cursor.execute("SELECT 'answered'")
    print(cursor.fetchone()[0])
"""


@pytest.fixture
def project(server_folder):
    """Yield a copy of the project's code, whose `.local` belongs to the test alone."""
    shutil.copytree(
        PROJECT,
        server_folder / "project",
        ignore=shutil.ignore_patterns(".*", "__pycache__", "docs"),
    )
    yield server_folder / "project"
    EmbeddedServer(server_folder / "project" / ".local" / "postgres").remove()


@pytest.mark.parametrize("mode", ["pool", "persistent", "pgbouncer"])
def test_the_first_connection_starts_the_server_and_the_next_one_replaces_a_killed_server(
    project, manage, mode
):
    done = manage(
        "shell", "-v0", "-c", QUERY_KILL_QUERY, project=project, DATABASE_URL=None, DB_POOL_MODE=mode
    )

    assert done.stdout.strip() == "answered", done.stderr


def test_local_postgres_starts_shows_stops_and_removes(project, manage):
    def local_postgres(action: str) -> tuple[int, str]:
        done = manage("local_postgres", action, project=project, DATABASE_URL=None)
        return done.returncode, (done.stdout + done.stderr).strip()

    assert local_postgres("stop") == (0, "Not running.")
    assert local_postgres("status") == (3, "CommandError: Not running.")
    assert local_postgres("start")[0] == 0
    code, text = local_postgres("status")
    assert code == 0 and text.startswith("Running with pid ")
    assert local_postgres("stop") == (0, "Stopped.")
    assert local_postgres("stop") == (0, "Not running.")
    assert local_postgres("remove") == (0, "Removed.")
    assert not (project / ".local" / "postgres").exists()


def test_local_postgres_has_nothing_to_do_with_a_database_url(manage):
    done = manage("local_postgres", "stop")

    assert done.returncode == 1
    assert done.stderr == "CommandError: DATABASE_URL is set, so there is no embedded PostgreSQL here.\n"
