"""What an import did: as JSON for programs and as a table for people."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table as RichTable

from legacy.errors import MoveError, UnusableSource
from legacy.tables import TABLES

LISTED_NOTES = 1000
SHOWN_NOTES = 20


@dataclass
class TableCounts:
    read: int = 0
    inserted: int = 0
    updated: int = 0
    unchanged: int = 0
    rejected: int = 0
    repaired: int = 0
    conflicts: int = 0

    @property
    def adds_up(self) -> bool:
        """Tell whether every row that was read ended in exactly one way."""
        return self.read == self.inserted + self.updated + self.unchanged + self.rejected


@dataclass
class Report:
    """The report of one run; `as_json` is the form that LEGACY.md fixes."""

    source: dict[str, Any] = field(default_factory=dict)
    target: dict[str, Any] = field(default_factory=dict)
    dry_run: bool = False
    verified: bool = False
    seconds: float = 0.0
    tables: dict[str, TableCounts] = field(
        default_factory=lambda: {table.name: TableCounts() for table in TABLES}
    )
    notes: list[dict[str, Any]] = field(default_factory=list)
    missing: list[dict[str, Any]] = field(default_factory=list)

    @property
    def rejected(self) -> int:
        return sum(counts.rejected for counts in self.tables.values())

    @property
    def rows(self) -> int:
        return sum(counts.read for counts in self.tables.values())

    def as_json(self) -> dict[str, Any]:
        return {
            "source": self.source,
            "target": self.target,
            "dry_run": self.dry_run,
            "verified": self.verified,
            "seconds": round(self.seconds, 3),
            "rows_per_second": round(self.rows / self.seconds) if self.seconds else 0,
            "tables": {name: asdict(counts) for name, counts in self.tables.items()},
            "notes": self.notes[:LISTED_NOTES],
            "missing_in_sqlite": self.missing[:LISTED_NOTES],
        }

    def print(self, console: Console) -> None:
        console.print(_counts_table(self.tables))
        for name, rows in self.source.get("unknown_tables", {}).items():
            console.print(f"Table {name} ({rows:,} rows) is not known and was not imported.", markup=False)
        for note in self.notes[:SHOWN_NOTES]:
            where = f"{note['table']} {note['id']}" + (f" {note['column']}" if note["column"] else "")
            console.print(f"{note['kind']}: {where}: {note['reason']}", markup=False, highlight=False)
        if len(self.notes) > SHOWN_NOTES:
            where = "--report FILE lists 1,000" if self.dry_run else "all stand in the admin, Import notes"
            console.print(f"More rows were repaired or rejected; {where}.", highlight=False)
        for each in self.missing[:SHOWN_NOTES]:
            done = "deleted" if each["deleted"] else "kept"
            console.print(
                f"gone from SQLite, {done}: {each['table']} {each['id']}", markup=False, highlight=False
            )
        if len(self.missing) > SHOWN_NOTES:
            console.print(f"gone from SQLite: {len(self.missing) - SHOWN_NOTES:,} more rows", highlight=False)
        console.print(self._closing(), markup=False)

    def _closing(self) -> str:
        what = "Dry run: all of it was rolled back" if self.dry_run else "Imported"
        speed = self.rows / self.seconds if self.seconds else 0
        where = f"database {self.target.get('database')} on {self.target.get('host')}"
        checked = ", verified" if self.verified else ""
        return f"{what}{checked}: {self.rows:,} rows in {self.seconds:.1f} s ({speed:,.0f} rows/s), {where}."


def _counts_table(tables: Mapping[str, TableCounts]) -> RichTable:
    shown = RichTable(box=None, pad_edge=False, padding=(0, 1, 0, 0))
    shown.add_column("table", no_wrap=True, min_width=max(map(len, tables)))
    names = list(asdict(TableCounts()))
    for name in names:
        shown.add_column(name, justify="right", no_wrap=True, min_width=len(name))
    for table, counts in tables.items():
        shown.add_row(table, *(f"{value:,}" for value in asdict(counts).values()))
    return shown


def check_writable(path: Path) -> None:
    """Raise UnusableSource unless a report can be written there; leave nothing behind."""
    existed = path.exists()
    try:
        with path.open("ab"):
            pass
        if not existed:
            path.unlink()
    except OSError as error:
        raise UnusableSource(f"--report: {path} cannot be written: {error.strerror}.") from None


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write a report; raise MoveError with one sentence when the file cannot be written."""
    try:
        text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
        path.write_text(text, encoding="utf-8", errors="replace")  # a path need not be UTF-8
    except OSError as error:
        raise MoveError(f"The report {path} cannot be written: {error.strerror}.") from None
