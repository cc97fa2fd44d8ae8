"""Lists by cursor and their totals, over users: the REST layer knows no domain app."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
import pytest
from django.contrib.auth.models import User
from django.db import connection, connections
from django.http import QueryDict
from django.test import RequestFactory
from django.test.utils import CaptureQueriesContext

from database.testing import wait_until
from database.tests.served import run, served
from scheduler.rest import totals as totals_module
from scheduler.rest.access import Principal
from scheduler.rest.answers import moment
from scheduler.rest.listings import Listing
from scheduler.rest.pages import PageQuery, Slice, page_of
from scheduler.rest.problems import Problem
from scheduler.rest.shapes import Shape
from scheduler.rest.totals import totals

USER = Shape(id="id", name="username", joined=("date_joined", moment))
USERS = Listing(lambda partner_id: User.objects.exclude(pk=partner_id), USER, newest="date_joined")
START = datetime(2025, 1, 1, tzinfo=UTC)


def request_for(query: str = "", *, path: str = "/api/users/", partner_id: int | None = None) -> Any:
    request: Any = RequestFactory().get(f"{path}?{query}")
    request.auth = Principal("x", partner_id=partner_id)
    return request


def page(query: str = "", **options: Any) -> Slice:
    request = request_for(query, **options)
    found = page_of(request, USERS, PageQuery(**request.GET.dict()), {})
    return replace(found, rows=msgspec.to_builtins(found.rows))


def cursor_of(found: Slice) -> str:
    address = found.headers["Link"].partition("<")[2].partition(">")[0]
    return QueryDict(address.partition("?")[2])["cursor"]


def add(*minutes: int) -> None:
    for minute in minutes:
        number = User.objects.count()
        User.objects.create(username=f"u{number:03}", date_joined=START + timedelta(minutes=minute))


@pytest.mark.django_db
def test_cursors_lead_through_all_rows_once_and_in_order_also_over_equal_times():
    add(*[3] * 7, *[1] * 4, 2)
    expected = list(User.objects.order_by("-date_joined", "-id").values_list("id", flat=True))
    for size in (1, 2, 5, 11, 12, 13):
        seen, found = [], page(f"page_size={size}")
        seen += [row["id"] for row in found.rows]
        while "Link" in found.headers:
            number = found.page
            found = page(f"page_size={size}&cursor={cursor_of(found)}")
            assert (found.page, found.total) == (number + 1, 12)
            seen += [row["id"] for row in found.rows]
        assert seen == expected


@pytest.mark.django_db
def test_a_row_that_comes_meanwhile_neither_hides_nor_repeats_another():
    add(1, 2, 3, 4)
    first = page("page_size=2")
    add(5, 6)
    second = page(f"page_size=2&cursor={cursor_of(first)}")

    assert [row["name"] for row in first.rows + second.rows] == ["u003", "u002", "u001", "u000"]


@pytest.mark.django_db
def test_pages_by_number_give_the_same_rows_and_an_end():
    add(*range(5))

    assert [[row["name"] for row in page(f"page={n}&page_size=2").rows] for n in (1, 2, 3, 4)] == [
        ["u004", "u003"], ["u002", "u001"], ["u000"], [],
    ]  # fmt: skip
    assert [page(f"page={n}&page_size=2").total for n in (1, 2, 3, 4)] == [5, 5, 5, 5]


@pytest.mark.django_db
@pytest.mark.parametrize(
    "other",
    [{"path": "/api/others/"}, {"partner_id": 7}, {"query": "status=x&"}, {"tampered": True}],
    ids=str,
)
def test_a_cursor_belongs_to_its_list_its_filters_and_its_reader(other):
    add(1, 2, 3)
    cursor = cursor_of(page("page_size=1"))
    if other.pop("tampered", False):
        cursor = ("A" if cursor[0] != "A" else "B") + cursor[1:]

    with pytest.raises(Problem) as refused:
        page(f"{other.pop('query', '')}cursor={cursor}", **other)

    assert refused.value.code == "invalid_cursor"


@pytest.mark.django_db
def test_a_cursor_holds_for_another_page_size_and_other_fields():
    add(1, 2, 3)
    found = page(f"cursor={cursor_of(page('page_size=1'))}&page_size=9&fields=name")

    assert found.rows == [{"name": "u001"}, {"name": "u000"}]


@pytest.mark.django_db
def test_only_the_wanted_fields_are_read(django_assert_num_queries):
    add(1)
    with django_assert_num_queries(1) as captured:
        found = page("fields=joined,%20id,")

    assert found.rows == [{"id": User.objects.get().pk, "joined": "2025-01-01T00:01:00+00:00"}]
    assert "username" not in captured[0]["sql"]


@pytest.mark.parametrize(
    ("time", "written"),
    [
        (START, "2025-01-01T00:00:00+00:00"),
        (START.replace(microsecond=120), "2025-01-01T00:00:00.000120+00:00"),
        (datetime.fromisoformat("2025-01-01T02:00:00+02:00"), "2025-01-01T00:00:00+00:00"),
        (None, None),
    ],
)
def test_times_are_written_as_old_clients_know_them(time, written):
    assert moment(time) == written


@pytest.fixture
def users_apart(private_server, django_db_blocker) -> Iterator[str]:
    """A table of users on a server where nobody else ends transactions, which others' totals are counted anew for."""
    with django_db_blocker.unblock(), served("apart", private_server.socket_dir) as alias:
        run(alias, "CREATE TABLE auth_user (id int, username text, date_joined timestamptz DEFAULT now())")
        run(alias, "INSERT INTO auth_user VALUES (1, 'u1'), (2, 'u2'), (3, 'u3')")
        totals.forget()
        yield alias


