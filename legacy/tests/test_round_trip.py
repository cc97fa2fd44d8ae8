import shutil
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from calls.models import Call, Turn
from legacy.convert import hide_key
from legacy.models import ImportRowNote
from legacy.schema import REVISIONS
from legacy.synthetic.build import build
from legacy.tables import TABLES
from legacy.tests.files import Rows, opened, rows

pytestmark = pytest.mark.django_db(transaction=True)

SAMPLES = Path(__file__).parent / "samples"
LEADS = 60


@pytest.fixture
def source(tmp_path: Path) -> Path:
    return tmp_path / "ai_scheduler.db"


@pytest.fixture
def target(tmp_path: Path) -> Path:
    return tmp_path / "back.db"


def migrate(path: Path) -> None:
    try:
        call_command("migrate_from_sqlite", str(path), "--no-input")
    except CommandError as error:
        if error.returncode != 3:  # done, with rejected rows
            raise


def export(path: Path) -> None:
    call_command("export_to_sqlite", str(path), "--force")


def source_rows(path: Path, table: str) -> Rows:
    """Return the rows that the export should give back."""
    with opened(path) as file:
        present = {row[0] for row in file.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = rows(path, table) if table in present else {}
    if table == "calls" and "calls_backup" in present:
        found = {**rows(path, "calls_backup"), **found}
    rejected = ImportRowNote.objects.filter(table_name=table, kind="rejected").exclude(
        reason__endswith="is another call in calls"
    )
    gone = set(rejected.values_list("row_id", flat=True))
    return {row_id: row for row_id, row in found.items() if row_id not in gone}


def expected(table: str, name: str, cell: tuple[str, Any]) -> tuple[str, Any]:
    if (table, name) == ("partners", "api_key") and cell[1]:
        return "text", str(hide_key(cell[1]))
    return cell


def assert_given_back(source: Path, target: Path) -> None:
    for table in TABLES:
        before, after = source_rows(source, table.name), rows(target, table.name)
        assert sorted(after) == sorted(before), table.name
        for row_id, row in before.items():
            wanted = {name: expected(table.name, name, cell) for name, cell in row.items()}
            given = {name: after[row_id][name] for name in row}
            assert given == wanted, f"{table.name} {row_id}"


@pytest.mark.parametrize("sample", sorted(SAMPLES.glob("*.db")), ids=lambda path: path.stem)
def test_a_real_file_comes_back(sample: Path, source: Path, target: Path) -> None:
    shutil.copy(sample, source)
    migrate(source)
    export(target)
    assert_given_back(source, target)


@pytest.mark.parametrize("dirty", [False, True], ids=["clean", "dirty"])
@pytest.mark.parametrize("revision", REVISIONS)
def test_a_file_of_every_revision_comes_back(source: Path, target: Path, revision: int, dirty: bool) -> None:
    build(source, leads=LEADS, revision=revision, dirty=dirty)
    migrate(source)
    export(target)
    assert_given_back(source, target)


def test_a_clean_file_comes_back_with_its_schema(source: Path, target: Path) -> None:
    build(source, leads=LEADS)
    migrate(source)
    export(target)
    query = "SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY name"
    with opened(source) as old, opened(target) as new:
        assert new.execute(query).fetchall() == old.execute(query).fetchall()


def test_what_the_exported_file_holds_can_be_imported_again(source: Path, target: Path) -> None:
    build(source, leads=LEADS, dirty=True)
    migrate(source)
    export(target)
    before = list(Call.objects.order_by("id").values())
    call_command("flush", "--no-input", verbosity=0)
    migrate(target)
    assert list(Call.objects.order_by("id").values()) == before


def test_only_notes_of_the_last_run_count(source: Path, target: Path) -> None:
    build(source, leads=LEADS)
    with opened(source) as file:
        file.execute("UPDATE conversation_history SET role = 'user', message = 7 WHERE id = 5")
        file.commit()
    migrate(source)
    with opened(source) as file:
        file.execute("UPDATE conversation_history SET role = 'USER' WHERE id = 5")
        file.commit()
    migrate(source)
    Turn.objects.filter(pk=6).update(message="changed since")
    export(target)
    turns = rows(target, "conversation_history")
    assert turns[5]["role"] == ("text", "USER")
    assert turns[6]["message"] == ("text", "changed since")


def test_a_later_import_of_a_file_without_the_table_leaves_its_originals(
    source: Path, target: Path, tmp_path: Path
) -> None:
    build(source, leads=LEADS, dirty=True)
    migrate(source)
    stray = tmp_path / "stray.db"
    build(stray, leads=LEADS, dirty=True)
    with opened(stray) as file:
        for table in ("leads", "calls", "calls_backup", "conversation_history", "meetings", "settings"):
            file.execute(f"DROP TABLE {table}")
        file.commit()
    migrate(stray)
    export(target)
    assert_given_back(source, target)
