"""How rows become the objects of an answer, without models in between."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

import msgspec
from django.db.models import QuerySet

from scheduler.rest.prepared import FixedQuery
from scheduler.rest.problems import Invalid

Convert = Callable[[Any], Any]
Source = str | tuple[str, Convert]


@lru_cache(maxsize=256)
def _struct(names: tuple[str, ...]) -> type[msgspec.Struct]:
    # They hold texts and numbers only, so the collector need not look at them.
    return msgspec.defstruct("Object", [(name, Any) for name in names], gc=False)


class Shape:
    """The members of an object in an answer and the columns they come from.

    `Shape(id="id", lead_name="lead__name", outcome=("outcome", write_outcome), created_at=("created_at", moment))`:
    a column is whatever `values_list` takes, and a function writes values that JSON knows nothing of.
    """

    def __init__(self, **members: Source) -> None:
        self.columns = {
            name: source if isinstance(source, str) else source[0] for name, source in members.items()
        }
        self.converts = {name: source[1] for name, source in members.items() if not isinstance(source, str)}
        self.chosen = lru_cache(maxsize=64)(self._chosen)

    @property
    def names(self) -> tuple[str, ...]:
        return tuple(self.columns)

    def _chosen(self, fields: str) -> tuple[str, ...]:
        wanted = {name.strip() for name in fields.split(",")} - {""}
        if unknown := wanted - set(self.columns):
            first = min(unknown)[:40]
            raise Invalid(
                [("/query/fields", f"there is no field {first!r}; there are {', '.join(self.columns)}")]
            )
        return tuple(name for name in self.columns if name in wanted) if wanted else self.names

    def write(
        self, rows: Iterable[Sequence[Any]], names: tuple[str, ...] | None = None
    ) -> list[dict[str, Any]]:
        """Write rows, whose columns begin with those of `names` in that order; default: all members."""
        names = names or self.names
        return [dict(zip(names, row, strict=True)) for row in zip(*self._columns(rows, names), strict=True)]

    def objects(self, rows: Iterable[Sequence[Any]], names: tuple[str, ...]) -> list[Any]:
        """Write rows as `write` does, but as structs: msgspec makes and encodes them in half the time of dicts."""
        return list(map(_struct(names), *self._columns(rows, names)))

    def _columns(self, rows: Iterable[Sequence[Any]], names: tuple[str, ...]) -> list[Any]:
        columns: list[Any] = list(zip(*rows, strict=True))[: len(names)]
        # Without rows there are no columns either.
        for name, convert in self.converts.items() if columns else ():
            if name in names:
                position = names.index(name)
                columns[position] = list(map(convert, columns[position]))
        return columns or [()] * len(names)

    def one(self, rows: Callable[..., QuerySet[Any]]) -> Callable[..., dict[str, Any] | None]:
        """Make a function that reads one object: `find = LEAD.one(lead_rows)`, `find(lead_id=1, partner_id=None)`.

        `rows` makes the queryset from whole numbers or None, as FixedQuery says; None is returned for no row.
        """
        query = FixedQuery(lambda **values: rows(**values).order_by().values_list(*self.columns.values())[:1])

        def get(**values: int | None) -> dict[str, Any] | None:
            found = query(**values)
            return self.write(found)[0] if found else None

        return get
