"""A call that staff end by hand: its lead does not stay on the telephone."""

from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.models import Call
from leads.models import Lead
from scheduler.staff import history
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

STARTED = "2025-03-01T10:00Z"
END = {"ended_at_0": "2025-03-01", "ended_at_1": "10:05:00"}


def active(number: int = 1, **values: Any) -> Call:
    values = {"status": "calling"} | values
    person = Lead.objects.create(name=f"Lead {number}", phone=f"+1415555{number:04}", status=values["status"])
    return Call.objects.create(lead=person, started_at=STARTED, outcome=values.get("outcome"))


def status(row: Call | Lead) -> str:
    return Lead.objects.get(pk=row.lead_id if isinstance(row, Call) else row.pk).status


def told_of(lead: Lead) -> list[tuple[str, ...]]:
    entries = LogEntry.objects.filter(content_type__model="lead", object_id=str(lead.pk))
    return [tuple(change) for entry in entries for change in history.told(entry).changes]


@pytest.mark.parametrize(
    ("outcome", "expected", "label"),
    [
        (None, "pending", "Pending"),
        ("interested", "contacted", "Contacted"),
        ("no_answer", "no_answer", "No Answer"),
        ("not_interested", "not_interested", "Not Interested"),
    ],
)
def test_the_lead_of_a_call_ended_by_hand_follows_its_outcome_in_the_history(
    admin_client: Client, outcome: str | None, expected: str, label: str
) -> None:
    row = active(outcome=outcome)

    assert staff.edit(admin_client, row, **END).status_code == 302

    assert status(row) == expected
    assert told_of(row.lead) == [("Status", "Calling", label)]


def test_a_call_given_to_another_lead_leaves_the_first_one_pending(admin_client: Client) -> None:
    row = active(outcome="interested")
    first, other = row.lead, Lead.objects.create(name="Other", phone="+14155550199")

    staff.edit(admin_client, row, lead=str(other.pk))

    assert (status(first), status(other)) == ("pending", "pending")


@pytest.mark.parametrize("other", ["meeting_scheduled", "queued", "not_interested"])
def test_a_lead_that_is_not_calling_keeps_its_status(admin_client: Client, other: str) -> None:
    row = active(status=other)

    staff.edit(admin_client, row, **END)

    assert status(row) == other and told_of(row.lead) == []


def test_another_end_of_an_older_call_leaves_the_lead_on_the_telephone(admin_client: Client) -> None:
    now = active()
    older = Call.objects.create(lead=now.lead, started_at="2025-02-01T10:00Z", ended_at="2025-02-01T10:01Z")

    staff.edit(admin_client, older, ended_at_0="2025-02-01", ended_at_1="10:02:00")

    assert status(now) == "calling"


@pytest.mark.parametrize(
    ("lease", "is_active", "expected"),
    [
        (None, False, "contacted"),
        (-60, False, "contacted"),
        (60, False, "calling"),
        (None, True, "calling"),
    ],
)
def test_a_corrected_outcome_takes_calling_off_a_lead_that_nobody_calls(
    admin_client: Client, lease: int | None, is_active: bool, expected: str
) -> None:
    row = active()
    Call.objects.filter(pk=row.pk).update(ended_at=STARTED)
    ends = timezone.now() + timedelta(minutes=lease) if lease else None
    Lead.objects.update(lease_expires_at=ends, claimed_by="worker" if lease else None)
    if is_active:
        Call.objects.create(lead=row.lead, started_at="2025-01-01T10:00Z")
    path = reverse("admin:calls_call_correct_outcome", args=[row.pk])

    admin_client.post(path, {"confirmed": "yes", "outcome": "interested", "reason": "She said so"})

    assert status(row) == expected
