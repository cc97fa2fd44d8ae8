"""Notes as CSV, streamed, so that a million of them need no memory."""

import csv
import json
from collections.abc import Iterator

from django.db.models import QuerySet
from django.http import StreamingHttpResponse

from legacy.models import ImportRowNote

HEADERS = ("run", "table", "row", "kind", "column", "original", "reason", "resolved")
CHUNK = 2_000


class _Line:
    """A file for the csv module that hands each line back."""

    def write(self, line: str) -> str:
        return line


def response(notes: QuerySet[ImportRowNote], name: str) -> StreamingHttpResponse:
    answer = StreamingHttpResponse(lines(notes), content_type="text/csv; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}"'
    return answer


def lines(notes: QuerySet[ImportRowNote]) -> Iterator[str]:
    writer = csv.writer(_Line())
    yield writer.writerow(HEADERS)
    for note in _in_chunks(notes):
        yield writer.writerow(_cells(note))


def _in_chunks(notes: QuerySet[ImportRowNote]) -> Iterator[ImportRowNote]:
    # By key and not by server-side cursor: PgBouncer in transaction mode has none.
    last = 0
    while chunk := list(notes.filter(pk__gt=last).order_by("pk")[:CHUNK]):
        yield from chunk
        last = chunk[-1].pk


def _cells(note: ImportRowNote) -> tuple[object, ...]:
    # JSON keeps '' and NULL apart, and no spreadsheet takes a quoted text for a formula.
    original = json.dumps(note.original, ensure_ascii=False)
    resolved = note.resolved_at.isoformat() if note.resolved_at else ""
    return (
        note.run_id, note.table_name, note.row_id, note.kind, note.column, original, note.reason, resolved,
    )  # fmt: skip
