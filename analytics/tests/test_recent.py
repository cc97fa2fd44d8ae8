"""Figures that are kept for a minute: only those that take long, once for everybody, never within a transaction."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier, Event

import pytest
from django.db import connection, transaction

from analytics.recent import Recent

pytestmark = pytest.mark.django_db(transaction=True)


def counter():
    numbers = iter(range(1000))
    return lambda: next(numbers)


def test_what_is_quick_is_counted_every_time():
    recent: Recent[int] = Recent(worth_keeping=60)
    count = counter()

    assert [recent.get("a", count).value for _ in range(3)] == [0, 1, 2]


def test_what_takes_long_is_counted_once_and_says_when():
    recent: Recent[int] = Recent(worth_keeping=0)
    count = counter()
    first = recent.get("a", count)

    assert recent.get("a", count) is first
    assert recent.get("b", count).value == 1
    recent.forget()
    assert recent.get("a", count).value == 2
    assert recent.get("a", count).at > first.at


def test_after_its_time_it_is_counted_again(monkeypatch):
    clock = [1000.0]
    monkeypatch.setattr("analytics.recent.monotonic", lambda: clock[0])
    recent: Recent[int] = Recent(worth_keeping=0, kept_for=60)
    count = counter()
    recent.get("a", count)

    clock[0] = 1059.9
    assert recent.get("a", count).value == 0
    clock[0] = 1060.0
    assert recent.get("a", count).value == 1


def test_a_transaction_counts_for_itself_and_leaves_nothing_behind():
    recent: Recent[int] = Recent(worth_keeping=0)
    count = counter()
    with transaction.atomic():
        assert [recent.get("a", count).value for _ in range(2)] == [0, 1]

    assert recent.get("a", count).value == 2


def test_of_a_crowd_one_counts():
    recent: Recent[int] = Recent(worth_keeping=0)
    count = counter()
    together, go_on = Barrier(8), Event()

    def slowly():
        go_on.wait(10)
        return count()

    def ask():
        together.wait(10)
        try:
            return recent.get("a", slowly).value
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as crowd:
        asked = [crowd.submit(ask) for _ in range(8)]
        go_on.set()
        assert {each.result(20) for each in asked} == {0}


def test_a_count_that_fails_is_not_kept():
    recent: Recent[int] = Recent(worth_keeping=0)
    count = counter()

    with pytest.raises(ZeroDivisionError):
        recent.get("a", lambda: 1 // 0)
    assert recent.get("a", count).value == 0
