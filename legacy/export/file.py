"""The way back: what PostgreSQL holds as a revision-7 file that the old application opens and serves.

A value that the import repaired or respelled is written as the old file had it, from its note, unless the row
was changed since.
"""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import django.db
import psycopg
from django.db import connection as django_connection
from django.db import transaction

from legacy.errors import MoveError, UnusableSource
from legacy.export.remarks import Exported, left_out, rejected
from legacy.export.sheet import EVENT_IDS, Sheet
from legacy.layout import quoted
from legacy.progress import Reporter
from legacy.schema import NEWEST, ONE_ACTIVE_CALL, Index, indexes, tables
from legacy.tables import BY_NAME
from legacy.target import Connection, count, prepare_session

COMPANIONS = ("", "-wal", "-shm", "-journal")


def export(path: Path, reporter: Reporter, force: bool = False) -> Exported:
    """Write the file, which is there whole or not at all.

    Raises UnusableSource for a path that cannot be used, MoveError when PostgreSQL or the disk fails.
    """
    try:
        _check(path, force)
    except OSError as error:
        raise UnusableSource(f"{path} cannot be used: {error.strerror}.") from None
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with _one_moment() as postgres, closing(sqlite3.connect(partial, isolation_level=None)) as file:
            exported = _fill(postgres, file, reporter)
            exported.rejected, exported.left_out = rejected(postgres), left_out(postgres)
        _put_in_place(partial, path)
    except sqlite3.Error as error:
        raise MoveError(f"{path} cannot be written: {error}.") from None
    except OSError as error:
        raise MoveError(f"{path} cannot be written: {error.strerror}.") from None
    except (django.db.Error, psycopg.Error) as error:
        raise MoveError(f"PostgreSQL cannot be read: {_first_line(error)}.") from None
    finally:
        _remove(partial)
    return exported


def _check(path: Path, force: bool) -> None:
    if path.is_dir():
        raise UnusableSource(f"{path} is a directory; name the file to write.")
    if not path.parent.is_dir():
        raise UnusableSource(f"There is no directory {path.parent} to write {path.name} to.")
    # A log or journal without its database counts too: SQLite would replay it into the new file.
    for suffix in COMPANIONS:
        if not force and os.path.lexists(f"{path}{suffix}"):
            raise UnusableSource(f"{path}{suffix} exists already; add --force to replace it.")


def _put_in_place(partial: Path, path: Path) -> None:
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    for suffix in COMPANIONS[1:]:
        Path(f"{path}{suffix}").unlink(missing_ok=True)
    os.replace(partial, path)
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)  # without it a power cut could take the new name away again
    finally:
        os.close(folder)


def _remove(partial: Path) -> None:
    for suffix in COMPANIONS:
        with suppress(OSError):
            Path(f"{partial}{suffix}").unlink()


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")


@contextmanager
def _one_moment() -> Iterator[Connection]:
    """Yield a connection whose transaction sees all tables as they are at one moment."""
    with transaction.atomic():
        django_connection.ensure_connection()
        postgres: Connection = django_connection.connection
        postgres.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ ONLY")
        prepare_session(postgres)
        # Before the first look: what an import loads frozen is visible to older snapshots too.
        postgres.execute(f"LOCK TABLE {', '.join(map(quoted, BY_NAME))} IN ACCESS SHARE MODE")
        # Notes and digests have no statistics right after an import, and a nested loop over them never ends.
        postgres.execute("SET LOCAL enable_nestloop = off")
        yield postgres


def _fill(postgres: Connection, file: sqlite3.Connection, reporter: Reporter) -> Exported:
    # A half-written file is thrown away, so nothing needs to reach the disk before the rename. Without any
    # journal a unique index that cannot be built would leave a damaged file.
    file.execute("PRAGMA journal_mode = MEMORY")
    file.execute("PRAGMA synchronous = OFF")
    file.execute("BEGIN")
    exported = Exported()
    sheets = [Sheet(postgres, BY_NAME[name]) for name in tables(NEWEST)]
    for sheet in sheets:
        sheet.create(file)
        exported.loosened += [f"{sheet.table.name}.{name}" for name in sheet.loosened]
        exported.added += [f"{sheet.table.name}.{name}" for name in sheet.added]
    with reporter.step("Writing", sum(count(postgres, sheet.table) for sheet in sheets)) as step:
        for sheet in sheets:
            exported.rows[sheet.table.name] = sheet.fill(postgres, file, step)
            exported.changed[sheet.table.name] = sheet.changed
    own_constraint = not any(sheet.drops_constraint for sheet in sheets)
    exported.not_unique = _create_indexes(file, () if own_constraint else (EVENT_IDS,))
    file.execute("COMMIT")
    return exported


def _create_indexes(file: sqlite3.Connection, further: tuple[Index, ...]) -> list[str]:
    """Create the indexes; return the unique ones that the rows allow only as plain ones."""
    statements = {index.name: index.sql for index in (*indexes(NEWEST), *further)}
    statements["idx_active_calls_per_lead"] = ONE_ACTIVE_CALL
    plain = []
    for name, statement in statements.items():
        try:
            file.execute(statement)
        except sqlite3.IntegrityError:
            file.execute(statement.replace("UNIQUE ", "", 1))
            plain.append(name)
    return plain
