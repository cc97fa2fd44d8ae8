"""Lists of many rows: estimated totals, numbered first pages, and pages behind a row."""

import re
from datetime import datetime, timedelta
from html import unescape
from itertools import chain
from typing import Any

import pytest
from django.contrib import admin
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from leads.models import Lead
from scheduler.models import Setting
from scheduler.rest import totals
from scheduler.staff import changelist, seek
from scheduler.staff.admin import StaffAdmin
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

PER_PAGE = 10


@pytest.fixture(autouse=True)
def short_pages(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StaffAdmin, "list_per_page", PER_PAGE)
    monkeypatch.setattr(StaffAdmin, "list_max_show_all", 0)
    monkeypatch.setattr(changelist, "NUMBERED_ROWS", 3 * PER_PAGE)


@pytest.fixture
def leads() -> list[int]:
    """Make 97 leads, many with the same time; return their ids as the list shows them."""
    now = timezone.now()
    rows = [
        Lead(
            name=f"Lead {number}", phone=f"+1415555{number:04}", created_at=now - timedelta(hours=number // 7)
        )
        for number in range(97)
    ]
    Lead.objects.bulk_create(rows)
    return list(Lead.objects.order_by("-created_at", "-id").values_list("pk", flat=True))


def shown(html: str) -> list[int]:
    return [int(each) for each in re.findall(r'name="_selected_action" value="(\d+)"', html)]


def link(html: str, text: str) -> str | None:
    found = re.search(rf'<a href="([^"]*)"[^>]*>{text}</a>', html)
    return unescape(found[1]) if found else None


def walk(client: Client, start: str, text: str) -> list[list[int]]:
    """Follow a link from page to page; return the ids on each."""
    path, pages = staff.address(Lead, "changelist"), []
    query: str | None = start
    while query is not None:
        html = staff.page(client, path + query)
        pages.append(shown(html))
        query = link(html, text)
        assert len(pages) < 50
    return pages


def test_next_leads_through_all_rows_once_and_past_the_numbered_pages(admin_client: Client, leads) -> None:
    pages = walk(admin_client, "", "Next")

    assert list(chain(*pages)) == leads
    assert {len(page) for page in pages[:-1]} == {PER_PAGE}


def test_last_shows_the_last_rows_and_previous_leads_back_to_the_first(admin_client: Client, leads) -> None:
    html = staff.page(admin_client, staff.address(Lead, "changelist"))

    pages = walk(admin_client, link(html, "Last") or "", "Previous")

    assert list(chain(*reversed(pages))) == leads


@pytest.mark.parametrize("order", ["", "?o=1", "?o=-1", "?o=9", "?o=-9"])
def test_each_order_is_walked_whole(admin_client: Client, leads, order: str) -> None:
    pages = walk(admin_client, order, "Next")

    assert sorted(list(chain(*pages))) == sorted(leads)


def test_filters_and_searches_stay_on_the_way(admin_client: Client, leads) -> None:
    queued = set(leads[::2])
    Lead.objects.filter(pk__in=queued).update(status="queued")

    pages = walk(admin_client, "?status__exact=queued", "Next")

    assert len(pages) == 5 and set(list(chain(*pages))) == queued


def test_rows_that_appear_meanwhile_move_no_row_onto_the_following_page(admin_client: Client, leads) -> None:
    path = staff.address(Lead, "changelist")
    third = staff.page(admin_client, path, p=3)
    Lead.objects.create(name="Late", phone="+14155559999")

    fourth = shown(staff.page(admin_client, path + (link(third, "Next") or "")))

    assert fourth == leads[30:40]


def test_an_action_on_a_deep_page_reaches_its_rows(admin_client: Client, leads) -> None:
    path = staff.address(Lead, "changelist")
    html = staff.page(admin_client, path, before="")
    Lead.objects.update(phone_valid=True)

    data = {"action": "queue", "_selected_action": shown(html)}
    answer = admin_client.post(f"{path}?before=", data)

    assert answer.status_code == 302
    assert set(Lead.objects.filter(status="queued").values_list("pk", flat=True)) == set(leads[-PER_PAGE:])


@pytest.mark.parametrize(
    "place", ["x", "[]", "[1]", '["x", "y"]', '["2025-01-01", "9"]' * 2, "null", '[null, "1"]', '[["a"], {}]']
)
def test_a_place_that_is_none_leads_back_to_the_list(admin_client: Client, leads, place: str) -> None:
    for name in seek.PARAMETERS:
        answer = admin_client.get(staff.address(Lead, "changelist"), {name: place})
        assert (answer.status_code, answer["Location"]) == (302, f"{staff.address(Lead, 'changelist')}?e=1")


def test_a_place_at_the_end_is_an_empty_page_with_a_way_back(admin_client: Client, leads) -> None:
    html = staff.page(
        admin_client, staff.address(Lead, "changelist"), after='["1970-01-01T00:00:00+00:00", "1"]'
    )

    assert shown(html) == []
    assert link(html, "First") == "?"


def test_a_number_beyond_the_numbered_pages_leads_back(admin_client: Client, leads) -> None:
    for number in (4, 100_000, 10**30):
        answer = admin_client.get(staff.address(Lead, "changelist"), {"p": number})
        assert answer.status_code == 302, number


def test_a_total_is_exact_up_to_its_bound_and_estimated_above(
    admin_client: Client, leads, monkeypatch
) -> None:
    path = staff.address(Lead, "changelist")
    assert "97 leads" in staff.page(admin_client, path)
    assert "about" not in total_of(staff.page(admin_client, path))

    monkeypatch.setattr(totals, "EXACT_UP_TO", 5)
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE leads")
    assert total_of(staff.page(admin_client, path)) == "about 97 leads"


def total_of(html: str) -> str:
    found = re.search(r'<span class="row-total">(.*?)</span>', html, re.DOTALL)
    assert found
    return found[1].strip()


def test_what_is_dear_to_count_is_estimated_and_all_rows_are_reached_all_the_same(
    admin_client: Client, leads, monkeypatch
) -> None:
    monkeypatch.setattr(changelist, "MOST_COST", 0)
    for expected in (1, 33, 5000):
        monkeypatch.setattr(changelist, "planned", lambda rows, number=expected: (number, 1.0))
        html = staff.page(admin_client, staff.address(Lead, "changelist"))

        assert total_of(html) == f"about {max(expected, PER_PAGE + 1):,} leads"
        with CaptureQueriesContext(connection) as queries:
            pages = walk(admin_client, "", "Next")
        assert list(chain(*pages)) == leads, expected
        assert not any("count(*)" in each["sql"].lower() for each in queries)


def test_a_page_that_was_promised_by_an_estimate_only_leads_back(
    admin_client: Client, leads, monkeypatch
) -> None:
    monkeypatch.setattr(changelist, "MOST_COST", 0)
    monkeypatch.setattr(changelist, "planned", lambda rows: (5000, 1.0))
    monkeypatch.setattr(changelist, "NUMBERED_ROWS", 500)

    assert admin_client.get(staff.address(Lead, "changelist"), {"p": 30}).status_code == 302


def test_what_fits_a_page_is_counted_by_reading_it(admin_client: Client, leads) -> None:
    with CaptureQueriesContext(connection) as queries:
        html = staff.page(admin_client, staff.address(Lead, "changelist"), q="5550000")

    assert total_of(html) == "1 lead"
    assert not any("count(*)" in each["sql"].lower() or "EXPLAIN" in each["sql"] for each in queries)


def test_no_list_counts_its_whole_table(admin_client: Client, leads) -> None:
    with CaptureQueriesContext(connection) as queries:
        staff.page(admin_client, staff.address(Lead, "changelist"))

    counts = [each["sql"] for each in queries if re.search(r"COUNT\(\*\)", each["sql"], re.IGNORECASE)]
    assert len(counts) == 1 and "LIMIT 100001" in counts[0]


def test_a_deep_page_is_one_range_of_an_index(leads) -> None:
    """What a page costs must not grow with its depth: the plan seeks the tuple in the index of the order."""
    columns = seek.columns_of(Lead, ["-created_at", "-pk"])
    assert columns is not None
    row = Lead.objects.get(pk=leads[50])
    place = seek.place(seek.written(row, columns), columns)
    rows = seek.ordered(seek.beyond(Lead.objects.all(), columns, place, back=False), columns, back=False)
    with connection.cursor() as cursor:
        cursor.execute(
            "SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off; SET LOCAL enable_bitmapscan = off"
        )
    plan = rows[:PER_PAGE].explain()

    assert re.search(r"Index Cond: \(ROW\(created_at, id\) < ROW\(", plan), plan
    assert "Sort" not in plan


@pytest.mark.parametrize("ordering", [["email", "pk"], ["partner__name", "pk"], ["name"], [Lead.name], []])
def test_an_order_without_places_has_none(ordering: list[Any]) -> None:
    assert seek.columns_of(Lead, ordering) is None


def test_a_list_in_such_an_order_says_where_it_ends(admin_client: Client, leads, monkeypatch) -> None:
    monkeypatch.setattr(admin.site._registry[Lead], "ordering", ["email"])

    pages = walk(admin_client, "?p=3", "Next")

    assert len(pages) == 1
    assert "the list ends after 30 rows" in staff.page(admin_client, staff.address(Lead, "changelist"))


def test_mixed_directions_are_walked_whole(leads) -> None:
    columns = seek.columns_of(Lead, ["created_at", "-id"])
    assert columns is not None
    wanted = list(Lead.objects.order_by("created_at", "-id"))
    for back in (False, True):
        place = seek.place(seek.written(wanted[40], columns), columns)
        rows = seek.ordered(seek.beyond(Lead.objects.all(), columns, place, back=back), columns, back=back)
        assert list(rows) == (wanted[:40][::-1] if back else wanted[41:])


def test_places_keep_microseconds(leads) -> None:
    moment = datetime.fromisoformat("2025-01-01T10:00:00.123456+00:00")
    row = Lead.objects.get(pk=leads[0])
    row.created_at = moment
    columns = seek.columns_of(Lead, ["-created_at", "-pk"])
    assert columns is not None

    assert seek.place(seek.written(row, columns), columns) == [moment, row.pk]


def test_lists_by_name_are_walked_too(admin_client: Client) -> None:
    Setting.objects.bulk_create(Setting(key=f"key {number:03}", value="x") for number in range(45))
    path, seen = staff.address(Setting, "changelist"), []
    query: str | None = ""
    while query is not None:
        html = staff.page(admin_client, path + query)
        seen += re.findall(r">(key \d+)</a>", html)
        query = link(html, "Next")

    assert seen == sorted(seen) and len(seen) == 45
