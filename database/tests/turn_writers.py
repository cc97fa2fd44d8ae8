"""Writers of turns through the async service, who know at any moment what was acknowledged to them."""

import asyncio
from collections import Counter
from time import monotonic
from typing import Any

from django.db import OperationalError
from psycopg import sql

from database.errors import CommitOutcomeUnknown
from database.service import DatabaseService

PAUSE = 0.02  # seconds between two tries while the server is down
MESSAGES = ("Are you free on Tuesday at ten?", "Tuesday at ten suits me well, thank you.")


class TurnWriters:
    """One task per call; each writes two rows at a time, user and AI, and repeats only what is certainly not stored.

    `table` has the columns call_id, turn, role and message and a unique key over the first two. `waits` are
    seconds until a connection was there, `acknowledged` maps a call to the last turn that was confirmed.
    """

    def __init__(self, database: DatabaseService, calls: list[int], table: str) -> None:
        self.database, self.calls = database, calls
        name = sql.Identifier(table)
        # One statement commits by itself: one round trip and one flush of the log for both rows.
        self.insert_pair = (
            sql.SQL(
                "INSERT INTO {} (call_id, turn, role, message) VALUES (%s, %s, 'user', %s), (%s, %s, 'ai', %s)"
            )
            .format(name)
            .as_string(None)
        )
        self.insert_one = (
            sql.SQL("INSERT INTO {} (call_id, turn, role, message) VALUES (%s, %s, %s, %s)")
            .format(name)
            .as_string(None)
        )
        self.look = sql.SQL("SELECT count(*) FROM {} WHERE call_id = %s AND turn IN (%s, %s)").format(name)
        self.stop = asyncio.Event()
        self.acknowledged: dict[int, int] = dict.fromkeys(calls, 0)
        self.waits: list[float] = []
        self.last_acknowledged = 0.0
        self.unknown: Counter[str] = Counter()
        self.failures: Counter[str] = Counter()

    async def run(self, *, in_transactions: bool = False) -> None:
        """Write until `stop` is set; with `in_transactions` every other call uses BEGIN, two INSERTs and COMMIT."""
        async with asyncio.TaskGroup() as group:
            for place, call in enumerate(self.calls):
                group.create_task(self._converse(call, in_transactions and place % 2 == 1))

    async def _converse(self, call: int, in_transactions: bool) -> None:
        write = self._write_in_transaction if in_transactions else self._write
        while not self.stop.is_set():
            turn = self.acknowledged[call] + 1
            try:
                await write(call, turn)
            except CommitOutcomeUnknown:
                if not await self._is_stored(call, turn):
                    continue
            except OperationalError as error:
                self.failures[type(error).__name__] += 1
                await asyncio.sleep(PAUSE)
                continue
            self.acknowledged[call] = turn + 1
            self.last_acknowledged = monotonic()

    async def _write(self, call: int, turn: int) -> None:
        asked = monotonic()
        async with self.database.acquire() as session:
            self.waits.append(monotonic() - asked)
            await session.execute(self.insert_pair, call, turn, MESSAGES[0], call, turn + 1, MESSAGES[1])

    async def _write_in_transaction(self, call: int, turn: int) -> None:
        async with self.database.transaction() as work:
            await work.execute(self.insert_one, call, turn, "user", MESSAGES[0])
            await work.execute(self.insert_one, call, turn + 1, "ai", MESSAGES[1])

    async def _is_stored(self, call: int, turn: int) -> bool:
        """Look until PostgreSQL answers; a half of the pair would be an error of PostgreSQL's own."""
        while True:
            try:
                found = await self.database.fetch_value(self.look, call, turn, turn + 1)
            except OperationalError:
                await asyncio.sleep(PAUSE)
                continue
            if found not in (0, 2):
                raise AssertionError(f"{found} of 2 rows of turn {turn} are stored")
            self.unknown["stored" if found else "not stored"] += 1
            return bool(found)


async def restart_under_load(
    writers: TurnWriters, server: Any, modes: list[str], *, down: float = 0, between: float = 1.0
) -> list[float]:
    """Stop and start the server once for each mode while the writers work; return the seconds until one got through.

    The seconds count from the moment at which the server accepts connections again.
    """
    seconds = []
    async with asyncio.TaskGroup() as group:
        group.create_task(writers.run(in_transactions=True))
        try:
            for mode in modes:
                await asyncio.sleep(between)
                await asyncio.to_thread(server.stop, mode)
                await asyncio.sleep(down)
                await asyncio.to_thread(server.start)
                back = monotonic()
                while writers.last_acknowledged < back:
                    await asyncio.sleep(0.005)
                seconds.append(writers.last_acknowledged - back)
            await asyncio.sleep(between)
        finally:
            writers.stop.set()
    return seconds


async def differences(writers: TurnWriters, table: str) -> list[Any]:
    """Return the calls whose stored turns are not exactly 1 to the last acknowledged one, each once."""
    stored = await writers.database.fetch(
        sql.SQL(
            "SELECT call_id, count(*) AS number, min(turn) AS first, max(turn) AS last FROM {} GROUP BY call_id"
        ).format(sql.Identifier(table))
    )
    found = {row["call_id"]: (row["number"], row["first"], row["last"]) for row in stored}
    expected = {call: (last, 1, last) for call, last in writers.acknowledged.items() if last}
    return [
        (call, found.get(call), expected.get(call))
        for call in {*found, *expected}
        if found.get(call) != expected.get(call)
    ]
