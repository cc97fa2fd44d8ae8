import time

import psycopg
import pytest
from django.db import connections

from database import figures
from database.figures import Figure, FigureQuery, FiguresCollector, all_figures
from database.tests.mute_server import mute_server

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 4.0  # seconds; the promise is that the page takes less than 2

GOOD = FigureQuery(
    "good", "SELECT 1, NULL, 2.5::numeric", (Figure("a", "A."), Figure("b", "B."), Figure("c", "C."))
)
SLOW = FigureQuery("slow", "SELECT pg_sleep(60), 1", (Figure("s", "S."), Figure("t", "T.")))
WRONG = FigureQuery("wrong", "SELECT 1 FROM no_such_table", (Figure("w", "W."),))


@pytest.fixture(autouse=True)
def only(monkeypatch):
    """Register these queries and no others; nothing is remembered from other tests."""

    def register(*queries: FigureQuery) -> None:
        monkeypatch.setattr(figures, "registered", {query.name: query for query in queries})
        figures._shared.forget()

    register(GOOD)
    yield register
    figures._shared.forget()


def collected() -> dict[str, float]:
    return {
        " ".join([sample.name, *sample.labels.values()]): sample.value
        for family in FiguresCollector().collect()
        for sample in family.samples
    }


def test_the_columns_of_a_row_are_the_figures_and_null_is_absent():
    assert collected() == {"scheduler_database_up": 1, "scheduler_figures_read good": 1, "a": 1, "c": 2.5}


def test_a_query_that_is_slow_or_fails_does_not_take_the_others_with_it(only):
    only(WRONG, SLOW, GOOD)
    started = time.monotonic()

    found = collected()

    assert time.monotonic() - started < SOON
    assert found == {
        "scheduler_database_up": 1,
        "scheduler_figures_read wrong": 0,
        "scheduler_figures_read slow": 0,
        "scheduler_figures_read good": 1,
        "a": 1,
        "c": 2.5,
    }
    with psycopg.connect(**connections["default"].get_connection_params(), autocommit=True) as connection:
        asleep = "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
        assert connection.execute(asleep).fetchall() == [(0,)]


@pytest.mark.parametrize("signs_in", [False, True])
def test_a_silent_server_is_given_up_in_time(monkeypatch, signs_in):
    with mute_server(signs_in=signs_in) as (port, taken):
        for name, value in {"HOST": "127.0.0.1", "PORT": str(port), "PASSWORD": "hunter2"}.items():
            monkeypatch.setitem(connections["default"].settings_dict, name, value)
        started = time.monotonic()
        found = collected()

        assert time.monotonic() - started < SOON
        assert found == {"scheduler_database_up": 0, "scheduler_figures_read good": 0}
        assert len(taken) == 1


def test_a_server_that_is_away_is_told_by_zeros(monkeypatch):
    for name, value in {"HOST": "127.0.0.1", "PORT": "1"}.items():
        monkeypatch.setitem(connections["default"].settings_dict, name, value)

    assert collected() == {"scheduler_database_up": 0, "scheduler_figures_read good": 0}


def test_all_figures_are_known_without_a_database(only):
    only(GOOD, WRONG)

    assert [figure.name for figure in all_figures()] == [
        "scheduler_database_up",
        "scheduler_figures_read",
        "a",
        "b",
        "c",
        "w",
    ]
