"""A replica that lags, stops, hangs and comes back: the primary answers meanwhile."""

import math
import threading
import time
from contextlib import suppress

import pytest
from django.db import OperationalError, ProgrammingError, connections

from database.replica import (
    REPLICA,
    read,
    reading_from_replica,
)
from database.testing import wait_until
from database.tests.replicas import PROMISED, alias, is_well, lag, module_pair, pair, reads, who
from database.tests.served import run

__all__ = ["module_pair", "pair"]


def test_a_replica_that_lags_is_not_read_from_until_it_has_caught_up(pair):
    wait_until(is_well)
    before = reads("primary", "lag")

    pair.standby.answer("SELECT pg_wal_replay_pause()")
    pair.primary.answer("INSERT INTO marks VALUES (3)")
    wait_until(lambda: read(who) == "primary", timeout=20)
    assert reads("primary", "lag") > before
    assert lag() > 1.0

    pair.standby.answer("SELECT pg_wal_replay_resume()")
    wait_until(is_well, timeout=20)
    wait_until(lambda: lag() == 0.0)


def test_a_primary_that_writes_nothing_makes_no_lag(pair):
    wait_until(is_well)
    behind = "SELECT extract(epoch FROM now() - pg_last_xact_replay_timestamp())"
    wait_until(lambda: (pair.standby.answer(behind) or 0) > 1.5)

    assert [read(who) for _ in range(20)] == ["replica"] * 20
    assert lag() == 0.0


def test_a_replica_that_is_cut_off_from_its_primary_is_not_taken_for_current(pair):
    wait_until(is_well)
    conninfo = pair.standby.answer("SHOW primary_conninfo")
    try:
        pair.standby.answer("ALTER SYSTEM SET primary_conninfo = 'host=/nowhere'")
        pair.standby.answer("SELECT pg_reload_conf()")
        pair.primary.answer("INSERT INTO marks VALUES (4)")

        wait_until(lambda: read(who) == "primary", timeout=20)
        wait_until(lambda: lag() > 1.0)
    finally:
        pair.standby.answer(f"ALTER SYSTEM SET primary_conninfo = $c${conninfo}$c$")
        pair.standby.answer("SELECT pg_reload_conf()")
    wait_until(is_well, timeout=30)


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
def test_a_replica_that_stops_between_the_check_and_the_query_costs_no_read(pair, mode):
    wait_until(is_well)
    before = reads("primary", "down")

    pair.standby.stop(mode)
    started = time.monotonic()
    assert read(who) == "primary"

    assert time.monotonic() - started < PROMISED
    assert reads("primary", "down") == before + 1
    wait_until(lambda: math.isnan(lag()))
    pair.standby.start()
    wait_until(is_well, timeout=30)


@pytest.mark.parametrize("connected", [True, False])
def test_a_replica_that_hangs_holds_nobody_up_for_longer_than_a_second(pair, connected):
    wait_until(is_well)
    if not connected:
        connections[REPLICA].close()

    with pair.standby.frozen():
        started = time.monotonic()
        assert read(who) == "primary"
        assert time.monotonic() - started < PROMISED
        started = time.monotonic()
        assert [read(who) for _ in range(20)] == ["primary"] * 20
        assert time.monotonic() - started < PROMISED
    wait_until(is_well, timeout=30)


def test_a_replica_that_hangs_in_the_middle_of_a_query_frees_its_reader(pair):
    wait_until(is_well)
    asleep = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'SELECT pg_sleep%'"

    def sleep_on_the_replica() -> str:
        answered = who()
        if answered == "replica":
            run(alias(), "SELECT pg_sleep(60)")
        return answered

    found = []

    def work() -> None:
        found.append((read(sleep_on_the_replica), time.monotonic()))
        connections[REPLICA].close()
        connections["primary"].close()

    reader = threading.Thread(target=work)
    reader.start()
    wait_until(lambda: pair.standby.answer(asleep))
    with pair.standby.frozen():
        started = time.monotonic()
        reader.join(30)

    ((answered, at),) = found
    assert answered == "primary" and at - started < PROMISED
    wait_until(is_well, timeout=30)


def test_a_block_that_cannot_be_run_again_says_that_it_failed_and_the_next_one_meets_the_primary(pair):
    wait_until(is_well)

    with pytest.raises(OperationalError), reading_from_replica():
        pair.standby.stop("immediate")
        who()
    with reading_from_replica() as answering:
        assert answering == "primary"

    pair.standby.start()
    wait_until(is_well, timeout=30)


@pytest.mark.parametrize("sqlstate", ["40001", "40P01", "08006", "57P01"])
def test_an_error_of_the_primary_says_nothing_about_the_replica(pair, sqlstate):
    wait_until(is_well)
    runs = []

    def mixed():
        runs.append(alias())
        # It was in trouble before, which is forgotten only with the next connection.
        with suppress(ProgrammingError):
            run(REPLICA, "SELECT nothing")
        run("primary", f"DO $$ BEGIN RAISE EXCEPTION 'no' USING ERRCODE = '{sqlstate}'; END $$")

    with pytest.raises(OperationalError):
        read(mixed)

    assert runs == [REPLICA]
    assert is_well()


@pytest.mark.parametrize("sqlstate", ["40001", "40P01"])
def test_a_query_that_is_in_the_way_of_the_replay_runs_again_on_the_primary(pair, sqlstate):
    wait_until(is_well)
    before = reads("primary", "conflict")

    def refused_by_the_replica():
        if alias() == REPLICA:
            run(REPLICA, f"DO $$ BEGIN RAISE EXCEPTION 'conflict' USING ERRCODE = '{sqlstate}'; END $$")
        return alias()

    assert read(refused_by_the_replica) == "primary"
    assert reads("primary", "conflict") == before + 1
    assert is_well()