def test_a_total_is_counted_once_and_again_after_each_change(users_apart):
    listing = Listing(lambda partner_id: User.objects.using(users_apart), USER, newest="date_joined")

    def total() -> int | None:
        return page_of(request_for("page_size=1"), listing, PageQuery(page_size=1), {}).total

    def is_counted_once_only() -> bool:
        with CaptureQueriesContext(connections[users_apart]) as captured:
            assert total() == 3
        return len(captured) == 1

    with CaptureQueriesContext(connections[users_apart]) as captured:
        assert total() == 3
    assert len(captured) == 3  # the page, the planner's guess, the count
    # Autovacuum is the only one who may come between.
    wait_until(is_counted_once_only, timeout=30)
    run(users_apart, "INSERT INTO auth_user VALUES (4, 'u4')")
    assert total() == 4
    run(users_apart, "DELETE FROM auth_user WHERE id = 1")
    assert total() == 3


@pytest.mark.django_db(transaction=True)
def test_a_transaction_that_ends_later_is_in_the_next_total():
    """The count ran while another transaction was open: its end changes the snapshot and nothing else does."""
    totals.forget()
    add(1, 2)
    other = connection.copy()
    try:
        other.set_autocommit(False)
        with other.cursor() as cursor:
            cursor.execute(
                "INSERT INTO auth_user (username, password, first_name, last_name, email, is_superuser, is_staff,"
                " is_active, date_joined) VALUES ('late', '', '', '', '', false, false, true, now())"
            )
        assert page("page_size=1").total == 2
        assert page("page_size=1").total == 2
        other.commit()
        assert page("page_size=1").total == 3
    finally:
        other.close()


@pytest.mark.django_db(transaction=True)
def test_totals_of_partners_and_filters_are_kept_apart():
    totals.forget()
    add(1, 2, 3)
    request = request_for("page_size=1", partner_id=5)
    query = PageQuery(page=1, page_size=1, cursor="", fields="")

    assert page("page_size=1").total == 3
    assert page_of(request, USERS, query, {"username__lt": "u002"}).total == 2


@pytest.mark.django_db(transaction=True)
def test_an_estimate_is_looked_at_again_also_where_a_page_has_no_rows(monkeypatch):
    totals.forget()
    add(*range(8))
    monkeypatch.setattr(totals_module, "EXACT_UP_TO", 5)
    monkeypatch.setattr(totals_module, "ESTIMATE_FOR", -1)
    assert "X-Total-Count-Estimated" in page("page=500").headers

    monkeypatch.setattr(totals_module, "EXACT_UP_TO", 1000)
    found = page("page=500")

    assert (found.rows, found.total) == ([], 8)
    assert "X-Total-Count-Estimated" not in found.headers


@pytest.mark.django_db
def test_a_total_above_the_limit_is_estimated_and_says_so(monkeypatch):
    totals.forget()
    add(*range(8))
    monkeypatch.setattr(totals_module, "EXACT_UP_TO", 5)
    found = page("page_size=2")

    assert found.headers["X-Total-Count-Estimated"] == "true"
    assert found.total >= 6
    assert found.headers["X-Total-Count"] == str(found.total)
    monkeypatch.setattr(totals_module, "EXACT_UP_TO", 1000)
    assert "X-Total-Count-Estimated" not in page("page_size=2").headers
