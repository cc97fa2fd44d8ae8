"""Which row PostgreSQL refused, and a sentence about it that holds none of the row's values."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import psycopg
from django.db import DataError, Error, IntegrityError

from database.errors import RowRefused

REFUSALS = (IntegrityError, DataError)
# Of these a constraint says all there is to say; the text of others may hold values.
SENTENCES = {
    "23505": "another row has the same key (unique constraint {constraint})",
    "23503": "the row that it points to does not exist (foreign key {constraint})",
    "23502": "column {column} must not be empty",
    "23514": "it breaks the check constraint {constraint}",
    "23P01": "it clashes with another row (exclusion constraint {constraint})",
}


class Refusal(NamedTuple):
    """What PostgreSQL's error says about a row; `line` counts from 1 in the COPY, None when it does not tell."""

    sqlstate: str
    constraint: str | None
    column: str | None
    line: int | None

    @classmethod
    def of(cls, error: Error, table: str) -> Refusal:
        """Read an error that Django wrapped; `table` is the one that was copied into."""
        cause = error.__cause__
        if not isinstance(cause, psycopg.Error):
            return cls("", None, None, None)
        context = cause.diag.context or ""
        # The word for "line" is in the server's language.
        line = re.search(rf"^COPY {re.escape(table)}, \D*(\d+)", context, re.MULTILINE)
        column = re.search(rf"^COPY {re.escape(table)}, \D*\d+, \w+ (\w+)", context, re.MULTILINE)
        return cls(
            cause.sqlstate or "",
            cause.diag.constraint_name,
            cause.diag.column_name or (column[1] if column else None),
            int(line[1]) if line else None,
        )

    def at(self, position: int | None) -> RowRefused:
        """Return the exception for the row at a position, counted from 0."""
        which = f"Row {position} (counted from 0)" if position is not None else "A row"
        return RowRefused(
            f"{which} was refused: {self.reason()}.", position=position, constraint=self.constraint
        )

    def reason(self) -> str:
        if self.sqlstate in SENTENCES:
            return SENTENCES[self.sqlstate].format(constraint=self.constraint, column=self.column)
        name = psycopg.errors.lookup(self.sqlstate).__name__ if self.sqlstate else "unknown"
        where = f"column {self.column} cannot take its value" if self.column else "it cannot be stored"
        return f"{where} (PostgreSQL's error {self.sqlstate}, {name})"


class Stopped(Exception):
    """Carries a refusal out of the transaction that it broke.

    Without `refused` PostgreSQL did not say which of the `rows`, the first of which is at `position`, it was.
    """

    def __init__(
        self,
        refusal: Refusal,
        refused: RowRefused | None,
        rows: Sequence[Any] = (),
        position: int = 0,
    ) -> None:
        super().__init__(refusal.reason())
        self.refusal, self.refused, self.rows, self.position = refusal, refused, rows, position


def first_refused(count: int, attempt: Callable[[int, int], object]) -> tuple[int, Error] | None:
    """Find the first of `count` rows that cannot follow those before it; None when all can.

    `attempt(low, high)` writes rows low to high - 1 behind a savepoint and raises what PostgreSQL says. What it
    wrote stays, so that twice the work of the refused statement is the most that this costs.
    """
    low, high = 0, count
    while high - low > 1:
        middle = (low + high) // 2
        try:
            attempt(low, middle)
            low = middle
        except REFUSALS:
            high = middle
    try:
        attempt(low, high)
    except REFUSALS as error:
        return low, error
    return None
