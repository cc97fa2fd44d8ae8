"""PostgreSQL restarted under load: what was acknowledged is there exactly once, and no process needs a restart."""

import pytest

from database.tests.services import on_server, run, service_on
from database.tests.turn_writers import TurnWriters, differences, restart_under_load

TURNS = """
CREATE TABLE turns (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    call_id bigint, turn int, role text, message text, UNIQUE (call_id, turn)
)
"""


async def loaded(server, modes, calls, **times):
    async with service_on(server, min_size=10, max_size=20) as database:
        writers = TurnWriters(database, list(range(1, calls + 1)), "turns")
        seconds = await restart_under_load(writers, server, modes, **times)
        assert await differences(writers, "turns") == []
        assert all(writers.acknowledged.values())
        assert database.pool_stats().used == 0
        return seconds, writers


def test_a_restart_under_load_loses_and_doubles_nothing(private_server):
    on_server(private_server, TURNS)
    run(loaded(private_server, ["immediate"], 10, between=0.3))


@pytest.mark.chaos
@pytest.mark.parametrize("down", [0, 4])
def test_five_restarts_under_load_lose_and_double_nothing(private_server, down):
    on_server(private_server, TURNS)
    modes = ["fast", "immediate", "fast", "immediate", "kill"]
    seconds, writers = run(loaded(private_server, modes, 50, down=down))
    print(
        f"back after {', '.join(f'{second:.2f}' for second in seconds)} s; unknown: {dict(writers.unknown)}"
    )
    assert max(seconds) < 2
