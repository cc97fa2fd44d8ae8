"""The embedded server as Django meets it: in processes of their own, with a pool and without."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from unittest.mock import Mock

import pytest
from django.core.exceptions import ImproperlyConfigured
from django.core.management import CommandError, call_command

import manage as manage_script
from database.embedded import EmbeddedServer, EmbeddedServerError
from database.management.commands.local_postgres import Command
from database.testing import reachable_folder

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


@pytest.fixture(scope="module")
def project() -> Iterator[Path]:
    """Yield a copy of the project's code, whose `.local` belongs to these tests alone."""
    with reachable_folder() as folder:
        project = folder / "project"
        shutil.copytree(PROJECT, project, ignore=shutil.ignore_patterns(".*", "__pycache__", "docs"))
        yield project
        EmbeddedServer(project / ".local" / "postgres").remove()


@pytest.mark.parametrize("mode", ["pool", "persistent", "pgbouncer"])
def test_the_first_connection_starts_the_server_and_the_next_one_replaces_a_killed_server(
    project, manage, mode
):
    done = manage(
        "shell", "-v0", "-c", QUERY_KILL_QUERY, project=project, DATABASE_URL=None, DB_POOL_MODE=mode
    )

    assert done.stdout.strip() == "answered", done.stderr


def test_local_postgres_starts_shows_stops_and_removes(server_folder, monkeypatch, capsys):
    server = EmbeddedServer(server_folder / "postgres", durable=False)
    monkeypatch.setattr(Command, "server", lambda command: server)

    def local_postgres(action: str) -> str:
        call_command("local_postgres", action)
        return capsys.readouterr().out.strip()

    assert local_postgres("stop") == "Not running."
    with pytest.raises(CommandError, match="Not running") as refused:
        local_postgres("status")
    assert refused.value.returncode == 3
    assert (
        local_postgres("start") == local_postgres("status") == f"Running with pid {server.pid}: {server.url}"
    )
    assert local_postgres("stop") == "Stopped."
    assert local_postgres("stop") == "Not running."
    assert local_postgres("remove") == "Removed."
    assert not server.data_dir.exists()


def test_local_postgres_has_nothing_to_do_with_a_database_url(manage):
    done = manage("local_postgres", "stop")

    assert done.returncode == 1
    assert done.stderr == "CommandError: DATABASE_URL is set, so there is no embedded PostgreSQL here.\n"


@pytest.mark.parametrize(
    "error", [EmbeddedServerError("It cannot start."), ImproperlyConfigured("It cannot start.")]
)
def test_what_the_person_can_mend_ends_a_command_with_one_sentence(monkeypatch, error):
    monkeypatch.setattr(manage_script, "execute_from_command_line", Mock(side_effect=error))

    with pytest.raises(SystemExit, match=r"^It cannot start\.$"):
        manage_script.main()
