"""Reading of CSV files as people have them: any separator, any encoding, quotes that nobody closed.

Whatever the bytes are, every line ends up in one `Row`, in a `Row` that says what is wrong with it, or among the
blank ones. Memory does not grow with the file.
"""

from __future__ import annotations

import codecs
import csv
import io
from collections.abc import Iterator
from typing import IO, NamedTuple

WANTED = ("name", "phone", "email")
REQUIRED = {"name", "phone"}
SEPARATORS = ",;\t|"
LONGEST_LINE = 65_536  # characters
MOST_LINES = 50  # of one row, by line breaks within quotes
SAMPLE = 4096  # bytes
TOO_LONG = f"The line is longer than {LONGEST_LINE:,} characters"


class NoSheet(ValueError):
    """The first line does not name the columns that are needed."""


class Row(NamedTuple):
    """A row that is not blank; `number` counts the file's rows from 1, so the first one below the header is 2.

    Missing cells are empty. `fault` says what is wrong with the line as a whole.
    """

    number: int
    name: str = ""
    phone: str = ""
    email: str = ""
    fault: str | None = None


def _as_western(error: UnicodeError) -> tuple[str, int]:
    """Read bytes that are no UTF-8 the way Western Windows writes them; a single one costs nothing but itself."""
    if not isinstance(error, UnicodeDecodeError):
        raise error
    wrong = error.object[error.start : error.end]
    try:
        return wrong.decode("cp1252"), error.end
    except UnicodeDecodeError:
        return wrong.decode("latin-1"), error.end


codecs.register_error("western", _as_western)


class Sheet:
    """The rows of a CSV file below its header. Raises NoSheet. `blank` and `rows` count while it is iterated."""

    def __init__(self, file: IO[bytes]) -> None:
        encoding, errors = encoding_of(file)
        file.seek(0)
        self._text = io.TextIOWrapper(file, encoding=encoding, errors=errors, newline=None)
        self._waiting: list[str] = []  # lines that were looked at ahead
        self.number = self.blank = self.rows = 0
        try:
            self.separator, self.columns = self._header()
        except NoSheet:
            self.close()
            raise

    def __iter__(self) -> Iterator[Row]:
        while line := self._line():
            self.number += 1
            cells = self._cells(line)
            if cells is None:
                self.rows += 1
                yield Row(self.number, fault=TOO_LONG)
            elif any(map(str.strip, cells)):
                self.rows += 1
                yield Row(self.number, *self._wanted(cells))
            else:
                self.blank += 1

    def close(self) -> None:
        """Let go of the file without closing it: its owner may read it again."""
        self._text.detach()

    def _header(self) -> tuple[str, list[int | None]]:
        while line := self._line():
            self.number += 1
            if not line.strip():
                continue
            for separator in SEPARATORS:
                names = [_plain(cell) for cell in _split(line, separator)]
                if set(names) >= REQUIRED:
                    return separator, [names.index(name) if name in names else None for name in WANTED]
            break
        raise NoSheet("The first line must name the columns name and phone; email may follow")

    def _line(self) -> str:
        if self._waiting:
            return self._waiting.pop(0)
        return self._text.readline(LONGEST_LINE)

    def _cells(self, line: str) -> list[str] | None:
        """Return the cells of the row that begins with a line; None for one that is too long to be looked at."""
        if len(line) == LONGEST_LINE and not line.endswith("\n"):
            self._skip_rest()
            return None
        if '"' not in line:
            return line.rstrip("\n").split(self.separator)
        if line.count('"') % 2 and (joined := self._joined(line)):
            return joined
        return _split(line, self.separator)

    def _skip_rest(self) -> None:
        while (part := self._text.readline(LONGEST_LINE)) and not part.endswith("\n"):
            pass

    def _joined(self, line: str) -> list[str] | None:
        """Take the lines up to the closing quote as one row; without one, the first line stands alone.

        A quote that nobody closed would otherwise swallow the rows below it.
        """
        taken = [line]
        while len(taken) < MOST_LINES and (following := self._line()):
            taken.append(following)
            if sum(map(len, taken)) > LONGEST_LINE:
                break
            if following.count('"') % 2:
                cells = _strictly_split("".join(taken), self.separator)
                if cells is not None:
                    return cells
                break
        self._waiting = taken[1:] + self._waiting
        return None

    def _wanted(self, cells: list[str]) -> list[str]:
        size = len(cells)
        return [cells[place] if place is not None and place < size else "" for place in self.columns]


def encoding_of(file: IO[bytes]) -> tuple[str, str]:
    """Tell the encoding of a file, and what to do with bytes that do not belong into it."""
    file.seek(0)
    sample = file.read(SAMPLE)
    if sample.startswith((codecs.BOM_UTF32_LE, codecs.BOM_UTF32_BE)):
        return "utf-32", "replace"
    if sample.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16", "replace"
    # Of the characters of a header, UTF-16 writes one half as zero bytes.
    half = max(len(sample) // 2, 1)
    if sample[0::2].count(0) > 0.4 * half > sample[1::2].count(0):
        return "utf-16-be", "replace"
    if sample[1::2].count(0) > 0.4 * half > sample[0::2].count(0):
        return "utf-16-le", "replace"
    return "utf-8-sig", "western"


def _plain(name: str) -> str:
    return "".join(character for character in name.casefold() if character.isalnum())


def _split(line: str, separator: str) -> list[str]:
    """Split a line, leniently: a quote that is not closed ends with the line."""
    try:
        return next(csv.reader([line.rstrip("\n")], delimiter=separator), [])
    except csv.Error:
        return line.rstrip("\n").split(separator)


def _strictly_split(lines: str, separator: str) -> list[str] | None:
    try:
        rows = list(csv.reader(io.StringIO(lines, newline=""), delimiter=separator, strict=True))
    except csv.Error:
        return None
    return rows[0] if len(rows) == 1 else None
