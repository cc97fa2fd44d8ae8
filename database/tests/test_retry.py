"""Retried transactions against real servers: what is repeated, what is not, and how often it takes effect."""

import time
from threading import Barrier

import psycopg
import pytest
import stamina
from django.db import OperationalError, connections, transaction

from database.errors import (
    PoolExhausted,
    Unreachable,
    driver_error,
)
from database.retry import retry_transient
from database.tests.retried import (
    ALIAS,
    INSERT,
    RAISE,
    in_threads,
    module_server,
    retries,
    rows,
    server,
)
from database.tests.served import counted, run, served

__all__ = ["module_server", "server"]


def test_two_transactions_in_a_deadlock_both_take_effect(server):
    run(ALIAS, "INSERT INTO effects VALUES (1), (2)")
    before, both_hold_one = retries("deadlock"), Barrier(2, timeout=30)
    tries = []

    def raise_places(first: int, second: int):
        @retry_transient(using=ALIAS)
        def work() -> None:
            tries.append(first)
            run(ALIAS, "SET LOCAL deadlock_timeout = '50ms'")
            run(ALIAS, "UPDATE effects SET place = place + 1 WHERE id = %s", [first])
            if tries.count(first) == 1:
                both_hold_one.wait()
            run(ALIAS, "UPDATE effects SET place = place + 1 WHERE id = %s", [second])

        return work

    in_threads(raise_places(1, 2), raise_places(2, 1))

    assert run(ALIAS, "SELECT place FROM effects") == [(2,), (2,)]
    assert len(tries) > 2
    assert retries("deadlock") == before + len(tries) - 2


@pytest.mark.parametrize("level", ["REPEATABLE READ", "SERIALIZABLE"])
def test_a_serialization_failure_is_tried_again_also_when_commit_reports_it(server, level):
    run(ALIAS, "INSERT INTO effects VALUES (1), (2)")
    before, tries = retries("serialization"), []

    @retry_transient(using=ALIAS)
    def work() -> None:
        tries.append(1)
        run(ALIAS, f"SET TRANSACTION ISOLATION LEVEL {level}")
        ((total,),) = run(ALIAS, "SELECT sum(place) FROM effects")
        with psycopg.connect(**server.conninfo) as other:
            if len(tries) == 1 and level == "REPEATABLE READ":
                other.execute("UPDATE effects SET place = place + 1 WHERE id = 2")
            elif len(tries) == 1:
                other.isolation_level = psycopg.IsolationLevel.SERIALIZABLE
                other.execute("SELECT sum(place) FROM effects")
                run(ALIAS, "UPDATE effects SET place = %s + 1 WHERE id = 1", [total])
                other.execute("UPDATE effects SET place = place + 1 WHERE id = 2")
        run(ALIAS, "UPDATE effects SET place = %s + 1 WHERE id IN (1, 2)", [total])

    work()

    assert len(tries) == 2 and retries("serialization") == before + 1
    assert run(ALIAS, "SELECT place FROM effects") == [(2,), (2,)]


@pytest.mark.parametrize("mode", ["fast", "immediate", "kill"])
@pytest.mark.parametrize("moment", ["before a statement", "before commit"])
def test_a_restart_before_commit_is_tried_again_and_takes_effect_once(server, mode, moment):
    tries, hooks = [], []
    unknown = counted("scheduler_commits_unknown")

    @retry_transient(using=ALIAS)
    def work() -> str:
        tries.append(1)
        transaction.on_commit(lambda: hooks.append(len(tries)), using=ALIAS)
        run(ALIAS, INSERT)
        if len(tries) == 1:
            server.stop(mode)
            server.start()
        if moment == "before a statement":
            run(ALIAS, "SELECT 1")
        return "done"

    assert work() == "done"
    assert rows(server) == 1
    assert len(tries) == 2 and hooks == [2]
    assert counted("scheduler_commits_unknown") == unknown


def test_a_connection_that_died_while_nobody_used_it_is_replaced(server):
    run(ALIAS, "SELECT 1")
    server.stop("immediate")
    server.start()

    retry_transient(using=ALIAS)(lambda: run(ALIAS, INSERT))()

    assert rows(server) == 1


