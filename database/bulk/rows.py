"""Reads rows of any form and writes them as blocks of COPY text; needs no connection to a server."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice
from operator import attrgetter, itemgetter
from typing import Any

from django.core.exceptions import FieldError
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.expressions import DatabaseDefault

from database.bulk.cells import SURROGATE_REASON, Encode, Unfit, encoder_of
from database.bulk.columns import AnyField, chosen_fields, column_of, is_automatic
from database.errors import ValueRefused

CHUNK = 10_000  # rows of one COPY: so many are in memory at a time, and count as one command for the timeout
BLOCK = 500  # rows of one message: the server works on a block while Python writes the next

Row = tuple[Any, ...]
Rows = Iterable[Mapping[str, Any]] | Iterable[Sequence[Any]] | Iterable[Model]


class GivenRows:
    """Rows as their caller gave them: dicts, sequences with `columns`, or instances of the model.

    The first row decides over form and columns. `fields` are the columns in order, empty when there is no row.
    With `names_from_mappings`, dicts name their columns themselves whatever `columns` says.
    Raises FieldError for column names that are wrong and TypeError for rows that are nothing of the above.
    """

    def __init__(
        self,
        model: type[Model],
        rows: Rows,
        columns: Iterable[str] | None = None,
        *,
        names_from_mappings: bool = False,
    ) -> None:
        if isinstance(columns, str):
            raise TypeError("`columns` takes a list of names, not one text.")
        self.model, self.names_from_mappings = model, names_from_mappings
        self.names = None if columns is None else tuple(columns)
        self.fields: tuple[AnyField, ...] = chosen_fields(model, self.names or ())
        iterator: Iterator[Any] = iter(rows)
        first = list(islice(iterator, 1))
        self._rows = chain(first, iterator)
        self._read: Callable[[list[Any], int], list[Row]] = self._sequences
        if first:
            self._adopt(first[0])

    def chunks(self, size: int = CHUNK) -> Iterator[list[Row]]:
        """Yield the rows as tuples in the order of `fields`, `size` at a time."""
        position = 0
        while rows := list(islice(self._rows, size)):
            yield self._read(rows, position)
            position += len(rows)

    def _adopt(self, row: Any) -> None:
        if isinstance(row, Mapping):
            self.names = tuple(row) if self.names_from_mappings else self.names or tuple(row)
            self._read = self._mappings
        elif isinstance(row, self.model):
            self.names = self.names or _given_attributes(row)
            self._read = self._instances
        elif self.names is None:
            raise TypeError("Rows are dicts, instances of the model, or sequences together with `columns`.")
        self.fields = chosen_fields(self.model, self.names)
        if not self.fields:
            raise FieldError("The rows give no column at all.")

    def _mappings(self, rows: list[Any], position: int) -> list[Row]:
        names = self.names or ()
        get = itemgetter(*names)
        try:
            if set(map(len, rows)) == {len(names)}:
                return [(get(row),) for row in rows] if len(names) == 1 else list(map(get, rows))
        except (KeyError, TypeError):
            pass  # the search below names the row
        for index, row in enumerate(rows):
            if not isinstance(row, Mapping) or set(row) != set(names):
                raise _misshapen(position + index, f"has not the columns of the first: {', '.join(names)}")
        raise AssertionError("A row differs, and no row does.")

    def _instances(self, rows: list[Any], position: int) -> list[Row]:
        for index, row in enumerate(rows):
            if not isinstance(row, self.model):
                raise _misshapen(position + index, f"is no {self.model.__name__}")
        get = attrgetter(*(field.attname for field in self.fields))
        read = [(get(row),) for row in rows] if len(self.fields) == 1 else list(map(get, rows))
        return read

    def _sequences(self, rows: list[Any], position: int) -> list[Row]:
        number = len(self.fields)
        for index, row in enumerate(rows):
            if not isinstance(row, (tuple, list)) or len(row) != number:
                raise _misshapen(position + index, f"is no sequence of {number} values")
        return rows


def _given_attributes(row: Model) -> tuple[str, ...]:
    """Name the columns that an instance gives: not what the database or the clock fills."""
    return tuple(
        field.attname
        for field in row._meta.concrete_fields
        if not field.generated
        and not is_automatic(field)
        and not isinstance(getattr(row, field.attname), DatabaseDefault)
        and not (field.primary_key and row.pk is None)
    )


def _misshapen(position: int, what: str) -> ValueRefused:
    return ValueRefused(f"Row {position} (counted from 0) {what}.", position=position)


class RowWriter:
    """Writes tuples of values, one per field, as COPY text.

    `leading` columns come before those of the fields: their values are numbers that the caller hands over.
    """

    def __init__(self, fields: Sequence[AnyField], connection: BaseDatabaseWrapper) -> None:
        self.names = [column_of(field) for field in fields]
        self.encoders: list[Encode] = [encoder_of(field, connection) for field in fields]

    def blocks(
        self,
        rows: Sequence[Row],
        position: int,
        leading: Sequence[int] | None = None,
        constants: Sequence[Sequence[Any]] = (),
    ) -> Iterator[bytes]:
        """Yield the rows in blocks of UTF-8; `position` is the first row's.

        `leading` are the numbers of a column before all others, `constants` the values of further columns
        behind those of the rows. Raises ValueRefused with the position of a value that does not fit.
        """
        for start in range(0, len(rows), BLOCK):
            block = rows[start : start + BLOCK]
            end = start + len(block)
            columns: list[Sequence[Any]] = [*zip(*block, strict=True), *(c[start:end] for c in constants)]
            cells = [self._cells(i, values, position + start) for i, values in enumerate(columns)]
            if leading is not None:
                cells.insert(0, list(map(str, leading[start:end])))
            text = "\n".join(map("\t".join, zip(*cells, strict=True)))
            if not _encodable(text):
                raise self._lone_surrogate(columns, position + start)
            yield f"{text}\n".encode()

    def _cells(self, column: int, values: Sequence[Any], position: int) -> list[str]:
        try:
            return self.encoders[column](values)
        except Unfit as unfit:
            refused = self._refused(column, position + unfit.index, unfit.reason)
        raise refused

    def _lone_surrogate(self, columns: Sequence[Sequence[Any]], position: int) -> ValueRefused:
        for index, values in enumerate(zip(*columns, strict=True)):
            for column, value in enumerate(values):
                if not _encodable(self.encoders[column]([value])[0]):
                    return self._refused(column, position + index, SURROGATE_REASON)
        raise AssertionError("The block holds a lone surrogate, and none of its cells does.")

    def _refused(self, column: int, position: int, reason: str) -> ValueRefused:
        name = self.names[column]
        return ValueRefused(
            f"Row {position} (counted from 0): column {name} {reason}.", position=position, column=name
        )


def _encodable(text: str) -> bool:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True
