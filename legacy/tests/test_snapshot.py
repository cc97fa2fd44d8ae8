"""Damaged files: refused with one sentence, or moved whole; never a row less without a word."""

import io
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from random import Random

import pytest
from rich.console import Console

from legacy import snapshot
from legacy.convert import Context
from legacy.errors import UnusableSource
from legacy.pipeline import ALL_TABLES, map_snapshot
from legacy.progress import Reporter
from legacy.synthetic.build import build
from legacy.tables import TABLES
from legacy.target import Connection
from legacy.tests.moves import migrate, stored
from legacy.workspace import open_workspace

SEED = 20251102
TRUNCATIONS, FLIPS = 50, 200
THE_TABLES = (*(table.name for table in TABLES), "import_runs", "import_row_notes", "import_row_digests")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """A file of small pages: many headers, inner pages and overflow pages to hit."""
    path = tmp_path_factory.mktemp("damage") / "whole.db"
    build(path, leads=6)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA page_size=512")
        file.execute("VACUUM")
    return path.read_bytes()


def rows_by_tree(path: Path) -> int:
    """Count the rows of every table one by one, as they stand in the tables themselves."""
    with closing(sqlite3.connect(path)) as file:
        names = [
            row[0]
            for row in file.execute("SELECT name FROM sqlite_master WHERE rootpage AND sql LIKE '%TABLE%'")
        ]
        return sum(sum(1 for _ in file.execute(f'SELECT rowid FROM "{name}" NOT INDEXED')) for name in names)


def mapped_rows(path: Path) -> int:
    """Return how many rows of a file the move accounts for, tables that it does not know included."""
    nothing: Connection = None  # type: ignore[assignment]
    copy = snapshot.take_snapshot(path)
    with open_workspace(copy, Context()) as workspace:
        mapping = map_snapshot(nothing, workspace, ALL_TABLES, Reporter(Console(file=io.StringIO())), None)
        total = sum(workspace.layout.unknown_tables.values())
        for mapped in mapping.tables:
            rows = sum(len(chunk) for chunk in mapped.chunks())
            assert rows + workspace.rejected(mapped.table) == workspace.read(mapped.table), mapped.table.name
            total += workspace.read(mapped.table)
    return total


def flips(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield places and bits: half of them anywhere, half of them where pages describe themselves."""
    random = Random(SEED)
    for number in range(FLIPS):
        page = random.randrange(len(content) // 512) * 512
        place = random.randrange(len(content)) if number % 2 else page + random.randrange(16)
        yield place, random.randrange(8)


def flipped(content: bytes, place: int, bit: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1 << bit
    return bytes(damaged)


def test_a_truncated_file_is_refused(tmp_path: Path, content: bytes) -> None:
    path, random = tmp_path / "ai_scheduler.db", Random(SEED)
    for length in sorted(random.randrange(len(content)) for _ in range(TRUNCATIONS)):
        path.write_bytes(content[:length])
        with pytest.raises(UnusableSource) as caught:
            snapshot.check_source(path)
            mapped_rows(path)
        assert str(caught.value).endswith(".") and "\n" not in str(caught.value), length
        assert [each.name for each in tmp_path.iterdir()] == [path.name], length
        assert path.read_bytes() == content[:length]


def test_a_flipped_bit_loses_no_row_without_a_word(tmp_path: Path, content: bytes) -> None:
    path, refused, moved = tmp_path / "ai_scheduler.db", 0, 0
    path.write_bytes(content)
    whole = rows_by_tree(path)
    for place, bit in flips(content):
        damaged = flipped(content, place, bit)
        path.write_bytes(damaged)
        try:
            snapshot.check_source(path)
            found = mapped_rows(path)
        except UnusableSource as error:
            assert str(error).endswith(".") and "\n" not in str(error), (place, bit)
            refused += 1
        else:
            assert found == whole, (place, bit)
            moved += 1
        assert path.read_bytes() == damaged
        assert {each.name for each in tmp_path.iterdir()} <= {path.name, f"{path.name}.backup"}, (place, bit)
    assert refused > FLIPS // 4 and moved > FLIPS // 4


@pytest.mark.django_db(transaction=True)
def test_an_import_of_a_damaged_file_verifies_or_changes_nothing(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ai_scheduler.db"
    before = stored(*THE_TABLES)
    for place, bit in list(flips(content))[:: FLIPS // 20]:
        path.write_bytes(flipped(content, place, bit))
        outcome = migrate(path, "--dry-run")
        assert outcome.code in (0, 2, 3), (place, bit, outcome.message)
        assert outcome.code == 2 or outcome.report["verified"]
        assert stored(*THE_TABLES) == before


@pytest.mark.parametrize(
    "statement", ["SET type = 'xable' WHERE name = 'leads'", "SET name = 'xeads' WHERE name = 'leads'"]
)
def test_a_table_that_sqlite_would_overlook_is_damage(tmp_path: Path, content: bytes, statement: str) -> None:
    path = tmp_path / "ai_scheduler.db"
    path.write_bytes(content)
    with closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA writable_schema=on")
        file.execute(f"UPDATE sqlite_master {statement}")
        file.commit()
    with pytest.raises(UnusableSource):
        mapped_rows(path)


def test_an_index_that_lacks_rows_hides_none(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "ai_scheduler.db"
    path.write_bytes(content)
    whole = rows_by_tree(path)
    with closing(sqlite3.connect(path)) as file:
        # The indexes of leads become those of an empty table, with no entry for any row.
        file.execute("CREATE TABLE empty AS SELECT * FROM leads WHERE false")
        roots = file.execute(
            "SELECT name, rootpage FROM sqlite_master WHERE tbl_name = 'leads' AND type = 'index'"
        ).fetchall()
        file.execute("PRAGMA writable_schema=on")
        for name, root in roots:
            file.execute(f"CREATE INDEX bare_{name} ON empty (id)")
            bare = "(SELECT rootpage FROM sqlite_master WHERE name = 'bare_' || ?1)"
            file.execute(
                f"UPDATE sqlite_master SET rootpage = CASE name WHEN ?1 THEN {bare} ELSE ?2 END"
                " WHERE name IN (?1, 'bare_' || ?1)",
                (name, root),
            )
        file.commit()
    try:
        assert mapped_rows(path) == whole
    except UnusableSource as error:
        assert "damaged" in str(error)


def test_a_key_that_is_no_row_number_hides_no_row(tmp_path: Path) -> None:
    path = tmp_path / "ai_scheduler.db"
    with closing(sqlite3.connect(path)) as file:
        # DESC makes it an ordinary column, in which SQLite takes NULL, text and fractions.
        file.execute(
            "CREATE TABLE settings (id INTEGER PRIMARY KEY DESC, key TEXT, value TEXT, updated_at TEXT)"
        )
        for row_id in (1, None, None, "abc", 2.5, 7):
            file.execute(
                "INSERT INTO settings VALUES (?, ?, 'v', '2025-01-01 00:00:00')", (row_id, f"key {row_id}")
            )
        file.execute(
            "CREATE TABLE leads (id INTEGER PRIMARY KEY DESC, name, phone, status, created_at, updated_at)"
        )
        for row_id in (3, None, 1, None, "x", 1.5):
            file.execute(
                "INSERT INTO leads VALUES (?1, 'A', '+1415555010' || ?1, 'PENDING', ?2, ?2)",
                (row_id, "2025-01-01 00:00:00"),
            )
        file.commit()
    assert mapped_rows(path) == 12
