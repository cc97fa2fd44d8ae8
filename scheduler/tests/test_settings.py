import ast
import re
from itertools import pairwise
from logging import WARNING, getLogger
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client

READERS = {"text", "zone", "switch", "whole", "seconds", "choice", "words"}
PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "long-enough-for-a-test-hunter2",
    "DATABASE_URL": "postgresql://worker:hunter2@127.0.0.1:1/calls",
}


def variables_read_by(path: Path) -> set[str]:
    """Return every NAME of `environment.<reader>("NAME")`."""
    return {
        str(call.args[0].value)
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in READERS
        and isinstance(call.func.value, ast.Name)
        and call.func.value.id == "environment"
        and isinstance(call.args[0], ast.Constant)
    }


def test_the_example_lists_exactly_the_variables_that_are_read():
    code = [settings.BASE_DIR / "scheduler" / "settings.py", settings.BASE_DIR / "database" / "config.py"]
    example = (settings.BASE_DIR / ".env.example").read_text()

    read = set().union(*map(variables_read_by, code))

    assert set(re.findall(r"^([A-Z_]+)=", example, re.MULTILINE)) == read


def test_the_example_explains_each_variable_in_the_line_above():
    lines = (settings.BASE_DIR / ".env.example").read_text().splitlines()

    assert all(above.startswith("# ") for above, line in pairwise(lines) if re.match("[A-Z_]+=", line))


def test_only_the_typed_readers_touch_the_environment():
    for name in ("scheduler/settings.py", "database/config.py"):
        assert "os.environ" not in (settings.BASE_DIR / name).read_text()


@pytest.mark.parametrize("missing", ["SECRET_KEY", "DATABASE_URL"])
def test_production_refuses_to_start_without(manage, missing):
    done = manage("check", **{**PRODUCTION, missing: ""})

    assert done.returncode == 1
    assert done.stderr.startswith(f"{missing} is not set; it is required when DEBUG is off")
    assert len(done.stderr.splitlines()) == 1
    assert "hunter2" not in done.stderr


def test_production_starts_with_both(manage):
    done = manage("check", "--tag", "urls", **PRODUCTION)

    assert done.returncode == 0, done.stderr


def test_two_different_database_urls_are_a_warning_with_a_stable_id(settings, tmp_path, monkeypatch):
    from scheduler.checks import check_database_url_set_twice

    settings.BASE_DIR = tmp_path
    monkeypatch.setenv("DATABASE_URL", "postgresql://a:hunter2@one/calls")
    assert check_database_url_set_twice() == []

    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://a:hunter2@two/calls\n")
    (warning,) = check_database_url_set_twice()
    assert warning.id == "scheduler.W001"
    assert "hunter2" not in str(warning)

    (tmp_path / ".env").write_text("DATABASE_URL=postgresql://a:hunter2@one/calls\n")
    assert check_database_url_set_twice() == []


def test_the_root_tells_programs_that_it_runs(client: Client):
    for accept in ("*/*", "application/json", ""):
        answer = client.get("/", headers={"Accept": accept})
        assert answer.status_code == 200
        assert answer.json() == {"message": "AI Scheduler API", "version": "1.0.0", "status": "running"}


def test_health_needs_no_database(client: Client):
    assert client.get("/health").json() == {"status": "healthy"}


def test_sql_with_its_parameters_is_never_logged():
    assert getLogger("django.db.backends").level == WARNING
