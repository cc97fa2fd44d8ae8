"""The page of a lead: everything that happened, in one list, page by page."""

from __future__ import annotations

import io
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.auth.models import User
from django.contrib.contenttypes.models import ContentType
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext

from calls.models import Call, Turn
from leads import file_imports, timeline
from leads.models import Campaign, CampaignLead, Lead, LeadImport
from legacy.models import ImportRowNote, ImportRun
from meetings.models import Meeting, MeetingHost
from scheduler.tests import staff

pytestmark = pytest.mark.django_db
START = datetime(2025, 1, 1, tzinfo=UTC)


def lead_with_a_past(number: int = 0, events: int = 1) -> Lead:
    lead = Lead.objects.create(name="Ann", phone=f"+1415555{number:04}", created_at=START)
    twin = Lead.objects.create(name="Ann again", phone=lead.phone, duplicate_of=lead, created_at=START)
    host = MeetingHost.objects.create(name=f"Host {number} {staff.SCRIPT}")
    user = User.objects.create_user(f"ada{number}")
    run = ImportRun.objects.create(source_path="old.db", source_bytes=1, started_at=START)
    for step in range(events):
        at = START + timedelta(days=step)
        call = Call.objects.create(
            lead=(lead, twin)[step % 2], started_at=at, ended_at=at, summary=staff.SCRIPT
        )
        Turn.objects.create(
            call=call, turn=1, role="user", message=f"{staff.HEBREW} {staff.SCRIPT}", created_at=at
        )
        Meeting.objects.create(lead=lead, host=host, scheduled_time=at)
        campaign = Campaign.objects.create(name=f"Campaign {step}", started_at=at)
        CampaignLead.objects.create(campaign=campaign, lead=lead)
        ImportRowNote.objects.create(
            run=run, table_name="leads", row_id=lead.pk, kind="repaired", column="phone", reason="spaces"
        )
        LogEntry.objects.create(
            user=user, content_type=ContentType.objects.get_for_model(Lead), object_id=str(lead.pk),
            object_repr="Ann", action_flag=CHANGE, change_message="Queued", action_time=at,
        )  # fmt: skip
    return lead


def walked(lead: Lead) -> list[tuple[str, int]]:
    seen, after = [], ""
    while True:
        page = timeline.of_lead(lead, lambda _: True, after)
        assert len(page.events) <= timeline.PAGE
        seen += [(event.kind, event.id) for event in page.events]
        if not (after := page.next):
            return seen


def test_pages_show_each_event_once_also_those_of_the_same_moment() -> None:
    lead = lead_with_a_past(events=23)
    expected = {("lead", pk) for pk in Lead.objects.values_list("pk", flat=True)}
    for kind, model in (
        ("call", Call),
        ("meeting", Meeting),
        ("campaign", Campaign),
        ("import", ImportRowNote),
    ):
        expected |= {(kind, pk) for pk in model.objects.values_list("pk", flat=True)}
    expected |= {("history", pk) for pk in LogEntry.objects.values_list("pk", flat=True)}

    seen = walked(lead)

    assert len(seen) == len(set(seen)) == 2 + 5 * 23
    assert set(seen) == expected


def test_events_come_newest_first() -> None:
    lead = lead_with_a_past(events=10)

    moments = [event.at for event in timeline.of_lead(lead, lambda _: True).events]

    assert moments == sorted(moments, reverse=True)


def test_the_page_makes_as_many_queries_for_a_long_past_as_for_a_short_one(admin_client: Client) -> None:
    short, long = lead_with_a_past(1, events=1), lead_with_a_past(2, events=20)
    staff.page(admin_client, staff.address(Lead, "change", short.pk))
    counts = [staff.queries_of(admin_client, staff.address(Lead, "change", row.pk)) for row in (short, long)]

    assert counts[0] == counts[1] <= staff.MOST_QUERIES


def test_the_page_shows_texts_as_text_and_leads_on(admin_client: Client) -> None:
    lead = lead_with_a_past(events=20)
    path = staff.address(Lead, "change", lead.pk)

    html = staff.page(admin_client, path)

    assert staff.SCRIPT not in html and staff.ESCAPED_SCRIPT in html and staff.HEBREW in html
    for kind in ("call", "meeting", "campaign", "history"):
        assert f'data-kind="{kind}"' in html, kind
    after = html.split('href="?after=')[1].split("#")[0]
    assert 'data-kind="call"' in staff.page(admin_client, f"{path}?after={after}")
    assert staff.page(admin_client, path, after="nonsense")


def test_a_place_on_the_timeline_of_another_lead_is_refused() -> None:
    one, other = lead_with_a_past(1, events=20), lead_with_a_past(2)
    place = timeline.of_lead(one, lambda _: True).next

    with pytest.raises(ValueError, match="another lead"):
        timeline.of_lead(other, lambda _: True, place)


def test_staff_see_only_events_of_what_they_may_see() -> None:
    lead = lead_with_a_past()
    client = staff.staff_client("leads.view_lead", "leads.change_lead")

    html = staff.page(client, staff.address(Lead, "change", lead.pk))

    assert 'data-kind="history"' in html
    assert 'data-kind="call"' not in html and 'data-kind="meeting"' not in html


def test_the_timeline_reads_indexes_only() -> None:
    lead = lead_with_a_past()
    with CaptureQueriesContext(connection) as queries:
        timeline.of_lead(lead, lambda _: True)
    statement = next(query["sql"] for query in queries if "UNION ALL" in query["sql"])
    with connection.cursor() as cursor:
        # As with millions of rows: where there is an index, it is taken.
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {statement}")
        plan = "\n".join(row[0] for row in cursor.fetchall())

    assert "Seq Scan" not in plan, plan


def test_a_lead_from_a_file_says_which(admin_client: Client) -> None:
    other = Lead.objects.create(name="Cid", phone="+14155550003")
    for name, phone in (("spring & autumn.csv", "+14155550001"), ("more.csv", "+14155550002")):
        row = file_imports.keep(
            io.BytesIO(f"name,phone\nAnn,{phone}\nCid,{other.phone}\n".encode()), name, None
        )
        LeadImport.objects.filter(pk=row.pk).update(state=LeadImport.State.WAITING)
        file_imports.run(row.pk)

    def came(phone: str) -> str:
        page = staff.page(admin_client, staff.address(Lead, "change", Lead.objects.get(phone=phone).pk))
        return page.partition('<li data-kind="lead">')[2].partition("</li>")[0]

    assert "Came in with the file spring &amp; autumn.csv." in came("+14155550001")
    assert "Came in with the file more.csv." in came("+14155550002")
    assert "Came in." in came(other.phone)
