"""Writes the values of one column as cells of COPY's text format, a whole column at a time and mostly in C.

No connection is needed. A value that does not fit raises `Unfit`, whose reason never holds the value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import date, datetime, time
from types import NoneType
from typing import Any
from uuid import UUID

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.postgresql.psycopg_any import get_adapters_template
from django.db.models import Field, ForeignObject, Model
from django.db.models import fields as django_fields
from django.utils.functional import Promise
from psycopg import Binary, Error
from psycopg.adapt import AdaptersMap, PyFormat, Transformer

NULL = "\\N"
ESCAPES = (("\\", "\\\\"), ("\n", "\\n"), ("\r", "\\r"), ("\t", "\\t"))
NUL_REASON = "holds a NUL character, which PostgreSQL cannot store"
SURROGATE_REASON = "holds half of a surrogate pair, which is no character"
INTEGERS = {"smallint": 2**15, "integer": 2**31, "bigint": 2**63}
# Overridden, one of these may change the value on its way to the database.
PREPARING = ("get_prep_value", "get_db_prep_value", "get_db_prep_save")

Encode = Callable[[Sequence[Any]], list[str]]
Convert = Callable[[Any], str]


class Unfit(ValueError):
    """The value at `index` of a column does not fit its type; `reason` completes "column x ..."."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index, self.reason = index, reason


