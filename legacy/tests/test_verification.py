"""What was changed in PostgreSQL behind the import's back is found, cell by cell and row by row."""

import math
import sqlite3
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import pytest
from django.db import IntegrityError, transaction

from legacy import load, merge
from legacy.mapped import Chunk, MappedTable
from legacy.merge import Merge
from legacy.synthetic.build import build
from legacy.tables import BY_NAME, LEAD_STATUSES, LEADS, MEETING_STATUSES, OUTCOMES, ROLES, TABLES
from legacy.tests.moves import change, differences, migrate, sql, stored, verify

pytestmark = pytest.mark.django_db(transaction=True)

SEED = 300
CHANGES = 300
CHOICES = {
    ("leads", "status"): LEAD_STATUSES,
    ("calls", "outcome"): OUTCOMES,
    ("conversation_history", "role"): ROLES,
    ("meetings", "status"): MEETING_STATUSES,
}
SHOWN_AS = {"host_id": "host"}
# What keeps a copy of a row from colliding with it.
OTHER_VALUES: dict[str, dict[str, str | None]] = {
    "partners": {"name": "copy {id}"},
    "leads": {"phone": "copy {id}"},
    "calls": {"twilio_call_sid": None, "ended_at": "2099-01-01"},
    "conversation_history": {"turn": "{turn}"},
    "meetings": {"calendar_event_id": None, "status": "cancelled"},
    "settings": {"key": "copy {id}"},
}


class Cell(NamedTuple):
    table: str
    column: str
    kind: str
    nullable: bool


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("verification") / "built.db"
    build(path, leads=60, dirty=True)
    with closing(sqlite3.connect(path)) as file:
        file.execute("DELETE FROM conversation_history WHERE id BETWEEN 500 AND 520")
        file.commit()
    return path.read_bytes()


@pytest.fixture
def source(tmp_path: Path, content: bytes) -> Path:
    """A dirty file that was imported."""
    path = tmp_path / "ai_scheduler.db"
    path.write_bytes(content)
    assert migrate(path).code == 3
    sql("SET session_replication_role = replica")  # no foreign keys for this session
    sql("INSERT INTO meeting_hosts (name) VALUES ('Another calendar')")
    return path


def cells() -> list[Cell]:
    """Return every column of the six tables that PostgreSQL itself does not work out."""
    rows = sql(
        "SELECT table_name, column_name, data_type, is_nullable = 'YES' FROM information_schema.columns"
        " WHERE table_schema = 'public' AND table_name = ANY(%s) AND is_generated = 'NEVER' ORDER BY 1, 2",
        [table.name for table in TABLES],
    )
    return [Cell(*row) for row in rows if row[1] != "id"]


def other_text(value: str | None, nullable: bool, random: Random) -> str | None:
    if value is None:
        return random.choice(["", " ", "NULL", "\\N"])
    changed = [f"{value} ", f" {value}", value.swapcase(), value[:-1], f"{value}\n", value + "\u0301"]
    return random.choice([each for each in [*changed, *([None] if nullable else [])] if each != value])


def other_value(cell: Cell, value: Any, random: Random) -> Any:
    """Return a value that is not the old one, but as near to it as can be."""
    if choices := CHOICES.get((cell.table, cell.column)):
        return random.choice([each for each in choices if each != value])
    if cell.kind in ("text", "character varying"):
        return other_text(value, cell.nullable, random)
    if value is not None and cell.nullable and random.random() < 0.3:
        return None
    if cell.kind == "boolean":
        return not value
    if cell.kind == "double precision":
        return math.nextafter(value or 0.0, math.inf)
    if cell.kind.startswith("timestamp"):
        return "2025-01-01+00" if value is None else value + timedelta(microseconds=random.choice([-1, 1]))
    if cell.column == "host_id":
        return sql("SELECT id FROM meeting_hosts WHERE id <> %s", value)[0][0]
    return (value or 0) + 1


def change_cell(cell: Cell, row_id: int, random: Random) -> bool:
    """Change one cell; return False when a constraint does not allow it."""
    [(value,)] = sql(f'SELECT "{cell.column}" FROM "{cell.table}" WHERE id = %s', row_id)
    new = other_value(cell, value, random)
    try:
        with transaction.atomic():
            sql(f'UPDATE "{cell.table}" SET "{cell.column}" = %s WHERE id = %s', new, row_id)
    except IntegrityError:
        return False
    return True


