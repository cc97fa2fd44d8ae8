import io
import os
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from legacy.report import LISTED_NOTES
from legacy.snapshot import backup_path
from legacy.tables import TABLES
from legacy.tests.files import rows
from legacy.tests.handmade import BARE, call, everything, lead, meeting, partner, setting, stored, turn, write
from legacy.tests.moves import files_of, migrate, sql

pytestmark = pytest.mark.django_db(transaction=True)

COUNTS = ["read", "inserted", "updated", "unchanged", "rejected", "repaired", "conflicts"]
SPOIL = """
CREATE FUNCTION spoil() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN NEW.name = NEW.name || '!'; RETURN NEW; END $$;
CREATE TRIGGER spoil BEFORE INSERT ON leads FOR EACH ROW EXECUTE FUNCTION spoil();
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ai_scheduler.db"


@pytest.fixture
def faulty(path: Path) -> Path:
    """Two rows are rejected and one is repaired."""
    leads = [lead(1), lead(2, phone=""), lead(3, status="ARCHIVED")]
    return write(path, {"leads": leads, "calls": [call(1), call(2, lead_id=2)]})


@pytest.fixture
def url() -> str:
    """Address of this test's database, for commands in processes of their own."""
    parts = urlsplit(os.environ["DATABASE_URL"])
    return parts._replace(path=f"/{connection.settings_dict['NAME']}").geturl()


def family() -> dict[str, list[dict[str, object]]]:
    return {
        "partners": [partner()],
        "leads": [lead(1, partner_id=1), lead(2)],
        "calls": [call()],
        "conversation_history": [turn()],
        "meetings": [meeting(call_id=1)],
        "settings": [setting()],
    }


def test_exit_code_0_and_plain_lines_when_all_rows_are_in(path: Path, url: str, manage) -> None:
    run = manage("migrate_from_sqlite", str(write(path, family())), DATABASE_URL=url)
    assert (run.returncode, run.stderr) == (0, "")
    assert "\x1b" not in run.stdout and "\r" not in run.stdout
    lines = run.stdout.splitlines()
    assert [line.split(":")[0] for line in lines[:3]] == ["Reading and converting", "Loading", "Verifying"]
    assert all(line.endswith(" s") and ": 7 rows in " in line for line in lines[:3])
    assert lines[3].split() == ["table", *COUNTS]
    assert lines[4].split() == ["partners", "1", "1", "0", "0", "0", "0", "0"]
    assert lines[-1].startswith("Imported, verified: 7 rows in ")
    assert list(stored("leads")) == [1, 2]


def test_exit_code_3_when_rows_were_rejected(faulty: Path, url: str, manage) -> None:
    run = manage("migrate_from_sqlite", str(faulty), "--no-input", DATABASE_URL=url)
    assert run.returncode == 3
    assert "Traceback" not in run.stderr and "2" in run.stderr and "rejected" in run.stderr
    assert "rejected: leads 2: phone is empty" in run.stdout
    assert list(stored("leads")) == [1, 3]


@pytest.mark.parametrize(
    "options", [("none.db",), ("ai_scheduler.db", "--unknown"), ("ai_scheduler.db", "--on-conflict=no"), ()]
)
def test_exit_code_2_when_source_or_arguments_cannot_be_used(
    path: Path, url: str, manage, options: tuple[str, ...]
) -> None:
    write(path, family())
    before = everything()
    given = [str(path.with_name(each)) if each.endswith(".db") else each for each in options]
    run = manage("migrate_from_sqlite", *given, DATABASE_URL=url)
    assert (run.returncode, "Traceback" in run.stderr, everything()) == (2, False, before)
    assert os.listdir(path.parent) == [path.name]


def test_exit_code_4_when_postgresql_holds_something_else(path: Path, url: str, manage) -> None:
    before = everything()
    sql(SPOIL)
    try:
        run = manage("migrate_from_sqlite", str(write(path, family())), DATABASE_URL=url)
    finally:
        sql("DROP FUNCTION spoil CASCADE")
    assert (run.returncode, everything()) == (4, before)
    assert "leads 1: name differs; leads 2: name differs" in run.stderr
    assert "Traceback" not in run.stderr


def test_exit_code_5_when_more_rows_are_rejected_than_allowed(faulty: Path, url: str, manage) -> None:
    before = everything()
    run = manage("migrate_from_sqlite", str(faulty), "--max-rejected=1", DATABASE_URL=url)
    assert (run.returncode, everything()) == (5, before)
    assert run.stderr.strip().endswith("nothing was changed.")


def test_exit_code_1_when_postgresql_cannot_be_reached(path: Path, manage) -> None:
    nobody = "postgres://scheduler:secret@127.0.0.1:1/scheduler"
    run = manage("migrate_from_sqlite", str(write(path, family())), DATABASE_URL=nobody)
    assert (run.returncode, "Traceback" in run.stderr, "secret" in run.stderr) == (1, False, False)


def test_as_many_rejected_rows_as_allowed_are_no_reason_to_stop(faulty: Path) -> None:
    assert migrate(faulty, "--max-rejected=1").code == 5
    assert migrate(faulty, "--max-rejected=2").code == 3


