"""JSON answers, written by msgspec straight from rows."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import msgspec
from django.db import DataError
from django.http import HttpResponse

JSON = "application/json"
PLAIN = (
    22,
    29,
)  # letters of a time in UTC as PostgreSQL writes it, without and with all six digits of microseconds

_encode = msgspec.json.Encoder().encode


def json_answer(value: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> HttpResponse:
    """Answer with a value of dicts, lists, msgspec structs and plain values; times go through `moment` first."""
    return HttpResponse(_encode(value), status=status, content_type=JSON, headers=headers)


def moment(value: datetime | str | None) -> str | None:
    """Write a time as old clients know it: `2025-01-01T00:01:00+00:00`, microseconds only when not zero.

    A text is one that PostgreSQL wrote, `2025-01-01 00:01:00+00`. Raises DataError when it lies outside the years
    1 to 9999, as psycopg does.
    """
    if value is None:
        return None
    if isinstance(value, str):
        # Reading it and writing it again takes ten times as long.
        if len(value) in PLAIN and value[10] == " " and value.endswith("+00"):
            return f"{value[:10]}T{value[11:]}:00"
        value = _read(value)
    # msgspec itself would write Z for +00:00.
    return (value if value.tzinfo is UTC else value.astimezone(UTC)).isoformat()


def _read(text: str) -> datetime:
    try:
        return datetime.fromisoformat(text).astimezone(UTC)
    except (ValueError, OverflowError):
        raise DataError("A time lies outside of the years 1 to 9999.") from None
