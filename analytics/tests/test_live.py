"""The page of live calls, and the part of it that its script renews."""

from datetime import timedelta

import pytest
from django.contrib.staticfiles import finders
from django.test import Client
from django.utils import timezone

from analytics import live
from analytics.tests.counting import call, lead
from calls.models import Turn
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

ADDRESS = "/admin/calls/live/"
PART = f"{ADDRESS}?part=calls"
VIEW_CALLS = "calls.view_call"


def active(number: int, *said: str, minutes: float = 3, **values):
    row = call(
        lead(number, **values), timezone.now() - timedelta(minutes=minutes), ended_at=None, language="en"
    )
    for position, message in enumerate(said, start=1):
        Turn.objects.create(call=row, turn=position, role="user", message=message)
    return row


def test_active_calls_are_shown_with_what_was_said_last(admin_client):
    row = active(1, "Hello", "Call me tomorrow", name="Ada")
    call(lead(2, name="Ended"), timezone.now() - timedelta(hours=1))

    html = staff.page(admin_client, ADDRESS)

    assert staff.address(type(row), "change", row.pk) in html
    assert "Ada" in html and "Call me tomorrow" in html
    assert "Hello" not in html and "Ended" not in html
    assert "<strong>1</strong> active call," in html


def test_the_part_is_what_the_page_holds_and_no_page(admin_client):
    active(1, "Hello")

    part = staff.page(admin_client, PART)

    assert "<html" not in part and "Hello" in part
    assert part.partition("<table")[2].split() == (
        staff.page(admin_client, ADDRESS).partition('id="live-scroll"')[2].partition("<table")[2]
        .partition("</section>")[0].split()
    )  # fmt: skip


def test_an_ended_call_leaves_the_list(admin_client):
    row = active(1, "Hello")
    row.ended_at = timezone.now()
    row.save(update_fields=["ended_at"])

    assert "Nobody is on the telephone" in staff.page(admin_client, PART)


def test_texts_of_callers_are_shown_as_text(admin_client):
    active(1, staff.SCRIPT, name=staff.SCRIPT)
    active(2, staff.HEBREW)

    for address in (ADDRESS, PART):
        html = staff.page(admin_client, address)
        assert staff.SCRIPT not in html
        assert html.count("&lt;script&gt;") >= 2
        assert staff.HEBREW in html


def test_a_call_that_runs_for_too_long_is_marked(admin_client):
    active(1, minutes=59)
    assert "its worker may be gone" not in staff.page(admin_client, PART)
    active(2, minutes=61)

    active(3, minutes=60 * 24 * 12 + 5)

    html = staff.page(admin_client, PART)

    assert html.count("its worker may be gone") == 2
    assert "1:01:0" in html and "59:0" in html and "12 days" in html


def test_a_crowd_of_calls_is_cut_and_counted(admin_client, monkeypatch):
    monkeypatch.setattr(live, "SHOWN", 3)
    for number in range(5):
        active(number, minutes=number + 1)

    html = staff.page(admin_client, PART)

    assert "<strong>5</strong> active calls" in html
    assert html.count('id="live-call-') == 3
    assert "list all" in html
    assert "Lead 4" in html and "Lead 0" not in html


def test_the_queries_do_not_grow_with_the_calls(admin_client):
    active(0, "x")
    before = staff.queries_of(admin_client, PART)
    for number in range(1, 20):
        active(number, "x", "y")

    assert staff.queries_of(admin_client, PART) == before <= 5


def test_who_may_not_see_turns_or_leads_gets_neither_words_nor_links():
    row = active(1, "A secret", name="Ada")
    few = staff.page(staff.staff_client(VIEW_CALLS), PART)
    all_of_it = staff.page(staff.staff_client(VIEW_CALLS, "calls.view_turn", "leads.view_lead"), PART)

    assert "A secret" not in few and "A secret" in all_of_it
    link = staff.address(type(row.lead), "change", row.lead_id)
    assert link not in few and link in all_of_it


@pytest.mark.parametrize("address", [ADDRESS, PART])
def test_it_is_closed_to_others(address):
    assert staff.staff_client("leads.view_lead").get(address).status_code == 403
    assert Client().get(address).status_code == 302


def test_it_renews_itself_without_a_script_too(admin_client):
    html = staff.page(admin_client, ADDRESS)

    assert '<noscript><meta http-equiv="refresh" content="10"></noscript>' in html
    assert "analytics/live.js" in html
    assert finders.find("analytics/live.js") and finders.find("analytics/home.css")
    assert "no-store" in admin_client.get(PART)["Cache-Control"]
