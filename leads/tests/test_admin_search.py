"""Finding leads among many: any spelling of a phone, and only by index."""

from __future__ import annotations

import csv
import io
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.db import connection
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from calls.models import Call
from leads import search
from leads.models import Lead
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


def lead(number: int, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


@pytest.mark.parametrize(
    ("phone", "typed"),
    [
        ("+14155550134", "415 555 0134"),
        ("+14155550134", "(415) 555-0134"),
        ("+14155550134", "+1 415 555 0134"),
        ("+14155550134", "001 415 555 0134"),
        ("+14155550134", "1-415-555-0134"),
        ("+14155550134", "415\u2013555\u20130134"),
        ("+14155550134", "0134"),
        ("+14155550134", "+1415555013"),
        ("+442079460018", "0044 20 7946 0018"),
        ("+442079460018", "020 7946 0018"),
        ("+442079460018", "+44 (0)20 7946 0018"),
        ("+41446681800", "044 668 18 00"),
        ("+972501234567", "050-123-4567"),
        ("0100/200 300\u20114", "0100 200 300 4"),
    ],
)
def test_a_phone_is_found_as_people_type_it(admin_client: Client, phone: str, typed: str) -> None:
    wanted = Lead.objects.create(name="Ann", phone=phone)
    Lead.objects.create(name="Ben", phone="+14155559999")

    assert staff.ids_listed(admin_client, Lead, q=typed) == {wanted.pk}


@pytest.mark.parametrize(
    ("name", "email", "typed"),
    [
        ("Conan O'Brien", None, "o'brien"),
        ("Jean-Luc Picard", None, "luc pic"),
        ("Ann", "first.last+tag@example.co.uk", "last+tag@example"),
        ("Ann", "first.last+tag@example.co.uk", "An First.Last+tag@example.co.uk"),
        ("Ann", "first.last+tag@example.co.uk", "@example.c"),
        ("Ann", "first.last+tag@example.co.uk", "tag@"),
        (staff.HEBREW, None, staff.HEBREW.split()[1][:2]),
        (staff.ARABIC, None, staff.ARABIC.split()[0]),
        ("Zoë Łukasz", None, "ZOË"),
        ("100% Ltd", None, "100%"),
        ("Conan O\u2019Brien", None, "brien"),
        ("Ann\u00a0Lee\u2014Park", None, "park lee"),
        ("\U0001d4d0" * 500, None, "\U0001d4d0" * 3000),
    ],
)
def test_names_and_addresses_are_found_by_the_beginnings_of_their_words(
    name: str, email: str | None, typed: str
) -> None:
    wanted = Lead.objects.create(name=name, phone="+14155550001", email=email)
    lead(2, name="Somebody Else")

    assert search.ids_matching(typed) == [wanted.pk]


@pytest.mark.parametrize(
    "typed", [*staff.NASTY, "'", "\\", "a & | !", "':*", "\0", "a@b\0c", "%", "((", "٤١٥"]
)
def test_no_text_breaks_the_search(typed: str) -> None:
    lead(1)

    assert search.ids_matching(typed) == []


# Of ten leads one speaks Hebrew, one must not be called, one is a duplicate, and so on.
MANY = """
INSERT INTO leads (name, phone, phone_valid, language, do_not_call, status, duplicate_of_id, created_at)
SELECT 'Ann Lead ' || n, '+1415' || lpad(n::text, 7, '0'), n %% 10 <> 1, CASE n %% 10 WHEN 2 THEN 'he' ELSE 'en' END,
    n %% 10 = 3, CASE n %% 10 WHEN 4 THEN 'queued' ELSE 'pending' END,
    CASE n %% 10 WHEN 5 THEN %(original)s END, '2025-01-01 00:00+00'::timestamptz + n * interval '1 minute'
FROM generate_series(1, 4000) n
"""


def plan_of(rows: QuerySet[Lead], *, by_bitmap: bool = False) -> str:
    """Explain a query as it is planned for more rows than these: where an index fits, it is taken."""
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"SET LOCAL enable_bitmapscan = {'on' if by_bitmap else 'off'}")
    return rows.explain()