def ids_of(table: str) -> list[int]:
    return [row[0] for row in sql(f'SELECT id FROM "{table}" ORDER BY id')]


def change_cells(random: Random, number: int) -> set[tuple[str, int, str | None]]:
    """Change cells of random rows, column after column; return what they are called."""
    changed: set[tuple[str, int, str | None]] = set()
    ids = {table.name: ids_of(table.name) for table in TABLES}
    columns = cells()
    for attempt in range(number * 3):
        cell = columns[attempt % len(columns)]
        row_id = random.choice(ids[cell.table])
        name = (cell.table, row_id, SHOWN_AS.get(cell.column, cell.column))
        if name not in changed and change_cell(cell, row_id, random):
            changed.add(name)
        if len(changed) == number:
            break
    assert {(table, column) for table, _, column in changed} == {
        (cell.table, SHOWN_AS.get(cell.column, cell.column)) for cell in columns
    }, "a column was never changed"
    return changed


def test_an_untouched_import_has_no_differences(source: Path) -> None:
    assert not verify(source).findings


def test_every_one_of_300_changed_cells_is_named(source: Path) -> None:
    changed = change_cells(Random(SEED), CHANGES)
    assert len(changed) == CHANGES
    assert differences(source) == changed


def test_a_cell_that_is_the_only_one_to_change_is_named(source: Path) -> None:
    random, columns = Random(SEED), cells()
    for cell in random.sample(columns, 8):
        row_id = random.choice(ids_of(cell.table))
        [(before,)] = sql(f'SELECT "{cell.column}" FROM "{cell.table}" WHERE id = %s', row_id)
        if change_cell(cell, row_id, random):
            assert differences(source) == {(cell.table, row_id, SHOWN_AS.get(cell.column, cell.column))}
            sql(f'UPDATE "{cell.table}" SET "{cell.column}" = %s WHERE id = %s', before, row_id)


def test_the_key_of_a_partner_is_compared(source: Path) -> None:
    sql("UPDATE partner_api_keys SET digest = repeat('0', 64) WHERE partner_id = 1")
    sql("UPDATE partner_api_keys SET prefix = prefix || 'x' WHERE partner_id = 1")
    assert differences(source) == {("partners", 1, "key_digest"), ("partners", 1, "key_prefix")}


def copy_row(table: str, row_id: int, new_id: int) -> None:
    """Insert a copy of a row under another id."""
    names = ", ".join(['"id"', *(f'"{cell.column}"' for cell in cells() if cell.table == table)])
    turn = 1_000_000_000 + abs(new_id) % 1_000_000
    other = {k: v and v.format(id=new_id, turn=turn) for k, v in OTHER_VALUES[table].items()}
    pairs = ", ".join("%s, %s::text" for _ in other)
    parameters = [part for pair in other.items() for part in pair]
    sql(
        f'INSERT INTO "{table}" ({names}) SELECT {names} FROM jsonb_populate_record(NULL::"{table}",'
        f" (SELECT to_jsonb(t) FROM \"{table}\" t WHERE id = %s) || jsonb_build_object('id', %s::bigint, {pairs}))",
        row_id,
        str(new_id),
        *parameters,
    )


def test_every_deleted_and_every_extra_row_is_named(source: Path) -> None:
    random, expected = Random(SEED), set()
    for table in TABLES:
        ids = ids_of(table.name)
        gap = [505] if table.name == "conversation_history" else []
        for new_id in (-(2**63), -7, 0, *gap, ids[-1] + 1, 2**31, 2**63 - 1):
            copy_row(table.name, ids[0], new_id)
            expected.add((table.name, new_id, None))
        # The first and the last too, at the edges of what is read.
        for row_id in {ids[0], ids[-1], *random.sample(ids, min(10, len(ids)))}:
            sql(f'DELETE FROM "{table.name}" WHERE id = %s', row_id)
            expected.add((table.name, row_id, None))
    kinds = {(each.table, each.row_id, each.kind) for each in verify(source).findings}
    assert differences(source) >= expected
    assert {(table, row_id) for table, row_id, _ in expected} == {
        (table, row_id) for table, row_id, kind in kinds if kind in ("missing", "extra")
    }


