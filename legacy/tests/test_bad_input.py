"""Files that cannot be used, and surroundings that fail: one sentence, the right code, nothing written."""

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from stat import S_IMODE

import psycopg
import pytest
from django.db import connection

from legacy import pipeline, snapshot
from legacy.target import IMPORT_LOCK
from legacy.tests.moves import (
    REMEMBERED,
    STORED,
    files_of,
    migrate,
    sql,
    stored,
    unprivileged,
    verify,
)

pytestmark = pytest.mark.django_db(transaction=True)

PNG = b"\x89PNG\r\n\x1a\n" + bytes(200)
HOLD = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
for statement in sys.argv[2:]:
    file.execute(statement)
print("ready", flush=True)
sys.stdin.read()
"""
WRITE_ALL_THE_TIME = """
import sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None, timeout=60)
number = 0
while True:
    number += 1
    file.execute("BEGIN IMMEDIATE")
    file.execute("UPDATE settings SET value = ? WHERE id = 1", (str(number),))
    file.execute("UPDATE settings SET value = ? WHERE id = 2", (str(number),))
    file.execute("COMMIT")
    if number == 1:
        print("ready", flush=True)
"""
KILLED_WRITER = """
import os, signal, sqlite3, sys
file = sqlite3.connect(sys.argv[1], isolation_level=None)
file.execute("PRAGMA cache_size=1")
file.execute("PRAGMA cache_spill=1")
file.execute("BEGIN")
file.execute("UPDATE conversation_history SET message = message || 'never committed'")
file.execute("UPDATE leads SET name = 'never committed'")
os.kill(os.getpid(), signal.SIGKILL)
"""


@contextmanager
def other_process(program: str, *arguments: str) -> Iterator[subprocess.Popen[str]]:
    """Run a program that says when it is ready, and kill it at the end."""
    with subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "ready\n"
        try:
            yield process
        finally:
            process.kill()


def refused(path: Path, code: int, *options: str) -> str:
    """Assert that the import ends with this code and one sentence, which is returned, and leaves no trace."""
    before, entries = stored(), sorted(os.listdir(path.parent)) if path.parent.exists() else []
    source = files_of(path) if path.is_file() and os.access(path, os.R_OK, effective_ids=True) else {}
    outcome = migrate(path, *options)
    assert outcome.code == code, outcome
    assert_one_sentence(outcome.message)
    assert stored() == before
    if entries:
        now = set(os.listdir(path.parent))
        assert now - {path.name + ".backup"} == set(entries) - {path.name + ".backup"}
    if source:
        assert files_of(path) == source
    return outcome.message


def assert_one_sentence(message: str) -> None:
    assert message.endswith(".") and "\n" not in message and "Traceback" not in message, message


@pytest.mark.parametrize(
    ("content", "sentence"), [(b"", "is empty"), (PNG, "is not a SQLite database")], ids=["empty", "png"]
)
def test_a_file_of_something_else(tmp_path: Path, content: bytes, sentence: str) -> None:
    path = tmp_path / "ai_scheduler.db"
    path.write_bytes(content)
    assert refused(path, 2) == f"{path} {sentence}."
    assert not snapshot.backup_path(path).exists()


def test_no_file_and_a_directory(tmp_path: Path) -> None:
    assert refused(tmp_path / "none.db", 2) == f"{tmp_path / 'none.db'} does not exist."
    assert refused(tmp_path, 2) == f"{tmp_path} is not a file."


def test_a_database_without_any_of_the_tables(tmp_path: Path) -> None:
    path = tmp_path / "other.db"
    with closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE something (id INTEGER PRIMARY KEY)")
    assert refused(path, 2).startswith("The file has none of the tables partners, leads")


def test_arguments_that_cannot_be_used(old: Path, tmp_path: Path) -> None:
    assert "no-such" in refused(old, 2, "--naive-timezone=no-such")
    assert "nothing" in refused(old, 2, "--tables=")
    assert "invoices" in refused(old, 2, "--tables=leads,invoices")
    assert "negative" in refused(old, 2, "--max-rejected=-1")


def test_a_report_that_cannot_be_written_is_refused_before_anything_is_done(
    old: Path, tmp_path: Path
) -> None:
    for report in (tmp_path, tmp_path / "no" / "report.json"):
        assert "--report" in refused(old, 2, f"--report={report}")
    content = old.read_bytes()
    with unprivileged() as folder:
        (folder / old.name).write_bytes(content)
        (folder / "report.json").touch(0o400)
        assert "--report" in refused(folder / old.name, 2, f"--report={folder / 'report.json'}")


def test_a_report_that_cannot_be_written_after_all_is_no_failure(
    old: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert migrate(old, "--report=/dev/full").code == 0
    assert "cannot be written" in capsys.readouterr().err


def test_a_file_that_may_not_be_read(old: Path) -> None:
    content = old.read_bytes()
    with unprivileged() as folder:
        path = folder / old.name
        path.write_bytes(content)
        path.chmod(0)
        assert refused(path, 2) == f"{path} cannot be read: Permission denied."


def test_a_folder_in_which_the_copy_cannot_be_written(old: Path) -> None:
    content = old.read_bytes()
    with unprivileged() as folder:
        path = folder / old.name
        path.write_bytes(content)
        folder.chmod(0o500)
        assert "cannot be written" in refused(path, 1)


def test_the_copy_is_no_more_open_than_the_file(old: Path) -> None:
    old.chmod(0o600)
    snapshot.take_snapshot(old)
    assert S_IMODE(snapshot.backup_path(old).stat().st_mode) == 0o600


def test_a_copy_that_cannot_be_replaced(old: Path) -> None:
    snapshot.backup_path(old).mkdir()
    assert "cannot be written" in refused(old, 1)


def test_a_file_locked_by_another_process(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "BUSY_SECONDS", 0.2)
    with other_process(HOLD, str(old), "BEGIN EXCLUSIVE"):
        assert refused(old, 2) == f"{old} is locked by another process; let it finish, then try again."
    assert migrate(old).code == 0


def test_a_file_in_wal_mode_locked_by_another_process(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "BUSY_SECONDS", 0.2)
    statements = ("PRAGMA locking_mode=exclusive", "PRAGMA journal_mode=wal", "UPDATE leads SET name = 'x'")
    with other_process(HOLD, str(old), *statements):
        assert "is locked" in refused(old, 2)


def test_content_that_is_only_in_the_wal(old: Path) -> None:
    with other_process(HOLD, str(old), "PRAGMA journal_mode=wal", "UPDATE leads SET name = 'in the WAL'"):
        before = files_of(old)
        assert len(before[f"{old.name}-wal"]) > 0
        assert migrate(old).code == 0
        assert not verify(old).findings
        after = files_of(old)
        assert {name: after[name] for name in (old.name, f"{old.name}-wal")} == {
            name: before[name] for name in (old.name, f"{old.name}-wal")
        }
    assert sql("SELECT DISTINCT name FROM leads") == [("in the WAL",)]


def test_content_in_the_wal_of_a_killed_application(old: Path) -> None:
    with other_process(HOLD, str(old), "PRAGMA journal_mode=wal", "UPDATE leads SET name = 'in the WAL'"):
        pass
    before = files_of(old)
    assert migrate(old).code == 0
    assert sql("SELECT DISTINCT name FROM leads") == [("in the WAL",)]
    after = files_of(old)
    shared_memory = f"{old.name}-shm"  # an index of the WAL, which every reader may renew
    assert {**after, shared_memory: b""} == {**before, shared_memory: b""}


def test_a_wal_in_a_folder_that_may_not_be_written(old: Path, tmp_path: Path) -> None:
    with other_process(HOLD, str(old), "PRAGMA journal_mode=wal", "UPDATE leads SET name = 'in the WAL'"):
        pass
    content = {name: data for name, data in files_of(old).items() if not name.endswith("-shm")}
    with unprivileged() as folder:
        for name, data in content.items():
            (folder / name).write_bytes(data)
        path = folder / old.name
        folder.chmod(0o500)
        assert not [each for each in verify(path).findings if each.kind != "missing"]
        with tempfile.TemporaryDirectory() as elsewhere:
            copy = snapshot.take_snapshot(path, Path(elsewhere) / "copy.db")
            with closing(sqlite3.connect(copy)) as file:
                assert file.execute("SELECT DISTINCT name FROM leads").fetchall() == [("in the WAL",)]
        assert files_of(path) == content


def test_a_file_in_wal_mode_that_nobody_has_open_gets_no_files_beside_it(old: Path) -> None:
    with closing(sqlite3.connect(old)) as file:
        file.execute("PRAGMA journal_mode=wal")
    before = files_of(old)
    assert list(before) == [old.name]
    assert migrate(old).code == 0
    assert files_of(old) == before


def test_a_hot_journal_of_a_killed_writer_is_rolled_back_in_the_copy_only(built: Path) -> None:
    subprocess.run([sys.executable, "-c", KILLED_WRITER, str(built)], check=False, timeout=30)
    before = files_of(built)
    assert f"{built.name}-journal" in before
    assert migrate(built).code == 0
    assert files_of(built) == before
    assert sql("SELECT count(*) FROM leads WHERE name = 'never committed'") == [(0,)]
    assert sql("SELECT count(*) FROM conversation_history WHERE message LIKE '%never committed'") == [(0,)]


@pytest.mark.parametrize("mode", ["delete", "wal"])
def test_a_writer_that_never_rests(old: Path, mode: str) -> None:
    with closing(sqlite3.connect(old)) as file:
        file.execute(f"PRAGMA journal_mode={mode}")
    with other_process(WRITE_ALL_THE_TIME, str(old)):
        assert migrate(old).code == 0
    assert len(sql("SELECT DISTINCT value FROM settings")) == 1, "half of a transaction"


def test_another_import_is_running(old: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pipeline, "OTHER_IMPORT_SECONDS", 0.1)
    parameters = connection.get_connection_params()
    with psycopg.connect(
        **{k: parameters[k] for k in ("dbname", "host", "user") if k in parameters}
    ) as other:
        other.execute("SELECT pg_advisory_xact_lock(%s)", (IMPORT_LOCK,))
        assert refused(old, 1).startswith("Another import is running")
    assert migrate(old).code == 0


def test_a_table_that_sqlite_cannot_read(old: Path) -> None:
    with closing(sqlite3.connect(old)) as file:
        file.execute("PRAGMA writable_schema=on")
        file.execute("UPDATE sqlite_master SET name = 'xeads' WHERE name = 'leads'")
        file.commit()
    refused(old, 2)


def test_a_dry_run_leaves_the_sequences_alone(old: Path) -> None:
    before = sql("SELECT pg_sequence_last_value('leads_id_seq')")
    assert migrate(old, "--dry-run").code == 0
    assert sql("SELECT pg_sequence_last_value('leads_id_seq')") == before


def test_a_scratch_disk_without_room(built: Path, monkeypatch: pytest.MonkeyPatch, tiny_disk: Path) -> None:
    monkeypatch.setattr("legacy.workspace.tempfile.tempdir", str(tiny_disk))
    (tiny_disk / "fill").write_bytes(bytes(50_000))
    assert "cannot be written" in refused(built, 1)
    assert os.listdir(tiny_disk) == ["fill"]


def test_a_disk_without_room_for_the_copy(built: Path, tiny_disk: Path) -> None:
    path = tiny_disk / "old.db"
    path.symlink_to(built)
    assert "cannot be written" in refused(path, 1)
    assert os.listdir(tiny_disk) == ["old.db"]


def test_a_role_that_may_not_write(old: Path) -> None:
    role = f"reader_{os.getpid()}"
    sql(f"CREATE ROLE {role}")
    try:
        sql(f"SET ROLE {role}")
        outcome = migrate(old)
        sql("RESET ROLE")
        assert outcome.code == 1
        assert outcome.message == "PostgreSQL: permission denied for table partners. Nothing was imported."
        assert not any(stored(*STORED, *REMEMBERED).values())
    finally:
        sql("RESET ROLE")
        sql(f"DROP ROLE {role}")


def test_a_role_that_writes_and_owns_nothing(old: Path) -> None:
    role = f"writer_{os.getpid()}"
    sql(f"CREATE ROLE {role}")
    try:
        for kind in ("TABLES", "SEQUENCES"):
            sql(f"GRANT ALL ON ALL {kind} IN SCHEMA public TO {role}")
        sql(f"SET ROLE {role}")
        outcome = migrate(old)
        assert (outcome.code, outcome.total("inserted")) == (0, 17), outcome.message
        assert not verify(old).findings
    finally:
        sql("RESET ROLE")
        sql(f"DROP OWNED BY {role}")
        sql(f"DROP ROLE {role}")


def test_the_copy_of_a_killed_process_is_cleared_away_and_that_of_a_living_one_is_not(old: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as process:
        process.wait()
    dead, living = (old.with_name(f"{old.name}.backup.{pid}.partial") for pid in (process.pid, os.getppid()))
    for path in (dead, living):
        path.touch()
    assert migrate(old).code == 0
    assert (dead.exists(), living.exists()) == (False, True)