def test_every_search_and_filter_reads_an_index() -> None:
    with connection.cursor() as cursor:
        cursor.execute(MANY, {"original": lead(9999).pk})
        # Which index the planner takes must not depend on what earlier tests left of its statistics.
        cursor.execute("ANALYZE leads")
    newest = Lead.objects.order_by("-created_at", "-id")
    plan = newest.filter(search.found("ann"))[:50].explain()
    assert "using leads_pkey" in plan and " Join" not in plan, plan
    for typed in ("ann smith", "415 555 0134", "+1 415"):
        plan = plan_of(Lead.objects.filter(search.matching(typed)).order_by(), by_bitmap=True)
        assert "leads_search" in plan, (typed, plan)
    for condition, index in (
        ({"language": "he"}, "leads_by_language"),
        ({"do_not_call": True}, "leads_not_to_call"),
        ({"duplicate_of__isnull": False}, "leads_newest_duplicates"),
        ({"phone_valid": False}, "leads_without_valid_phone"),
        ({"status": "queued"}, "leads_by_status"),
    ):
        plan = plan_of(newest.filter(**condition)[:50])
        assert index in plan and "Sort" not in plan, (condition, plan)


def test_filters_of_language_and_duplicates_narrow_the_list(admin_client: Client) -> None:
    first = lead(1, language="he")
    double = Lead.objects.create(name="Double", phone=first.phone, duplicate_of=first)

    assert staff.ids_listed(admin_client, Lead, language="he") == {first.pk}
    assert staff.ids_listed(admin_client, Lead, duplicates="only") == {double.pk}
    assert staff.ids_listed(admin_client, Lead, duplicates="no") == {first.pk}


def test_chosen_leads_leave_the_queue_unless_a_worker_holds_them(admin_client: Client) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    waiting = lead(1, status="queued")
    held = lead(2, status="queued", claimed_by="worker", lease_expires_at=soon)
    data = {"action": "unqueue", "_selected_action": [waiting.pk, held.pk]}

    html = admin_client.post("/admin/leads/lead/", data, follow=True).content.decode()

    assert "Took 1 leads out of the queue" in html and "1 leads were left" in html
    assert list(Lead.objects.filter(status="queued")) == [held]
    entry = LogEntry.objects.get()
    assert '"Queued", "Pending"' in entry.change_message


def test_chosen_leads_are_exported_without_formulas_and_noted(admin_client: Client) -> None:
    chosen = lead(1, name="=cmd()")
    lead(2)
    data = {"action": "export", "_selected_action": [chosen.pk]}

    answer = admin_client.post("/admin/leads/lead/", data)

    text = b"".join(answer).decode("utf-8-sig")
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["name"], row["phone"], row["id"]) == ("'=cmd()", chosen.phone, str(chosen.pk))
    assert LogEntry.objects.get().object_repr == "Export of 1 leads"


@pytest.mark.parametrize("way", ["page", "list"])
def test_deleting_says_what_goes_and_is_noted(admin_client: Client, way: str) -> None:
    row = lead(1)
    double = Lead.objects.create(name="Double", phone=row.phone, duplicate_of=row)
    Call.objects.create(lead=row, ended_at=timezone.now() + timedelta(seconds=5))
    path = f"/admin/leads/lead/{row.pk}/delete/" if way == "page" else "/admin/leads/lead/"
    data = {} if way == "page" else {"action": "delete_selected", "_selected_action": [row.pk]}

    asked = admin_client.post(path, data).content.decode()
    assert "1 duplicate goes with it." in asked and "1 call goes with it." in asked
    assert Lead.objects.count() == 2

    admin_client.post(path, {**data, "confirmed": "yes"})
    assert not Lead.objects.exists() and not Call.objects.exists()
    assert set(LogEntry.objects.values_list("object_id", flat=True)) == {str(row.pk), str(double.pk)}


def test_a_lead_on_the_telephone_is_not_deleted(admin_client: Client) -> None:
    row = lead(1)
    Call.objects.create(lead=row)

    admin_client.post(f"/admin/leads/lead/{row.pk}/delete/", {"confirmed": "yes"})

    assert Lead.objects.get() == row
