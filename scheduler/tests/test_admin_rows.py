"""The rows of a list as HTML: cells, links, boxes, and what people typed shown as text."""

from __future__ import annotations

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from leads.models import Lead
from partners.models import Partner
from scheduler.models import StaffToken
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


def cells(html: str) -> list[dict[str, str]]:
    """Return the cells of each row by the name of their column."""
    rows = html.partition('id="result_list"')[2].partition("</table>")[0].split('<tr class="data-row')[1:]
    pattern = r'<t([dh])[^>]*class="field-(\w+) staff-cell"[^>]*>(.*?)</t\1>'
    return [{name: text for _, name, text in re.findall(pattern, row, re.DOTALL)} for row in rows]


def test_each_kind_of_column_is_shown(admin_client: Client) -> None:
    partner = Partner.objects.create(name="Acme", is_active=False)
    lead = Lead.objects.create(name="Ada", phone="+14155550100", partner=partner, do_not_call=True)

    (row,) = cells(staff.page(admin_client, staff.address(Lead, "changelist")))
    assert re.sub("<[^>]+>", "", row["id"]) == str(lead.pk)
    assert (row["phone"], row["email"], row["partner"]) == ("+14155550100", "-", "Acme")
    assert row["state"] == '<span class="staff-label staff-plain">Pending</span>'
    assert row["never_called"] == '<span class="staff-label staff-bad">Never call</span>'
    assert re.fullmatch(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d\N{NO-BREAK SPACE}UTC", row["created"])
    (row,) = cells(staff.page(admin_client, staff.address(Partner, "changelist")))
    assert row["is_active"] == '<span class="staff-label staff-plain">No</span>'
    assert row["leads"] == "1" and row["last_used"] == "never"


def test_a_row_without_a_name_of_its_own_column_is_linked(admin_client: Client) -> None:
    token, _ = StaffToken.issue(User.objects.get(username="admin"))

    html = staff.page(admin_client, staff.address(StaffToken, "changelist"))

    address = staff.address(StaffToken, "change", token.pk)
    assert (
        f'<th scope="row" class="field-__str__ staff-cell" data-label="Staff token"><a href="{address}">'
        in html
    )


def test_links_lead_back_to_the_same_filters(admin_client: Client) -> None:
    lead = Lead.objects.create(name="Ada", phone="+14155550100")

    (row,) = cells(
        staff.page(admin_client, staff.address(Lead, "changelist"), status__exact="pending", q="ada")
    )

    address = staff.address(Lead, "change", lead.pk)
    back = "_changelist_filters=status__exact%3Dpending%26q%3Dada"
    assert row["name"] == f'<a href="{address}?{back}">Ada</a>'
    html = staff.page(admin_client, f"{address}?{back}")
    assert (
        f'<a href="{staff.address(Lead, "changelist")}?status__exact=pending&amp;q=ada" dir="auto">Leads</a>'
        in html
    )


def test_a_popup_gives_the_chosen_row_to_its_opener(admin_client: Client) -> None:
    lead = Lead.objects.create(name="Ada", phone="+14155550100")

    html = staff.page(admin_client, staff.address(Lead, "changelist"), _popup="1")

    assert f'data-popup-opener="{lead.pk}">Ada</a>' in html


def test_texts_are_shown_as_text_in_cells_labels_and_names(admin_client: Client) -> None:
    for number, text in enumerate(staff.NASTY):
        Lead.objects.create(name=text, phone=f"+1415555010{number}", email='"><b>@example.com')

    html = staff.page(admin_client, staff.address(Lead, "changelist"))

    assert staff.SCRIPT not in html and "<b>@" not in html
    assert f'aria-label="Select {staff.ESCAPED_SCRIPT}"' in html
    assert len(cells(html)) == len(staff.NASTY)


def test_only_who_may_act_gets_boxes() -> None:
    Lead.objects.create(name="Ada", phone="+14155550100")
    StaffToken.issue(User.objects.create_user("ben"))

    assert "_selected_action" in staff.page(
        staff.staff_client("leads.view_lead", "leads.export_lead"), staff.address(Lead, "changelist")
    )
    readers = staff.staff_client("scheduler.view_stafftoken")
    assert 'class="action-select' not in staff.page(readers, staff.address(StaffToken, "changelist"))


def test_fifty_rows_are_a_small_page(admin_client: Client) -> None:
    Lead.objects.bulk_create(
        Lead(name=f"Lead {number}", phone=f"+1415555{number:04}", email=f"lead.{number}@example.com")
        for number in range(50)
    )

    html = staff.page(admin_client, staff.address(Lead, "changelist"))

    assert len(cells(html)) == 50
    table = html.partition('id="result_list"')[2].partition("</table>")[0]
    assert len(table) < 100_000


def test_nothing_found_is_said(admin_client: Client) -> None:
    html = staff.page(admin_client, staff.address(Lead, "changelist"), q="zebedee")

    assert "No results found" in html and "Reset filters" in html
