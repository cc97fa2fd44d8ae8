import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from legacy.errors import MoveError, UnusableSource
from legacy.schema import REVISIONS, create_schema
from legacy.tests.handmade import (
    BARE,
    LAYOUTS,
    NOON,
    UPPER,
    Note,
    bring,
    call,
    counts,
    insert,
    lead,
    meeting,
    moment,
    notes,
    partner,
    run,
    setting,
    stored,
    turn,
    write,
)

pytestmark = pytest.mark.django_db

ALL = {
    "partners": [partner()],
    "leads": [lead(1, partner_id=1), lead(2)],
    "calls": [call(1), call(2, lead_id=2)],
    "conversation_history": [turn(1), turn(2, role="USER")],
    "meetings": [meeting(1, call_id=2), meeting(2)],
    "settings": [setting()],
}
UNKNOWN = "column unknown to the old system, value kept here"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "ai_scheduler.db"


def script(path: Path, *statements: str) -> Path:
    with closing(sqlite3.connect(path)) as file, file:
        for statement in statements:
            file.execute(statement)
    return path


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_table_of_any_layout_is_imported_in_full(tmp_path: Path, layout: str) -> None:
    report = run(write(tmp_path / "old.db", ALL, layout))
    assert counts(report) == {name: (len(rows), len(rows), 0) for name, rows in ALL.items()}
    assert (report.verified, sum(each.repaired for each in report.tables.values())) == (True, 0)
    assert stored("calls")[2]["ended_at"] == moment("2025-11-02 12:05:00")
    assert stored("leads")[1]["partner_id"] == 1


@pytest.mark.parametrize("revision", REVISIONS)
def test_a_file_of_any_revision_is_imported_in_full(path: Path, revision: int) -> None:
    with closing(sqlite3.connect(path)) as file, file:
        create_schema(file, revision)
        for table, rows in ALL.items():
            known = {column[1] for column in file.execute(f"PRAGMA table_info({table})")}
            insert(file, table, ({k: v for k, v in row.items() if k in known} for row in rows if known))
    report = run(path)
    assert all(read == inserted for read, inserted, _ in counts(report).values())
    assert sum(each.repaired for each in report.tables.values()) == 0
    assert stored("meetings")[1]["call_id"] == 2


@pytest.mark.parametrize("junk", ["'x'", "NULL", "1.5"])
def test_a_descending_key_holds_ids_that_are_no_numbers_and_they_are_rejected(path: Path, junk: str) -> None:
    write(path, {"leads": [lead(1)]}, LAYOUTS[3])
    script(path, f"INSERT INTO leads (id, name, phone) VALUES ({junk}, 'a', '+41446681800')")
    assert counts(run(path)) == {"leads": (2, 1, 1)}


def test_a_column_named_rowid_makes_no_table_regular(path: Path) -> None:
    script(
        path,
        "CREATE TABLE settings (id INTEGER PRIMARY KEY, rowid TEXT, key, value, updated_at) WITHOUT ROWID",
        "CREATE TABLE leads (rowid, id INTEGER PRIMARY KEY, name, phone, status, created_at, updated_at)"
        " WITHOUT ROWID",
        "INSERT INTO leads VALUES ('r', 'x', 'Anna', '+41446681800', 'PENDING', NULL, NULL)",
    )
    assert counts(run(path)) == {"leads": (1, 0, 1)}


def test_missing_columns_are_empty_and_missing_required_ones_noted(path: Path) -> None:
    script(
        path,
        "CREATE TABLE leads (phone, id)",
        "INSERT INTO leads VALUES ('+41446681800', 1)",
        "CREATE TABLE calls (lead_id, id INTEGER PRIMARY KEY, started_at)",
        f"INSERT INTO calls VALUES (1, 1, '{NOON}')",
        "CREATE TABLE conversation_history (id INTEGER PRIMARY KEY, message)",
        "INSERT INTO conversation_history VALUES (1, 'Hello?')",
    )
    report = run(path)
    assert {note.column for note in notes("leads")} == {"name", "status", "created_at", "updated_at"}
    assert (stored("leads")[1]["status"], stored("leads")[1]["name"]) == ("failed", "")
    assert notes("calls") == [Note("repaired", "created_at", None, "empty; started_at taken")]
    assert counts(report)["conversation_history"] == (1, 0, 1)
    assert notes("conversation_history")[0].reason == "call_id is empty"