def encoder_of(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> Encode:
    """Return what writes the values of a field; fields of unknown kinds go through `get_db_prep_save`."""
    if isinstance(field, ForeignObject):
        return _of_keys(encoder_of(field.target_field, connection))
    for base, encode in _PLAIN:
        if isinstance(field, base) and all(getattr(type(field), m) is getattr(base, m) for m in PREPARING):
            return encode
    if isinstance(field, django_fields.IntegerField) and _is_plain_number(field):
        bound = INTEGERS.get(field.rel_db_type(connection) or "")
        if bound is not None:
            return whole_numbers(bound)
    return by_value(_prepared(field, connection))


def texts(values: Sequence[Any]) -> list[str]:
    """Write texts; lone surrogates are left for the encoding of the whole block to find."""
    nulls = None in values
    present = ["" if value is None else value for value in values] if nulls else values
    try:
        joined = "\0".join(present)
    except TypeError:
        return texts([_text(index, value) for index, value in enumerate(values)])
    # Joined by the one character that no text may hold, a NUL of a value's own is one too many.
    if joined.count("\0") != len(values) - 1:
        raise Unfit(next(i for i, value in enumerate(present) if "\0" in value), NUL_REASON)
    cells = escaped(joined).split("\0")
    return (
        [NULL if value is None else cell for value, cell in zip(values, cells, strict=True)]
        if nulls
        else cells
    )


def escaped(text: str) -> str:
    """Return a text as COPY reads it."""
    for plain, escape in ESCAPES:
        text = text.replace(plain, escape)
    return text


def _text(index: int, value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, Promise):
        return str(value)
    raise Unfit(index, f"takes a text, not {_kind(value)}")


def whole_numbers(bound: int) -> Encode:
    """Return what writes numbers from -bound to bound - 1."""

    def convert(value: Any) -> str:
        if not isinstance(value, int) or isinstance(value, bool):
            raise ValueError(f"takes a whole number, not {_kind(value)}")
        if not -bound <= value < bound:
            raise ValueError("is given a number that is too large for it")
        return int.__repr__(value)

    careful = by_value(convert)

    def encode(values: Sequence[Any]) -> list[str]:
        kinds = set(map(type, values))
        if not kinds <= {int, NoneType}:
            return careful(values)
        numbers = [value for value in values if value is not None] if NoneType in kinds else values
        if numbers and not -bound <= min(numbers) <= max(numbers) < bound:
            return careful(values)
        return [NULL if value is None else str(value) for value in values]

    return encode


def by_value(convert: Convert) -> Encode:
    """Return what writes a column value by value; `convert` raises ValueError with the reason."""

    def encode(values: Sequence[Any]) -> list[str]:
        cells: list[str] = []
        try:
            for value in values:
                cells.append(NULL if value is None else convert(value))
        except ValueError as error:
            raise Unfit(len(cells), str(error)) from None
        return cells

    return encode


def _boolean(value: Any) -> str:
    if value is True:
        return "t"
    if value is False:
        return "f"
    raise ValueError(f"takes True or False, not {_kind(value)}")


def _float(value: Any) -> str:
    if not isinstance(value, (float, int)) or isinstance(value, bool):
        raise ValueError(f"takes a number, not {_kind(value)}")
    try:
        return repr(float(value))
    except OverflowError:
        raise ValueError("is given a number that is too large for it") from None


def _moment(value: Any) -> str:
    if not isinstance(value, datetime):
        raise ValueError(f"takes a datetime, not {_kind(value)}")
    offset = value.utcoffset()
    if offset is None:
        raise ValueError("takes a datetime with a time zone; without one the session's zone would decide")
    if offset.microseconds:
        raise ValueError("takes a datetime whose time zone is a whole number of seconds from UTC")
    return datetime.isoformat(value, " ")


def _date(value: Any) -> str:
    if not isinstance(value, date) or isinstance(value, datetime):
        raise ValueError(f"takes a date, not {_kind(value)}")
    return value.isoformat()


def _time(value: Any) -> str:
    if not isinstance(value, time) or value.tzinfo is not None:
        raise ValueError(f"takes a time without a zone, not {_kind(value)}")
    return value.isoformat()


def _uuid(value: Any) -> str:
    if not isinstance(value, UUID):
        raise ValueError(f"takes a UUID, not {_kind(value)}")
    return str(value)


def _kind(value: Any) -> str:
    return type(value).__name__


_PLAIN: tuple[tuple[type[Field[Any, Any]], Encode], ...] = (
    (django_fields.CharField, texts),
    (django_fields.TextField, texts),
    (django_fields.BooleanField, by_value(_boolean)),
    (django_fields.FloatField, by_value(_float)),
    (django_fields.DateTimeField, by_value(_moment)),
    (django_fields.DateField, by_value(_date)),
    (django_fields.TimeField, by_value(_time)),
    (django_fields.UUIDField, by_value(_uuid)),
)


def _is_plain_number(field: Field[Any, Any]) -> bool:
    return all(
        getattr(type(field), method).__module__.startswith("django.db.models.") for method in PREPARING
    )


def _of_keys(encode: Encode) -> Encode:
    """Let a foreign key be given as the row that it points to."""

    def encode_keys(values: Sequence[Any]) -> list[str]:
        if any(issubclass(kind, Model) for kind in set(map(type, values))):
            values = [_key(index, value) for index, value in enumerate(values)]
        return encode(values)

    return encode_keys


def _key(index: int, value: Any) -> Any:
    if isinstance(value, Model):
        if value.pk is None:
            raise Unfit(index, "points to an object that has not been saved")
        return value.pk
    return value


class _Context:
    """The adapters that Django registers, for use without a connection."""

    adapters: AdaptersMap
    connection = None

    def __init__(self) -> None:
        self.adapters = AdaptersMap(get_adapters_template(settings.USE_TZ, None))


def _prepared(field: Field[Any, Any], connection: BaseDatabaseWrapper) -> Convert:
    """Return what writes a value as Django and psycopg would send it in an INSERT."""
    transformer = Transformer(_Context())

    def convert(value: Any) -> str:
        try:
            ready = field.get_db_prep_save(value, connection)
            if ready is None:
                return NULL
            if isinstance(ready, Binary):
                return "\\\\x" + bytes(ready.obj).hex()
            written = transformer.get_dumper(ready, PyFormat.TEXT).dump(ready)
            text = bytes(written or b"").decode()
        # The messages of these hold the value.
        except (ValidationError, TypeError, ValueError, ArithmeticError, Error):
            raise ValueError(f"cannot take this {_kind(value)}") from None
        if "\0" in text:
            raise ValueError(NUL_REASON)
        return escaped(text)

    return convert
