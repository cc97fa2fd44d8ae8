"""Where a page of a list begins, as the values of a row: found by index, however deep in the list."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import F, Field, Model, Q, QuerySet
from django.db.models.fields.tuple_lookups import Tuple, TupleGreaterThan, TupleLessThan

AFTER = "after"
BEFORE = "before"
PARAMETERS = (AFTER, BEFORE)


@dataclass(frozen=True, slots=True)
class Column:
    """A column that orders a list; never NULL, as NULL is neither before nor after anything."""

    field: Field[Any, Any]
    is_descending: bool


def columns_of(model: type[Model], ordering: Sequence[Any]) -> list[Column] | None:
    """Read an ordering up to its unique column; None when a place in it cannot be found by its values."""
    columns = []
    unique = {constraint.fields for constraint in model._meta.total_unique_constraints}
    for term in ordering:
        if not isinstance(term, str):
            return None
        name = term.removeprefix("-")
        field = model._meta.pk if name == "pk" else _own_fields(model).get(name)
        if field is None or field.null:
            return None
        columns.append(Column(field, term.startswith("-")))
        if field.unique or (field.name,) in unique:
            return columns
    return None


def _own_fields(model: type[Model]) -> dict[str, Field[Any, Any]]:
    return {field.name: field for field in model._meta.concrete_fields if not field.is_relation}


def written(row: Model, columns: Sequence[Column]) -> str:
    """Write the place of a row, to be read by `place`."""
    return json.dumps([column.field.value_to_string(row) for column in columns])


def place(text: str, columns: Sequence[Column]) -> list[Any]:
    """Read the place of a row. Raises ValueError when it is none of this ordering."""
    values = json.loads(text)
    if not isinstance(values, list) or len(values) != len(columns):
        raise ValueError("a place in another ordering")
    try:
        found = [column.field.to_python(value) for column, value in zip(columns, values, strict=True)]
    except (ValidationError, TypeError, OverflowError) as error:
        raise ValueError("no place") from error
    if None in found:
        raise ValueError("NULL is no place")
    return found


def beyond(
    rows: QuerySet[Any], columns: Sequence[Column], values: Sequence[Any], *, back: bool
) -> QuerySet[Any]:
    """Narrow rows to those after a place, or with `back` to those before it."""
    downwards = [column.is_descending != back for column in columns]
    names = [column.field.name for column in columns]
    if all(downwards) or not any(downwards):
        if len(names) == 1:
            return rows.filter(**{f"{names[0]}__{'lt' if downwards[0] else 'gt'}": values[0]})
        # One comparison of tuples is one range of an index.
        compare = TupleLessThan if downwards[0] else TupleGreaterThan
        return rows.filter(compare(Tuple(*map(F, names)), tuple(values)))
    return rows.filter(_mixed(names, values, downwards))


def _mixed(names: Sequence[str], values: Sequence[Any], downwards: Sequence[bool]) -> Q:
    found = Q(pk__in=[])
    for last, name in enumerate(names):
        equal = Q(**dict(zip(names[:last], values[:last], strict=True)))
        found |= equal & Q(**{f"{name}__{'lt' if downwards[last] else 'gt'}": values[last]})
    return found


def ordered(rows: QuerySet[Any], columns: Sequence[Column], *, back: bool) -> QuerySet[Any]:
    return rows.order_by(
        *(f"{'-' if column.is_descending != back else ''}{column.field.name}" for column in columns)
    )
