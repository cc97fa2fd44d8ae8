"""`verify_import`: compares PostgreSQL with a legacy file at any time, and only reads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from legacy import history, snapshot
from legacy.convert import Context
from legacy.history import Recalled
from legacy.mapped import MappedTable
from legacy.pipeline import ALL_TABLES, map_snapshot, transaction_of_import
from legacy.progress import Reporter
from legacy.tables import TABLES
from legacy.verify import EXTRA, Finding, Verification
from legacy.workspace import open_workspace

LISTED = 1000
KEPT = 1_000_000  # findings in memory; beyond that they are only counted


@dataclass
class Checked:
    """The findings of a comparison; `failed` counts those that make it fail."""

    path: str
    rows: int = 0
    failed: int = 0
    findings: list[Finding] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        return {
            "source": {"path": self.path},
            "rows": self.rows,
            "equal": not self.failed,
            "differences": [
                {"table": each.table, "id": each.row_id, "kind": each.kind, "column": each.column}
                for each in self.findings
            ],
        }


def check_import(path: Path, folder: Path, allow_new: bool, reporter: Reporter) -> Checked:
    """Map the file anew and compare; `folder` is scratch space for the copy of the file.

    Also compares the columns that an import leaves at their defaults, so that no change goes unseen.
    """
    snapshot.check_source(path)
    copy = snapshot.take_snapshot(path, folder / "snapshot.db")
    checked = Checked(str(path))
    with (
        transaction_of_import(roll_back=True, exclusive=False) as database,
        open_workspace(copy, Context(history.recall_zone(database))) as workspace,
    ):
        mapping = map_snapshot(database, workspace, ALL_TABLES, reporter, Recalled(changes=False))
        tables = [
            MappedTable(workspace, each.table, each.bounds, (*each.table.columns, *each.table.defaults))
            for each in mapping.tables
        ]
        # Rows that staff corrected and imported are in PostgreSQL by intent; the file cannot have them.
        excused = {table.name: set(history.corrected_ids(database, table)) for table in TABLES}
        verification = Verification(database, tables, excused)
        with reporter.step("Comparing", sum(map(workspace.read, TABLES))) as step:
            for finding in verification.run(lambda _, rows: step(rows)):
                checked.failed += not (allow_new and finding.kind == EXTRA)
                if len(checked.findings) < KEPT:
                    checked.findings.append(finding)
        checked.rows = sum(verification.rows.values())
    return checked
