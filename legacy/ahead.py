"""Work ahead of the reader: SQLite reads while PostgreSQL writes, as both release the interpreter meanwhile."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from queue import Queue
from threading import Event, Thread
from typing import Any, Generic, TypeVar

READ_AHEAD = 3  # chunks

Item = TypeVar("Item")


def read_ahead(items: Iterable[Item]) -> Iterator[Item]:
    """Yield the items of an iterable that a thread runs through ahead of the caller."""
    with ReadAhead(items) as ahead:
        yield from ahead


class ReadAhead(Generic[Item]):
    """Runs through an iterable in a thread, from the start on and at most `depth` items ahead of its reader."""

    def __init__(self, items: Iterable[Item], depth: int = READ_AHEAD) -> None:
        self.items = items
        self.queue: Queue[tuple[bool, Any]] = Queue(depth)
        self.closed = Event()
        self.thread = Thread(target=self._run, daemon=True)
        self.thread.start()

    def __enter__(self) -> ReadAhead[Item]:
        return self

    def __exit__(self, *exception: object) -> None:
        self.closed.set()
        while self.thread.is_alive():
            while not self.queue.empty():  # so that the thread is not left waiting for room
                self.queue.get_nowait()
            self.thread.join(0.01)

    def __iter__(self) -> Iterator[Item]:
        while (entry := self.queue.get())[0]:
            yield entry[1]
        if entry[1] is not None:
            raise entry[1]

    def _run(self) -> None:
        try:
            for item in self.items:
                if self.closed.is_set():
                    return
                self.queue.put((True, item))
            self.queue.put((False, None))
        except BaseException as error:
            self.queue.put((False, error))
