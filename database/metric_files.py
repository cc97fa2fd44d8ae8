"""The folder in which the processes of one machine add up their metrics.

prometheus-client gives every process files of its own and never removes them. Here those of dead processes are
folded: live gauges vanish, counters and histograms are added to `totals.N`, so nothing is lost and the folder
does not grow with each command. All of it happens under one lock, and a crash at any line counts nothing twice:

    counter_17.db        a process that lives, or died since the last look
    dead.8/              files of dead processes, on their way into totals.8
    totals.8.making/     not finished; thrown away
    totals.8/            one rename made it; from here on dead.8 and totals.7 are contained and may go
"""

from __future__ import annotations

import fcntl
import logging
import os
import re
import shutil
import struct
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from prometheus_client import Metric
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.multiprocess import MultiProcessCollector
from prometheus_client.registry import Collector

from database.processes import alive

LOCK_LIMIT = 0.3  # seconds; a scrape takes some ten milliseconds
CROWDED = 200  # files; a machine with 50 processes has about that many
OF_A_PROCESS = re.compile(r"(counter|histogram|summary|gauge)(?:_[a-z]+)?_(\d+)\.db")
READ_ATTEMPTS = 3

log = logging.getLogger(__name__)


class FolderBusy(Exception):
    """Another process has been reading the folder for too long."""


class MetricsFolder(Collector):
    """The metrics of all processes, dead ones included; a collector of prometheus-client."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def collect(self) -> list[Metric]:
        """Fold the dead and read the rest. Raises FolderBusy."""
        with self._locked(LOCK_LIMIT):
            self._fold()
            files = [*self._files(), *self._totals_folder(self._generation()).glob("*.db")]
            readable = [str(file) for file in files if _contents(file) is not None]
            return list(MultiProcessCollector.merge(readable, accumulate=True))

    def sweep_if_crowded(self) -> None:
        """Fold the dead when there are many files: short commands leave theirs behind, and nobody may be scraping."""
        if len(self._files()) < CROWDED:
            return
        with suppress(FolderBusy), self._locked(0):
            self._fold()

    @contextmanager
    def _locked(self, seconds: float) -> Iterator[None]:
        deadline = time.monotonic() + seconds
        # A descriptor of its own each time, so that threads of one process exclude each other too.
        lock = os.open(self.path / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            while True:
                try:
                    fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > deadline:
                        raise FolderBusy("Another process is reading the metrics.") from None
                    time.sleep(0.005)
            yield
        finally:
            os.close(lock)

    def _files(self) -> list[Path]:
        return [file for file in self.path.glob("*.db") if OF_A_PROCESS.fullmatch(file.name)]

    def _totals_folder(self, generation: int) -> Path:
        return self.path / f"totals.{generation}"

    def _generation(self) -> int:
        numbers = [path.suffix[1:] for path in self.path.glob("totals.*")]
        return max((int(number) for number in numbers if number.isdigit()), default=0)

    def _fold(self) -> None:
        generation = self._generation()
        self._clear_up(generation)
        graves = self.path / f"dead.{generation + 1}"
        for file in self._files():
            match = OF_A_PROCESS.fullmatch(file.name)
            if match and not alive(int(match[2])):
                _bury(file, match[1], int(match[2]), graves)
        if graves.exists():
            self._add_up(
                [*self._totals_folder(generation).glob("*.db"), *graves.glob("*.db")], generation + 1
            )
            self._clear_up(generation + 1)

    def _add_up(self, files: list[Path], generation: int) -> None:
        sums: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for file in files:
            kind = file.name.partition("_")[0]
            for key, value in _contents(file) or []:
                sums[kind][key] += value
        making = self.path / f"totals.{generation}.making"
        making.mkdir()
        for kind, values in sums.items():
            store = MmapedDict(str(making / f"{kind}_0.db"))
            for key, value in values.items():
                store.write_value(key, value, 0.0)
            store.close()
        making.rename(self._totals_folder(generation))

    def _clear_up(self, generation: int) -> None:
        """Remove what is contained in `totals.<generation>`, and totals that were never finished."""
        for path in [*self.path.glob("totals.*"), *self.path.glob("dead.*")]:
            name, number, *rest = path.name.split(".")
            if rest or int(number) < generation or (name == "dead" and int(number) == generation):
                shutil.rmtree(path)


def _bury(file: Path, kind: str, pid: int, graves: Path) -> None:
    if kind == "gauge":
        file.unlink()
        return
    graves.mkdir(exist_ok=True)
    # After a crash the grave of an earlier process with the same number may still be there.
    grave = graves / f"{kind}_{pid}-{time.time_ns()}.db"
    file.rename(grave)
    if alive(pid):
        # A process with the same number has started this moment and may write into the very file. If it made
        # another one, this one is a dead process's after all.
        with suppress(FileExistsError):
            os.link(grave, file)
            grave.unlink()


def _contents(file: Path) -> list[tuple[str, float]] | None:
    """Return keys and values of a file; None when it cannot be read."""
    for _ in range(READ_ATTEMPTS):
        try:
            return [(key, value) for key, value, *_ in MmapedDict.read_all_values_from_file(str(file))]
        except (struct.error, RuntimeError, UnicodeDecodeError, OSError):
            time.sleep(0.001)  # its process is just creating or enlarging it
    log.warning("The metrics in %s cannot be read and are left out.", file.name)
    return None
