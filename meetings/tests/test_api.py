"""Meetings over REST."""

from __future__ import annotations

import csv
import io
from datetime import timedelta

import pytest
from django.test import Client
from icalendar import Calendar

from database.tests.raw_sql import execute, plan_nodes
from meetings.models import Meeting, MeetingHost
from meetings.tests.booking import lead
from meetings.tests.rest import NOON, OLD_FIELDS, TOMORROW, meeting, order, patch, post, ruth, staff, token
from partners.models import Partner, PartnerApiKey
from scheduler.rest.totals import Snapshot

__all__ = ["ruth", "staff"]

pytestmark = pytest.mark.django_db


def test_a_list_is_latest_first_with_the_old_fields(staff: Client, ruth: MeetingHost) -> None:
    first = meeting(
        ruth, duration=45, guest_email="g@example.com", notes="n", meeting_link="l", calendar_event_id="e"
    )
    second = meeting(ruth, 2)

    for path in ("/api/meetings/", "/api/meetings"):
        body = staff.get(path).json()
        assert [each["id"] for each in body["meetings"]] == [second.pk, first.pk]
        assert (body["total"], body["page"], body["page_size"]) == (2, 1, 50)
    assert list(body["meetings"][1]) == OLD_FIELDS
    assert body["meetings"][1] == staff.get(f"/api/meetings/{first.pk}").json()
    assert body["meetings"][1] | {"created_at": ""} == {
        "id": first.pk,
        "lead_id": first.lead_id,
        "lead_name": "Lead 0",
        "call_id": None,
        "scheduled_at": NOON,
        "email": "g@example.com",
        "duration": 45,
        "meeting_link": "l",
        "notes": "n",
        "calendar_event_id": "e",
        "status": "scheduled",
        "created_at": "",
    }


@pytest.mark.parametrize(
    ("query", "number"),
    [
        ("status=cancelled", 1), ("status=SCHEDULED", 2), ("status=", 3), ("status=x", None), ("host_id=0", 0),
        ("page_size=1", 1), ("page=0", None), ("page_size=1001", None), ("after=2100-01-01T00:00:00Z", 0),
        ("before=2100-01-01T00:00:00Z", 3), ("before=yesterday", None), ("unknown=1", 3),
    ],
)  # fmt: skip
def test_lists_are_narrowed_or_refused(
    staff: Client, ruth: MeetingHost, query: str, number: int | None
) -> None:
    for hours, status in enumerate(["scheduled", "cancelled", "scheduled"]):
        meeting(ruth, hours, status=status)

    answer = staff.get(f"/api/meetings/?{query}")

    assert answer.status_code == (422 if number is None else 200)
    if number is not None:
        assert len(answer.json()["meetings"]) == number


def test_a_list_takes_the_same_queries_whatever_its_length(
    staff: Client, ruth: MeetingHost, django_assert_num_queries
) -> None:
    meeting(ruth)
    staff.get("/api/meetings/")
    with django_assert_num_queries(2):  # token, meetings
        staff.get("/api/meetings/")
    for hours in range(1, 20):
        meeting(ruth, hours)
    with django_assert_num_queries(2):
        assert len(staff.get("/api/meetings/").json()["meetings"]) == 20


@pytest.mark.parametrize(
    ("status", "index"), [(None, "meetings_latest"), ("cancelled", "meetings_by_status")]
)
def test_a_page_is_one_index_scan(ruth: MeetingHost, status: str | None, index: str) -> None:
    execute(
        "INSERT INTO meetings (lead_id, host_id, scheduled_time, status) SELECT %s, %s, now() + n * interval '1 hour',"
        " CASE n %% 50 WHEN 7 THEN 'cancelled' ELSE 'completed' END FROM generate_series(1, 8000) n",
        [lead().pk, ruth.pk],
    )
    execute("ANALYZE meetings")
    execute("ANALYZE leads")
    rows = Meeting.objects.filter(**({"status": status} if status else {})).order_by("-scheduled_time", "-pk")
    sql, parameters = rows.values_list("pk", "lead__name", Snapshot())[:50].query.sql_with_params()

    nodes = plan_nodes(sql, parameters)

    assert [node.get("Index Name") for node in nodes if node.get("Relation Name") == "meetings"] == [index]
    assert not [node for node in nodes if "Sort" in node["Node Type"]]


@pytest.mark.parametrize("path", ["", "/calendar.ics"])
@pytest.mark.parametrize(
    ("row", "status"), [("0", 404), ("-1", 404), ("99999999999999999999", 404), ("abc", 422)]
)
def test_ids_that_are_none_are_not_found(staff: Client, path: str, row: str, status: int) -> None:
    assert staff.get(f"/api/meetings/{row}{path}").status_code == status


