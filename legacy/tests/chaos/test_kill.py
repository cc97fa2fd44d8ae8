"""Processes and servers that die in the middle of an import: all or nothing, and the next run completes."""

import sqlite3
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from random import Random

import pytest

from legacy.tests.chaos.place import TIMEOUT, Content, Site

pytestmark = pytest.mark.chaos

KILLS, KILLS_OF_LATER_RUNS, CRASHES = 20, 10, 5
SEED = 9


def seconds_of_an_import(site: Site) -> float:
    started = time.monotonic()
    site.run("migrate_from_sqlite", str(site.path), "--no-input")
    return time.monotonic() - started


def wait(process: subprocess.Popen[str], seconds: float) -> bool:
    """Wait for some seconds; tell whether the process still runs then."""
    try:
        process.wait(timeout=seconds)
    except subprocess.TimeoutExpired:
        return True
    return False


def moments(seconds: float, number: int) -> Iterator[float]:
    """Yield random moments of an import, more than asked for, because it may end before one of them."""
    random = Random(SEED)
    return (random.uniform(0.1, seconds) for _ in range(4 * number))


def change_a_third(site: Site, text: str) -> None:
    with closing(sqlite3.connect(site.path)) as file:
        file.execute("UPDATE conversation_history SET message = ? || message WHERE id % 3 = 0", (text,))
        file.execute("UPDATE leads SET name = ? || name WHERE id % 3 = 0", (text,))
        file.commit()


def assert_all_or_nothing(before: Content, after: Content) -> None:
    """That a run is there says that all its rows are, which the next run proves."""
    assert after == before or after["import_runs"][0] == before["import_runs"][0] + 1


@pytest.mark.parametrize("kills", [KILLS, KILLS_OF_LATER_RUNS], ids=["first run", "later run"])
def test_kill_9(site: Site, kills: int) -> None:
    indexes, killed, waited = site.catalog(), [], 0.0
    site.empty()
    seconds = seconds_of_an_import(site)
    for moment in moments(seconds, kills):
        if kills == KILLS:
            site.empty()
        else:
            change_a_third(site, f"{moment} ")
        before = site.content()
        process = site.start_import()
        if wait(process, moment):
            killed.append(moment)
        process.kill()
        process.communicate(timeout=TIMEOUT)
        started = time.monotonic()
        assert_all_or_nothing(before, site.content())
        waited = max(waited, time.monotonic() - started)
        assert site.catalog() == indexes, moment
        site.complete()
        if len(killed) == kills:
            break
    print(f"\n{kills} kills in an import of {seconds:.1f} s, the tables free after at most {waited:.1f} s")
    assert len(killed) == kills
    assert not list(site.path.parent.glob("*.partial"))


def test_a_server_that_stops_at_once(site: Site) -> None:
    indexes, broken = site.catalog(), 0
    site.empty()
    seconds = seconds_of_an_import(site)
    for moment in moments(seconds, CRASHES):
        site.empty()
        before = site.content()
        process = site.start_import()
        running = wait(process, moment)
        site.server.stop("immediate")
        _, err = process.communicate(timeout=TIMEOUT)
        site.server.start()
        after = site.content()
        assert_all_or_nothing(before, after)
        if running and after == before:
            broken += 1
            assert process.returncode == 1, err
            assert err.startswith("CommandError: PostgreSQL: ") and err.count("\n") == 1, err
        assert site.catalog() == indexes
        site.complete()
        if broken == CRASHES:
            break
    print(f"\n{broken} crashes in an import of {seconds:.1f} s")
    assert broken == CRASHES
