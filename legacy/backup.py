"""Calls that a failed rebuild left in `calls_backup` only."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from legacy import cells
from legacy.cells import Unreadable
from legacy.convert import REPAIRED, Note
from legacy.tables import BACKUP_TABLE, CALLS
from legacy.values import dump
from legacy.workspace import Workspace

RECOVERED = "recovered from calls_backup"


def recover(workspace: Workspace) -> None:
    """Take calls that `calls` lacks; skip those that it holds too; reject those whose id it gave to another call."""
    source = workspace.layout.tables.get(BACKUP_TABLE)
    if source is None:
        return
    for row in workspace.source_rows(source):
        held = _held(workspace, row.get("id"))
        if held is None:
            workspace.fix(CALLS, row, Note(REPAIRED, "id", dump(row.get("id")), RECOVERED))
        elif _lead_and_start(workspace, held) == _lead_and_start(workspace, row):
            workspace.skipped_backup_rows += 1
        else:
            workspace.reject_source(CALLS, row, f"id {row.get('id')} is another call in calls")


def _held(workspace: Workspace, row_id: Any) -> dict[str, Any] | None:
    """Return the row of `calls` with this id, or None."""
    source = workspace.layout.tables.get("calls")
    if source is None or "id" not in source.columns or row_id is None:
        return None
    return next(workspace.source_rows(source, "WHERE id = ?", (row_id,)), None)


def _lead_and_start(workspace: Workspace, row: dict[str, Any]) -> tuple[Any, Any]:
    """Return what tells two calls of one id apart."""
    lead, started = row.get("lead_id"), row.get("started_at")
    with suppress(Unreadable):
        lead, _ = cells.identity(lead)
    with suppress(Unreadable):
        started = cells.moment(started, workspace.context.zone)
    return lead, started
