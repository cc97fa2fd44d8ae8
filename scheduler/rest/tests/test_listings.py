"""The statements that read lists: made once, planned once where no value matters, the same rows as the queryset."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from django.contrib.auth.models import User
from django.db import DataError, connection, transaction
from django.db.migrations.recorder import MigrationRecorder
from hypothesis import given
from hypothesis import strategies as st

from database import replica_watch
from database.replica import REPLICA, reading_from_replica
from database.testing import wait_until
from database.tests.replication import replicated
from database.tests.served import served
from scheduler.rest.answers import moment
from scheduler.rest.listings import Listing, Place, Window
from scheduler.rest.prepared import PREPARE_AFTER, fetch_all
from scheduler.rest.shapes import Shape

START = datetime(2025, 1, 1, tzinfo=UTC)
USER = Shape(id="id", name="username", joined=("date_joined", moment))
NAMES = USER.names
FILTERS: list[dict[str, Any]] = [
    {},
    {"username": "u003"},
    {"username__gte": "u003", "is_active": True},
    {"is_active": False},
    {"date_joined__gte": START + timedelta(minutes=2), "date_joined__lt": START + timedelta(minutes=5)},
    {"id__gt": 3, "username": None},
    {"username": "'; DROP TABLE auth_user; --"},
    {"username": "%s $1"},
]


def rows(partner_id: int | None = None) -> Any:
    return User.objects.all() if partner_id is None else User.objects.filter(pk=partner_id)


def listing() -> Listing:
    return Listing(rows, USER, newest="date_joined")


@pytest.fixture
def users(transactional_db: None) -> list[User]:
    made = [
        User(username=f"u{n:03}", date_joined=START + timedelta(minutes=n % 4), is_active=n % 3 > 0)
        for n in range(9)
    ]
    return User.objects.bulk_create(made)


def ids(users: Listing, conditions: dict[str, Any], window: Window) -> list[int]:
    return [row[0] for row in users.read(NAMES, None, conditions, window).rows]


@pytest.mark.parametrize("conditions", FILTERS, ids=str)
def test_a_list_reads_what_the_queryset_reads(users, conditions):
    list_ = listing()
    expected = list(
        list_.narrowed(None, conditions).order_by("-date_joined", "-id").values_list("id", "date_joined")
    )

    for size in (1, 4, 9, 20):
        for offset in (0, 1, 8, 30):
            found = ids(list_, conditions, Window(size, offset))
            assert found == [row_id for row_id, _ in expected[offset : offset + size]]
    for position, (row_id, newest) in enumerate(expected):
        behind = Window(3, behind=Place(newest, row_id))
        assert ids(list_, conditions, behind) == [each for each, _ in expected[position + 1 : position + 4]]


def test_within_a_transaction_its_own_rows_are_listed(users):
    list_ = listing()
    with transaction.atomic():
        User.objects.create(username="mine", date_joined=START + timedelta(days=1))
        assert list_.read(NAMES, None, {}, Window(1)).rows[0][1] == "mine"
        transaction.set_rollback(True)
    assert list_.read(NAMES, None, {}, Window(1)).rows[0][1] != "mine"


def test_the_wanted_members_come_first_and_the_place_of_a_row_is_known_without_them(users):
    list_ = listing()
    part = list_.read(("name",), None, {"username": "u003"}, Window(1))
    (row,) = part.rows

    assert row[0] == "u003"
    assert moment(row[part.newest]) == "2025-01-01T00:03:00+00:00"
    assert row[part.id] == users[3].pk
    assert part.snapshot


def statements(pattern: str) -> list[str]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT statement FROM pg_prepared_statements WHERE statement LIKE %s", [pattern])
        return [row[0] for row in cursor.fetchall()]


def test_lists_without_values_are_planned_once_and_others_with_their_values(users):
    connection.close()  # with what earlier tests have prepared
    list_ = listing()
    for _ in range(PREPARE_AFTER + 2):
        ids(list_, {}, Window(3))
        ids(list_, {"is_active": True}, Window(4))
        ids(list_, {}, Window(5, behind=Place(START, 5)))
        ids(list_, {}, Window(6, 1))
        ids(list_, {"username": "u001"}, Window(7))
        list_.read(NAMES, 5, {}, Window(8))

    planned = sorted(statement.rpartition("LIMIT ")[2] for statement in statements("%auth_user%"))
    assert planned == ["3", "4", "5"]


def test_a_list_is_turned_into_sql_once_for_all_values(users, monkeypatch):
    list_ = listing()
    ids(list_, {"username": "u001"}, Window(3))
    monkeypatch.setattr(list_, "rows", None)

    assert ids(list_, {"username": "u002"}, Window(5, 0)) == [users[2].pk]
    assert ids(list_, {"username": "u002"}, Window(1, 1)) == []


def test_a_list_outlives_a_migration_of_its_columns(users):
    list_ = listing()
    parameters = connection.get_connection_params()
    parameters.pop("cursor_factory")
    expected = [user.pk for user in sorted(users, key=lambda user: (user.date_joined, user.pk))][::-1]
    with psycopg.connect(**parameters, autocommit=True) as other:
        try:
            for length in (200, 150):
                for _ in range(PREPARE_AFTER + 2):
                    assert ids(list_, {}, Window(9)) == expected
                other.execute(f"ALTER TABLE auth_user ALTER username TYPE varchar({length})")
                assert ids(list_, {}, Window(9)) == expected
        finally:
            other.execute("ALTER TABLE auth_user ALTER username TYPE varchar(150)")


def test_a_partner_that_the_rows_take_no_notice_of_is_a_mistake_that_shows(users):
    with pytest.raises(ValueError, match="caller"):
        Listing(lambda partner_id: User.objects.all(), USER, newest="date_joined").read(
            NAMES, 5, {}, Window(1)
        )


APPLIED = Shape(name="name", at=("applied", moment))
TABLE = "CREATE TABLE django_migrations (id bigserial, app varchar, name varchar, applied timestamptz)"


def test_inside_a_block_that_asks_for_it_the_replica_is_read(server_template, django_db_blocker):
    migrations = Listing(
        lambda partner_id: MigrationRecorder.Migration.objects.all(), APPLIED, newest="applied"
    )
    with replicated(server_template) as (primary, standby), django_db_blocker.unblock():
        primary.answer(TABLE)
        primary.answer("INSERT INTO django_migrations (app, name, applied) VALUES ('a', 'b', now())")
        wait_until(lambda: standby.answer("SELECT to_regclass('django_migrations') IS NOT NULL"), timeout=30)
        with served(REPLICA, standby.socket_dir, ENGINE="database.replica_backend", CONN_MAX_AGE=60):

            def read_there() -> bool:
                with reading_from_replica() as answering:
                    return answering == REPLICA == migrations.using

            try:
                wait_until(read_there, timeout=30)
                with reading_from_replica():
                    for _ in range(PREPARE_AFTER + 2):
                        part = migrations.read(APPLIED.names, None, {}, Window(5))
                        assert [row[0] for row in part.rows] == ["b"]
                assert migrations.using != REPLICA
            finally:
                if watch := replica_watch.watch_of(REPLICA, dict, 10.0):
                    watch.stop()
                replica_watch.forget_watches()


@given(st.datetimes(timezones=st.just(UTC)), st.integers(0, 6))
def test_times_are_written_alike_from_postgresql_and_from_python(time, digits):
    rounded = time.replace(microsecond=time.microsecond // 10**digits * 10**digits)

    assert moment(written(rounded)) == rounded.isoformat()


def written(time: datetime) -> str:
    """Write a time in UTC as PostgreSQL does, which leaves out zeros at the end."""
    text = time.strftime("%H:%M:%S.%f").rstrip("0").rstrip(".")
    return f"{time.year:04}-{time:%m-%d} {text}+00"


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "time",
    [
        "2025-01-01 00:00:00+00",
        "2025-01-01 00:00:00.1+00",
        "0001-01-01 00:00:00.000001+00",
        "9999-12-31 23:59:59.999999+00",
    ],
)
def test_postgresql_writes_times_as_expected(time):
    ((found,),) = fetch_all("SELECT %s::timestamptz", [time])

    assert found == time == written(datetime.fromisoformat(time))


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    "time",
    ["infinity", "-infinity", "10000-01-01 00:00:00+00", "12025-01-01 00:00:00.12345+00", "0044-03-15 BC"],
)
def test_times_that_python_knows_nothing_of_are_an_error_and_no_nonsense(time):
    ((found,),) = fetch_all("SELECT %s::timestamptz", [time])
    with pytest.raises(DataError):
        moment(found)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("zone", ["Asia/Kathmandu", "America/New_York", "Africa/Monrovia"])
def test_times_are_utc_whatever_the_zone_of_the_session(zone):
    with connection.cursor() as cursor:
        cursor.execute("SELECT set_config('TimeZone', %s, false)", [zone])
    try:
        for time in ("2025-01-01T00:00:00+00:00", "1969-07-20T20:17:40.500000+00:00"):
            ((found,),) = fetch_all("SELECT %s::timestamptz", [time])
            assert moment(found) == time
    finally:
        # The pool would hand it out to the next test as it is.
        with connection.cursor() as cursor:
            cursor.execute("RESET TimeZone")
