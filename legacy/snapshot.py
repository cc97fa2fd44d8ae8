"""A consistent copy of the legacy file, made while the old application may still be writing to it."""

from __future__ import annotations

import os
import shutil
import sqlite3
import tempfile
from collections.abc import Iterator
from contextlib import closing, contextmanager, suppress
from glob import escape
from pathlib import Path
from stat import S_IMODE

from database.processes import alive
from legacy.errors import MoveError, UnusableSource

HEADER = b"SQLite format 3\0"
IN_WAL_MODE = b"\2\2"
BUSY_SECONDS = 30  # an application that writes all the time leaves a gap only now and then
DEFINED = {"table", "index", "view", "trigger"}
NEEDS_WRITING = ("unable to open", "readonly")
CANNOT_WRITE = ("full", "unable to open", "disk I/O", "readonly")


def check_source(path: Path) -> None:
    """Raise UnusableSource with one sentence unless the path is a readable SQLite file."""
    if not path.exists():
        raise UnusableSource(f"{path} does not exist.")
    if not path.is_file():
        raise UnusableSource(f"{path} is not a file.")
    try:
        with path.open("rb") as file:
            header = file.read(len(HEADER))
    except OSError as error:
        raise UnusableSource(f"{path} cannot be read: {error.strerror}.") from None
    if not header:
        raise UnusableSource(f"{path} is empty.")
    if header != HEADER:
        raise UnusableSource(f"{path} is not a SQLite database.")


def backup_path(path: Path) -> Path:
    return path.with_name(path.name + ".backup")


def take_snapshot(path: Path, target: Path | None = None) -> Path:
    """Copy the database to PATH.backup, or to `target`, in one step and return that path.

    One step, because a copy in several begins anew whenever the old application writes, and so may never end.
    Raises UnusableSource for a source that is locked or damaged, MoveError when the copy cannot be written.
    """
    target = target or backup_path(path)
    partial = target.with_name(f"{target.name}.{os.getpid()}.partial")
    _remove_rests(target)
    try:
        with _open_source(path) as source:
            _copy(path, source, partial)
        _check_structure(path, partial)
        os.replace(partial, target)
    except UnicodeDecodeError:  # SQLite quotes the definition of a table in its message
        raise UnusableSource(f"{path} is damaged: its tables are not defined in readable text.") from None
    except OSError as error:
        raise MoveError(f"{target} cannot be written: {error.strerror}.") from None
    finally:
        for leftover in (partial, partial.with_name(partial.name + "-journal")):
            with suppress(OSError):
                leftover.unlink(missing_ok=True)
    return target


def open_copy(path: Path) -> sqlite3.Connection:
    """Open a file that nobody writes to, read-only and without locks or side files."""
    return sqlite3.connect(_uri(path, "mode=ro&immutable=1"), uri=True, check_same_thread=False)


def _remove_rests(target: Path) -> None:
    """Remove what killed processes left of their copies."""
    for rest in target.parent.glob(f"{escape(target.name)}.*.partial"):
        pid = rest.suffixes[-2].removeprefix(".")
        with suppress(OSError):
            if pid.isdigit() and not alive(int(pid)):
                rest.unlink()


def _uri(path: Path, options: str) -> str:
    return f"{path.absolute().as_uri()}?{options}"


@contextmanager
def _open_source(path: Path) -> Iterator[sqlite3.Connection]:
    """Open the source read-only; one that cannot be read so is copied aside first.

    Reading a WAL needs a `-shm` file beside the database, and a journal left by a crash has to be rolled back.
    """
    with closing(sqlite3.connect(_uri(path, _mode(path)), uri=True, timeout=BUSY_SECONDS)) as source:
        try:
            _hold_for_reading(source)
        except sqlite3.DatabaseError as error:
            if not any(word in str(error) for word in NEEDS_WRITING):
                raise UnusableSource(_sentence(path, error)) from None
        else:
            _check_size(path)
            yield source
            return
    with tempfile.TemporaryDirectory(prefix="legacy-") as folder:
        for suffix in ("", "-wal", "-journal"):
            side = path.with_name(path.name + suffix)
            if side.exists():
                shutil.copy(side, Path(folder) / (path.name + suffix))
        with closing(sqlite3.connect(Path(folder) / path.name)) as source:
            try:
                _hold_for_reading(source)
            except sqlite3.DatabaseError as error:
                raise UnusableSource(_sentence(path, error)) from None
            _check_size(path)
            yield source


def _mode(path: Path) -> str:
    """Return `mode=rw` for a file in WAL mode that nobody has open.

    SQLite makes `-wal` and `-shm` for any reader of such a file; only one that may write removes them again.
    """
    with path.open("rb") as file:
        is_wal = file.read(20)[18:] == IN_WAL_MODE
    return "mode=rw" if is_wal and not path.with_name(path.name + "-wal").exists() else "mode=ro"


def _check_size(path: Path) -> None:
    """Raise UnusableSource when the end of the file is missing; SQLite would read zeros there, or nothing.

    To be called under a lock, as a writer may have written the header before the pages at the end.
    """
    size = path.stat().st_size
    with path.open("rb") as file:
        header = file.read(100)
    page = int.from_bytes(header[16:18]) if header[16:18] != b"\0\1" else 65536
    pages = (
        int.from_bytes(header[28:32]) if header[24:28] == header[92:96] else 0
    )  # else SQLite counts itself
    wal = path.with_name(path.name + "-wal")
    pending = wal.exists() and wal.stat().st_size > 0
    if page and (size % page or (size < pages * page and not pending)):
        raise UnusableSource(f"{path} is truncated: its end is missing.")


def _hold_for_reading(source: sqlite3.Connection) -> None:
    # The shared lock is taken here, with a time limit; sqlite3's backup() would wait for one for ever.
    source.execute("BEGIN")
    source.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _copy(path: Path, source: sqlite3.Connection, partial: Path) -> None:
    try:
        partial.unlink(missing_ok=True)
        partial.touch(mode=0o600)  # who may not read the file may not read its copy: it holds API keys
        with closing(sqlite3.connect(partial)) as copy:
            copy.execute("PRAGMA synchronous=off")  # synced once, below
            source.backup(copy)
            copy.execute("PRAGMA journal_mode=delete")
    except sqlite3.DatabaseError as error:
        if any(word in str(error) for word in CANNOT_WRITE):
            raise MoveError(f"The copy {partial.name} cannot be written: {error}.") from None
        raise UnusableSource(_sentence(path, error)) from None
    with partial.open("rb+") as file:
        os.fsync(file.fileno())
    partial.chmod(S_IMODE(path.stat().st_mode))


def _check_structure(path: Path, copy: Path) -> None:
    with closing(open_copy(copy)) as connection:
        try:
            found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
            definitions = connection.execute("SELECT type, name, tbl_name, sql FROM sqlite_master").fetchall()
        except sqlite3.DatabaseError as error:
            raise UnusableSource(_sentence(path, error)) from None
    # SQLite itself does not mind; a table under another type would be overlooked.
    if not {kind for kind, *_ in definitions} <= DEFINED:
        raise UnusableSource(f"{path} is damaged: it defines something that is no table.")
    if isinstance(found, bytes):
        found = found.decode("utf-8", "replace")
    if found != "ok":
        first = found.strip().splitlines()[-1].strip()
        raise UnusableSource(f"{path} is damaged: {first}.")


def _sentence(path: Path, error: sqlite3.DatabaseError) -> str:
    if "locked" in str(error) or "busy" in str(error):
        return f"{path} is locked by another process; let it finish, then try again."
    return f"{path} is damaged or not a SQLite database: {error}."
