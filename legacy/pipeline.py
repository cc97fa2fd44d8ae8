"""The move from SQLite, step by step. One import is all or nothing: one transaction holds everything it does."""

from __future__ import annotations

import logging
import os
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, tzinfo
from pathlib import Path
from tempfile import gettempdir
from typing import Any, cast

import psycopg
from django.db import DatabaseError, connection, transaction

from leads import tombstones
from legacy import backup, history, snapshot
from legacy.convert import Context
from legacy.errors import MoveError, Stopped, UnusableSource, VerificationFailed
from legacy.history import Recalled
from legacy.load import fill
from legacy.mapped import MappedTable
from legacy.merge import KEEP, STOP, TAKE, Merge, Merged, delete_missing, stop_on_conflicts
from legacy.notes import rejected_ids, store_run, table_notes
from legacy.progress import Reporter
from legacy.report import Report, TableCounts
from legacy.rules import Rules
from legacy.scan import Scans
from legacy.tables import TABLES, Table
from legacy.target import (
    IMPORT_LOCK,
    LOCK_SECONDS,
    Connection,
    is_empty,
    prepare_session,
    raise_sequences,
    store_digests,
)
from legacy.verify import Finding, Verification
from legacy.workspace import Workspace, open_workspace

ALL_TABLES = frozenset(table.name for table in TABLES)
NAMED_FINDINGS = 5
OTHER_IMPORT_SECONDS = 10  # after a killed import the server needs some to let go of its locks


@dataclass(frozen=True)
class Options:
    """How `migrate_from_sqlite` was called."""

    dry_run: bool = False
    zone: tzinfo | None = None  # None: that of the last import, UTC at first
    tables: frozenset[str] = ALL_TABLES
    on_conflict: str = KEEP
    delete_missing: bool = False
    max_rejected: int | None = None
    job_id: int | None = None  # of the page that started it

    def as_json(self) -> dict[str, Any]:
        return {
            "tables": sorted(self.tables),
            "on_conflict": self.on_conflict,
            "delete_missing": self.delete_missing,
            "max_rejected": self.max_rejected,
            **({"job": self.job_id} if self.job_id else {}),
        }


@dataclass
class Mapping:
    """A snapshot, mapped: what the tables of PostgreSQL should hold."""

    workspace: Workspace
    tables: list[MappedTable]


