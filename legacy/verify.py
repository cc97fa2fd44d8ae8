"""Finds every row and column of PostgreSQL that is not what a file maps to."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import NamedTuple

from legacy.compare import Difference, compare
from legacy.mapped import MappedTable
from legacy.target import Connection

CHANGED, MISSING, EXTRA = "changed", "missing", "extra"
Progress = Callable[[str, int], None]


class Finding(NamedTuple):
    """One difference; `column` is None where the whole row is missing or extra."""

    table: str
    row_id: int
    kind: str
    column: str | None = None

    def __str__(self) -> str:
        where = f"{self.table} {self.row_id}"
        if self.kind == CHANGED:
            return f"{where}: {self.column} differs"
        return f"{where}: not in PostgreSQL" if self.kind == MISSING else f"{where}: only in PostgreSQL"


class Verification:
    """Compares tables; `excused` are ids by table whose difference is known and right."""

    def __init__(
        self,
        connection: Connection,
        tables: Iterable[MappedTable],
        excused: Mapping[str, set[int]] | None = None,
    ) -> None:
        self.connection, self.tables, self.excused = connection, list(tables), excused or {}
        self.rows: dict[str, int] = {}

    def run(self, progress: Progress) -> Iterator[Finding]:
        """Yield findings table by table; afterwards `rows` has the number of mapped rows of each."""
        for mapped in self.tables:
            name = mapped.table.name
            self.rows[name] = 0
            excused = self.excused.get(name, set())
            for difference in compare(self.connection, mapped):
                self.rows[name] += difference.rows
                yield from (each for each in _findings(name, difference) if each.row_id not in excused)
                progress(name, difference.rows)


def _findings(table: str, difference: Difference) -> Iterator[Finding]:
    for row_id, (_, columns) in difference.changed.items():
        yield from (Finding(table, row_id, CHANGED, column) for column in columns)
    yield from (Finding(table, row_id, MISSING) for row_id in difference.only_mapped)
    yield from (Finding(table, row_id, EXTRA) for row_id in difference.only_stored)
