"""Who holds a connection, since when, from which line, and for how long without using it.

A connection that is held while its task waits for a third party is one that no other call can use. A pool of 10
serves 500 calls only as long as nobody does that, so the pool measures it.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from pathlib import Path
from time import monotonic
from types import FrameType

PROJECT = Path(__file__).resolve().parent.parent.parent
# Frames of these are how a connection is taken, not who takes it.
MACHINERY = (str(Path(__file__).resolve().parent), str(Path(asyncio.__file__).parent), "contextlib.py")


@dataclass(slots=True)
class Hold:
    """One use of a connection, from taking it to giving it back; times are monotonic seconds."""

    task: asyncio.Task[object] | None
    code: tuple[str, int]
    since: float = field(default_factory=monotonic)
    last_active: float = field(default_factory=monotonic)
    busy: bool = False
    longest_gap: float = 0.0
    reported: bool = False

    def start_statement(self) -> None:
        self.longest_gap = max(self.longest_gap, monotonic() - self.last_active)
        self.busy = True

    def end_statement(self) -> None:
        self.last_active = monotonic()
        self.busy = False

    def seconds(self) -> float:
        return monotonic() - self.since

    def idle_seconds(self) -> float:
        """Return the longest time that the connection was held without a statement running, up to now."""
        current = 0.0 if self.busy else monotonic() - self.last_active
        return max(self.longest_gap, current)

    @property
    def where(self) -> str:
        """`calls/worker.py:88`: the line that took the connection."""
        file, line = self.code
        path = Path(file)
        return f"{path.relative_to(PROJECT) if path.is_relative_to(PROJECT) else path.name}:{line}"


@dataclass(frozen=True)
class Held:
    """What a test or an operator sees of a Hold."""

    where: str
    task: str
    seconds: float
    idle_seconds: float

    @classmethod
    def of(cls, hold: Hold) -> Held:
        name = hold.task.get_name() if hold.task else ""
        return cls(hold.where, name, hold.seconds(), hold.idle_seconds())


def calling_line() -> tuple[str, int]:
    """Return file and line of the innermost frame that is not part of this package."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(MACHINERY[:2]):
        frame = frame.f_back
    while frame is not None and frame.f_code.co_filename.endswith(MACHINERY[2]):
        frame = frame.f_back
    return (frame.f_code.co_filename, frame.f_lineno) if frame else ("", 0)