@dataclass
class _Import:
    path: Path
    options: Options
    reporter: Reporter
    snapshot_at: datetime = field(default_factory=lambda: datetime.now(UTC))
    report: Report = field(default_factory=Report)
    merges: dict[str, Merged] = field(default_factory=dict)
    started: float = field(default_factory=time.monotonic)

    def run(self) -> Report:
        snapshot.check_source(self.path)
        with transaction_of_import(self.options.dry_run) as database:
            copy = snapshot.take_snapshot(self.path)
            context = Context(self.options.zone or history.recall_zone(database), self.snapshot_at)
            with open_workspace(copy, context) as workspace:
                fresh = is_empty(database, TABLES)
                recalled = None if fresh else self._recalled()
                mapping = map_snapshot(database, workspace, self.options.tables, self.reporter, recalled)
                self._describe(workspace, database)
                self._check_rejected()
                counts = self._load(database, mapping, fresh)
                self._verify(database, mapping, counts, fresh)
                tombstones.stop_all_calls()
                self.report.seconds = time.monotonic() - self.started
                self.report.notes = table_notes(workspace, self.merges.values())
                store_run(database, workspace, self)
                if not self.options.dry_run:  # sequences do not roll back
                    raise_sequences(database)
        return self.report

    def _recalled(self) -> Recalled:
        return Recalled(missing=not self.options.delete_missing, overwritten=self.options.on_conflict != TAKE)

    def _describe(self, workspace: Workspace, database: Connection) -> None:
        layout = workspace.layout
        self.report.source = {
            "path": os.fsencode(self.path).decode("utf-8", "replace"),
            "bytes": self.path.stat().st_size,
            "tables": {name: table.rows for name, table in layout.tables.items()},
            "unknown_tables": layout.unknown_tables,
        }
        self.report.target = {"host": database.info.host, "database": database.info.dbname}
        self.report.dry_run = self.options.dry_run
        for table in self._selected():
            counts = self.report.tables[table.name]
            counts.read = workspace.read(table)
            counts.rejected = workspace.rejected(table)
            counts.repaired = workspace.repaired(table)

    def _selected(self) -> Iterator[Table]:
        return (table for table in TABLES if table.name in self.options.tables)

    def _check_rejected(self) -> None:
        limit = self.options.max_rejected
        if limit is not None and self.report.rejected > limit:
            raise Stopped(
                f"{self.report.rejected} rows are rejected, more than {limit}; nothing was changed."
            )

    def _load(self, database: Connection, mapping: Mapping, fresh: bool) -> dict[str, int]:
        """Bring the rows in; return how many rows of each table were loaded or merged."""
        total = sum(counts.read for counts in self.report.tables.values())
        with self.reporter.step("Loading" if fresh else "Comparing and merging", total) as step:
            if fresh:
                inserted = fill(database, mapping.tables, lambda _, rows: step(rows))
                for mapped in mapping.tables:
                    store_digests(database, mapped.table)
                    self.report.tables[mapped.table.name].inserted = inserted[mapped.table.name]
                return inserted
            return self._merge(database, mapping, step)

    def _merge(self, database: Connection, mapping: Mapping, step: Any) -> dict[str, int]:
        merges = []
        for mapped in mapping.tables:
            ids = rejected_ids(mapping.workspace, mapped.table)
            merge = Merge(database, mapped, self.options.on_conflict, ids)
            self.merges[mapped.table.name] = merge.merged
            merge.prepare(lambda _, rows: step(rows))
            merges.append(merge)
        # Rows that go make room for others, and updates let go of rows that others still referred to.
        if self.options.delete_missing:
            delete_missing(database, merges)
        for merge in merges:
            merge.apply()
        if self.options.delete_missing:
            delete_missing(database, merges)
        if self.options.on_conflict == STOP:
            stop_on_conflicts(self.merges.values())
        for name, merged in self.merges.items():
            self._count_merged(self.report.tables[name], merged)
        return {
            name: merged.unchanged + merged.inserted + merged.updated for name, merged in self.merges.items()
        }

    def _count_merged(self, counts: TableCounts, merged: Merged) -> None:
        counts.inserted, counts.updated = merged.inserted, merged.updated
        counts.unchanged, counts.conflicts = merged.unchanged, len(merged.conflicts)
        self.report.missing += [
            {"table": each.table, "id": each.row_id, "deleted": each.deleted} for each in merged.missing
        ]

    def _verify(self, database: Connection, mapping: Mapping, counts: dict[str, int], fresh: bool) -> None:
        """Raise VerificationFailed unless every row of the file is accounted for and stands as it maps."""
        for name, counted in self.report.tables.items():
            if not counted.adds_up:
                raise VerificationFailed(
                    f"{name}: {counted.read} rows were read, but not all are accounted for."
                )
        # A merge that wrote nothing has just compared every column of every row.
        wrote = [mapped for mapped in mapping.tables if fresh or self.merges[mapped.table.name].wrote]
        excused = {name: merged.left for name, merged in self.merges.items()}
        verification = Verification(database, wrote, excused)
        total = sum(counts[mapped.table.name] for mapped in wrote)
        with self.reporter.step("Verifying", total) as step:
            findings = []
            for finding in verification.run(lambda _, rows: step(rows)):
                if fresh or finding.kind != "extra":
                    findings.append(finding)
                if len(findings) > NAMED_FINDINGS:
                    break
        fail_on(findings)
        for name, rows in verification.rows.items():
            if rows != counts[name]:
                raise VerificationFailed(f"{name}: {counts[name]} rows were expected, {rows} found.")
        self.report.verified = True