def test_the_report_has_exactly_the_promised_shape(faulty: Path) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(faulty.parent)
        report = migrate(Path(faulty.name)).report
    assert list(report) == [
        "source",
        "target",
        "dry_run",
        "verified",
        "seconds",
        "rows_per_second",
        "tables",
        "notes",
        "missing_in_sqlite",
    ]
    assert report["source"] == {
        "path": faulty.name,
        "bytes": faulty.stat().st_size,
        "tables": {"leads": 3, "calls": 2},
        "unknown_tables": {},
    }
    assert list(report["target"]) == ["host", "database"]
    assert report["target"]["database"] == connection.settings_dict["NAME"]
    assert (report["dry_run"], report["verified"], report["missing_in_sqlite"]) == (False, True, [])
    assert isinstance(report["seconds"], float) and isinstance(report["rows_per_second"], int)
    assert list(report["tables"]) == [table.name for table in TABLES]
    assert all(list(counts) == COUNTS for counts in report["tables"].values())
    assert list(report["tables"]["leads"].values()) == [3, 2, 0, 0, 1, 1, 0]
    assert list(report["tables"]["calls"].values()) == [2, 1, 0, 0, 1, 0, 0]


def test_the_report_lists_rejected_rows_first_and_whole(faulty: Path) -> None:
    notes = migrate(faulty).report["notes"]
    assert [(note["table"], note["id"], note["kind"]) for note in notes] == [
        ("leads", 2, "rejected"),
        ("calls", 2, "rejected"),
        ("leads", 3, "repaired"),
    ]
    assert notes[0] == {
        "table": "leads",
        "id": 2,
        "kind": "rejected",
        "column": None,
        "original": lead(2, phone=""),
        "reason": "phone is empty",
    }
    assert (notes[2]["column"], notes[2]["original"]) == ("status", "ARCHIVED")


def test_the_report_lists_a_thousand_notes_and_postgresql_has_all(path: Path) -> None:
    rejected = [setting(number, key="") for number in range(1, LISTED_NOTES + 6)]
    report = migrate(write(path, {"settings": rejected})).report
    assert [note["id"] for note in report["notes"]] == list(range(1, LISTED_NOTES + 1))
    assert sql("SELECT count(*) FROM import_row_notes WHERE kind = 'rejected'") == [(LISTED_NOTES + 5,)]
    assert sql("SELECT report -> 'notes' FROM import_runs") == [(None,)]


def test_a_dry_run_does_all_of_it_and_writes_nothing(faulty: Path) -> None:
    before = everything()
    outcome = migrate(faulty, "--dry-run")
    assert (outcome.code, everything()) == (3, before)
    assert (outcome.report["dry_run"], outcome.report["verified"]) == (True, True)
    assert outcome.counts("leads") == {"read": 3, "inserted": 2, "rejected": 1, "repaired": 1}
    after = migrate(faulty)
    assert (after.code, after.counts("leads")) == (3, outcome.counts("leads"))


def test_ids_go_on_after_a_dry_run_whatever_it_did_to_the_sequences(path: Path) -> None:
    migrate(write(path, {"leads": [lead(500)]}), "--dry-run")
    (new,) = sql("INSERT INTO leads (name, phone) VALUES ('Eve', '+41446681800') RETURNING id")[0]
    assert new >= 1
    sql("DELETE FROM leads")
    assert migrate(path).counts("leads") == {"read": 1, "inserted": 1}


@pytest.mark.parametrize("layout", ["as the old application declares it", BARE])
def test_the_copy_equals_the_source_and_the_source_stays_as_it_is(path: Path, layout: str) -> None:
    odd = {**family(), "settings": [setting(value=b"\xff"), setting(2, value="a\0b")], "extra": [{"id": 1}]}
    write(path, odd, layout)
    before = files_of(path)
    migrate(path)
    assert files_of(path) == before
    assert sorted(os.listdir(path.parent)) == [path.name, backup_path(path).name]
    for table in odd:
        assert rows(backup_path(path), table) == rows(path, table)


def test_only_the_chosen_tables_are_imported(path: Path) -> None:
    outcome = migrate(write(path, family()), "--tables", "settings, partners")
    assert (outcome.code, outcome.total("read")) == (0, 2)
    assert (list(stored("settings")), list(stored("partners")), list(stored("leads"))) == ([1], [1], [])


def test_children_find_parents_that_postgresql_has(path: Path) -> None:
    migrate(write(path, family()), "--tables=partners,leads")
    outcome = migrate(path, "--tables=calls,meetings")
    assert (outcome.code, outcome.total("inserted"), outcome.total("repaired")) == (0, 2, 0)
    assert stored("meetings")[1]["call_id"] == 1


def test_children_without_their_parents_in_postgresql_are_orphans(path: Path) -> None:
    outcome = migrate(write(path, family()), "--tables=leads,conversation_history")
    assert (outcome.code, outcome.notes("rejected")) == (3, [("conversation_history", 1)])
    assert outcome.notes("repaired") == [("leads", 1)]
    whole = migrate(path)
    assert (whole.code, stored("leads")[1]["partner_id"], list(stored("conversation_history"))) == (0, 1, [1])


@pytest.mark.parametrize(
    ("answer", "code", "found"), [("n", 1, []), ("", 1, []), ("Y", 0, [1]), ("yes", 0, [1])]
)
def test_on_a_terminal_it_asks_first(
    path: Path, monkeypatch: pytest.MonkeyPatch, answer: str, code: int, found: list[int]
) -> None:
    write(path, {"leads": [lead()]})
    asked: list[str] = []

    def reply(question: str) -> str:
        asked.append(question)
        return answer

    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    monkeypatch.setattr("builtins.input", reply)
    try:
        call_command("migrate_from_sqlite", str(path), stdout=io.StringIO())
        ended = 0
    except CommandError as error:
        ended = error.returncode
    assert (ended, list(stored("leads")), len(asked)) == (code, found, 1)
    assert str(connection.settings_dict["NAME"]) in asked[0]
