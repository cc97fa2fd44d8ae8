"""What the tests of meetings over REST share: clients, rows and requests."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.contrib.auth import get_user_model
from django.contrib.auth.models import Permission
from django.test import Client

from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from meetings.tests.booking import host, lead
from scheduler.models import StaffToken

ALWAYS: dict[str, Any] = {"working_hours": {}, "timezone": "UTC"}
TOMORROW = datetime.now(UTC).replace(hour=12, minute=0, second=0, microsecond=0) + timedelta(days=1)
NOON = TOMORROW.isoformat()
OLD_FIELDS = [
    "id", "lead_id", "lead_name", "call_id", "scheduled_at", "email", "duration", "meeting_link", "notes",
    "calendar_event_id", "status", "created_at",
]  # fmt: skip


def token(*permissions: str, **values: Any) -> Client:
    user = get_user_model().objects.create_user(f"user{get_user_model().objects.count()}", is_staff=True)
    for name in permissions:
        user.user_permissions.add(Permission.objects.get(codename=name, content_type__app_label="meetings"))
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user, **values)[1]}"})


@pytest.fixture
def staff() -> Client:
    user = get_user_model().objects.create_superuser("boss")
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})


@pytest.fixture
def ruth() -> MeetingHost:
    return host(**ALWAYS)


def meeting(ruth: MeetingHost, hours: int = 0, **values: Any) -> Meeting:
    person = values.pop("lead", None) or lead(Lead.objects.count())
    return Meeting.objects.create(
        lead=person, host=ruth, scheduled_time=TOMORROW + timedelta(hours=hours), **values
    )


def post(client: Client, path: str, body: Any) -> Any:
    return client.post(path, body, content_type="application/json")


def patch(client: Client, path: str, body: Any) -> Any:
    return client.patch(path, body, content_type="application/json")


def order(ruth: MeetingHost, **values: Any) -> dict[str, Any]:
    return {"lead_id": lead(Lead.objects.count()).pk, "host_id": ruth.pk, "scheduled_at": NOON} | values
