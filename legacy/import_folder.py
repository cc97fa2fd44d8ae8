"""The legacy files on the server that may be imported from the admin: those below one folder."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from django.conf import settings

from legacy.errors import UnusableSource

SUFFIXES = {".db", ".sqlite", ".sqlite3"}
MOST_FILES = 200
MOST_LOOKED_AT = 10_000


class Offered(NamedTuple):
    """A file by its name below the folder."""

    name: str
    size: int  # bytes
    changed: datetime


def folder() -> Path | None:
    """Return the folder, None when none is set or it is not there."""
    if not settings.IMPORT_FOLDER:
        return None
    path = Path(settings.IMPORT_FOLDER).resolve()
    return path if path.is_dir() else None


def offered() -> list[Offered]:
    """List the files that may be imported, newest first; links that lead out of the folder are left out."""
    root = folder()
    if root is None:
        return []
    found: list[Offered] = []
    looked_at = 0
    for place, _, names in os.walk(root):
        for name in names:
            looked_at += 1
            path = Path(place, name)
            if path.suffix.lower() in SUFFIXES and _is_inside(path, root) and _is_readable_text(path):
                state = path.stat()
                relative = str(path.relative_to(root))
                found.append(Offered(relative, state.st_size, datetime.fromtimestamp(state.st_mtime, UTC)))
        if looked_at > MOST_LOOKED_AT:
            break
    return sorted(found, key=lambda each: each.changed, reverse=True)[:MOST_FILES]


def inside(name: str) -> Path:
    """Return the path of a file below the folder. Raises UnusableSource for any other place."""
    root = folder()
    if root is None:
        raise UnusableSource("There is no import folder: set IMPORT_FOLDER to one that exists.")
    if not name or "\0" in name or Path(name).suffix.lower() not in SUFFIXES:
        raise UnusableSource("This is no file of the import folder.")
    path = root / name
    if not _is_inside(path, root):
        raise UnusableSource("This is no file of the import folder.")
    return path.resolve()


def _is_inside(path: Path, root: Path | None) -> bool:
    try:
        real = path.resolve()
        return root is not None and real.is_relative_to(root) and real.is_file()
    except (OSError, RuntimeError):  # a loop of links
        return False


def _is_readable_text(path: Path) -> bool:
    try:
        str(path).encode()
    except UnicodeEncodeError:
        return False
    return True