def test_a_table_without_an_id_column_is_rejected_row_by_row(path: Path) -> None:
    report = run(script(path, "CREATE TABLE leads (phone)", "INSERT INTO leads VALUES ('+41446681800')"))
    assert counts(report)["leads"] == (1, 0, 1)
    assert notes("leads") == [Note("rejected", None, {"phone": "+41446681800"}, "id is empty")]


@pytest.mark.parametrize("layout", LAYOUTS)
def test_content_of_unknown_columns_is_kept_in_notes(tmp_path: Path, layout: str) -> None:
    extra = {"hobby": "chess", "Größe": 1.5, 'a "b" [c]': None, "photo": b"\xff"}
    rows = [{**lead(1), **extra}, {**lead(2), **dict.fromkeys(extra)}]
    report = bring(tmp_path, layout, leads=rows, settings=[{**setting(), "hobby": ""}])
    assert sorted(note[1:3] for note in notes("leads")) == sorted(
        [("hobby", "chess"), ("Größe".lower(), 1.5), ("photo", {"blob_hex": "ff"})], key=lambda each: each[0]
    )
    assert notes("settings") == [Note("repaired", "hobby", "", UNKNOWN)]
    assert (report.tables["leads"].repaired, report.tables["settings"].repaired) == (1, 1)


def test_unknown_tables_are_reported_with_their_number_of_rows(path: Path) -> None:
    write(path, {"settings": [setting()]})
    script(
        path,
        "CREATE TABLE alembic_version (version_num)",
        "INSERT INTO alembic_version VALUES ('1'), ('2')",
        'CREATE TABLE "odd ""name"", (x)" (a)',
        "CREATE TABLE counted (id INTEGER PRIMARY KEY AUTOINCREMENT)",
        "CREATE VIEW leads AS SELECT 1 AS id",
        "INSERT INTO counted DEFAULT VALUES",
    )
    report = run(path)
    assert report.source["unknown_tables"] == {
        "alembic_version": 2,
        'odd "name", (x)': 0,
        "counted": 1,
        "sqlite_sequence": 1,
    }
    assert report.source["tables"] == {"settings": 1}


def test_a_full_text_index_is_no_obstacle(path: Path) -> None:
    write(path, {"settings": [setting()]})
    script(path, "CREATE VIRTUAL TABLE search USING fts5(body)", "INSERT INTO search VALUES ('hello')")
    assert run(path).source["unknown_tables"]["search"] == 1


def test_a_virtual_table_of_an_unknown_module_is_no_obstacle(path: Path) -> None:
    write(path, {"settings": [setting()]})
    script(
        path,
        "PRAGMA writable_schema=on",
        "INSERT INTO sqlite_master VALUES ('table', 'v', 'v', 0, 'CREATE VIRTUAL TABLE v USING strange(x)')",
    )
    assert counts(run(path)) == {"settings": (1, 1, 0)}


@pytest.mark.parametrize("encoding", ["UTF-16le", "UTF-16be"])
def test_a_file_in_utf16_is_imported_like_any_other(path: Path, encoding: str) -> None:
    script(path, f"PRAGMA encoding='{encoding}'", "CREATE TABLE other (x)")
    rows = [lead(1, name="Zoë"), lead(2, created_at="2025-11-02 14:03:11.500000")]
    report = run(write(path, {**ALL, "leads": rows}))
    assert counts(report)["leads"] == (2, 2, 0)
    assert stored("leads")[1]["name"] == "Zoë"


