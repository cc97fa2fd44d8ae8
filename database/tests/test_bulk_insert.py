"""`bulk_insert`: ids, defaults, transactions, and what it refuses."""

from array import array
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from threading import Barrier

import pytest
from django.contrib.auth.models import Group, Permission
from django.contrib.contenttypes.models import ContentType
from django.core.exceptions import FieldError
from django.db import connection, transaction

from database.bulk import bulk_insert
from database.bulk.rows import CHUNK
from database.errors import RowRefused
from database.tests.bulk_samples import MODELS, Kind, Sample

INJECTIONS = ['text"; DROP TABLE bulk_kinds; --', "text) FROM STDIN --", "1", "", "%s", "loud.text", "Text"]


@pytest.fixture
def tables(db):
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)


def execute(query):
    with connection.cursor() as cursor:
        cursor.execute(query)


@pytest.mark.parametrize("number", [1, 2, 499, 501, CHUNK, CHUNK + 1])
def test_ids_come_in_the_order_of_the_rows(tables, number):
    ids = bulk_insert(Kind, ({"label": f"k{i}"} for i in range(number)))

    assert isinstance(ids, array)
    assert [row.label for row in Kind.objects.order_by("pk")] == [f"k{i}" for i in range(number)]
    assert list(Kind.objects.order_by("pk").values_list("pk", flat=True)) == list(ids)


def test_the_sequence_goes_on_behind_the_ids(tables):
    ids = bulk_insert(Kind, [{"label": "a"}, {"label": "b"}])

    assert Kind.objects.create(label="c").pk == max(ids) + 1


def test_an_identity_that_is_always_generated_is_filled_too(tables):
    execute("ALTER TABLE bulk_kinds ALTER id SET GENERATED ALWAYS")

    [row_id] = bulk_insert(Kind, [{"label": "a"}])

    assert Kind.objects.get().pk == row_id


def test_a_sequence_that_counts_in_steps_gives_ids_in_order(tables):
    execute("ALTER TABLE bulk_kinds ALTER id SET INCREMENT BY 10")

    ids = bulk_insert(Kind, [{"label": "a"}, {"label": "b"}, {"label": "c"}])

    assert [Kind.objects.get(pk=id).label for id in ids] == ["a", "b", "c"]


def test_rows_may_bring_their_ids(tables):
    assert list(bulk_insert(Kind, [{"pk": 9, "label": "a"}, {"pk": 7, "label": "b"}])) == [9, 7]
    assert Kind.objects.get(pk=7).label == "b"


def test_rows_may_be_tuples_with_columns(tables):
    [row_id] = bulk_insert(Sample, [("a", 1)], columns=["text", "number"])

    assert Sample.objects.values_list("text", "number").get(pk=row_id) == ("a", 1)


def test_rows_may_be_instances(tables):
    ids = bulk_insert(Sample, [Sample(text="a", kind=None), Sample(text="b", color="blue")])

    stored = [Sample.objects.get(pk=id) for id in ids]
    assert [(row.text, row.loud, row.color, row.tags) for row in stored] == [
        ("a", "A", "red", []),
        ("b", "B", "blue", []),
    ]


def test_no_rows_are_no_work(django_assert_num_queries, tables):
    with django_assert_num_queries(0):
        assert list(bulk_insert(Kind, iter([]))) == []


def test_no_rows_of_named_columns_are_no_rows(tables):
    assert list(bulk_insert(Kind, iter([]), columns=["label"])) == []


@pytest.mark.django_db(transaction=True)
def test_few_rows_take_few_round_trips():
    kind = ContentType.objects.get_for_model(Group).pk
    sent = []

    def note(execute, query, *arguments):
        sent.append(str(query))
        return execute(query, *arguments)

    with transaction.atomic(), connection.execute_wrapper(note):
        bulk_insert(Permission, ({"name": "n", "codename": f"c{i}", "content_type": kind} for i in range(3)))

    # SAVEPOINT, constraints with ids, foreign keys, RELEASE; the COPY goes past the wrapper
    assert len(sent) == 4, sent


def test_a_sequence_at_its_end_refuses_the_rows_and_the_transaction_goes_on(tables):
    execute("ALTER TABLE bulk_kinds ALTER id SET MAXVALUE 5")

    with pytest.raises(RowRefused, match="SequenceGeneratorLimitExceeded"):
        bulk_insert(Kind, [{"label": f"k{i}"} for i in range(7)])

    assert Kind.objects.count() == 0


