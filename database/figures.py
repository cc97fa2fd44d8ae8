"""Figures that PostgreSQL knows and no process does, such as the length of a queue.

An app declares its own in `<app>/metrics.py` with `register(...)`; this module does not know the apps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

import psycopg
from django.db import DEFAULT_DB_ALIAS
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from database.deadline import Shared, direct_connection, limit_statements

ANSWER_LIMIT = 1.3  # seconds, so that the whole page takes less than 2
ALL_LIMIT = 1.2  # seconds for all queries
QUERY_LIMIT = 0.5  # seconds for each

Rows = list[tuple[Any, ...]]
Value = tuple[str, tuple[str, ...], float]  # name of the figure, values of its labels, value


@dataclass(frozen=True)
class Figure:
    name: str
    help: str
    labels: tuple[str, ...] = ()


def one_row(rows: Rows, figures: tuple[Figure, ...]) -> Iterable[Value]:
    """Take the columns of the only row as the figures in their order; NULL leaves one out."""
    for row in rows:
        for figure, value in zip(figures, row, strict=True):
            if value is not None:
                yield figure.name, (), float(value)


@dataclass(frozen=True)
class FigureQuery:
    """One cheap query and the figures made of its rows."""

    name: str
    sql: LiteralString
    figures: tuple[Figure, ...]
    read: Callable[[Rows, tuple[Figure, ...]], Iterable[Value]] = one_row


DATABASE_UP = Figure("scheduler_database_up", "1 when PostgreSQL answered this scrape, otherwise 0.")
FIGURES_READ = Figure(
    "scheduler_figures_read", "1 when this query for figures was answered in time, otherwise 0.", ("query",)
)

registered: dict[str, FigureQuery] = {}


def register(query: FigureQuery) -> None:
    """Add a query to what /metrics asks; one with the same name is replaced."""
    registered[query.name] = query


@dataclass
class Answers:
    up: bool
    values: dict[str, list[Value]]


def _ask() -> Answers:
    answers = Answers(False, {})
    try:
        with direct_connection(DEFAULT_DB_ALIAS, ALL_LIMIT) as connection:
            answers.up = True
            for query in registered.values():
                _ask_one(connection, query, answers)
    except psycopg.Error:
        pass  # what was answered before is worth showing; the page says what is missing
    except Exception:  # the embedded server cannot be started, a certificate's file cannot be read
        answers.up = False
    return answers


def _ask_one(connection: psycopg.Connection[Any], query: FigureQuery, answers: Answers) -> None:
    try:
        connection.rollback()  # a query that failed must not stop the next
        limit_statements(connection, QUERY_LIMIT)
        rows = connection.execute(query.sql).fetchall()
    except psycopg.Error:
        if connection.closed:
            raise
        return
    answers.values[query.name] = list(query.read(rows, query.figures))


class FiguresCollector(Collector):
    """Asks all registered queries over one connection; a collector of prometheus-client."""

    def describe(self) -> Iterable[GaugeMetricFamily]:
        return [_family(figure) for figure in all_figures()]

    def collect(self) -> Iterable[GaugeMetricFamily]:
        """Yield what PostgreSQL answers within 1.3 s; never raises because of the database."""
        answers = _shared.answer() or Answers(False, {})
        yield _family(DATABASE_UP, [((), float(answers.up))])
        read = [((name,), float(name in answers.values)) for name in registered]
        yield _family(FIGURES_READ, read)
        for name, query in registered.items():
            values = answers.values.get(name, [])
            for figure in query.figures:
                found = [(labels, value) for owner, labels, value in values if owner == figure.name]
                if found:
                    yield _family(figure, found)


def all_figures() -> list[Figure]:
    """List what `FiguresCollector` may yield."""
    return [
        DATABASE_UP,
        FIGURES_READ,
        *(figure for query in registered.values() for figure in query.figures),
    ]


def _family(figure: Figure, values: Iterable[tuple[tuple[str, ...], float]] = ()) -> GaugeMetricFamily:
    family = GaugeMetricFamily(figure.name, figure.help, labels=figure.labels)
    for labels, value in values:
        family.add_metric(labels, value)
    return family


_shared = Shared(_ask, limit=ANSWER_LIMIT)
