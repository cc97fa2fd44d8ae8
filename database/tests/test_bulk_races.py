"""Bulk operations that meet each other and other writers at the worst moment."""

from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.contrib.auth.models import Group
from django.db import OperationalError, connection, transaction
from psycopg import sql

from database.bulk import bulk_insert, bulk_update, bulk_upsert, update
from database.bulk.upsert import _Upsert
from database.errors import RowRefused

NAMES = [f"g{number}" for number in range(20)]
ROUNDS = 20

pytestmark = pytest.mark.django_db(transaction=True)

# Each updated row takes a while, as a large one with many indexes does.
SLOW = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.01); RETURN NEW; END $$;
CREATE TRIGGER slow BEFORE UPDATE ON auth_group FOR EACH ROW EXECUTE FUNCTION slowly();
"""
KEEP_OUT = """
CREATE FUNCTION slowly() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$;
CREATE TRIGGER slow BEFORE INSERT ON auth_group FOR EACH ROW EXECUTE FUNCTION slowly();
"""


def run(text):
    with connection.cursor() as cursor:
        cursor.execute(text)


@pytest.fixture(autouse=True)
def no_groups(transactional_db):
    """Remove those that migrations make."""
    Group.objects.all().delete()


@pytest.fixture
def trigger():
    yield run
    run("DROP TRIGGER IF EXISTS slow ON auth_group; DROP FUNCTION IF EXISTS slowly()")


def in_threads(work, *arguments):
    def one(argument):
        try:
            return work(argument)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(one, arguments))


@pytest.fixture
def update_in_both_orders():
    """Update the same rows in two transactions at once, whose plans visit them in opposite orders."""
    ids = list(bulk_insert(Group, [{"name": name} for name in NAMES]))

    def both():
        staged = Barrier(2, timeout=30)

        def rows(order):
            yield from ((id, f"renamed {id}") for id in ids[::order])
            staged.wait()

        def one(order):
            with transaction.atomic():
                # The rows are visited as they were given, for which a small table leaves no other choice.
                run("SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off")
                run("SET LOCAL enable_seqscan = off; SET LOCAL enable_material = off")
                bulk_update(Group, rows(order), ["name"])

        in_threads(one, 1, -1)

    return both


def test_updates_of_the_same_rows_in_opposite_orders_wait_for_each_other(trigger, update_in_both_orders):
    trigger(SLOW)

    for _ in range(3):
        update_in_both_orders()

    assert Group.objects.filter(name__startswith="renamed").count() == len(NAMES)


def test_without_the_lock_in_the_order_of_the_keys_they_would_deadlock(
    trigger, update_in_both_orders, monkeypatch
):
    trigger(SLOW)

    def only_count(staging, key, strictly):
        return sql.SQL("SELECT count(*) FROM {}").format(staging.staged)

    monkeypatch.setattr(update, "_lock", only_count)

    with pytest.raises(OperationalError, match="deadlock"):
        for _ in range(ROUNDS):
            update_in_both_orders()


def delete_before_the_look(monkeypatch, times):
    """Have another session delete all groups after the insert that they were in the way of."""
    look, left = _Upsert._stored, [None] * times

    def deleted_first(upsert):
        if left:
            left.pop()
            in_threads(lambda _: Group.objects.all().delete(), None)
        return look(upsert)

    monkeypatch.setattr(_Upsert, "_stored", deleted_first)


def test_a_row_deleted_while_an_upsert_leaves_it_alone_is_inserted(monkeypatch):
    [stored] = bulk_insert(Group, [{"name": "a"}])
    delete_before_the_look(monkeypatch, times=1)

    done = bulk_upsert(Group, [{"name": "a"}, {"name": "b"}], ["name"], [])

    assert done.inserted == 2
    assert dict(Group.objects.values_list("name", "id")) == dict(zip("ab", done.ids, strict=True))
    assert stored not in done.ids


def test_a_row_that_a_trigger_keeps_out_is_refused_and_not_given_the_id_0(trigger):
    trigger(KEEP_OUT)

    for columns in ([], ["name"]):
        with pytest.raises(RowRefused, match=r"Row 0 .*neither") as refused:
            bulk_upsert(Group, [{"name": "a", "id": 7}], ["id" if columns else "name"], columns)
        assert refused.value.position == 0
    assert not Group.objects.exists()