def test_new_rows_may_be_allowed(source: Path) -> None:
    for table in TABLES:
        copy_row(table.name, ids_of(table.name)[0], 10_000_000)
    assert (verify(source).failed, verify(source, allow_new=True).failed) == (6, 0)
    assert len(verify(source, allow_new=True).findings) == 6
    sql("DELETE FROM settings WHERE id = %s", ids_of("settings")[0])
    assert verify(source, allow_new=True).failed == 1


def test_many_rows_that_only_postgresql_has_are_all_named(source: Path) -> None:
    sql(
        "INSERT INTO conversation_history (call_id, turn, role, message)"
        " SELECT 1, 1000 + n, 'ai', 'extra' FROM generate_series(1, 9000) n"
    )
    assert len([each for each in verify(source).findings if each.kind == "extra"]) == 9000


# Faults of the program itself:


def without_last_row(text: bytes) -> bytes:
    return b"".join(text.splitlines(keepends=True)[:-1])


def with_another_letter(text: bytes) -> bytes:
    return text.replace(b"e", b"E", 1)


def with_a_row_twice(text: bytes) -> bytes:
    lines = text.splitlines(keepends=True)
    return b"".join([*lines[:-1], *lines[:1]])


@pytest.mark.parametrize("spoil", [without_last_row, with_another_letter])
@pytest.mark.parametrize("table", [table.name for table in TABLES if table.name != "partners"])
def test_a_fault_of_the_loader_is_found(
    old: Path, monkeypatch: pytest.MonkeyPatch, table: str, spoil: Callable[[bytes], bytes]
) -> None:
    whole = Chunk.copy_text

    def copy_text(self: Chunk, names: tuple[str, ...]) -> bytes:
        text = whole(self, names)
        return spoil(text) if names == load.stored_columns(BY_NAME[table]) else text

    monkeypatch.setattr(Chunk, "copy_text", copy_text)
    before = stored("leads", "calls", "import_runs")
    outcome = migrate(old)
    # A wrong parent or a lost one breaks a foreign key before the verification can see it.
    assert outcome.code == 4 or (outcome.code == 1 and "constraint" in outcome.message), outcome
    assert stored(*before) == before


def test_a_row_that_the_mapping_forgets_is_missed(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = MappedTable.chunks

    def chunks(self: MappedTable) -> Any:
        for chunk in whole(self):
            if self.table.name == "settings":
                chunk.columns = {name: values[:-1] for name, values in chunk.columns.items()}
            yield chunk

    monkeypatch.setattr(MappedTable, "chunks", chunks)
    assert migrate(old).code == 4
    assert stored("settings") == {"settings": []}


FAULTS = {
    "alters a row": "UPDATE leads SET name = name || ' ' WHERE id = 1",
    "alters a flag": "UPDATE leads SET phone_valid = NOT phone_valid WHERE id = 3",
    "loses a row": "DELETE FROM leads WHERE id = 3",
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS.keys())
def test_a_fault_of_the_merge_is_found(old: Path, monkeypatch: pytest.MonkeyPatch, fault: str) -> None:
    assert migrate(old).code == 0
    change(old, "UPDATE leads SET name = 'Benjamin' WHERE id = 2", "DELETE FROM meetings")
    before, whole = stored(), Merge._apply

    def apply(self: Merge) -> None:
        whole(self)
        if self.table is LEADS:
            self.connection.execute(fault.encode())

    monkeypatch.setattr(Merge, "_apply", apply)
    outcome = migrate(old)
    assert outcome.code == 4, outcome
    assert stored() == before


def test_a_row_that_the_merge_skips_is_found(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert migrate(old).code == 0
    change(old, "UPDATE leads SET name = 'Benjamin' WHERE id = 2")
    before = stored()
    monkeypatch.setattr(merge, "VERDICTS", merge.VERDICTS.replace("'update'", "'forgotten'"))
    assert migrate(old).code == 4
    assert stored() == before
