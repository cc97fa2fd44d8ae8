"""How all of analytics reads: from the replica when there is one, and once for everybody who asks meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import Any

from django.db import connections, router

from calls.models import Call
from database.replica import read
from scheduler.rest.kept import Kept

_kept: Kept[Any] = Kept()


def figures(key: Hashable, compute: Callable[[], Any]) -> Any:
    """Return the figures named `key`, computed anew when anything has changed in the database since."""
    return read(lambda: _kept.get(key, compute, using=_alias()))


def rows(sql: str, parameters: Mapping[str, Any] | None = None) -> list[dict[str, Any]]:
    """Run a query and return its rows by column name. Only inside `figures` is it the replica that answers."""
    with connections[_alias()].cursor() as cursor:
        cursor.execute(sql, parameters)
        names = [column.name for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


def _alias() -> str:
    return router.db_for_read(Call)