@pytest.mark.parametrize("collation", ["NOCASE", "RTRIM"])
def test_collations_of_columns_decide_nothing(path: Path, collation: str) -> None:
    columns = "name, phone, status, created_at, updated_at, lead_id, twilio_call_sid, started_at, outcome"
    declared = ", ".join(f"{name} TEXT COLLATE {collation}" for name in columns.split(", "))
    script(path, f"CREATE TABLE leads (id INTEGER PRIMARY KEY, {declared})")
    script(
        path,
        f"CREATE TABLE calls (id INTEGER PRIMARY KEY, {declared.replace('lead_id TEXT', 'lead_id INT')})",
    )
    with closing(sqlite3.connect(path)) as file, file:
        rows = [lead(1, phone="abc", status="pending"), lead(2, phone="ABC", status="PENDING "), lead(3)]
        known = columns.split(", ")
        insert(file, "leads", ({k: v for k, v in row.items() if k in ("id", *known)} for row in rows))
        calls = [call(1, twilio_call_sid="ca"), call(2, twilio_call_sid="CA"), call(3, twilio_call_sid="ca ")]
        insert(file, "calls", ({k: v for k, v in row.items() if k in ("id", *known)} for row in calls))
    run(path)
    assert [row["duplicate_of_id"] for row in stored("leads").values()] == [None] * 3
    assert [row["twilio_call_sid"] for row in stored("calls").values()] == ["ca", "CA", "ca "]


def test_generated_columns_are_unknown_columns(path: Path) -> None:
    script(
        path,
        "CREATE TABLE settings (id INTEGER PRIMARY KEY, key, value, updated_at, shout AS (upper(key)))",
        f"INSERT INTO settings VALUES (1, 'a', 'b', '{NOON}')",
        "CREATE TABLE leads (id INTEGER PRIMARY KEY, name, phone, status, created_at, updated_at,"
        " shout AS (upper(name)) STORED)",
        f"INSERT INTO leads VALUES (1, 'Anna', '+41446681800', 'PENDING', '{NOON}', '{NOON}')",
    )
    run(path)
    assert notes("settings") == [Note("repaired", "shout", "A", UNKNOWN)]
    assert notes("leads") == [Note("repaired", "shout", "ANNA", UNKNOWN)]


def test_a_generated_column_may_stand_in_for_one_of_the_old_system(path: Path) -> None:
    script(
        path,
        "CREATE TABLE leads (id INTEGER PRIMARY KEY, first, phone, status, created_at, updated_at,"
        " name AS (first || '!'))",
        f"INSERT INTO leads VALUES (1, 'Anna', '+41446681800', 'PENDING', '{NOON}', '{NOON}')",
    )
    run(path)
    assert stored("leads")[1]["name"] == "Anna!"


def test_ids_at_the_ends_of_their_range_are_imported(tmp_path: Path) -> None:
    ids = [-(2**63), -1, 0, 2**63 - 1]
    rows = [lead(each, phone=f"+1415555{200 + n:04}") for n, each in enumerate(ids)]
    assert counts(bring(tmp_path, leads=rows))["leads"] == (4, 4, 0)
    assert list(stored("leads")) == ids


@pytest.mark.parametrize("name", [b"caf\xe9.db", b"a?b#c%20d.db", b"new\nline.db", b"-x.db"])
def test_a_file_of_any_name_is_imported(tmp_path: Path, name: bytes) -> None:
    path = tmp_path / name.decode("utf-8", "surrogateescape")
    assert counts(run(write(path, {"settings": [setting()]}))) == {"settings": (1, 1, 0)}


def test_a_file_without_any_of_the_tables_is_refused(path: Path) -> None:
    with pytest.raises(UnusableSource, match="has none of the tables partners, leads, calls"):
        run(script(path, "CREATE TABLE other (x)"))
    assert issubclass(UnusableSource, MoveError)


def test_upper_case_names_are_reported_in_lower_case(tmp_path: Path) -> None:
    assert run(write(tmp_path / "old.db", ALL, UPPER)).source["tables"] == {
        name: len(rows) for name, rows in ALL.items()
    }


def test_empty_tables_need_no_rows(tmp_path: Path) -> None:
    report = run(write(tmp_path / "old.db", {name: [] for name in ALL}, BARE))
    assert (counts(report), report.verified) == ({}, True)
