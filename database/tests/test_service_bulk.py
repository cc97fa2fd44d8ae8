"""`bulk_insert` of the async service: the same rows, columns and refusals as on Django's connection."""

import asyncio

import pytest
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldError
from django.db import connection

from database.errors import RowRefused
from database.service import DatabaseService
from database.tests.services import run

COUNT = "SELECT count(*) FROM django_content_type WHERE app_label = 'bulk'"


@pytest.fixture
def table(transactional_db):
    """The table of content types without the test's own rows before and after: the service commits."""
    yield
    ContentType.objects.filter(app_label="bulk")._raw_delete("default")


def rows(count, first=0):
    return ({"app_label": "bulk", "model": f"m{number}"} for number in range(first, first + count))


def in_service(use):
    async def opened():
        async with DatabaseService() as database:
            return await use(database)

    return run(opened())


def test_it_returns_the_ids_in_the_order_of_the_rows(table):
    ids = in_service(lambda database: database.bulk_insert(ContentType, rows(12_000)))
    assert len(ids) == len(set(ids)) == 12_000
    assert ContentType.objects.get(id=ids[11_999]).model == "m11999"
    assert ContentType.objects.get(id=ids[0]).model == "m0"


def test_no_rows_are_no_ids(table):
    assert list(in_service(lambda database: database.bulk_insert(ContentType, []))) == []


def test_it_takes_part_in_the_transaction_around_it(table):
    async def use(database):
        with pytest.raises(ZeroDivisionError):
            async with database.transaction() as work:
                await work.bulk_insert(ContentType, rows(3))
                assert await work.fetch_value(COUNT) == 3
                raise ZeroDivisionError
        return await database.fetch_value(COUNT)

    assert in_service(use) == 0


def test_a_refused_row_is_named_and_the_transaction_goes_on(table):
    async def use(database):
        async with database.transaction() as work:
            await work.bulk_insert(ContentType, rows(2))
            with pytest.raises(RowRefused) as refused:
                await work.bulk_insert(ContentType, [*rows(3, first=7), *rows(1)])
            assert await work.fetch_value(COUNT) == 2
        assert database.pool_stats().used == 0
        return refused.value

    refused = in_service(use)
    assert refused.position == 3
    assert refused.constraint is not None
    assert "m0" not in str(refused)


def test_wrong_columns_and_generators_that_fail_leave_nothing(table):
    def failing():
        yield from rows(12_000)
        raise ZeroDivisionError

    async def use(database):
        with pytest.raises(FieldError):
            await database.bulk_insert(ContentType, [{"nonsense": 1}])
        with pytest.raises(ZeroDivisionError):
            await database.bulk_insert(ContentType, failing())
        return await database.fetch_value(COUNT)

    assert in_service(use) == 0


def test_a_cancelled_copy_leaves_nothing_and_a_clean_pool(table):
    async def use(database):
        task = asyncio.create_task(database.bulk_insert(ContentType, rows(500_000)))
        while not database.pool_stats().used:
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert database.pool_stats().used == 0
        return await database.fetch_value(COUNT)

    assert in_service(use) == 0
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND query LIKE 'COPY%'")
        assert cursor.fetchone() == (0,)
