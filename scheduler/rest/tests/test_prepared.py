"""Statements that connections have prepared, when a migration changes what they return."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta, timezone
from threading import Event

import psycopg
import pytest
from django.conf import settings
from django.db import (
    DataError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
    connection,
    transaction,
)
from django.test import Client
from django.test.utils import CaptureQueriesContext

from database.errors import StatementTimeout
from leads.models import Lead
from partners.models import Partner, PartnerApiKey
from scheduler.rest import prepared
from scheduler.rest.prepared import PREPARE_AFTER, Statement, fetch_all, fetch_one

NAME = "SELECT name FROM plan_probe WHERE id = %s"
ROUNDS = 6
READERS = 3

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.skipif(settings.DATABASE_POOL_MODE == "pgbouncer", reason="nothing is prepared there"),
]


@pytest.fixture
def migrate():
    """Run a statement as another session does."""
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory")
    with psycopg.connect(**parameters, autocommit=True) as other:
        yield other.execute


@pytest.fixture
def probe(migrate):
    migrate("CREATE TABLE plan_probe (id integer, name varchar(10))")
    migrate("INSERT INTO plan_probe VALUES (1, 'Ann')")
    yield
    connection.close()
    migrate("DROP TABLE plan_probe")


def prepare():
    for _ in range(PREPARE_AFTER + 2):
        assert fetch_all(NAME, [1]) == [("Ann",)]
    assert prepared_like("%plan_probe%") == 1


def prepared_like(pattern):
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_prepared_statements WHERE statement LIKE %s", [pattern])
        return cursor.fetchone()[0]


def test_a_prepared_statement_outlives_every_change_of_its_columns(probe, migrate):
    for length in (20, 30, 40):
        prepare()
        migrate(f"ALTER TABLE plan_probe ALTER name TYPE varchar({length})")

        assert fetch_all(NAME, [1]) == [("Ann",)]


def test_a_statement_that_somebody_has_deallocated_is_prepared_again(probe):
    prepare()
    with connection.cursor() as cursor:
        cursor.execute("DISCARD ALL")

    assert fetch_all(NAME, [1]) == [("Ann",)]
    prepare()


def test_a_connection_keeps_no_more_than_so_many_statements(monkeypatch):
    monkeypatch.setattr(prepared, "MOST_PREPARED", 3)
    statements = [Statement(f"SELECT {number} AS one_of_many") for number in range(6)]
    for statement in [*statements, *statements[:2]]:
        for _ in range(PREPARE_AFTER + 1):
            statement.run([])

    assert prepared_like("%AS one_of_many") == 3
    assert [prepared_like(f"SELECT {number} AS one_of_many") for number in (0, 1, 5)] == [1, 1, 1]


def test_a_statement_whose_best_plan_depends_on_its_values_is_planned_with_them():
    statement = Statement("SELECT %s::int AS planned_anew", is_planned_once=False)
    for _ in range(PREPARE_AFTER + 2):
        statement.run([1])

    assert prepared_like("%planned_anew%") == 0


def test_behind_pgbouncer_nothing_is_prepared(probe, settings):
    settings.DATABASE_POOL_MODE = "pgbouncer"
    for _ in range(PREPARE_AFTER + 2):
        assert fetch_all(NAME, [1]) == [("Ann",)]

    assert prepared_like("%FROM plan_probe%") == 0


VALUES = [
    (7, "bigint"),
    (-(2**63), "bigint"),
    (None, "text"),
    ("", "text"),
    ('%s $1 \\ "\x01 \u2028 \N{GLOWING STAR}', "text"),
    (True, "boolean"),
    (1.5, "float8"),
    (["a", None], "text[]"),
    (b"\x00\xff", "bytea"),
]


@pytest.mark.parametrize(("value", "kind"), VALUES)
def test_values_arrive_as_they_were_sent(value, kind):
    text = f"SELECT %s::{kind}, '100%%', 'after'"
    expected = (value, "100%", "after")
    for _ in range(PREPARE_AFTER + 2):
        assert fetch_one(text, [value]) == expected
    with transaction.atomic():
        assert fetch_one(text, [value]) == expected


def test_a_nul_in_a_text_is_refused_and_not_the_end_of_it():
    with pytest.raises(DataError):
        fetch_one("SELECT %s::text", ["Ann\0 or more"])


def test_times_are_read_as_postgresql_writes_them():
    moment = datetime(2025, 1, 1, 2, 3, 4, 500_000, tzinfo=timezone(timedelta(hours=1)))

    assert fetch_one("SELECT %s::timestamptz", [moment]) == ("2025-01-01 01:03:04.5+00",)
    assert fetch_one("SELECT %s::timestamptz", [datetime(1, 1, 1, tzinfo=UTC)]) == ("0001-01-01 00:00:00+00",)


def test_queries_are_seen_by_those_who_watch_the_connection(probe):
    with CaptureQueriesContext(connection) as captured:
        fetch_all(NAME, [1])

    assert [query["sql"] for query in captured] == ["SELECT name FROM plan_probe WHERE id = $1"]


def test_errors_are_those_of_the_database_layer_and_the_connection_stays_in_order(probe):
    with pytest.raises(ProgrammingError):
        fetch_all("SELECT gone FROM plan_probe", [])
    with pytest.raises(DataError) as refused:
        fetch_all("SELECT 1 / %s::int, %s::text", [0, "Ann's phone"])
    assert "Ann" not in str(refused.value)
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 1")
    with pytest.raises(StatementTimeout):
        fetch_all("SELECT pg_sleep(60)", [])
    with connection.cursor() as cursor:
        cursor.execute("RESET statement_timeout")
    prepare()


def test_a_lost_connection_is_an_error_once_and_replaced_for_the_next_request(probe, migrate):
    prepare()
    ((backend,),) = fetch_all("SELECT pg_backend_pid()", [])
    migrate("SELECT pg_terminate_backend(%s, 10000)", [backend])

    for _ in range(2):
        with pytest.raises(OperationalError):
            fetch_all(NAME, [1])
    connection.close_if_unusable_or_obsolete()
    prepare()


def test_a_transaction_is_not_lost_with_an_outdated_plan(probe, migrate):
    prepare()
    migrate("ALTER TABLE plan_probe ALTER name TYPE varchar(20)")

    with transaction.atomic():
        fetch_all("INSERT INTO plan_probe VALUES (%s, 'Ben') RETURNING id", [2])
        assert fetch_all(NAME, [1]) == [("Ann",)]

    assert fetch_all(NAME, [2]) == [("Ben",)]


def test_what_postgresql_cannot_do_at_all_is_an_error_and_leaves_the_connection_in_order(probe):
    for _ in range(2):
        with pytest.raises(NotSupportedError):
            fetch_all("SELECT name FROM plan_probe WHERE id = %s GROUP BY name FOR UPDATE", [1])

    prepare()


def test_the_api_answers_all_requests_while_migrations_change_its_columns(migrate):
    partner = Partner.objects.create(name="Alpha", rate_limit=1_000_000)
    key = PartnerApiKey.issue(partner)[1]
    lead = Lead.objects.create(name="Ann", phone="+41446681800", partner=partner)
    columns = (("leads", "name"), ("partners", "rate_limit"))
    warm, over = [Event() for _ in range(READERS)], Event()

    def read(number):
        client, statuses = Client(headers={"X-API-Key": key}), []
        while not over.is_set():
            statuses.append(client.get(f"/api/leads/{lead.pk}").status_code)
            if len(statuses) > 2 * PREPARE_AFTER:
                warm[number].set()
        connection.close()
        return statuses

    kinds = {name: migrate(
        "SELECT format_type(atttypid, atttypmod) FROM pg_attribute"
        " WHERE attrelid = %s::regclass AND attname = %s", name).fetchone()[0] for name in columns}  # fmt: skip
    other = {columns[0]: "varchar(255)", columns[1]: "bigint"}
    with ThreadPoolExecutor(READERS) as threads:
        readers = [threads.submit(read, number) for number in range(READERS)]
        try:
            assert all(event.wait(30) for event in warm)
            for turn in range(ROUNDS):
                for name in columns:
                    kind = (kinds if turn % 2 else other)[name]
                    migrate(f"ALTER TABLE {name[0]} ALTER {name[1]} TYPE {kind}")
        finally:
            over.set()
            for name, kind in kinds.items():
                migrate(f"ALTER TABLE {name[0]} ALTER {name[1]} TYPE {kind}")
        statuses = {status for reader in readers for status in reader.result(30)}

    assert statuses == {200}
