"""The shape of the code: which way imports go, that models and migrations agree, and names that say nothing."""

import ast
from collections.abc import Iterator
from io import StringIO
from pathlib import Path

import pytest
from django.core.management import call_command

PROJECT = Path(__file__).resolve().parents[2]

# A package imports from those below it; analytics and legacy stand side by side.
LEVELS = {
    "database": 0,
    "scheduler": 1,  # models, staff and what else the domain builds upon
    "partners": 2,
    "leads": 3,
    "calls": 4,
    "meetings": 5,
    "analytics": 6,
    "legacy": 6,
    "assembly": 7,
}
# The modules of scheduler that put the parts together; they may import anything, nothing may import them.
ASSEMBLY = {
    f"scheduler.{name}" for name in ("settings", "urls", "api", "wsgi", "asgi", "management.commands")
}
EMPTY_NAMES = {"utils", "util", "helpers", "helper", "common", "misc"}


def part_of(module: str) -> str | None:
    """Name the part of the system that a dotted name belongs to; None for other people's modules."""
    if any(module == name or module.startswith(f"{name}.") for name in ASSEMBLY):
        return "assembly"
    package = module.partition(".")[0]
    return package if package in LEVELS else None


def modules(project: Path) -> Iterator[tuple[str, Path]]:
    """Yield the dotted name and the path of each module of the system, tests apart."""
    for package in LEVELS:
        for path in sorted((project / package).rglob("*.py")):
            parts = path.relative_to(project).with_suffix("").parts
            if "tests" not in parts:
                yield ".".join(parts), path


def imported(module: str, path: Path) -> Iterator[str]:
    """Yield the dotted names that a module imports anywhere: functions and TYPE_CHECKING too."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"), str(path))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            above = module.split(".")[: -node.level] if node.level else []
            source = ".".join([*above, *([node.module] if node.module else [])])
            yield from (f"{source}.{alias.name}" for alias in node.names)


def may_import(importer: str, target: str) -> bool:
    return importer == target or LEVELS[importer] > LEVELS[target]


def imports_against_the_arrow(project: Path) -> list[str]:
    """List what must not be, as `calls.models imports meetings.models.Meeting`."""
    found = []
    for module, path in modules(project):
        importer = part_of(module)
        for name in imported(module, path):
            target = part_of(name)
            if importer and target and not may_import(importer, target):
                found.append(f"{module} imports {name}")
    return found


def test_imports_go_one_way():
    assert imports_against_the_arrow(PROJECT) == []


def test_all_parts_of_the_system_are_looked_at():
    seen = {part_of(module) for module, _ in modules(PROJECT)}

    assert {"database", "scheduler", "partners", "leads", "calls", "meetings", "assembly"} <= seen


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("database/config.py", "import leads.models"),
        ("database/config.py", "from scheduler.models import Setting"),
        ("scheduler/models.py", "from partners.models import Partner"),
        ("scheduler/staff/admin.py", "from scheduler import settings"),
        ("partners/admin.py", "from leads import search"),
        ("calls/models.py", "def book():\n    from meetings.models import Meeting"),
        ("calls/models.py", "from ..meetings import models"),
        ("meetings/models.py", "if TYPE_CHECKING:\n    from legacy.models import ImportRun"),
        ("meetings/admin.py", "from scheduler.urls import urlpatterns"),
        ("meetings/migrations/0002_more.py", "import legacy.notes as notes"),
        ("analytics/queries.py", "from legacy import notes"),
        ("legacy/load.py", "from analytics import queries"),
        ("legacy/load.py", "from scheduler.management.commands import demo"),
    ],
)
def test_an_import_against_the_arrow_is_found(tmp_path, path, line):
    module = tmp_path / path
    module.parent.mkdir(parents=True)
    module.write_text(line)

    assert len(imports_against_the_arrow(tmp_path)) == 1


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("scheduler/urls.py", "from legacy import admin"),
        ("scheduler/management/commands/demo.py", "from legacy.load import load"),
        ("legacy/load.py", "from meetings.models import Meeting\nfrom database import config"),
        ("leads/admin.py", "from scheduler.staff.admin import StaffAdmin\nfrom leads import search"),
        ("leads/admin.py", "from . import search\nimport legacylike"),
        ("leads/tests/test_admin.py", "from legacy import load"),
    ],
)
def test_an_import_along_the_arrow_is_no_finding(tmp_path, path, line):
    module = tmp_path / path
    module.parent.mkdir(parents=True)
    module.write_text(line)

    assert imports_against_the_arrow(tmp_path) == []


@pytest.mark.django_db
def test_the_migrations_say_what_the_models_say():
    output = StringIO()
    try:
        call_command("makemigrations", check_changes=True, dry_run=True, stdout=output)
    except SystemExit:
        pytest.fail(f"Migrations are missing:\n{output.getvalue()}")


def test_no_module_has_a_name_that_says_nothing():
    # unfold's own templates stand in a folder `helpers`, and ours override them there.
    named = [module for module, _ in modules(PROJECT) if EMPTY_NAMES & set(module.split("."))]

    assert named == []
