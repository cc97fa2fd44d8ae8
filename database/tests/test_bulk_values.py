"""What goes in by COPY comes out unchanged, and what cannot go in is refused by name."""

import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from django.db import connection
from django.db.backends.postgresql.psycopg_any import DateTimeTZRange
from django.db.models import F
from django.utils.translation import gettext_lazy
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database.bulk import bulk_insert, bulk_update, bulk_upsert
from database.errors import RowRefused, ValueRefused
from database.tests.bulk_samples import MODELS, Kind, Sample

pytestmark = pytest.mark.django_db

ZONES = st.sampled_from(
    [UTC, ZoneInfo("Asia/Kathmandu"), ZoneInfo("Europe/Amsterdam"), timezone(timedelta(seconds=-4321))]
)
TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.sampled_from(
    [
        "\\N",
        "\\.",
        "\\",
        "",
        "\t",
        "\n",
        "\r\n",
        "a\tb\\nc\n",
        "\\x41",
        '"',
        "'",
        "%s",
        "\u2028",
        "😀",
        "\x1f\x1e",
    ]
)
MOMENTS = st.datetimes(datetime(1, 1, 3), datetime(9999, 12, 29), timezones=ZONES)
JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**63) | st.floats(-1e9, 1e9) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=5,
).filter(lambda value: value is not None)
VALUES = {
    "text": TEXT,
    "short": st.text(st.characters(codec="utf-8", min_codepoint=1), max_size=10),
    "flag": st.booleans(),
    "small": st.integers(0, 2**15 - 1),
    "number": st.integers(-(2**31), 2**31 - 1),
    "big": st.integers(-(2**63), 2**63 - 1),
    "real": st.floats(),
    "exact": st.decimals(-999_999_999, 999_999_999, places=3),
    "moment": MOMENTS,
    "day": st.none(),
    "clock": st.times(),
    "span": st.timedeltas(timedelta(days=-100_000), timedelta(days=100_000)),
    "data": JSON,
    "raw": st.binary(max_size=20),
    "words": st.lists(TEXT, max_size=3),
    "address": st.ip_addresses(v=4).map(str),
    "odd_name": TEXT,
}
ROW = st.fixed_dictionaries({name: st.none() | values for name, values in VALUES.items()})


@pytest.fixture(autouse=True)
def tables(db):
    with connection.schema_editor() as editor:
        for model in MODELS:
            editor.create_model(model)


def same(stored, value):
    if isinstance(value, float) and math.isnan(value):
        return math.isnan(stored)
    if isinstance(value, datetime):
        # Python calls two moments of different zones unequal when one is in the hour that a clock leaves out.
        value = value.astimezone(UTC)
    return (bytes(stored) if isinstance(stored, memoryview) else stored) == value


def assert_stored(ids, rows):
    found = Sample.objects.in_bulk(list(ids))
    for row_id, row in zip(ids, rows, strict=True):
        for name, value in row.items():
            stored = getattr(found[row_id], name)
            assert (stored is None) if value is None else same(stored, value), name


@settings(
    deadline=None,
    max_examples=25,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(ROW, min_size=1, max_size=8))
def test_every_value_comes_back_as_it_went_in(rows):
    ids = bulk_insert(Sample, rows)

    assert_stored(ids, rows)


@settings(
    deadline=None,
    max_examples=10,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(rows=st.lists(ROW, min_size=2, max_size=5))
def test_an_update_writes_what_an_insert_writes(rows):
    ids = bulk_insert(Sample, [{"text": "before"} for _ in rows])

    done = bulk_update(Sample, [{"id": id} | row for id, row in zip(ids, rows, strict=True)], list(VALUES))

    assert done.updated == len(rows)
    assert_stored(ids, rows)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("period", DateTimeTZRange(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))),
        ("color", Sample.Color.BLUE),
        ("real", math.inf),
        ("real", -math.inf),
        ("real", 3),
        ("token", UUID(int=5)),
        ("day", date(1, 1, 1)),
        ("moment", datetime.max.replace(tzinfo=UTC)),
        ("moment", datetime.min.replace(tzinfo=UTC)),
        ("clock", time(23, 59, 59, 999_999)),
        ("exact", Decimal("0.125")),
        ("raw", b"'\\\\\0"),
        ("raw", memoryview(b"\xff\n\t")),
        ("data", {"null": None, "text": "\\N"}),
        ("text", gettext_lazy("Password")),
    ],
)
def test_a_value_comes_back_as_it_went_in(column, value):
    [row_id] = bulk_insert(Sample, [{column: value}])

    assert same(getattr(Sample.objects.get(pk=row_id), column), value)


