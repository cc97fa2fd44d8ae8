"""Merging leads: nothing is lost, and no call runs into it."""

from __future__ import annotations

from datetime import timedelta
from threading import Thread

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connections, transaction
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from calls.models import Call
from leads.models import Campaign, CampaignLead, Lead
from leads.tests.test_admin_erasure import wait_for_lock
from meetings.models import Meeting, MeetingHost
from scheduler.staff import history
from scheduler.tests import staff

LIST = "/admin/leads/lead/"


def lead(number: int, **values: object) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


def past_call(row: Lead) -> Call:
    return Call.objects.create(lead=row, ended_at=timezone.now() + timedelta(seconds=5))


def merge(client: Client, keep: Lead, *others: Lead, confirmed: bool = True) -> str:
    data = {"action": "merge", "_selected_action": [row.pk for row in (keep, *others)], "keep": str(keep.pk)}
    if confirmed:
        data["confirmed"] = "yes"
    return client.post(LIST, data, follow=True).content.decode()


@pytest.mark.django_db
def test_calls_meetings_campaigns_and_duplicates_move_to_the_kept_lead(admin_client: Client) -> None:
    kept = lead(1)
    other = lead(2, email="ann@example.com", do_not_call=True, status="meeting_scheduled", attempts=2)
    further = Lead.objects.create(name="Further", phone=other.phone, duplicate_of=other)
    calls = [past_call(row) for row in (kept, other)]
    host = MeetingHost.objects.create(name="Host")
    meeting = Meeting.objects.create(lead=other, host=host, call=calls[1], scheduled_time=timezone.now())
    both, one = Campaign.objects.create(name="Both"), Campaign.objects.create(name="One")
    for campaign, row in ((both, kept), (both, other), (one, other)):
        CampaignLead.objects.create(campaign=campaign, lead=row)

    assert "Merged 2 leads" in merge(admin_client, kept, other)

    kept.refresh_from_db()
    other.refresh_from_db()
    further.refresh_from_db()
    meeting.refresh_from_db()
    assert set(kept.calls.all()) == set(calls)
    assert meeting.lead == kept
    assert set(kept.campaigns.all()) == {both, one} and not other.campaigns.exists()
    assert (other.duplicate_of, further.duplicate_of, kept.duplicate_of) == (kept, kept, None)
    assert (kept.email, kept.do_not_call, kept.status, kept.attempts) == (
        "ann@example.com", True, "meeting_scheduled", 2,
    )  # fmt: skip
    assert all("Merged" in entry.change_message for entry in LogEntry.objects.all())
    assert {entry.object_id for entry in entries_of(Lead)} == {str(row.pk) for row in (kept, other, further)}


def entries_of(model: type[Model]) -> list[LogEntry]:
    return list(LogEntry.objects.filter(content_type=ContentType.objects.get_for_model(model)).order_by("pk"))


@pytest.mark.django_db
def test_each_row_that_moves_has_it_in_its_history(admin_client: Client) -> None:
    kept, others = lead(1, name="Anna"), [lead(2, name="Ben"), lead(3, name=staff.HEBREW)]
    double = Lead.objects.create(name="Double", phone=others[0].phone, duplicate_of=others[0])
    calls = [past_call(row) for row in (kept, *others, others[1])]
    # An id that a lead and a meeting share must not keep the meeting where it is.
    meeting = Meeting.objects.create(
        id=kept.pk,
        lead=others[0],
        host=MeetingHost.objects.create(name="Host"),
        scheduled_time=timezone.now(),
    )

    merge(admin_client, kept, *others)

    meeting.refresh_from_db()
    assert meeting.lead == kept
    told = [(entry.object_id, history.told(entry)) for entry in entries_of(Call)]
    assert [key for key, _ in told] == [str(call.pk) for call in calls[1:]]
    assert [values.changes for _, values in told] == [
        [("Lead", f"{row.name} ({row.pk})", f"Anna ({kept.pk})")] for row in (*others, others[1])
    ]
    assert {values.note for _, values in told} == {f"Merged into lead {kept.pk}"}
    (moved,) = entries_of(Meeting)
    assert (moved.object_id, moved.object_repr) == (str(meeting.pk), str(meeting))
    (changed,) = [entry for entry in entries_of(Lead) if entry.object_id == str(double.pk)]
    assert history.told(changed).changes == [("Duplicate of", f"Ben ({others[0].pk})", f"Anna ({kept.pk})")]


