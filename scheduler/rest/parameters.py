"""Types of parameters that endpoints share."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from typing import Annotated, Any

from django.db.models import Choices
from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    WithJsonSchema,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

BIGINT = 2**63 - 1
NO_ROW = -1
WHOLE = re.compile(r"[+-]?[0-9]+")
DAY = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt ]")


class Body(BaseModel):
    """What the JSON bodies of requests derive from.

    Not from ninja's Schema, which reads attributes of any object and so takes `[]` or `3` for an empty body.
    """


def _row_id(value: Any) -> int:
    """Read an id out of a path; one that no bigint can hold becomes one that no row has, so it is not found."""
    text = str(value)
    if not WHOLE.fullmatch(text):
        raise ValueError("must be a whole number")
    return int(text) if len(text) < 19 else NO_ROW


RowId = Annotated[int, BeforeValidator(_row_id), WithJsonSchema({"type": "integer", "format": "int64"})]
"""The id in a path: `abc` is 422, an impossible number is simply not found."""


class Whole:
    """A whole number in a JSON body, as `Annotated[int, Whole(1, 99)]`: 42, 42.0 and, from old clients, "42".

    Texts have a digit less than `most`: they are all within the bounds, so that the schema can say which are taken.
    """

    def __init__(self, least: int, most: int) -> None:
        self.least, self.most = least, most
        self.text = re.compile(rf"[1-9][0-9]{{0,{len(str(most)) - 2}}}")

    def read(self, value: Any) -> Any:
        if isinstance(value, str) and self.text.fullmatch(value):
            return int(value)
        return int(value) if isinstance(value, float) and value.is_integer() else value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        number = core_schema.int_schema(strict=True, ge=self.least, le=self.most)
        return core_schema.no_info_before_validator_function(self.read, number)

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        number = {"type": "integer", "minimum": self.least, "maximum": self.most}
        return {"anyOf": [number, {"type": "string", "pattern": f"^{self.text.pattern}$"}]}


BodyId = Annotated[int, Whole(-BIGINT, BIGINT)]
"""An id in a JSON body."""

FLAGS = {"true": True, "True": True, "1": True, "false": False, "False": False, "0": False}


def _flag(value: Any) -> Any:
    """Read what old clients may send for a boolean."""
    if isinstance(value, str):
        return FLAGS.get(value, value)
    return bool(value) if isinstance(value, (int, float)) and value in (0, 1) else value


Flag = Annotated[
    bool,
    Field(strict=True),
    BeforeValidator(_flag),
    WithJsonSchema({"anyOf": [{"type": "boolean"}, {"enum": [0, 1, *FLAGS]}]}),
]
"""A boolean in a JSON body."""


def _written_time(value: Any) -> Any:
    """Refuse numbers, which pydantic would take for seconds since 1970."""
    if not isinstance(value, str) or not DAY.match(value):
        raise ValueError("must be a time with its offset, such as 2025-01-01T09:30:00+00:00")
    return value


def _in_utc(value: datetime) -> datetime:
    """Write a time in UTC: PostgreSQL reads no offset of 16 hours and more, which RFC 3339 allows.

    What UTC would write with the year 0 or 10000 becomes the first or the last moment that there is.
    """
    try:
        return value.astimezone(UTC)
    except OverflowError:
        end = datetime.min if value.year == 1 else datetime.max
        return end.replace(tzinfo=UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(_written_time), AfterValidator(_in_utc)]
"""A time that a request names; in UTC."""


def choice_of(choices: type[Choices], *more: str) -> Any:
    """Make the type of an enum filter: a lower-case value or an upper-case name; empty is no filter.

    `more` are further lower-case values. Use it as `status: choice_of(Lead.Status) = None`.
    """
    # An empty choice of the model is no filter value.
    named = {str(each.name): str(each.value) for each in choices if each.value}
    named |= {value.upper(): value for value in more}
    values = {**named, **{value: value for value in named.values()}}
    allowed = sorted({*named.values()})

    def read(value: Any) -> str | None:
        if value is None or value == "":
            return None
        if value not in values:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return values[value]

    schema = {"type": "string", "enum": [*allowed, *named, ""]}
    return Annotated[str | None, BeforeValidator(read), WithJsonSchema(schema)]
