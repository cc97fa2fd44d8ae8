"""Meetings booked, moved and cancelled over REST."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.test import Client

from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from meetings.tests.booking import host, lead
from meetings.tests.rest import ALWAYS, NOON, TOMORROW, meeting, order, patch, post, ruth, staff

__all__ = ["ruth", "staff"]

pytestmark = pytest.mark.django_db


def test_a_free_slot_is_booked_and_the_same_booking_again_is_the_same_meeting(
    staff: Client, ruth: MeetingHost
) -> None:
    body = order(ruth, email="guest@example.com", notes="hello")
    body["call_id"] = Call.objects.create(lead_id=body["lead_id"]).pk

    answer = post(staff, "/api/meetings/", body)

    assert answer.status_code == 201, answer.content
    row = Meeting.objects.get()
    assert answer.json() | {"created_at": ""} == {
        "id": row.pk,
        "lead_id": body["lead_id"],
        "lead_name": "Lead 0",
        "call_id": body["call_id"],
        "scheduled_at": NOON,
        "email": "guest@example.com",
        "duration": 30,
        "meeting_link": None,
        "notes": "hello",
        "calendar_event_id": None,
        "status": "scheduled",
        "created_at": "",
        "host_id": ruth.pk,
        "host_name": "Ruth",
    }
    assert post(staff, "/api/meetings", body).json()["id"] == row.pk
    assert Lead.objects.get().status == "meeting_scheduled"


def test_a_taken_slot_is_409_with_the_next_free_ones(staff: Client, ruth: MeetingHost) -> None:
    meeting(ruth)

    answer = post(staff, "/api/meetings/", order(ruth, duration=60))

    assert (answer.status_code, answer["Content-Type"]) == (409, "application/problem+json")
    body = answer.json()
    assert (body["code"], body["detail"]) == ("slot_taken", "The host has another meeting at that time.")
    assert len(body["alternatives"]) == 5
    assert body["alternatives"][0] == {
        "start": (TOMORROW + timedelta(minutes=30)).isoformat(),
        "end": (TOMORROW + timedelta(minutes=90)).isoformat(),
    }
    again = order(ruth, duration=60, scheduled_at=body["alternatives"][0]["start"])
    assert post(staff, "/api/meetings/", again).status_code == 201


@pytest.mark.parametrize(
    ("changes", "pointer", "code"),
    [
        ({"scheduled_at": "2001-01-01T12:00:00Z"}, "/scheduled_at", "in_the_past"),
        ({"scheduled_at": "2190-01-01T12:00:00Z"}, "/scheduled_at", "beyond_horizon"),
        ({"scheduled_at": "2500-01-01T12:00:00Z"}, "/scheduled_at", "invalid"),
        ({"scheduled_at": "9999-12-31T23:59:59-12:00"}, "/scheduled_at", "invalid"),
        ({"scheduled_at": "2030-01-01T12:00:00"}, "/scheduled_at", "invalid"),
        ({"scheduled_at": None}, "/scheduled_at", "invalid"),
        ({"duration": 0}, "/duration", "invalid"),
        ({"duration": 1441}, "/duration", "invalid"),
        ({"email": "nobody"}, "/email", "invalid"),
        ({"email": "a@example.com\r\nX:1"}, "/email", "invalid"),
        ({"notes": "\0"}, "/notes", "invalid"),
        ({"lead_id": 0}, "/lead_id", "invalid"),
        ({"lead_id": 2**70}, "/lead_id", "invalid"),
        ({"host_id": -1}, "/host_id", "invalid"),
        ({"call_id": 0}, "/call_id", "invalid"),
    ],
)
def test_what_cannot_be_booked_is_422_and_named(
    staff: Client, ruth: MeetingHost, changes, pointer: str, code: str
) -> None:
    answer = post(staff, "/api/meetings/", order(ruth) | changes)

    assert (answer.status_code, answer.json()["code"]) == (422, code), answer.content
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert not Meeting.objects.exists()


@pytest.mark.parametrize(
    ("sent", "minutes"),
    [(45, 45), (45.0, 45), ("45", 45), (True, None), (45.5, None), ("long", None), (0, None)],
)
def test_minutes_are_a_whole_number_and_no_boolean(
    staff: Client, ruth: MeetingHost, sent: object, minutes: int | None
) -> None:
    row = meeting(ruth, hours=30, duration=15)

    booked = post(staff, "/api/meetings/", order(ruth, duration=sent))
    moved = patch(staff, f"/api/meetings/{row.pk}", {"duration": sent})

    assert (booked.status_code, moved.status_code) == ((201, 200) if minutes else (422, 422))
    if minutes:
        assert booked.json()["duration"] == moved.json()["duration"] == minutes
    else:
        assert {each.json()["errors"][0]["pointer"] for each in (booked, moved)} == {"/duration"}


@pytest.mark.parametrize("time", ["0001-01-01T00:00:00+01:00", "9999-12-31T23:59:59-01:00"])
def test_the_first_and_the_last_time_that_can_be_written_cannot_be_booked(
    staff: Client, ruth: MeetingHost, time: str
) -> None:
    answer = post(staff, "/api/meetings/", order(ruth, scheduled_at=time))

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/scheduled_at")


def test_a_time_out_of_hours_or_too_soon_says_so(staff: Client) -> None:
    never = host("Never", working_hours={"mon": []})
    busy = host("Busy", **ALWAYS, minimum_notice=7 * 24 * 60)

    assert post(staff, "/api/meetings/", order(never)).json()["code"] == "out_of_hours"
    answer = post(staff, "/api/meetings/", order(busy)).json()
    assert answer["errors"] == [{"pointer": "/scheduled_at", "detail": "Busy needs 7 days notice."}]


def test_a_meeting_is_moved_and_its_texts_corrected_all_or_nothing(staff: Client, ruth: MeetingHost) -> None:
    meeting(ruth, 2, calendar_event_id="taken")
    row = meeting(ruth)
    path = f"/api/meetings/{row.pk}"

    later = (TOMORROW + timedelta(hours=1)).isoformat()
    answer = patch(
        staff, path, {"scheduled_at": later, "email": "g@example.com", "meeting_link": "https://x.example"}
    )
    assert answer.status_code == 200, answer.content
    assert (answer.json()["scheduled_at"], answer.json()["email"]) == (later, "g@example.com")

    for body, status in (
        ({"scheduled_at": NOON, "calendar_event_id": "taken"}, 409),
        ({"scheduled_at": NOON, "email": "nobody"}, 422),
        ({"scheduled_at": (TOMORROW + timedelta(hours=2)).isoformat(), "notes": "n"}, 409),
        ({"host_id": 0, "notes": "n"}, 422),
    ):
        assert patch(staff, path, body).status_code == status
        row.refresh_from_db()
        assert (row.scheduled_time.isoformat(), row.notes, row.guest_email) == (later, None, "g@example.com")
    assert patch(staff, path, {"email": None}).json()["email"] is None
    assert patch(staff, "/api/meetings/0", {}).status_code == 404


@pytest.mark.parametrize("spelling", ["confirmed", "CONFIRMED"])
def test_a_status_is_set_by_query_or_body(staff: Client, ruth: MeetingHost, spelling: str) -> None:
    one, two = meeting(ruth), meeting(ruth, 1)

    answers = [
        staff.patch(f"/api/meetings/{one.pk}/status?status={spelling}"),
        patch(staff, f"/api/meetings/{two.pk}/status", {"status": spelling}),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()) == (
            200,
            {"success": True, "message": "Meeting status updated"},
        )
    assert set(Meeting.objects.values_list("status", flat=True)) == {"confirmed"}


def test_a_status_that_is_none_or_cannot_be_is_refused(staff: Client, ruth: MeetingHost) -> None:
    path = f"/api/meetings/{meeting(ruth, status='completed').pk}/status"

    for wrong in ("x", "Confirmed", ""):
        answer = staff.patch(f"{path}?status={wrong}")
        assert (answer.status_code, answer.json()["detail"]) == (400, "Invalid status")
    assert staff.patch(path).status_code == 422
    assert patch(staff, path, {"status": 5}).status_code == 422
    answer = staff.patch(f"{path}?status=scheduled")
    assert (answer.status_code, answer.json()["detail"]) == (
        409,
        "A completed meeting cannot become scheduled.",
    )
    assert staff.patch("/api/meetings/0/status?status=confirmed").status_code == 404


def test_cancelling_frees_the_slot_and_can_be_repeated(staff: Client, ruth: MeetingHost) -> None:
    row = meeting(ruth, lead=lead(101, status="meeting_scheduled"))

    for _ in range(2):
        answer = staff.post(f"/api/meetings/{row.pk}/cancel")
        assert (answer.status_code, answer.json()["status"]) == (200, "cancelled")
    assert Lead.objects.get().status == "contacted"
    assert post(staff, "/api/meetings/", order(ruth)).status_code == 201
    assert staff.patch(f"/api/meetings/{row.pk}/status?status=scheduled").json()["code"] == "slot_taken"


def test_a_meeting_of_the_old_system_takes_no_slot_that_is_sold(staff: Client, ruth: MeetingHost) -> None:
    moved = meeting(ruth, 2, allow_overlap=True)
    revived = meeting(ruth, allow_overlap=True, status="cancelled")
    assert post(staff, "/api/meetings/", order(ruth)).status_code == 201

    answers = [
        patch(staff, f"/api/meetings/{moved.pk}", {"scheduled_at": NOON}),
        staff.patch(f"/api/meetings/{revived.pk}/status?status=scheduled"),
    ]

    for answer in answers:
        assert (answer.status_code, answer.json()["code"]) == (409, "slot_taken")
        assert answer.json()["alternatives"][0]["start"] == (TOMORROW + timedelta(minutes=30)).isoformat()
