"""500 tasks that wait 2 s for an LLM between two short transactions, pool of 10.

    python -m benchmarks.llm_wait [--tasks 500] [--pool 10]

Calls do not all begin in the same millisecond, so the starts are spread over the 2 s of one wait: 250 a second.
All at once is measured too, without a limit: there the last of 500 waits for the transactions of the 490 before it.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Callable
from time import monotonic

from benchmarks.call_load import percentile, server_with_calls, service, verdict
from database.embedded import EmbeddedServer
from database.errors import ConnectionHeldIdle
from database.service import DatabaseService

LLM_SECONDS = 2.0
MUST_WAIT = 0.05  # seconds
INSERT = "INSERT INTO conversation_history (call_id, turn, role, message) VALUES (%s, %s, %s, %s)"


class Conversations:
    """So many tasks; `waits` are the seconds until each transaction had its connection, `held` counts held ones."""

    def __init__(self, database: DatabaseService, calls: list[int], turn: int) -> None:
        self.database, self.calls, self.turn = database, calls, turn
        self.waits: list[float] = []
        self.held = 0
        self.waiting_for_llm = self.most_waiting = 0

    async def run(self, spread: float, holding: bool = False) -> None:
        async with asyncio.TaskGroup() as group:
            for place, call in enumerate(self.calls):
                group.create_task(self._converse(call, place / len(self.calls) * spread, holding))

    async def _converse(self, call: int, start: float, holding: bool) -> None:
        await asyncio.sleep(start)
        try:
            if holding:
                async with self.database.acquire():
                    await self._two_turns(call)
            else:
                await self._two_turns(call)
        except ConnectionHeldIdle:
            self.held += 1

    async def _two_turns(self, call: int) -> None:
        await self._store(call, self.turn, "user", "Are you free on Tuesday at ten?")
        self.waiting_for_llm += 1
        self.most_waiting = max(self.most_waiting, self.waiting_for_llm)
        await asyncio.sleep(LLM_SECONDS)
        self.waiting_for_llm -= 1
        await self._store(call, self.turn + 1, "ai", "Tuesday at ten suits me well, thank you.")

    async def _store(self, call: int, turn: int, role: str, message: str) -> None:
        asked = monotonic()
        async with self.database.transaction() as work:
            # The connection was there one round trip ago, at BEGIN, which counts in full here.
            self.waits.append(monotonic() - asked)
            await work.execute(INSERT, call, turn, role, message)


async def measure(server: EmbeddedServer, calls: list[int], size: int) -> bool:
    strict = service(server, size=size, strict=True, hold_limit=LLM_SECONDS / 2)
    async with strict as database:
        await _until(lambda: database.pool_stats().idle == size)
        spread = Conversations(database, calls, 1)
        await spread.run(LLM_SECONDS)
        at_once = Conversations(database, calls, 3)
        await at_once.run(0)
        control = Conversations(database, calls[:size], 5)
        await control.run(0, holding=True)
    worst = max(spread.waits)
    results = [
        verdict(
            "longest wait for a connection", f"{worst * 1000:.1f} ms", worst <= MUST_WAIT, "at most 50 ms"
        ),
        verdict("connections held while waiting", f"{spread.held}", spread.held == 0, "0"),
        verdict("held ones found in the control", f"{control.held}", control.held == size, f"{size}"),
    ]
    print(f"{'tasks waiting at the same time':<34}{spread.most_waiting:>14}")
    print(f"{'wait, p99':<34}{percentile(spread.waits, 0.99) * 1000:>11.1f} ms")
    print(f"{'all at once: longest wait':<34}{max(at_once.waits) * 1000:>11.1f} ms   (no limit)")
    return all(results)


async def _until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(30):
        while not condition():
            await asyncio.sleep(0.01)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--tasks", type=int, default=500)
    parser.add_argument("--pool", type=int, default=10)
    arguments = parser.parse_args()
    with server_with_calls(arguments.tasks) as (server, calls):
        passed = asyncio.run(measure(server, calls, arguments.pool))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
