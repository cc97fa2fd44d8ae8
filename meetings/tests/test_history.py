"""What the API does to meetings stands in their history."""

from __future__ import annotations

import json
from typing import Any

import pytest
from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.test import Client

from meetings.models import Meeting, MeetingHost
from meetings.tests.rest import NOON, meeting, order, patch, post, ruth, staff

__all__ = ["ruth", "staff"]
pytestmark = pytest.mark.django_db


def entries(row_id: int) -> list[tuple[int, str]]:
    found = LogEntry.objects.filter(content_type__model="meeting", object_id=str(row_id)).order_by("pk")
    assert {each.user.username for each in found} <= {"boss"}
    return [(each.action_flag, each.change_message) for each in found]


def values(message: str) -> dict[str, Any]:
    (part,) = json.loads(message)
    return {label: (before, after) for label, before, after in part["values"]}


def test_a_booking_is_noted_once_however_often_it_is_sent(staff: Client, ruth: MeetingHost) -> None:
    wanted = order(ruth)
    ids = {post(staff, "/api/meetings/", wanted).json()["id"] for _ in range(3)}

    assert entries(ids.pop()) == [(ADDITION, "Booked over the API")]


@pytest.mark.parametrize(
    ("do", "label", "after"),
    [
        (lambda staff, path: staff.post(f"{path}/cancel"), "Status", "Cancelled"),
        (lambda staff, path: staff.patch(f"{path}/status?status=confirmed"), "Status", "Confirmed"),
        (lambda staff, path: patch(staff, path, {"duration": 45}), "Duration", "45"),
        (lambda staff, path: patch(staff, path, {"notes": "Bring cake"}), "Notes", "Bring cake"),
    ],
)
def test_a_change_is_noted_with_its_values_and_the_same_again_is_not(
    staff: Client, ruth: MeetingHost, do: Any, label: str, after: str
) -> None:
    row = meeting(ruth)
    for _ in range(2):
        assert do(staff, f"/api/meetings/{row.pk}").status_code == 200

    ((flag, message),) = entries(row.pk)
    assert flag == CHANGE
    assert {name: new for name, (_, new) in values(message).items()} == {label: after}


def test_what_is_refused_is_not_noted(staff: Client, ruth: MeetingHost) -> None:
    taken, row = meeting(ruth), meeting(ruth, 2)

    assert patch(staff, f"/api/meetings/{row.pk}", {"scheduled_at": NOON, "notes": "x"}).status_code == 409
    assert post(staff, "/api/meetings/", order(ruth)).status_code == 409
    assert entries(row.pk) == entries(taken.pk) == []
    assert not Meeting.objects.filter(notes="x").exists()
