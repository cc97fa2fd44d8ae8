"""Typed reading of environment variables: a wrong value is refused by the name of its variable."""

import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import environ
from django.core.exceptions import ImproperlyConfigured

PROCESS = "process environment"
FILE = ".env"

TRUE = frozenset({"1", "true", "yes", "on"})
FALSE = frozenset({"0", "false", "no", "off"})
# What PostgreSQL and the operating system take: 32 bits, for times as milliseconds.
LARGEST = 2**31 - 1
LONGEST = LARGEST // 1000  # seconds
ASSIGNMENT = re.compile(r"(export )?[A-Za-z_0-9]+=")


def read_env_file(path: Path) -> dict[str, str]:
    """Parse a `.env` file without touching `os.environ`; a missing file is empty.

    Raises ImproperlyConfigured with the number of a wrong line, never with its text.
    """

    # The class attribute is where django-environ writes; its default is os.environ itself, and then nobody
    # could tell any more which of the two a value came from.
    class FileOnly(environ.Env):
        ENVIRON: dict[str, str] = {}

    FileOnly.read_env(io.StringIO("\n".join(_checked_lines(path))))
    return FileOnly.ENVIRON


def _checked_lines(path: Path) -> Iterator[str]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return
    except (OSError, UnicodeDecodeError):
        # `from None`: a decoding error carries the bytes, and they may be a password.
        raise ImproperlyConfigured(f"{path.name} cannot be read as a text file in UTF-8.") from None
    for number, line in enumerate(map(str.strip, lines), start=1):
        if line and not line.startswith("#"):
            if not ASSIGNMENT.match(line):
                raise ImproperlyConfigured(f"Line {number} of {path.name} is not of the form NAME=value.")
            yield line


class Environment:
    """The variables of the process and of `.env`. The process wins; an empty value means the default."""

    def __init__(self, process: Mapping[str, str], file: Mapping[str, str]) -> None:
        self.process = process
        self.file = file

    @classmethod
    def of_project(cls, base_dir: Path) -> "Environment":
        return cls(os.environ, read_env_file(base_dir / ".env"))

    def source(self, name: str) -> str | None:
        """Name the place that `name` is taken from, or None when it is set nowhere."""
        if name in self.process:
            return PROCESS
        return FILE if name in self.file else None

    def text(self, name: str, default: str = "") -> str:
        value = self.process.get(name, self.file.get(name, ""))
        return value.strip() or default

    def zone(self, name: str, default: str) -> str:
        value = self.text(name, default)
        try:
            ZoneInfo(value)
        except (KeyError, ValueError, OSError):
            raise ImproperlyConfigured(f"{name} is not a time zone, such as Europe/Zurich.") from None
        return value

    def switch(self, name: str, default: bool) -> bool:
        value = self.text(name).lower()
        if not value:
            return default
        if value not in TRUE | FALSE:
            raise ImproperlyConfigured(f"{name} must be on or off (1/0, true/false, yes/no).")
        return value in TRUE

    def whole(self, name: str, default: int, minimum: int = 0) -> int:
        value = self.text(name)
        if not value:
            return default
        digits = value.isascii() and value.isdigit() and len(value) <= len(str(LARGEST))
        if not (digits and minimum <= int(value) <= LARGEST):
            raise ImproperlyConfigured(
                f"{name} must be a whole number, {minimum} or more, {LARGEST} at most."
            )
        return int(value)

    def seconds(self, name: str, default: float, *, zero_allowed: bool = False) -> float:
        value = self.text(name)
        if not value:
            return default
        try:
            number = float(value)
        except ValueError:
            number = -1.0
        if not (0 < number <= LONGEST or (zero_allowed and number == 0)):
            least = "0 or more" if zero_allowed else "more than 0"
            raise ImproperlyConfigured(f"{name} must be a number of seconds, {least}, {LONGEST} at most.")
        return number

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """Return one of `choices`; the first is the default."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise ImproperlyConfigured(f"{name} must be one of {', '.join(choices)}.")
        return value

    def words(self, name: str) -> list[str]:
        return [word.strip() for word in self.text(name).split(",") if word.strip()]

    @staticmethod
    def publish(name: str, value: str) -> None:
        """Set a variable for a library that reads `os.environ` itself."""
        os.environ[name] = value

    def __repr__(self) -> str:
        # Values may be secrets and a repr ends up in error reports.
        names: dict[str, Any] = {**self.file, **self.process}
        return f"<Environment of {len(names)} variables>"
