"""100 concurrent writers of two-row turns through the async service, pool of 50, one process, durable server.

python -m benchmarks.async_writers [--seconds 10] [--writers 100] [--pool 50]
"""

from __future__ import annotations

import argparse
import asyncio
from time import monotonic

from benchmarks.call_load import TABLE, percentile, server_with_calls, service, verdict
from database.embedded import EmbeddedServer
from database.tests.turn_writers import TurnWriters, differences

MUST, AIM, MUST_WAIT = 1500, 3000, 0.05  # turns a second, seconds
WARM_UP = 4.0


async def measure(server: EmbeddedServer, calls: list[int], size: int, seconds: float) -> bool:
    database = service(server, size=size)
    async with database.serving():
        writers = TurnWriters(database, calls, TABLE)
        working = asyncio.create_task(writers.run())
        await asyncio.sleep(WARM_UP)
        writers.waits.clear()
        before, started = sum(writers.acknowledged.values()), monotonic()
        await asyncio.sleep(seconds)
        rows, took = sum(writers.acknowledged.values()) - before, monotonic() - started
        waits = list(writers.waits)
        writers.stop.set()
        await working
        wrong = await differences(writers, TABLE)
    rate, wait, errors = rows / 2 / took, percentile(waits, 0.99), writers.failures.total() + len(wrong)
    results = [
        verdict("errors", f"{errors}", errors == 0, "0"),
        verdict("turns of two rows", f"{rate:,.0f}/s", rate >= MUST, f"at least {MUST:,}, aim {AIM:,}"),
        verdict("wait for a connection, p99", f"{wait * 1000:.1f} ms", wait < MUST_WAIT, "under 50 ms"),
    ]
    print(f"{'wait for a connection, median':<34}{percentile(waits, 0.5) * 1000:>11.1f} ms")
    return all(results)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--writers", type=int, default=100)
    parser.add_argument("--pool", type=int, default=50)
    arguments = parser.parse_args()
    with server_with_calls(arguments.writers) as (server, calls):
        passed = asyncio.run(measure(server, calls, arguments.pool, arguments.seconds))
    raise SystemExit(0 if passed else 1)


if __name__ == "__main__":
    main()