def test_columns_that_are_absent_get_the_default_of_the_database_then_of_python(tables):
    [row_id] = bulk_insert(Sample, [{"text": "a"}])

    row = Sample.objects.get(pk=row_id)
    assert (row.color, row.tags, row.retired, row.number) == ("blue", [], False, None)
    assert abs(row.added - datetime.now(UTC)) < timedelta(minutes=1)
    assert abs(row.seen - datetime.now(UTC)) < timedelta(minutes=1)
    assert abs(row.made - datetime.now(UTC)) < timedelta(minutes=1)


@pytest.mark.parametrize("name", INJECTIONS)
def test_a_column_that_the_model_has_not_is_refused_by_name(tables, name):
    with pytest.raises(FieldError) as refused:
        bulk_insert(Sample, [{name: "x"}])

    assert repr(name) in str(refused.value)
    assert "odd 'name'; SELECT" in str(refused.value)


@pytest.mark.parametrize(
    "rows", [[{"loud": "X"}], [{"kind": None, "kind_id": None}], [{}], [{"pk": 1, "id": 2}]]
)
def test_columns_that_cannot_be_given_are_refused(tables, rows):
    with pytest.raises(FieldError):
        bulk_insert(Sample, rows)


@pytest.mark.parametrize("rows", ["text", {"text": "a"}, [("a",)], [5], [None]])
def test_what_is_no_row_is_refused(tables, rows):
    with pytest.raises(TypeError):
        bulk_insert(Sample, rows)


@pytest.mark.parametrize(
    ("rows", "columns"),
    [
        ([{"text": "a"}, {"text": "b", "number": 1}], None),
        ([{"text": "a"}, {"short": "b"}], None),
        ([{"text": "a"}, None], None),
        ([("a",), ("b", 1)], ["text"]),
        ([("a",), "b"], ["text"]),
        ([Kind(label="a"), ("a",)], None),
    ],
)
def test_a_row_of_another_form_than_the_first_is_refused_by_position(tables, rows, columns):
    model = Kind if isinstance(rows[0], Kind) else Sample
    with pytest.raises(RowRefused, match="Row 1 ") as refused:
        bulk_insert(model, rows, columns=columns)

    assert refused.value.position == 1


def given(number=2 * CHUNK + 700, **bad):
    """Make rows of which the one at position 700 behind a full chunk is bad."""
    plain = dict.fromkeys(bad)
    return ([{**plain, "text": "secret"} for _ in range(number)], CHUNK + 700, bad)


@pytest.mark.parametrize(
    ("constraint", "bad"),
    [
        ("bulk_small_not_negative", {"small": -1}),
        ("bulk_samples_kind_id", {"kind": 10**9}),
        ("bulk samples_parent_id", {"parent": 10**9}),
    ],
)
def test_the_row_that_a_constraint_forbids_is_named(tables, constraint, bad):
    rows, position, bad = given(**bad)
    rows[position] |= bad

    with pytest.raises(RowRefused, match=f"Row {position} ") as refused:
        bulk_insert(Sample, rows)

    assert refused.value.position == position
    assert str(refused.value.constraint).replace(" ", "_").startswith(constraint.replace(" ", "_"))
    assert "secret" not in str(refused.value)
    assert refused.value.__cause__ is None and refused.value.__context__ is None
    assert Sample.objects.count() == 0


def test_the_second_of_two_rows_with_one_key_is_named(tables):
    rows = [{"code": f"c{i}"} for i in range(CHUNK + 50)]
    rows[CHUNK + 40]["code"] = "c3"

    with pytest.raises(RowRefused, match="bulk_code_unique") as refused:
        bulk_insert(Sample, rows)

    assert refused.value.position == CHUNK + 40


def test_a_unique_key_that_waits_for_the_commit_is_checked_at_once(tables):
    days = [datetime(2026, 1, 1, tzinfo=UTC).date() + timedelta(i) for i in range(40)]

    with pytest.raises(RowRefused, match="bulk_day_unique") as refused:
        bulk_insert(Sample, [{"day": day} for day in [*days, days[5], days[6]]])

    assert refused.value.position == 40


def test_a_foreign_key_that_does_not_wait_names_its_row(tables):
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    kind = Kind.objects.create(label="a").pk

    with pytest.raises(RowRefused, match="foreign key") as refused:
        bulk_insert(Sample, [{"kind": kind if i != 77 else kind + 1} for i in range(300)])

    assert refused.value.position == 77


