"""Lists as CSV, streamed: any number of rows in flat memory, without a transaction or connection held meanwhile.

The first part is read before the answer begins, so that a failure there still has a status of its own. They are read
from the replica when there is one. Parts may come from different servers; as each begins behind the last row of the
one before, no row comes twice.
"""

from __future__ import annotations

import csv
import io
import logging
import re
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.db import Error, connections
from django.db.models import F, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleLessThan
from django.http import StreamingHttpResponse

from database.replica import read
from scheduler.rest.faults import described
from scheduler.rest.shapes import Shape

logger = logging.getLogger("scheduler.rest")

ROWS_A_READ = 2000
BROKEN_OFF = "The export broke off here because the database failed; ask for it again."
# It tells spreadsheets that it is UTF-8; Hebrew and Arabic names would be unreadable without.
MARK = "\ufeff"
# What a spreadsheet would run as a formula when somebody opens the file; a phone or a number is none.
FORMULA = re.compile(r"[=+\-@\t\r]")
NUMBER = re.compile(r"[+-]?[0-9][0-9 ().:-]*")


def csv_answer(
    rows: QuerySet[Any],
    shape: Shape,
    *,
    newest: str,
    filename: str,
    without: Sequence[str] = (),
) -> StreamingHttpResponse:
    """Stream a filtered queryset as CSV, newest first like the list itself, without the members `without`.

    Raises the database's Error when not even the first part can be read.
    """
    names = tuple(name for name in shape.names if name not in without)
    columns = [shape.columns[name] for name in names]
    ordered = rows.order_by(f"-{newest}", "-pk").values_list(*columns, newest, "pk")
    first = read(list, ordered[:ROWS_A_READ])
    _give_back()
    lines = (_csv(part) for part in _parts(ordered, first, newest, shape, names))
    headers = {"Content-Disposition": f'attachment; filename="{filename}"'}
    return StreamingHttpResponse(lines, content_type="text/csv; charset=utf-8", headers=headers)


def _parts(
    ordered: QuerySet[Any], found: list[Any], newest: str, shape: Shape, names: tuple[str, ...]
) -> Iterator[Iterable[Iterable[Any]]]:
    """Yield the header and then the rows of one read after the other."""
    yield [[MARK + names[0], *names[1:]]]
    while found:
        yield (map(safe, each.values()) for each in shape.write(found, names))
        if len(found) < ROWS_A_READ:
            return
        # By keyset, not by a cursor of the server: a slow reader would keep its transaction open for hours.
        *_, last_newest, last_id = found[-1]
        after = TupleLessThan(Tuple(F(newest), F("pk")), (last_newest, last_id))
        try:
            found = read(list, ordered.filter(after)[:ROWS_A_READ])
        except Error as error:
            # The status has been sent by then, and granian leaves the client waiting after an exception.
            logger.error("An export broke off: %s", described(error))
            yield [[BROKEN_OFF]]
            return
        _give_back()


def _give_back() -> None:
    """Let others have the connections while the client reads; the next read takes one anew."""
    for connection in connections.all(initialized_only=True):
        if not connection.in_atomic_block and connection.settings_dict["OPTIONS"].get("pool"):
            connection.close()


def _csv(rows: Any) -> bytes:
    text = io.StringIO()
    csv.writer(text).writerows(rows)
    return text.getvalue().encode()


def safe(value: Any) -> Any:
    """Put an apostrophe before a text that a spreadsheet would take for a formula (OWASP, CSV injection)."""
    if isinstance(value, str) and FORMULA.match(value) and not NUMBER.fullmatch(value):
        return "'" + value
    return value