def run_import(path: Path, options: Options, reporter: Reporter) -> Report:
    """Bring a legacy file into PostgreSQL and return what was done.

    Raises UnusableSource, VerificationFailed, Stopped or MoveError, after each of which PostgreSQL is as it was.
    """
    return _Import(path, options, reporter).run()


def map_snapshot(
    database: Connection,
    workspace: Workspace,
    selected: frozenset[str],
    reporter: Reporter,
    recalled: Recalled | None,
) -> Mapping:
    """Map a snapshot, knowing what PostgreSQL holds already (`recalled` says how; None when it is empty)."""
    tables = [table for table in TABLES if table.name in selected]
    with Scans(workspace, tables) as scans:
        if recalled is not None:
            history.recall(database, workspace, selected, recalled)
            history.recall_snapshot_times(database, workspace.context)
        with reporter.step("Reading and converting", sum(map(workspace.read, tables))) as step:
            bounds = scans.convert(step)
            if "calls" in selected:
                backup.recover(workspace)
            Rules(workspace, selected).apply()
            workspace.finish()
    return Mapping(workspace, [MappedTable(workspace, table, bounds.get(table.name, [])) for table in tables])


@contextmanager
def transaction_of_import(roll_back: bool, exclusive: bool = True) -> Iterator[Connection]:
    """Open the transaction of an import; its failures become MoveErrors of one sentence.

    One that is not exclusive reads a single state of the database and may not write.
    """
    try:
        with _quiet_driver(), transaction.atomic():
            connection.ensure_connection()
            database = cast(Connection, connection.connection)
            if exclusive:
                prepare_session(database)
                _take_locks(database)
            else:
                database.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
                prepare_session(database)
            yield database
            if roll_back:
                transaction.set_rollback(True)
    except (DatabaseError, psycopg.Error) as error:
        outcome = " Nothing was imported." if exclusive else ""
        raise MoveError(_sentence(error) + outcome) from error
    except (sqlite3.Error, OSError) as error:
        raise _of_files(error) from error


@contextmanager
def _quiet_driver() -> Iterator[None]:
    """Keep warnings of a COPY that broke off away from the one sentence that says why."""
    logger = logging.getLogger("psycopg")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _of_files(error: sqlite3.Error | OSError) -> MoveError:
    if isinstance(error, OSError) or any(word in str(error) for word in snapshot.CANNOT_WRITE):
        reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        return MoveError(
            f"The scratch files in {gettempdir()} cannot be written: {reason}. Nothing was imported."
        )
    return UnusableSource(f"The file is damaged: {error}.")


def _take_locks(database: Connection) -> None:
    database.execute(f"SET LOCAL lock_timeout = '{OTHER_IMPORT_SECONDS}s'".encode())
    try:
        database.execute("SELECT pg_advisory_xact_lock(%s)", (IMPORT_LOCK,))
    except psycopg.errors.LockNotAvailable:
        raise MoveError("Another import is running; let it finish, then try again.") from None
    database.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'".encode())
    names = ", ".join(f'"{table.name}"' for table in TABLES)
    # Others may read meanwhile; what they would write could not be told from what the import does.
    database.execute(f"LOCK TABLE {names} IN SHARE ROW EXCLUSIVE MODE".encode())


def _sentence(error: BaseException) -> str:
    cause = error if isinstance(error, psycopg.Error) else error.__cause__
    if isinstance(cause, psycopg.errors.UndefinedTable):
        return "The tables are not there yet: run manage.py migrate first."
    if isinstance(cause, psycopg.errors.LockNotAvailable):
        return "Another session holds a table of the import for too long."
    # Only the primary message: the details would show values of rows.
    text = getattr(getattr(cause, "diag", None), "message_primary", None) or str(cause or error)
    first = text.strip().splitlines()[0] if text.strip() else type(error).__name__
    return f"PostgreSQL: {first.rstrip('.')}."


def fail_on(findings: list[Finding]) -> None:
    """Raise VerificationFailed naming the first of the findings."""
    if findings:
        named = "; ".join(map(str, findings[:NAMED_FINDINGS]))
        raise VerificationFailed(f"PostgreSQL is not what the file maps to ({named}); nothing was committed.")
