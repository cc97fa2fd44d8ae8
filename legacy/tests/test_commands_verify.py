import io
import json
import os
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.core.management import CommandError, call_command

from legacy.tests.handmade import call, everything, lead, meeting, moment, partner, run, stored, turn, write
from legacy.tests.moves import change, migrate, sql

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def moved(tmp_path: Path) -> Path:
    """A file with a repaired and a rejected row that was imported."""
    leads = [lead(1, partner_id=1), lead(2, phone="0041 44 668 18 00", country_code="CH"), lead(3, phone="")]
    tables = {"partners": [partner()], "leads": leads, "calls": [call()], "conversation_history": [turn()]}
    path = write(tmp_path / "ai_scheduler.db", {**tables, "meetings": [meeting()]})
    assert migrate(path).code == 3
    return path


def verify(path: Path, *options: str) -> tuple[int, str]:
    output = io.StringIO()
    try:
        call_command("verify_import", str(path), *options, stdout=output)
    except CommandError as error:
        return error.returncode, f"{output.getvalue()}{error}"
    return 0, output.getvalue()


def reported(path: Path, *options: str) -> Any:
    report = path.with_name("verification.json")
    verify(path, f"--report={report}", *options)
    return json.loads(report.read_text())


def test_what_was_repaired_or_rejected_is_no_difference(moved: Path) -> None:
    code, output = verify(moved)
    assert (code, output.splitlines()[-1]) == (0, "6 rows are the same in the file and in PostgreSQL.")


def test_it_reads_only(moved: Path) -> None:
    before = everything(), os.listdir(moved.parent), moved.read_bytes()
    sql("UPDATE leads SET name = 'Changed' WHERE id = 1")
    changed = everything()
    verify(moved)
    assert (everything(), os.listdir(moved.parent), moved.read_bytes()) == (changed, *before[1:])


def test_the_report_lists_every_difference(moved: Path) -> None:
    assert reported(moved) == {"source": {"path": str(moved)}, "rows": 6, "equal": True, "differences": []}
    sql("UPDATE leads SET name = 'Changed', priority = 5 WHERE id = 1")
    sql("DELETE FROM conversation_history")
    sql("INSERT INTO settings (id, key, value) VALUES (9, 'new', '1')")
    report = reported(moved)
    assert (report["rows"], report["equal"]) == (6, False)
    assert report["differences"] == [
        {"table": "leads", "id": 1, "kind": "changed", "column": "name"},
        {"table": "leads", "id": 1, "kind": "changed", "column": "priority"},
        {"table": "conversation_history", "id": 1, "kind": "missing", "column": None},
        {"table": "settings", "id": 9, "kind": "extra", "column": None},
    ]


def test_a_changed_cell_ends_with_code_4_and_is_named(moved: Path) -> None:
    sql("UPDATE meetings SET duration = 31")
    code, output = verify(moved)
    assert code == 4
    assert "meetings 1: duration differs" in output.splitlines()
    assert len(output.splitlines()) <= 4


def test_a_changed_cell_of_the_file_is_found_too(moved: Path) -> None:
    change(moved, "UPDATE calls SET duration = 62")
    assert verify(moved)[0] == 4


def test_new_rows_are_listed_but_no_failure_when_allowed(moved: Path) -> None:
    sql("INSERT INTO leads (id, name, phone) VALUES (99, 'New', '+41446681801')")
    code, output = verify(moved)
    assert (code, "leads 99: only in PostgreSQL" in output) == (4, True)
    code, output = verify(moved, "--allow-new")
    assert (code, "leads 99: only in PostgreSQL" in output) == (0, True)
    sql("UPDATE leads SET name = 'Changed' WHERE id = 1")
    assert verify(moved, "--allow-new")[0] == 4


def test_unusable_files_and_reports_end_with_code_2(moved: Path, tmp_path: Path) -> None:
    assert verify(tmp_path / "none.db")[0] == 2
    assert verify(tmp_path)[0] == 2
    code, sentence = verify(moved, f"--report={tmp_path / 'no' / 'report.json'}")
    assert (code, "cannot be written" in sentence, sentence.count("\n")) == (2, True, 0)


def test_times_are_compared_in_the_zone_of_the_import(tmp_path: Path) -> None:
    path = write(tmp_path / "ai_scheduler.db", {"leads": [lead(created_at="2025-07-01 12:00:00")]})
    assert migrate(path, "--naive-timezone=Europe/Zurich").code == 0
    assert stored("leads")[1]["created_at"] == moment("2025-07-01 10:00:00")
    assert verify(path)[0] == 0
    again = run(path, zone=ZoneInfo("Europe/Zurich"))
    assert (again.tables["leads"].unchanged, verify(path)[0]) == (1, 0)


def test_a_file_of_a_name_that_is_no_utf8_can_be_reported(tmp_path: Path) -> None:
    path = write(tmp_path / os.fsdecode(b"caf\xe9.db"), {"leads": [lead()]})
    assert migrate(path).code == 0
    assert reported(path)["equal"]


def test_the_exit_code_is_that_of_the_process(moved: Path, manage, tmp_path: Path) -> None:
    assert manage("verify_import", str(tmp_path / "none.db")).returncode == 2
