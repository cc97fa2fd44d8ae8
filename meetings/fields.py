"""Columns and conditions that PostgreSQL has and Django does not."""

from typing import Any

from django.contrib.postgres.fields import DateRangeField, RangeBoundary, RangeField
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, DateTimeField, F, Func
from psycopg.types.range import TimestampRange

CLOCK = "^([01][0-9]|2[0-3]):[0-5][0-9]$|^24:00$"
# True of a pair that is no window: two clock times, the second one later. "HH:MM" sorts as it counts.
NO_WINDOW = (
    '@.type() != "array" || @.size() != 2 || @[0].type() != "string" || @[1].type() != "string"'
    f' || !(@[0] like_regex "{CLOCK}") || !(@[1] like_regex "{CLOCK}") || !(@[0] < @[1])'
)
NO_DAY = (
    '!(@.key like_regex "^(mon|tue|wed|thu|fri|sat|sun)$") || @.value.type() != "array"'
    f" || exists(@.value[*] ? ({NO_WINDOW}))"
)


class TimestampRangeField(RangeField):
    """A `tsrange`: the UTC wall-clock span of a meeting.

    Django has `tstzrange` only, and `timestamptz + interval` is not immutable, so no generated column
    can be made of it.
    """

    base_field = DateTimeField
    range_type = TimestampRange  # type: ignore[assignment]

    def db_type(self, connection: BaseDatabaseWrapper) -> str:
        return "tsrange"


class _Condition(Func):
    """A condition for a check constraint, in migrations known by its class and column."""

    output_field = BooleanField()

    def __init__(self, column: str) -> None:
        super().__init__(F(column))
        self.column = column

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        return f"meetings.fields.{type(self).__name__}", (self.column,), {}


class IsWeek(_Condition):
    """`{"mon": [["09:00", "17:00"]]}`: weekdays with windows."""

    # Silent: what is no object is judged by the first condition, not by an error of the path.
    template = (
        "(jsonb_typeof(%(expressions)s) = 'object' AND "
        f"NOT coalesce(jsonb_path_exists(%(expressions)s, 'strict $.keyvalue() ? ({NO_DAY})', '{{}}', true), true))"
    )


class IsWindows(_Condition):
    """`[["09:00", "17:00"]]`: windows of one day."""

    template = (
        "(jsonb_typeof(%(expressions)s) = 'array' AND "
        f"NOT coalesce(jsonb_path_exists(%(expressions)s, 'strict $[*] ? ({NO_WINDOW})', '{{}}', true), true))"
    )


class Days(Func):
    """The range of days from one column to another, both included."""

    function = "daterange"
    output_field = DateRangeField()

    def __init__(self, first: str, last: str) -> None:
        super().__init__(F(first), F(last), RangeBoundary(inclusive_upper=True))
        self.columns = (first, last)

    def deconstruct(self) -> tuple[str, tuple[Any, ...], dict[str, Any]]:
        return "meetings.fields.Days", self.columns, {}