def test_an_enum_of_numbers_is_a_number():
    class Level(IntEnum):
        LOW = 1

    [row_id] = bulk_insert(Sample, [{"number": Level.LOW}])

    assert Sample.objects.get(pk=row_id).number == 1


def test_a_foreign_key_is_an_id_or_an_object():
    kind = Kind.objects.create(label="a")

    ids = bulk_insert(Sample, [{"kind": kind}, {"kind": kind.pk}, {"kind": None}])

    assert [Sample.objects.get(pk=id).kind_id for id in ids] == [kind.pk, kind.pk, None]


@pytest.mark.parametrize(
    ("column", "value", "reason"),
    [
        ("text", "a\0b", "NUL"),
        ("text", "a\ud800", "surrogate"),
        ("text", 5, "not int"),
        ("text", b"x", "not bytes"),
        ("words", ["a\0"], "cannot"),
        ("flag", 1, "not int"),
        ("flag", "t", "not str"),
        ("small", 2**15, "too large"),
        ("number", -(2**31) - 1, "too large"),
        ("big", 2**63, "too large"),
        ("big", True, "not bool"),
        ("number", "5", "not str"),
        ("number", 5.0, "not float"),
        ("kind", "5", "not str"),
        ("kind", Kind(label="unsaved"), "saved"),
        ("real", "nan", "not str"),
        pytest.param("real", 10**400, "too large", id="real-huge"),
        ("exact", Decimal("nan"), "cannot"),
        ("exact", "secret", "cannot"),
        ("moment", datetime(2026, 1, 1), "time zone"),
        ("moment", date(2026, 1, 1), "not date"),
        ("moment", "2026-01-01", "not str"),
        ("day", datetime(2026, 1, 1, tzinfo=UTC), "not datetime"),
        ("clock", time(1, tzinfo=UTC), "zone"),
        ("token", "x", "not str"),
        ("span", "x", "cannot|PostgreSQL"),
        ("data", {1, 2}, "cannot"),
        ("address", "secret", "cannot|PostgreSQL"),
        ("text", F("short"), "not F"),
    ],
)
def test_a_value_that_does_not_fit_is_refused_with_row_and_column(column, value, reason):
    rows = [{column: None}, {column: None}, {column: value}]

    with pytest.raises(RowRefused, match=f"Row 2 .*column {column}") as refused:
        bulk_insert(Sample, rows)

    assert refused.value.position == 2
    assert refused.value.__context__ is None
    assert "secret" not in str(refused.value)
    assert refused.match(reason)
    assert Sample.objects.count() == 0


@pytest.mark.parametrize(
    ("column", "value", "column_named"),
    [("short", "secret" * 9, False), ("data", "secret\0", True), ("exact", Decimal(10**10), True)],
)
def test_a_value_that_postgresql_refuses_is_refused_with_its_row(column, value, column_named):
    rows = [{column: None}] * 600 + [{column: value}]

    with pytest.raises(RowRefused, match="Row 600 ") as refused:
        bulk_insert(Sample, rows)

    assert refused.value.position == 600
    assert "secret" not in str(refused.value)
    assert (column in str(refused.value)) or not column_named


@pytest.mark.parametrize("operation", ["update", "upsert"])
def test_values_are_refused_alike_on_the_way_to_an_update(operation):
    rows = [{"id": 1, "code": "a", "text": "x"}, {"id": 2, "code": "b", "text": "x\0"}]

    with pytest.raises(ValueRefused, match="Row 1 .*column text") as refused:
        if operation == "update":
            bulk_update(Sample, rows, ["code", "text"])
        else:
            bulk_upsert(Sample, rows, ["code"], ["text"])

    assert (refused.value.position, refused.value.column) == (1, "text")
