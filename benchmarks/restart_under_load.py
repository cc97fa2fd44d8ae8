"""PostgreSQL restarted five times under 100 writers of turns: what is acknowledged, what is there, when it is back.

    python -m benchmarks.restart_under_load [--down 3]

Half of the writers send one statement a turn, half a transaction of two. One that hears that the outcome is unknown
looks its turn up by (call, turn) before it repeats.
"""

from __future__ import annotations

import argparse
import asyncio

from benchmarks.call_load import TABLE, server_with_calls, service, verdict
from database.embedded import EmbeddedServer
from database.tests.turn_writers import TurnWriters, differences, restart_under_load

MODES = ["fast", "immediate", "fast", "immediate", "fast"]
MUST_BACK = 2.0  # seconds


async def measure(server: EmbeddedServer, calls: list[int], down: float) -> bool:
    async with service(server, size=50) as database:
        writers = TurnWriters(database, calls, TABLE)
        seconds = await restart_under_load(writers, server, MODES, down=down, between=2)
        wrong = await differences(writers, TABLE)
    results = [
        verdict("calls with lost or double turns", f"{len(wrong)}", not wrong, "0"),
        verdict("longest way back", f"{max(seconds):.2f} s", max(seconds) < MUST_BACK, "under 2 s"),
    ]
    print(f"{'rows acknowledged':<34}{sum(writers.acknowledged.values()):>14,}")
    print(f"{'unknown outcomes, looked up':<34}{writers.unknown.total():>14,}   {dict(writers.unknown)}")
    print(
        f"{'failures told while it was down':<34}{writers.failures.total():>14,}   {dict(writers.failures)}"
    )
    return all(results)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--down", type=float, default=0, help="seconds that the server stays down each time")
    arguments = parser.parse_args()
    with server_with_calls(100) as (server, calls):
        passed = asyncio.run(measure(server, calls, arguments.down))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
