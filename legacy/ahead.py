"""Work ahead of the reader: SQLite reads while PostgreSQL writes, as both release the interpreter meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import TypeVar

READ_AHEAD = 3  # chunks

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of an iterable that a thread runs through ahead of the caller."""
    queue: Queue[tuple[bool, object]] = Queue(READ_AHEAD)
    closed = Event()

    def run() -> None:
        try:
            for item in items:
                if closed.is_set():
                    return
                queue.put((True, item))
            queue.put((False, None))
        except BaseException as error:
            queue.put((False, error))

    thread = Thread(target=run, daemon=True)
    thread.start()
    try:
        while (entry := queue.get())[0]:
            yield entry[1]  # type: ignore[misc]
        if isinstance(entry[1], BaseException):
            raise entry[1]
    finally:
        closed.set()
        while thread.is_alive():
            _drain(queue)
            thread.join(0.01)


def _drain(queue: Queue[tuple[bool, object]]) -> None:
    while not queue.empty():
        queue.get_nowait()