def test_a_required_column_that_is_empty_names_row_and_column(tables):
    with pytest.raises(RowRefused, match="Row 1 .*column label must not be empty"):
        bulk_insert(Kind, [{"label": label} for label in ("a", None)])


def test_rows_may_point_to_rows_behind_them(tables):
    last = CHUNK + 2

    bulk_insert(Sample, [{"pk": i, "parent": last if i == 1 else None} for i in range(1, last + 1)])

    assert Sample.objects.get(pk=1).parent_id == CHUNK + 2


def test_the_caller_may_leave_a_foreign_key_for_later(tables):
    Sample.objects.create(kind_id=5)

    bulk_insert(Sample, [{"kind": None}])

    Kind.objects.create(pk=5, label="a")
    execute("SET CONSTRAINTS ALL IMMEDIATE")


def test_the_transaction_of_the_caller_goes_on_after_a_refusal(tables):
    Kind.objects.create(label="before")
    with pytest.raises(RowRefused):
        bulk_insert(Kind, [{"label": "a"}, {"label": "a"}])
    Kind.objects.create(label="after")

    assert set(Kind.objects.values_list("label", flat=True)) == {"before", "after"}


def test_an_error_of_the_callers_generator_comes_out_and_leaves_nothing(tables):
    def rows():
        for i in range(CHUNK + 5):
            yield {"label": f"k{i}"}
        raise LookupError("the file ends here")

    with pytest.raises(LookupError):
        bulk_insert(Kind, rows())

    assert Kind.objects.count() == 0


def test_the_callers_generator_may_use_the_connection(tables):
    def rows():
        for i in range(3):
            yield {"label": f"k{i}-{Kind.objects.count()}"}

    assert len(bulk_insert(Kind, rows())) == 3


@pytest.mark.django_db(transaction=True)
def test_rolled_back_rows_are_gone_and_committed_ones_are_there():
    Group.objects.all().delete()  # those that migrations make
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        bulk_insert(Group, [{"name": "a"}])
        raise ZeroDivisionError
    assert Group.objects.count() == 0

    bulk_insert(Group, [{"name": "b"}])

    connection.close()
    assert Group.objects.get().name == "b"


@pytest.mark.django_db(transaction=True)
def test_without_a_transaction_it_is_all_or_nothing_and_foreign_keys_are_refused_before_the_commit():
    kind = ContentType.objects.get_for_model(Group).pk
    rows = [
        {"name": "n", "codename": f"c{i}", "content_type": kind if i != CHUNK + 3 else 10**9}
        for i in range(CHUNK + 9)
    ]
    before = Permission.objects.count()

    with pytest.raises(RowRefused, match="foreign key") as refused:
        bulk_insert(Permission, rows)

    assert refused.value.position == CHUNK + 3
    assert Permission.objects.count() == before
    assert not connection.in_atomic_block


@pytest.mark.django_db(transaction=True)
def test_of_two_that_insert_the_same_key_at_once_one_is_refused():
    Group.objects.all().delete()  # those that migrations make
    start = Barrier(2, timeout=60)

    def write(owner):
        try:
            start.wait()
            return list(
                bulk_insert(Group, [{"name": f"{owner}{i}"} for i in range(200)] + [{"name": "same"}])
            )
        except RowRefused as refused:
            return refused
        finally:
            connection.close()

    with ThreadPoolExecutor(2) as threads:
        results = list(threads.map(write, "ab"))

    refused = [result for result in results if isinstance(result, RowRefused)]
    assert [each.position for each in refused] == [200]
    assert Group.objects.count() == 201


@pytest.mark.django_db(transaction=True)
def test_ids_stay_right_while_others_take_from_the_sequence():
    start = Barrier(3, timeout=60)

    def write(owner):
        try:
            start.wait()
            return [bulk_insert(Group, ({"name": f"{owner}{r}-{i}"} for i in range(300))) for r in range(15)]
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as threads:
        results = dict(zip("abc", threads.map(write, "abc"), strict=True))

    names = dict(Group.objects.filter(name__contains="-").values_list("pk", "name"))
    assert len(names) == 3 * 15 * 300
    for owner, rounds in results.items():
        for number, ids in enumerate(rounds):
            assert [names[id] for id in ids] == [f"{owner}{number}-{i}" for i in range(300)]
