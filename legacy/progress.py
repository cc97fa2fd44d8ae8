"""Progress on a terminal as bars with rows a second and time left, elsewhere as plain lines."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, cast

from django.core.management.base import OutputWrapper
from rich.console import Console
from rich.progress import BarColumn, Progress, ProgressColumn, Task, TextColumn, TimeRemainingColumn
from rich.text import Text

LINE_EVERY_SECONDS = 5.0
PIPE_WIDTH = 120


def console_on(stream: OutputWrapper) -> Console:
    """Return a console that writes to a command's output; in a file or a pipe no line is cut short."""
    width = None if stream.isatty() else PIPE_WIDTH
    return Console(file=cast(IO[str], stream._out), soft_wrap=True, highlight=False, width=width)


class _Speed(ProgressColumn):
    def render(self, task: Task) -> Text:
        return Text(f"{task.speed or 0:,.0f} rows/s", justify="right")


class Step:
    """One step under way; call it with the number of rows that were done."""

    def __init__(self, console: Console, title: str, total: int, bars: Progress | None) -> None:
        self.console, self.title, self.total, self.bars = console, title, total, bars
        self.task = bars.add_task(title, total=total) if bars else None
        self.done, self.started = 0, time.monotonic()
        self.said = self.started

    def __call__(self, rows: int) -> None:
        self.done += rows
        if self.bars and self.task is not None:
            self.bars.update(self.task, completed=self.done)
        elif time.monotonic() - self.said >= LINE_EVERY_SECONDS:
            self.said = time.monotonic()
            self.console.print(f"{self.title}: {self.done:,} of {self.total:,} rows")

    def end(self) -> None:
        if self.bars is None:
            seconds = time.monotonic() - self.started
            self.console.print(f"{self.title}: {self.done:,} rows in {seconds:.1f} s")


class Reporter:
    """Shows the steps of a long command."""

    def __init__(self, console: Console) -> None:
        self.console = console

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Step]:
        if not self.console.is_terminal:
            step = Step(self.console, title, total, None)
            yield step
            step.end()
            return
        columns = (TextColumn("{task.description:24}"), BarColumn(), _Speed(), TimeRemainingColumn())
        with Progress(*columns, console=self.console) as bars:
            step = Step(self.console, title, total, bars)
            yield step
            bars.update(step.task or 0, total=max(step.done, 1), completed=max(step.done, 1))  # type: ignore[arg-type]
