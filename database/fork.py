"""What a child made by `os.fork` does with the connections of its parent: nothing at all.

Parent and child share the socket of a connection. If the child closed it, it would send a farewell, and the
server would end the parent's session, in the middle of a transaction if there is one. So the child forgets every
connection and pool that it finds, and keeps them alive until it ends, as their destructors might say farewell too.
multiprocessing forks by `os.fork`; a program started by `subprocess` runs none of this and inherits no socket.
"""

import os
import sys
from collections.abc import Callable
from threading import Lock

_drops: list[Callable[[], None]] = []
_inherited: list[object] = []


def in_child(drop: Callable[[], None]) -> None:
    """Have `drop` called in every child, in the only thread that it has, before its own code runs.

    It must take no lock: another thread of the parent may hold it, and does not exist in the child.
    """
    _drops.append(drop)


def keep(inherited: object) -> None:
    """Let an object of the parent live as long as this process."""
    _inherited.append(inherited)


def _forget() -> None:
    for drop in _drops:
        drop()


def _free_metrics() -> None:
    """Give prometheus-client unlocked locks: a thread that stayed in the parent may have held the ones we copied.

    What they guard is in order: the values start anew in files of the child's own.
    """
    if "prometheus_client" not in sys.modules:
        return
    from prometheus_client import REGISTRY, values

    REGISTRY._lock = Lock()
    for collector in list(REGISTRY._collector_to_names):
        if hasattr(collector, "_lock"):
            collector._lock = Lock()
    # One lock for the values of all metrics, known to their methods alone.
    for cell in values.ValueClass.inc.__closure__ or ():
        if isinstance(cell.cell_contents, type(REGISTRY._lock)):
            cell.cell_contents = Lock()


in_child(_free_metrics)
os.register_at_fork(after_in_child=_forget)
