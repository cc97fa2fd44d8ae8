"""Fixtures for all tests. The tests have a PostgreSQL of their own, never the one of the demo."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import django
import pytest
from hypothesis import HealthCheck
from hypothesis import settings as examples

from database.embedded import EmbeddedServer
from database.environment import read_env_file
from database.testing import SharedTestServer, reachable_folder, template_data, throw_away_server

PROJECT = Path(__file__).parent

Manage = Callable[..., subprocess.CompletedProcess[str]]
OWN_SERVER = "TESTS_OWN_SERVER"
shared = pytest.StashKey[SharedTestServer]()

# An example that waits for its turn on a busy machine is no fault of ours.
examples.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow])
examples.load_profile("tests")

# Tests start hundreds of processes: what one of them has compiled the others take, also where Python writes no files.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
sys.dont_write_bytecode = False

# What a developer wrote into `.env` must not decide over the tests; an empty variable hides it.
for name in read_env_file(PROJECT / ".env"):
    os.environ.setdefault(name, "")
# Not in pyproject.toml: pytest-django would import the settings before this file could prepare for them.
os.environ["DJANGO_SETTINGS_MODULE"] = "scheduler.settings"
os.environ["DEBUG"] = "1"
os.environ["DB_POOL_MIN_SIZE"] = os.environ.get("DB_POOL_MIN_SIZE") or "1"
os.environ["DB_COMMAND_TIMEOUT"] = os.environ.get("DB_COMMAND_TIMEOUT") or "0"


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    # With DATABASE_URL the caller wants another server, where Django makes a database test_<name>; the processes
    # of pytest-xdist inherit ours, and each makes a database of its own there.
    if not os.environ.get("DATABASE_URL") or os.environ.get(OWN_SERVER):
        config.stash[shared] = SharedTestServer(PROJECT / ".local")
        os.environ["DATABASE_URL"] = config.stash[shared].start().url
        os.environ[OWN_SERVER] = "1"
    from django.conf import settings

    # It refuses a query for each row, inside of zeal_context().
    settings.INSTALLED_APPS = [*settings.INSTALLED_APPS, "zeal"]
    django.setup()
    settings.PASSWORD_HASHERS = [
        "django.contrib.auth.hashers.MD5PasswordHasher"
    ]  # the real one is slow by intent


def pytest_unconfigure(config: pytest.Config) -> None:
    if server := config.stash.get(shared, None):
        server.stop()


@pytest.fixture(scope="session")
def django_db_modify_db_settings(pytestconfig: pytest.Config) -> None:
    from django.db import connections

    if server := pytestconfig.stash.get(shared, None):
        connections["default"].settings_dict["TEST"]["NAME"] = server.database


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    """Yield what brings the database back after a test that commits, in place of Django's slow flush."""
    from django.test import TransactionTestCase

    from database.tests.pristine import Pristine

    with django_db_blocker.unblock():
        pristine = Pristine("default")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", lambda case: pristine.restore())
        yield pristine


@pytest.fixture(autouse=True)
def ids_from_one(request: pytest.FixtureRequest) -> None:
    """Let ids start anew: a test's rows go at its end, but its sequences stay where the highest id put them."""
    marker = request.node.get_closest_marker("django_db")
    if marker and marker.kwargs.get("transaction"):
        from django.db import connection

        from legacy.schema import TABLES

        request.getfixturevalue("transactional_db")
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT setval(pg_get_serial_sequence(name, 'id'), 1, false) FROM unnest(%s::text[]) AS name",
                [[*TABLES, "campaigns", "campaign_leads"]],
            )


@pytest.fixture(autouse=True)
def no_guessers() -> None:
    """Forget the address of the tests' client, which may have failed too often to sign in."""
    from scheduler.rest.limits import guessers

    guessers.forget()


@pytest.fixture(scope="session")
def server_template() -> Iterator[Path]:
    with template_data() as data:
        yield data


@pytest.fixture
def private_server(server_template: Path) -> Iterator[EmbeddedServer]:
    """A running, empty server that the test may stop, kill and start again."""
    with throw_away_server(server_template) as server:
        yield server


@pytest.fixture(scope="session")
def migrated_template(server_template: Path) -> Iterator[Path]:
    """The data of a stopped server whose database has all migrations."""
    with throw_away_server(server_template) as server:
        run_manage("migrate", "--no-input", "-v0", DATABASE_URL=server.url).check_returncode()
        server.stop()
        yield server.data_dir


@pytest.fixture
def migrated_server(migrated_template: Path) -> Iterator[EmbeddedServer]:
    """Like `private_server`, with all migrations."""
    with throw_away_server(migrated_template) as server:
        yield server


@pytest.fixture
def server_folder() -> Iterator[Path]:
    """An empty folder in which a server can be started, as root too (tmp_path is closed to its user)."""
    with reachable_folder(in_memory=True) as folder:
        yield folder


@pytest.fixture
def manage() -> Manage:
    """Run `manage.py <arguments>` in a process of its own: `manage("migrate", DATABASE_URL=url)`.

    Keywords in capitals are environment variables; None removes one. `project` is another copy of the code.
    Without DATABASE_URL the process meets the tests' server, but not the test's database: pass the URL of the
    database that is meant.
    """
    return run_manage


def run_manage(
    *arguments: str, project: Path = PROJECT, timeout: float = 60, **variables: str | None
) -> subprocess.CompletedProcess[str]:
    merged = {**os.environ, **variables}
    return subprocess.run(
        [sys.executable, str(project / "manage.py"), *arguments],
        env={name: value for name, value in merged.items() if value is not None},
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
