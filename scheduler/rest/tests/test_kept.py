"""Results that are kept while nothing changes, on a server where nobody else ends transactions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event
from types import SimpleNamespace
from typing import Any

import pytest
from django.db import connections, transaction

from database.testing import throw_away_server, wait_until
from database.tests.served import run, served
from scheduler.rest.kept import Kept

QUIET = "quiet"


@pytest.fixture(scope="module")
def server(server_template) -> Iterator[Any]:
    with throw_away_server(server_template) as own:
        yield own


@pytest.fixture
def notes(server, django_db_blocker) -> Iterator[SimpleNamespace]:
    """Return `count`, which asks how many notes there are, and `asked`, how often it really did."""
    with django_db_blocker.unblock(), served(QUIET, server.socket_dir):
        run(QUIET, "DROP TABLE IF EXISTS notes; CREATE TABLE notes (id int)")
        kept: Kept[int] = Kept()
        counter = SimpleNamespace(asked=0)

        def compute() -> int:
            counter.asked += 1
            return int(run(QUIET, "SELECT count(*) FROM notes")[0][0])

        counter.count = lambda: kept.get("notes", compute, using=QUIET)
        counter.kept = kept
        yield counter


def asks_nothing(counter: SimpleNamespace) -> Callable[[], bool]:
    def ask() -> bool:
        before = counter.asked
        counter.count()
        return bool(counter.asked == before)

    return ask


def test_a_result_is_computed_once_and_anew_after_each_change(notes) -> None:
    # Autovacuum is the only one beside us who may end a transaction.
    wait_until(asks_nothing(notes), timeout=30)
    for change, expected in (
        ("INSERT INTO notes VALUES (1), (2)", 2),
        ("DELETE FROM notes WHERE id = 1", 1),
        ("TRUNCATE notes", 0),
    ):
        run(QUIET, change)
        assert notes.count() == expected
        wait_until(asks_nothing(notes), timeout=30)


def test_a_transaction_that_ends_later_is_in_the_next_result(notes) -> None:
    other = connections[QUIET].copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute("INSERT INTO notes VALUES (1)")
        assert [notes.count(), notes.count()] == [0, 0]
        other.commit()
        assert notes.count() == 1
    finally:
        other.close()


def test_a_transaction_sees_its_own_rows_and_leaves_nothing_behind(notes) -> None:
    notes.count()
    with transaction.atomic(using=QUIET):
        run(QUIET, "INSERT INTO notes VALUES (1)")
        assert notes.count() == 1
        transaction.set_rollback(True, using=QUIET)

    assert notes.count() == 0


def test_what_changes_while_it_is_computed_is_not_kept(notes) -> None:
    def change_then_count() -> int:
        (before,) = run(QUIET, "SELECT count(*) FROM notes")[0]
        run(QUIET, "INSERT INTO notes VALUES (1)")
        return int(before)

    assert notes.kept.get("notes", change_then_count, using=QUIET) == 0
    assert notes.count() == 1


def test_a_failure_is_not_kept(notes) -> None:
    with pytest.raises(ZeroDivisionError):
        notes.kept.get("notes", lambda: 1 // 0, using=QUIET)

    assert notes.count() == 0


def test_of_a_crowd_one_computes(notes) -> None:
    together, go_on = Barrier(8), Event()

    def slowly() -> int:
        notes.asked += 1
        go_on.wait(30)
        return 7

    def ask() -> int:
        together.wait(30)
        try:
            return int(notes.kept.get("crowd", slowly, using=QUIET))
        finally:
            connections[QUIET].close()

    with ThreadPoolExecutor(8) as crowd:
        asked = [crowd.submit(ask) for _ in range(8)]
        go_on.set()
        assert {each.result(30) for each in asked} == {7}
    assert notes.asked <= 2  # the second time if autovacuum has ended a transaction meanwhile