@pytest.mark.django_db
def test_a_duplicate_that_is_deleted_with_its_lead_is_in_the_history(admin_client: Client) -> None:
    first = lead(1)
    double = Lead.objects.create(name="Double", phone=first.phone, duplicate_of=first)

    admin_client.post(staff.address(Lead, "delete", first.pk), {"confirmed": "yes"})

    assert not Lead.objects.exists()
    told = {entry.object_id: history.told(entry) for entry in entries_of(Lead)}
    assert ("Name", "-", "Double") in told[str(double.pk)].changes
    assert "duplicate" in told[str(double.pk)].note and not told[str(first.pk)].note


@pytest.mark.django_db
def test_nothing_is_merged_before_the_question_is_answered(admin_client: Client) -> None:
    kept, other = lead(1), lead(2)

    html = merge(admin_client, kept, other, confirmed=False)

    assert "Merge these 2 leads into one?" in html and 'type="radio"' in html
    assert not Lead.objects.filter(duplicate_of__isnull=False).exists()


@pytest.mark.django_db
def test_a_duplicate_may_take_the_place_of_its_original(admin_client: Client) -> None:
    first = lead(1)
    second = Lead.objects.create(name="Second", phone=first.phone, duplicate_of=first)

    merge(admin_client, second, first)

    first.refresh_from_db()
    second.refresh_from_db()
    assert (first.duplicate_of, second.duplicate_of) == (second, None)


@pytest.mark.django_db
def test_a_duplicate_of_a_lead_that_was_not_chosen_is_not_kept(admin_client: Client) -> None:
    original, other = lead(1), lead(2)
    double = Lead.objects.create(name="Double", phone=original.phone, duplicate_of=original)

    assert "is itself a duplicate" in merge(admin_client, double, other)

    other.refresh_from_db()
    assert other.duplicate_of is None


@pytest.mark.django_db
def test_a_lead_on_the_telephone_is_not_merged(admin_client: Client) -> None:
    kept, other = lead(1), lead(2)
    Call.objects.create(lead=other)

    assert "being called" in merge(admin_client, kept, other)

    other.refresh_from_db()
    assert other.duplicate_of is None and other.calls.count() == 1


@pytest.mark.django_db
def test_a_claimed_lead_is_not_merged_until_its_lease_ends(admin_client: Client) -> None:
    soon = timezone.now() + timedelta(minutes=5)
    kept, other = lead(1), lead(2, status="queued", claimed_by="worker", lease_expires_at=soon)

    assert "being called" in merge(admin_client, kept, other)
    Lead.objects.filter(pk=other.pk).update(lease_expires_at=timezone.now())
    assert "Merged 2 leads" in merge(admin_client, kept, other)


@pytest.mark.django_db(transaction=True)
def test_a_call_that_begins_at_the_same_moment_comes_first_and_stops_the_merge(admin_client: Client) -> None:
    kept, other = lead(1), lead(2)
    answers: list[str] = []

    def merge_meanwhile() -> None:
        try:
            answers.append(merge(admin_client, kept, other))
        finally:
            connections.close_all()

    waiting = Thread(target=merge_meanwhile)
    with transaction.atomic():
        Call.objects.create(lead=other)
        Lead.objects.filter(pk=other.pk).update(status="calling")
        waiting.start()
        wait_for_lock()
    waiting.join(20)

    assert "being called" in answers[0]
    other.refresh_from_db()
    assert other.duplicate_of is None and other.calls.count() == 1


@pytest.mark.django_db
def test_one_lead_alone_and_staff_who_may_only_look_merge_nothing(admin_client: Client) -> None:
    kept, other = lead(1), lead(2)

    assert "Choose 2 to 50" in merge(admin_client, kept)
    merge(staff.staff_client("leads.view_lead"), kept, other)

    assert not Lead.objects.filter(duplicate_of__isnull=False).exists()
