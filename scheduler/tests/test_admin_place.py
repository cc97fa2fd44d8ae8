"""The heading of each page, what it says lies above, and which entry of the side bar it belongs to."""

from __future__ import annotations

import re
from html import unescape

import pytest
from django.test import Client

from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from partners.models import Partner, PartnerApiKey
from scheduler.models import Setting
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows() -> dict[str, int]:
    partner = Partner.objects.create(name="Acme")
    key, _ = PartnerApiKey.issue(partner)
    lead = Lead.objects.create(name="Ada", phone="+14155550100", partner=partner)
    call = Call.objects.create(lead=lead, ended_at="2099-01-01T00:00Z")
    host = MeetingHost.objects.create(name="Ines", timezone="UTC")
    meeting = Meeting.objects.create(lead=lead, host=host, scheduled_time="2099-01-01T10:00Z")
    setting = Setting.objects.create(key="voice_name", value="Rachel")
    return {
        "partner": partner.pk,
        "key": key.pk,
        "lead": lead.pk,
        "call": call.pk,
        "meeting": meeting.pk,
        "setting": setting.pk,
    }


PAGES = [
    ("/admin/", [], "Overview", "Overview"),
    ("/admin/leads/lead/", [], "Leads", "Leads"),
    ("/admin/leads/lead/?q=ada", [], "Leads", "Leads"),
    ("/admin/leads/lead/add/", ["Leads"], "Add lead", "Leads"),
    ("/admin/leads/lead/{lead}/change/", ["Leads"], "Ada", "Leads"),
    ("/admin/leads/lead/{lead}/history/", ["Leads", "Ada"], "Change history", "Leads"),
    ("/admin/leads/lead/{lead}/delete/", ["Leads", "Ada"], "Are you sure?", "Leads"),
    ("/admin/leads/lead/{lead}/erase/", ["Leads", "Ada"], "Are you sure?", "Leads"),
    ("/admin/leads/lead/erase-phone/", ["Leads"], "Erase by phone", "Leads"),
    ("/admin/admin/logentry/", [], "Changes", "Changes"),
    ("/admin/leads/leadimport/add/", ["Imports of leads"], "Import leads", "Imports of leads"),
    ("/admin/calls/live/", [], "Live calls", "Live calls"),
    ("/admin/calls/call/words/", ["Calls"], "Find words in conversations", "Find words"),
    ("/admin/calls/call/{call}/correct-outcome/", ["Calls", "Call {call}"], "Are you sure?", "Calls"),
    ("/admin/meetings/meeting/week/", ["Meetings"], "Week", "Week"),
    ("/admin/meetings/meeting/book/", ["Meetings"], "Book a meeting", "Meetings"),
    ("/admin/meetings/meeting/{meeting}/move/", ["Meetings", "Meeting {meeting}"], "Move", "Meetings"),
    (
        "/admin/partners/partner/{partner}/issue-key/",
        ["Partners", "Acme"],
        "Issue an API key for Acme",
        "Partners",
    ),
    (
        "/admin/partners/partner/{partner}/revoke-key/{key}/",
        ["Partners", "Acme"],
        "Are you sure?",
        "Partners",
    ),
    (
        "/admin/legacy/importjob/start/",
        ["Import jobs"],
        "Import from a file on the server",
        "Imports from a file",
    ),
    (
        "/admin/scheduler/setting/{setting}/versions/",
        ["Settings", "voice_name"],
        "Versions of voice_name",
        "Settings",
    ),
    ("/admin/scheduler/setting/voice/", ["Settings"], "Default voice", "Settings"),
    ("/admin/auth/user/", [], "Users", "Users"),
]


@pytest.mark.parametrize(("path", "above", "title", "entry"), PAGES, ids=[path for path, *_ in PAGES])
def test_a_page_has_one_heading_its_place_and_one_active_entry(
    admin_client: Client, rows: dict[str, int], path: str, above: list[str], title: str, entry: str
) -> None:
    html = staff.page(admin_client, path.format(**rows))

    assert [text_of(each) for each in re.findall(r"<h1[^>]*>(.*?)</h1>", html, re.DOTALL)] == [title]
    place = html.partition('class="staff-above"')[2].partition("</nav>")[0]
    links = re.findall(r'<a href="([^"]*)"[^>]*>(.*?)</a>', place)
    assert [text_of(text) for _, text in links] == [each.format(**rows) for each in above]
    for address, _ in links:
        staff.page(admin_client, address)
    entries = re.findall(r'<a href="[^"]*" class="flex h-\[38px\][^"]* active">(.*?)</a>', html, re.DOTALL)
    assert [text_of(each).split("\n")[-1].strip() for each in entries] == [entry]


def test_the_heading_of_a_row_is_shown_as_text(admin_client: Client) -> None:
    lead = Lead.objects.create(name=staff.SCRIPT, phone="+14155550100")

    html = staff.page(admin_client, staff.address(Lead, "change", lead.pk))

    assert staff.SCRIPT not in html
    assert f'dir="auto">{staff.ESCAPED_SCRIPT}</h1>' in html


def text_of(html: str) -> str:
    return unescape(re.sub("<[^>]+>", "", html)).strip()