def test_a_partner_reads_the_meetings_of_its_leads_and_no_others(ruth: MeetingHost) -> None:
    acme, other = (Partner.objects.create(name=name) for name in ("Acme", "Other"))
    client = Client(headers={"X-API-Key": PartnerApiKey.issue(acme)[1]})
    own = meeting(ruth, lead=lead(101, partner=acme), guest_email="guest@example.com")
    foreign = meeting(ruth, 1, lead=lead(102, partner=other))
    meeting(ruth, 2, lead=lead(103))

    body = client.get(f"/api/meetings/?lead_id={own.lead_id}").json()
    assert ([each["id"] for each in body["meetings"]], body["total"]) == ([own.pk], 1)
    assert client.get(f"/api/meetings/?lead_id={foreign.lead_id}").json()["total"] == 0
    assert client.get(f"/api/meetings/{own.pk}").status_code == 200
    file = client.get(f"/api/meetings/{own.pk}/calendar.ics").content
    assert b"guest@example.com" not in file.replace(b"\r\n ", b"")
    lines = b"".join(client.get("/api/meetings/export")).decode("utf-8-sig").splitlines()
    assert len(lines) == 2
    for path in (f"{foreign.pk}", f"{foreign.pk}/calendar.ics"):
        assert client.get(f"/api/meetings/{path}").status_code == 404
    assert post(client, "/api/meetings/", order(ruth)).status_code in (401, 403)
    assert patch(client, f"/api/meetings/{own.pk}/status?status=cancelled", {}).status_code in (401, 403)
    for path in ("availability?from=2026-05-04&to=2026-05-04", "hosts", f"hosts/{ruth.pk}/calendar.ics"):
        assert client.get(f"/api/meetings/{path}").status_code in (401, 403)


def test_each_endpoint_asks_for_its_permission(ruth: MeetingHost) -> None:
    row = meeting(ruth)
    everything = ("view_meeting", "view_meetinghost", "add_meeting", "change_meeting")
    wanted = {
        ("get", "/api/meetings/"): "view_meeting",
        ("get", "/api/meetings/export"): "view_meeting",
        ("get", f"/api/meetings/{row.pk}"): "view_meeting",
        ("get", f"/api/meetings/{row.pk}/calendar.ics"): "view_meeting",
        ("get", "/api/meetings/availability?from=2026-05-04&to=2026-05-04"): "view_meeting",
        ("get", "/api/meetings/hosts"): "view_meetinghost",
        ("get", f"/api/meetings/hosts/{ruth.pk}/calendar.ics"): "view_meeting",
        ("post", "/api/meetings/"): "add_meeting",
        ("patch", f"/api/meetings/{row.pk}"): "change_meeting",
        ("patch", f"/api/meetings/{row.pk}/status?status=confirmed"): "change_meeting",
        ("post", f"/api/meetings/{row.pk}/cancel"): "change_meeting",
    }
    for (method, path), permission in wanted.items():
        assert getattr(Client(), method)(path).status_code == 401, path
        without = token(*(each for each in everything if each != permission))
        assert getattr(without, method)(path).status_code == 403, path
        body = (
            {"data": order(ruth, scheduled_at=(TOMORROW + timedelta(hours=5)).isoformat())}
            if method == "post"
            else {}
        )
        if method == "patch":
            body = {"data": {}}
        options = {"content_type": "application/json", **body} if method != "get" else {}
        assert getattr(token(permission), method)(path, **options).status_code in (200, 201), path
        if method != "get":
            assert getattr(token(permission, read_only=True), method)(path, **options).status_code == 403, (
                path
            )


def test_hosts_and_calendars_are_read(staff: Client, ruth: MeetingHost) -> None:
    row = meeting(ruth, guest_email="guest@example.com")

    assert staff.get("/api/meetings/hosts").json()["hosts"][0]["name"] == "Ruth"
    for path in (f"hosts/{ruth.pk}", f"{row.pk}"):
        answer = staff.get(f"/api/meetings/{path}/calendar.ics")
        assert answer["Content-Type"] == "text/calendar; charset=utf-8"
        assert len(Calendar.from_ical(answer.content).walk("VEVENT")) == 1
        assert b"guest@example.com" in answer.content.replace(b"\r\n ", b"")
    assert staff.get("/api/meetings/hosts/0/calendar.ics").status_code == 404


def test_the_export_has_every_row_of_the_list(staff: Client, ruth: MeetingHost) -> None:
    for hours in range(3):
        meeting(ruth, hours, notes="=1+1")

    text = b"".join(staff.get("/api/meetings/export?status=scheduled")).decode("utf-8-sig")

    rows = list(csv.DictReader(io.StringIO(text)))
    assert list(rows[0]) == OLD_FIELDS
    assert [row["notes"] for row in rows] == ["'=1+1"] * 3
