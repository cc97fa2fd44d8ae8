"""`bulk_upsert`, `bulk_update` and `execute_many`: what is written, what is reported, what is refused."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldError
from django.db import ProgrammingError, connection, transaction
from psycopg import sql

from database.bulk import bulk_insert, bulk_update, bulk_upsert, execute_many
from database.bulk.many import SETS
from database.bulk.rows import CHUNK
from database.errors import RowRefused, ValueRefused
from database.tests.bulk_samples import MODELS, Kind, Sample

LONG_AGO = datetime(2020, 1, 1, tzinfo=UTC)
NAMES = 400


@pytest.fixture
def tables(db):
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)


def query(text):
    with connection.cursor() as cursor:
        cursor.execute(text)
        return cursor.fetchall() if cursor.description else None


def in_threads(work, *arguments):
    start = Barrier(len(arguments), timeout=60)

    def run(argument):
        try:
            start.wait()
            return work(argument)
        finally:
            connection.close()

    with ThreadPoolExecutor(len(arguments)) as threads:
        return list(threads.map(run, arguments))


def test_an_upsert_tells_new_rows_from_stored_ones_in_order(tables):
    [stored] = bulk_insert(Sample, [{"code": "b", "text": "old"}])

    done = bulk_upsert(
        Sample, [{"code": code, "text": code, "number": 1} for code in "cba"], ["code"], ["text"]
    )

    assert (done.inserted, done.updated, bytes(done.is_new)) == (2, 1, b"\1\0\1")
    assert done.updated_ids == [stored] == [done.ids[1]]
    found = Sample.objects.in_bulk(list(done.ids))
    assert [(found[id].text, found[id].number) for id in done.ids] == [("c", 1), ("b", None), ("a", 1)]
    assert done.inserted_ids == [done.ids[0], done.ids[2]]


def test_an_upsert_sets_times_and_defaults_as_an_insert_and_an_update_do(tables):
    [stored] = bulk_insert(Sample, [{"code": "a", "added": LONG_AGO, "seen": LONG_AGO}])

    done = bulk_upsert(Sample, [{"code": "a", "text": "x"}, {"code": "b", "text": "y"}], ["code"], ["text"])

    old, new = Sample.objects.get(pk=stored), Sample.objects.get(pk=done.ids[1])
    assert old.added == LONG_AGO
    assert old.seen > LONG_AGO + timedelta(days=365)
    assert (new.color, new.tags) == ("blue", [])
    assert new.added > LONG_AGO + timedelta(days=365)


def test_an_upsert_without_columns_to_update_leaves_stored_rows_alone(tables):
    [stored] = bulk_insert(Sample, [{"code": "b", "text": "old"}])

    done = bulk_upsert(Sample, [{"code": "a", "text": "new"}, {"code": "b", "text": "new"}], ["code"], [])

    assert (done.inserted, done.updated, done.ids[1]) == (1, 1, stored)
    assert Sample.objects.get(pk=stored).text == "old"


def test_a_stored_row_outside_the_condition_of_the_key_is_not_touched(tables):
    [retired] = bulk_insert(Sample, [{"code": "a", "text": "old", "retired": True}])

    done = bulk_upsert(Sample, [{"code": "a", "text": "new"}], ["code"], ["text"])

    assert done.inserted == 1
    assert Sample.objects.get(pk=retired).text == "old"


@pytest.mark.parametrize("update", [["text"], []])
def test_a_given_row_outside_the_condition_of_the_key_is_refused(tables, update):
    rows = [{"code": "a", "text": "x", "retired": False}, {"code": "b", "text": "x", "retired": True}]

    with pytest.raises(ValueRefused, match="Row 1 .*bulk_code_unique") as refused:
        bulk_upsert(Sample, rows, ["code"], update)

    assert refused.value.position == 1
    assert not Sample.objects.exists()


@pytest.mark.parametrize("update", [["text"], []])
def test_a_key_that_comes_twice_is_refused_with_both_positions(tables, update):
    rows = [{"code": f"c{i % 30}", "text": "x"} for i in range(35)]

    with pytest.raises(ValueRefused, match="Rows 0 and 30 .*code") as refused:
        bulk_upsert(Sample, rows, ["code"], update)

    assert refused.value.position == 30


def test_an_empty_key_is_refused(tables):
    with pytest.raises(ValueRefused, match="Row 1 .*no code"):
        bulk_upsert(Sample, [{"code": code, "text": "x"} for code in ("a", None)], ["code"], ["text"])


@pytest.mark.parametrize("key", [["text"], ["code", "text"], ["day"], ['code" DO NOTHING --'], []])
def test_a_key_without_a_unique_index_is_refused(tables, key):
    rows = [{"code": "a", "text": "x", "day": None, "number": 1}]

    with pytest.raises(FieldError):
        bulk_upsert(Sample, rows, key, ["number"])


@pytest.mark.parametrize("update", [["loud"], ["number"], ["code"], ["nothing"], ['text" = NULL --']])
def test_columns_that_an_upsert_cannot_update_are_refused(tables, update):
    with pytest.raises(FieldError):
        bulk_upsert(Sample, [{"code": "a", "text": "x"}], ["code"], update)


@pytest.mark.parametrize("bad", [{"small": -1}, {"kind": 10**9}, {"color": None}])
@pytest.mark.parametrize("operation", ["upsert", "update"])
def test_the_row_that_a_constraint_forbids_is_named(tables, operation, bad):
    kind = Kind.objects.create(label="a")
    good = {"text": "secret", "small": 1, "kind": kind.pk, "color": "red"}
    # Keys in falling order, so that the order of writing is not that of the rows.
    ids = bulk_insert(Sample, [{"code": f"c{9999 - i}"} for i in range(3000)])
    rows = [{"code": f"c{9999 - i}"} | good for i in range(3000)]
    rows[1234] |= bad
    columns = list(good)

    with pytest.raises(RowRefused, match="Row 1234 ") as refused:
        if operation == "upsert":
            bulk_upsert(Sample, rows, ["code"], columns)
        else:
            bulk_update(
                Sample, [{"id": id, **row} for id, row in zip(ids, rows, strict=True)], ["code", *columns]
            )

    assert refused.value.position == 1234
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None and refused.value.__context__ is None
    assert not Sample.objects.filter(small=1).exists()


def test_only_the_named_columns_are_updated(tables):
    [row_id] = bulk_insert(Sample, [{"text": "old", "number": 1, "seen": LONG_AGO}])

    done = bulk_update(Sample, [{"pk": row_id, "text": "new"}], ["text"])

    row = Sample.objects.get(pk=row_id)
    assert (done.updated, list(done.missing)) == (1, [])
    assert (row.text, row.number, row.loud) == ("new", 1, "NEW")
    assert row.seen > LONG_AGO + timedelta(days=365)


def test_rows_that_do_not_exist_are_reported(tables):
    [row_id] = bulk_insert(Sample, [{"text": "old"}])

    done = bulk_update(Sample, [(10**9, "x"), (row_id, "y"), (5 + 10**9, "z")], ["text"])

    assert (done.updated, list(done.missing)) == (1, [10**9, 5 + 10**9])


def test_instances_are_updated_from_their_attributes(tables):
    rows = [Sample.objects.create(text=f"t{i}") for i in range(3)]
    for row in rows:
        row.text, row.number = "changed", 5

    bulk_update(Sample, rows, ["text"])

    assert set(Sample.objects.values_list("text", "number")) == {("changed", None)}


def test_an_id_that_comes_twice_is_refused_with_both_positions(tables):
    with pytest.raises(ValueRefused, match="Rows 0 and 2 .*id"):
        bulk_update(Sample, [(1, "a"), (2, "b"), (1, "c")], ["text"])


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([{"pk": 1, "text": "x"}], ["loud"]),
        ([{"pk": 1, "text": "x"}], ["pk"]),
        ([{"pk": 1, "text": "x"}], []),
        ([{"pk": 1, "text": "x"}], ["number"]),
        ([{"text": "x"}], ["text"]),
        ([{"pk": 1, "text": "x", "number": 1}], ["text"]),
        ([{"pk": 1, 'text" = NULL --': "x"}], ['text" = NULL --']),
    ],
)
def test_columns_that_cannot_be_updated_are_refused(tables, rows, columns):
    with pytest.raises(FieldError):
        bulk_update(Sample, rows, columns)


def test_more_rows_than_one_chunk_are_written_and_the_timeout_is_the_callers_after(tables):
    query("SET LOCAL statement_timeout = '50s'")
    number = CHUNK + 10

    done = bulk_upsert(Sample, ({"code": f"c{i}", "text": "a"} for i in range(number)), ["code"], ["text"])
    again = bulk_update(Sample, ((id, "b") for id in done.ids), ["text"])

    assert (done.inserted, again.updated) == (number, number)
    assert Sample.objects.filter(text="b").count() == number
    assert query("SHOW statement_timeout") == [("50s",)]
    assert query("SELECT count(*) FROM pg_class WHERE relname LIKE 'bulk_rows%'") == [(0,)]


@pytest.mark.django_db(transaction=True)
def test_upserts_and_updates_in_opposite_orders_do_not_deadlock():
    Group.objects.all().delete()  # those that migrations make
    kind = ContentType.objects.get_for_model(Group).pk
    rows = [{"codename": f"c{i}", "content_type": kind, "name": f"n{i}"} for i in range(NAMES)]
    names = [{"name": f"g{i}"} for i in range(NAMES)]
    groups = [{"pk": id, **name} for id, name in zip(bulk_insert(Group, names), names, strict=True)]

    def upsert(order):
        for _ in range(5):
            bulk_upsert(Permission, rows[::order], ["codename", "content_type"], ["name"])

    def update(order):
        for _ in range(5):
            bulk_update(Group, groups[::order], ["name"])

    in_threads(upsert, 1, -1)
    in_threads(update, 1, -1)

    assert Permission.objects.filter(codename__regex="^c[0-9]+$").count() == NAMES


@pytest.mark.django_db(transaction=True)
def test_two_upserts_of_the_same_rows_write_each_once_and_agree_on_the_ids():
    Group.objects.all().delete()  # those that migrations make
    results = in_threads(
        lambda order: bulk_upsert(Group, [{"name": f"g{i}"} for i in range(NAMES)][::order], ["name"], []),
        1,
        -1,
    )

    assert sum(result.inserted for result in results) == NAMES == Group.objects.count()
    assert list(results[0].ids) == list(results[1].ids)[::-1]


def test_execute_many_counts_the_rows_and_takes_any_iterable(tables):
    number = SETS + 5
    insertion = sql.SQL("INSERT INTO {} (label) VALUES (%s)").format(sql.Identifier("bulk_kinds"))

    assert execute_many(insertion, ((f"k{i}",) for i in range(number))) == number
    assert (
        execute_many("DELETE FROM bulk_kinds WHERE label = %(label)s", [{"label": "k1"}, {"label": "no"}])
        == 1
    )
    assert execute_many("DELETE FROM bulk_kinds WHERE label = %s", []) == 0
    assert Kind.objects.count() == number - 1


def test_execute_many_names_the_set_that_is_refused_and_leaves_nothing(tables):
    labels = [(f"k{i}",) for i in range(SETS + 50)]
    labels[SETS + 40] = ("k7",)

    with pytest.raises(RowRefused, match=f"Row {SETS + 40} .*unique") as refused:
        execute_many("INSERT INTO bulk_kinds (label) VALUES (%s)", labels)

    assert refused.value.position == SETS + 40
    assert refused.value.__cause__ is None and refused.value.__context__ is None
    assert not Kind.objects.exists()


def test_execute_many_lets_errors_of_the_statement_through(tables):
    with pytest.raises(ProgrammingError), transaction.atomic():
        execute_many("INSERT INTO nowhere VALUES (%s)", [(1,)])

    assert not Kind.objects.exists()