def test_while_the_server_is_down_the_tries_end_with_the_total_time(server):
    given_up = counted("scheduler_transaction_retries_given_up", cause="connect")
    calls = []

    @retry_transient(using=ALIAS, attempts=1000, total_time=1.5)
    def work() -> None:
        calls.append(run(ALIAS, INSERT))

    connections[ALIAS].close()
    server.stop()
    started = time.monotonic()
    with pytest.raises(Unreachable):
        work()

    assert time.monotonic() - started < 10
    assert calls == []
    assert counted("scheduler_transaction_retries_given_up", cause="connect") == given_up + 1


def test_a_server_that_goes_down_for_good_in_the_middle_is_named_and_does_not_hide_why(server):
    @retry_transient(using=ALIAS, total_time=0.5)
    def work() -> None:
        run(ALIAS, INSERT)
        server.stop("fast")
        run(ALIAS, INSERT)

    with pytest.raises(Unreachable):
        work()

    server.start()
    assert rows(server) == 0


POOL = {"pool": {"min_size": 2, "max_size": 4, "timeout": 5.0}}


def test_with_a_pool_a_restart_is_tried_again_and_takes_effect_once(server):
    tries = []
    with served("pooled", server.socket_dir, OPTIONS=POOL) as alias:

        @retry_transient(using=alias)
        def work() -> None:
            tries.append(run(alias, INSERT))
            if len(tries) == 1:
                server.stop("immediate")
                server.start()
            run(alias, "SELECT 1")

        work()

    assert len(tries) == 2 and rows(server) == 1


def test_with_a_pool_a_server_that_stays_down_is_named(server):
    with served("pooled", server.socket_dir, OPTIONS=POOL) as alias:
        run(alias, "SELECT 1")

        @retry_transient(using=alias, total_time=3)
        def work() -> None:
            run(alias, INSERT)
            server.stop("immediate")
            run(alias, INSERT)

        started = time.monotonic()
        with pytest.raises(Unreachable):
            work()

    assert time.monotonic() - started < 20


def test_a_full_pool_is_not_asked_again(server):
    one = {"pool": {"min_size": 1, "max_size": 1, "timeout": 0.2}}
    with served("full", server.socket_dir, OPTIONS=one) as alias:
        run(alias, "SELECT 1")
        before = retries("connect")

        def work() -> None:
            with pytest.raises(PoolExhausted):
                retry_transient(using=alias)(lambda: run(alias, INSERT))()

        with connections[alias].cursor():
            in_threads(work)

    assert retries("connect") == before


def test_tries_are_capped(server):
    tries = []

    @retry_transient(using=ALIAS, attempts=3)
    def work() -> None:
        tries.append(1)
        run(ALIAS, RAISE.format("40001"))

    given_up = counted("scheduler_transaction_retries_given_up", cause="serialization")
    with pytest.raises(OperationalError):
        work()

    assert len(tries) == 3
    assert counted("scheduler_transaction_retries_given_up", cause="serialization") == given_up + 1


@pytest.mark.parametrize(
    "state",
    ["23505", "57014", "42601", "28P01", "3D000", "53300", "40002", "08007", "25P03", "22001", "P0001"],
)
def test_no_other_failure_is_tried_again(server, state):
    tries = []

    @retry_transient(using=ALIAS)
    def work() -> None:
        tries.append(1)
        run(ALIAS, RAISE.format(state))

    with pytest.raises(Exception) as raised:
        work()

    origin = driver_error(raised.value)
    assert origin and origin.sqlstate == state
    assert len(tries) == 1


@pytest.mark.parametrize("changed", [{"USER": "nobody-here"}, {"NAME": "nowhere"}])
def test_a_wrong_user_or_database_is_not_tried_again(server, changed):
    with served("wrong", server.socket_dir, **changed) as alias:
        started = time.monotonic()
        before = retries("connect")
        with pytest.raises(OperationalError):
            retry_transient(using=alias, total_time=60, attempts=100)(lambda: run(alias, INSERT))()

    assert retries("connect") == before
    assert time.monotonic() - started < 30


def test_stamina_can_be_switched_off(server):
    tries = []

    @retry_transient(using=ALIAS)
    def work() -> None:
        tries.append(1)
        run(ALIAS, RAISE.format("40001"))

    stamina.set_active(False)
    try:
        with pytest.raises(OperationalError):
            work()
    finally:
        stamina.set_active(True)

    assert len(tries) == 1
