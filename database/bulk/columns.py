"""The columns of a model by the names that callers use."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple, TypeAlias

from django.core.exceptions import FieldError
from django.db.models import Field, Model
from django.db.models.fields import NOT_PROVIDED

AnyField: TypeAlias = "Field[Any, Any]"


def columns_of(model: type[Model]) -> dict[str, AnyField]:
    """Return the fields of a model's own table by the name of their column.

    Raises FieldError for a model whose rows are spread over several tables.
    """
    if model._meta.parents:
        raise FieldError(
            f"{model._meta.label} keeps its rows in several tables, which bulk operations cannot fill."
        )
    return {column_of(field): field for field in model._meta.concrete_fields}


def column_of(field: AnyField) -> str:
    """Return the name of a field's column; a composite key, which has none, is refused."""
    if field.column is None:
        raise FieldError(
            f"{field.model._meta.label} has a key of several columns, which bulk operations do not know."
        )
    return field.column


def key_of(model: type[Model]) -> str:
    """Return the name of the primary key's column."""
    return column_of(model._meta.pk)


def chosen_fields(model: type[Model], names: Iterable[str]) -> tuple[AnyField, ...]:
    """Return the fields that were named by column, by field or as `pk`, in the order of the names.

    Raises FieldError for a name that the model has not, a column named twice, and one that PostgreSQL generates.
    """
    by_column = columns_of(model)
    known = {field.name: field for field in by_column.values()} | by_column
    known["pk"] = model._meta.pk
    fields = []
    for name in names:
        field = known.get(name)
        if field is None:
            raise FieldError(f"{model._meta.db_table} has no column {name!r}; it has {', '.join(by_column)}.")
        if field.generated:
            raise FieldError(
                f"PostgreSQL computes {model._meta.db_table}.{field.column}; it cannot be given."
            )
        if field in fields:
            raise FieldError(f"Column {field.column} of {model._meta.db_table} is named twice.")
        fields.append(field)
    return tuple(fields)


class Absent(NamedTuple):
    """A column that the rows do not give, and that Python fills; `value` of a callable is called for each row."""

    field: AnyField
    value: Any

    def values(self, count: int) -> list[Any]:
        return [self.value() for _ in range(count)] if callable(self.value) else [self.value] * count


def filled_by_python(model: type[Model], given: Iterable[AnyField]) -> tuple[Absent, ...]:
    """Return the columns with a default in Python only: those with one in the database are left to it."""
    columns, taken = columns_of(model).values(), set(given)
    return tuple(
        Absent(field, _value(model, field))
        for field in columns
        if field not in taken and not field.generated and field.db_default is NOT_PROVIDED and _fills(field)
    )


def touched(model: type[Model], written: Iterable[AnyField]) -> tuple[tuple[AnyField, Any], ...]:
    """Return the `auto_now` columns that an update sets although they are not named, and their value."""
    columns, taken = columns_of(model).values(), set(written)
    return tuple(
        (field, field.pre_save(model(), False))
        for field in columns
        if getattr(field, "auto_now", False) and field not in taken
    )


def is_automatic(field: AnyField) -> bool:
    """Tell whether Django sets the time of this column by itself."""
    return bool(getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False))


def _fills(field: AnyField) -> bool:
    return field.has_default() or is_automatic(field)


def _value(model: type[Model], field: AnyField) -> Any:
    if is_automatic(field):
        return field.pre_save(model(), True)
    return field.default
