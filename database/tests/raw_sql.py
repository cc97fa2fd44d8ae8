"""Rows written past the models, and what PostgreSQL says to them."""

import json
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import datetime, timedelta
from threading import Barrier
from typing import Any

import psycopg
import pytest
from django.db import IntegrityError, connection, transaction
from psycopg import sql

CATALOGUE = """
SELECT conname FROM pg_constraint WHERE conrelid = ANY(%(tables)s::regclass[]) AND contype IN ('c', 'u', 'x', 'f')
UNION
SELECT indexrelid::regclass::text FROM pg_index
WHERE indrelid = ANY(%(tables)s::regclass[]) AND indisunique AND NOT indisprimary
"""
REQUIRED = """
SELECT column_name FROM information_schema.columns
WHERE table_schema = current_schema() AND table_name = %s AND is_nullable = 'NO' AND column_default IS NULL
    AND is_identity = 'NO' AND is_generated = 'NEVER'
"""


def execute(query: Any, parameters: Any = None) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(query, parameters)
        return cursor.fetchall() if cursor.description else []


def insertion(table: str, columns: Iterable[str]) -> str:
    names = list(columns)
    return (
        sql.SQL("INSERT INTO {} ({}) VALUES ({}) RETURNING id")
        .format(
            sql.Identifier(table),
            sql.SQL(", ").join(map(sql.Identifier, names)),
            sql.SQL(", ").join(map(sql.Placeholder, names)),
        )
        .as_string(None)
    )


def insert(table: str, **values: Any) -> int:
    """Write one row with nothing but `values`; return its id."""
    return execute(insertion(table, values), values)[0][0]


def copy_in(table: str, **values: Any) -> int:
    """Write one row by COPY with nothing but `values`; return its id."""
    statement = sql.SQL("COPY {} ({}) FROM STDIN").format(
        sql.Identifier(table), sql.SQL(", ").join(map(sql.Identifier, values))
    )
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        copy.write_row(list(values.values()))
    return execute(f"SELECT max(id) FROM {table}")[0][0]


def stored(table: str, id: int) -> dict[str, Any]:
    with connection.cursor() as cursor:
        cursor.execute(f"SELECT * FROM {table} WHERE id = %s", [id])
        return dict(zip([column.name for column in cursor.description], cursor.fetchone(), strict=True))


def required_columns(table: str) -> set[str]:
    """Name the columns that a row cannot do without: not null, and nothing fills them."""
    return {name for (name,) in execute(REQUIRED, [table])}


def constraints_of(*tables: str) -> set[str]:
    """Name all checks, unique, exclusion and foreign keys of the tables; primary keys apart."""
    return {name for (name,) in execute(CATALOGUE, {"tables": list(tables)})}


@contextmanager
def refused_by(constraint: str) -> Iterator[None]:
    """Expect that PostgreSQL refuses what happens inside, on account of this constraint."""
    with pytest.raises(IntegrityError) as refused, transaction.atomic():
        yield
        execute("SET CONSTRAINTS ALL IMMEDIATE")  # foreign keys wait for the COMMIT otherwise
    assert isinstance(refused.value.__cause__, psycopg.Error)
    assert refused.value.__cause__.diag.constraint_name == constraint


def is_now(moment: datetime) -> bool:
    return abs(moment - execute("SELECT clock_timestamp()")[0][0]) < timedelta(minutes=1)


def insert_at_once(table: str, rows: list[dict[str, Any]]) -> list[psycopg.Error | None]:
    """Write each row over a connection of its own, all in the same moment; return who was refused, and why."""
    parameters = connection.get_connection_params()
    statement = insertion(table, rows[0])
    start = Barrier(len(rows), timeout=60)

    def write(row: dict[str, Any]) -> psycopg.Error | None:
        with psycopg.connect(**parameters, autocommit=True) as own:
            start.wait()
            try:
                own.execute(statement, row)
            except psycopg.Error as error:
                return error
            return None

    with ThreadPoolExecutor(len(rows)) as threads:
        return list(threads.map(write, rows))


def plan_nodes(query: str, parameters: Any = None) -> list[dict[str, Any]]:
    """Return the nodes of the plan, outermost first."""
    plan = execute(f"EXPLAIN (FORMAT JSON) {query}", parameters)[0][0]
    waiting = [(json.loads(plan) if isinstance(plan, str) else plan)[0]["Plan"]]
    nodes = []
    while waiting:
        node = waiting.pop(0)
        nodes.append(node)
        waiting += node.get("Plans", [])
    return nodes


def assert_one_scan_of(index: str, query: str, parameters: Any = None) -> None:
    """Assert that the query reads this index only, in its order: nothing is sorted."""
    nodes = plan_nodes(query, parameters)
    kinds = [node["Node Type"] for node in nodes]
    assert not [kind for kind in kinds if "Sort" in kind], kinds
    scans = [node for node in nodes if "Scan" in node["Node Type"]]
    assert [(scan["Node Type"].replace(" Only", ""), scan.get("Index Name")) for scan in scans] == [
        ("Index Scan", index)
    ], kinds
