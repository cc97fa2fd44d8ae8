"""What the operator should know about an exported file."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from legacy.export.sheet import latest_run
from legacy.layout import quoted
from legacy.schema import COLUMNS, NEWEST
from legacy.stored import model_of
from legacy.tables import IMPORTED_HOST, TABLES, Table
from legacy.target import Connection

# Worked out anew by any import of the file; `host_id` has a line of its own.
DERIVED = {"phone_valid", "turn", "during", "busy", "host_id"}
HOSTS = "SELECT count(*) FROM meetings t JOIN meeting_hosts h ON h.id = t.host_id WHERE h.name <> %s"


@dataclass
class Exported:
    """Rows by table, and whatever of the file is not as the old application or the old file had it."""

    rows: dict[str, int] = field(default_factory=dict)
    changed: dict[str, int] = field(default_factory=dict)
    rejected: dict[str, int] = field(default_factory=dict)
    left_out: dict[str, int] = field(default_factory=dict)
    not_unique: list[str] = field(default_factory=list)
    loosened: list[str] = field(default_factory=list)
    added: list[str] = field(default_factory=list)

    def sentences(self) -> Iterator[str]:
        if self.rows.get("partners"):
            yield (
                "API keys cannot be recovered from their digests, so the file holds the digests:"
                " if you go back, give partners new keys or put in those of the old file."
            )
        if any(self.rejected.values()):
            yield f"Not in the file, because the import rejected them: {_counts(self.rejected)}."
        if any(self.left_out.values()):
            yield f"The old application has no place for: {_counts(self.left_out)}."
        if any(self.changed.values()):
            yield (
                "Repaired by the import and changed since, so written as they are now,"
                f" not as the old file had them: {_counts(self.changed)}."
            )
        if self.not_unique:
            yield f"Not unique, because the old file had equal values: {', '.join(self.not_unique)}."
        if self.loosened:
            yield f"Without type or NOT NULL, to hold what the old file had: {', '.join(self.loosened)}."
        if self.added:
            yield f"Added, because the old file had them: {', '.join(self.added)}."


def _counts(rows: dict[str, int]) -> str:
    return ", ".join(f"{name} ({count:,})" for name, count in rows.items() if count)


def rejected(postgres: Connection) -> dict[str, int]:
    """Count the rows by table that the import rejected and nobody corrected."""
    query = (
        "SELECT count(*) FROM import_row_notes n WHERE n.table_name = %s AND n.kind = 'rejected'"
        " AND n.resolved_at IS NULL AND n.run_id = {}"
    )
    return {table.name: _count(postgres, query.format(latest_run(table)), [table.name]) for table in TABLES}


def left_out(postgres: Connection) -> dict[str, int]:
    """Count the rows by column that have content for which the old tables have no column."""
    found: dict[str, int] = {}
    for table in TABLES:
        conditions = dict(_conditions(table))
        if conditions:
            counts = ", ".join(f"count(*) FILTER (WHERE {condition})" for condition in conditions.values())
            row = postgres.execute(f"SELECT {counts} FROM {quoted(table.name)} t".encode()).fetchone() or ()
            found |= {f"{table.name}.{name}": count for name, count in zip(conditions, row, strict=True)}
    found["meetings.host"] = _count(postgres, HOSTS, [IMPORTED_HOST])
    return found


def _conditions(table: Table) -> Iterator[tuple[str, str]]:
    for each in model_of(table.name)._meta.local_concrete_fields:
        if each.column in COLUMNS[NEWEST][table.name] or each.column in DERIVED:
            continue
        column, default = f"t.{quoted(each.column)}", each.db_default
        if isinstance(default, (bool, int)):
            yield each.column, f"{column} IS DISTINCT FROM {str(default).lower()}"
        else:
            yield each.column, f"{column} IS NOT NULL"


def _count(postgres: Connection, query: str, parameters: list[str]) -> int:
    row = postgres.execute(query.encode(), parameters).fetchone()
    return int(row[0]) if row else 0
