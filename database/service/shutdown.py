"""The end of a worker by SIGTERM: transactions finish, queries stop on the server, connections close."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Protocol

SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Drainable(Protocol):
    def hold_back(self) -> None: ...

    async def drain(self, grace: float) -> int: ...


class Serving:
    """What the body of `serving()` sees: `stopping` is set by the signal, whose number is `signal`."""

    def __init__(self) -> None:
        self.stopping = asyncio.Event()
        self.hurry = asyncio.Event()
        self.signal = 0
        self.cancelled = 0
        self.draining: asyncio.Task[None] | None = None


@asynccontextmanager
async def stop_on_signals(service: Drainable, grace: float) -> AsyncIterator[Serving]:
    """Drain the service on the first signal and then leave the body; a second signal shortens the grace to nothing."""
    loop, serving = asyncio.get_running_loop(), Serving()
    body = asyncio.current_task()
    assert body is not None

    def receive(number: int) -> None:
        if serving.stopping.is_set():
            serving.hurry.set()
            return
        serving.signal = number
        serving.stopping.set()
        service.hold_back()
        serving.draining = loop.create_task(_drain_and_leave(service, serving, grace, body))

    for number in SIGNALS:
        loop.add_signal_handler(number, receive, number)
    _spare_what_was_imported()
    try:
        yield serving
    except asyncio.CancelledError:
        # Before a signal it was somebody else who cancelled this task, for a reason of their own.
        if not serving.stopping.is_set():
            raise
        while body.uncancel():
            pass
    finally:
        for number in SIGNALS:
            loop.remove_signal_handler(number)
        if serving.draining:
            await _end_of(serving.draining, body)
    if serving.cancelled:
        raise SystemExit(128 + serving.signal)


def _spare_what_was_imported() -> None:
    """Take what lives as long as the process out of the garbage collector's rounds.

    A full round over Django's modules stops every task of a worker for about 0.1 s, and there is one every few seconds.
    """
    gc.collect()
    gc.freeze()


async def _drain_and_leave(
    service: Drainable, serving: Serving, grace: float, body: asyncio.Task[object]
) -> None:
    finishing = asyncio.ensure_future(service.drain(grace))
    hurrying = asyncio.ensure_future(serving.hurry.wait())
    await asyncio.wait({finishing, hurrying}, return_when=asyncio.FIRST_COMPLETED)
    hurrying.cancel()
    if not finishing.done():
        finishing.cancel()
        finishing = asyncio.ensure_future(service.drain(0))
    serving.cancelled = await finishing
    body.cancel()


async def _end_of(draining: asyncio.Task[None], body: asyncio.Task[object]) -> None:
    """Wait for the draining, which cancels this very task at its end, in vain by now."""
    with suppress(asyncio.CancelledError):
        await asyncio.wait({draining})
        await asyncio.sleep(0)
    while body.uncancel():
        pass
