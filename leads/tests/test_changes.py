"""Single leads that come and go over REST."""

from __future__ import annotations

import csv
import io
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.admin.models import DELETION, LogEntry
from django.db import IntegrityError, connection, connections, transaction
from django.test import Client
from django.utils import timezone

from calls.models import Call, Turn
from database.testing import wait_until
from leads.models import Campaign, CampaignLead, Lead
from meetings.models import Meeting, MeetingHost
from partners.models import Partner, PartnerApiKey

LEADS = "/api/leads/"
pytestmark = pytest.mark.django_db
WAITING = (
    "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
)


def post(client, **body):
    return client.post(LEADS, json.dumps(body), content_type="application/json")


def test_a_lead_is_added_with_what_its_number_tells(staff):
    answer = post(staff, name=" Dana ", phone=" +972 50-234-5678 ", email=" d@example.com ", more=1)

    lead = Lead.objects.get()
    assert answer.status_code == 200
    assert answer.json() == {
        "id": lead.pk,
        "name": "Dana",
        "phone": "+972502345678",
        "email": "d@example.com",
        "country_code": "+972",
        "language": "he",
        "status": "pending",
        "created_at": answer.json()["created_at"],
    }
    assert lead.phone_valid
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id, entry.is_addition()) == ("ada", str(lead.pk), True)


def test_a_number_of_no_plan_is_kept_as_typed_and_never_dialled(staff):
    body = post(staff, name="x", phone="+1234567890").json()

    assert (body["phone"], body["language"], body["email"]) == ("+1234567890", "en", None)
    assert not Lead.objects.get().phone_valid


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"phone": "+14155552671"}, "name"), ({"name": " ", "phone": "+14155552671"}, "name"), ({"name": "x"}, "phone"),
        ({"name": "x", "phone": ""}, "phone"), ({"name": "x", "phone": "123456"}, "phone"),
        ({"name": "x", "phone": "1" * 16}, "phone"), ({"name": "x", "phone": "+1 415 CALL ME"}, "phone"),
        ({"name": "x", "phone": 14155552671}, "phone"),
        ({"name": "x", "phone": "+14155552671", "email": "a@"}, "email"),
    ],
)  # fmt: skip
def test_a_wrong_lead_is_refused_by_its_field(staff, body, field):
    answer = post(staff, **body)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{field}")
    assert not Lead.objects.exists()


def test_a_phone_that_is_there_is_a_conflict_that_names_its_lead(staff):
    first = post(staff, name="Ann", phone="+14155552671").json()
    answer = post(staff, name="Bob", phone="+1 (415) 555-2671")

    assert (answer.status_code, answer.json()["lead_id"]) == (409, first["id"])
    assert "2671" not in answer.content.decode()
    assert (Lead.objects.count(), LogEntry.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_the_same_lead_many_times_at_once_is_one(staff):
    def add(number):
        try:
            return post(staff, name=f"Ann {number}", phone="+14155552671").status_code
        finally:
            connections.close_all()

    connection.close()
    with ThreadPoolExecutor(10) as threads:
        statuses = list(threads.map(add, range(30)))

    assert sorted(statuses) == [200] + [409] * 29
    assert Lead.objects.count() == 1


def full_lead(**options):
    lead = Lead.objects.create(name="Ann", phone="+14155552671", **options)
    call = Call.objects.create(lead=lead, ended_at=timezone.now() + timedelta(seconds=1))
    Turn.objects.create(call=call, turn=1, role="ai", message="Hello")
    host = MeetingHost.objects.create(name="Ruth", timezone="UTC")
    Meeting.objects.create(lead=lead, call=call, host=host, scheduled_time=datetime(2030, 1, 1, tzinfo=UTC))
    CampaignLead.objects.create(lead=lead, campaign=Campaign.objects.create(name="Spring"))
    Lead.objects.create(name="Ann again", phone=lead.phone, duplicate_of=lead)
    return lead


def test_a_lead_goes_with_all_that_hangs_on_it_and_leaves_a_trace(staff):
    lead, other = full_lead(), Lead.objects.create(name="Bob", phone="+14155552672")
    answer = staff.delete(f"{LEADS}{lead.pk}")

    assert (answer.status_code, answer.json()) == (200, {"success": True, "message": "Lead deleted"})
    assert list(Lead.objects.all()) == [other]
    for model in (Call, Turn, Meeting, CampaignLead):
        assert not model.objects.exists()
    entry = LogEntry.objects.get(object_id=str(lead.pk))
    assert (entry.user.username, entry.object_repr) == ("ada", "Ann") and lead.phone in entry.change_message
    assert LogEntry.objects.filter(action_flag=DELETION).count() == 2  # its duplicate too
    assert staff.delete(f"{LEADS}{lead.pk}").json()["detail"] == "Lead not found"


@pytest.mark.parametrize("who", ["lead", "duplicate", "about to be called"])
def test_a_lead_that_is_being_called_stays(staff, who):
    lead = full_lead()
    if who == "about to be called":
        Lead.objects.filter(pk=lead.pk).update(
            status="calling", lease_expires_at=timezone.now() + timedelta(minutes=5)
        )
    else:
        Call.objects.create(lead=lead if who == "lead" else lead.duplicates.get())

    answer = staff.delete(f"{LEADS}{lead.pk}")

    assert (answer.status_code, answer.json()["code"]) == (409, "call_active")
    assert Lead.objects.count() == 2
    assert Turn.objects.count() == Meeting.objects.count() == 1
    assert not LogEntry.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_call_that_begins_while_its_lead_is_deleted_is_not_torn_off(staff):
    lead = Lead.objects.create(name="Ann", phone="+14155552671")

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            Call.objects.create(lead=lead)
            lock_lead()
            deleting = thread.submit(delete, staff, lead)
            wait_until(lambda: count(WAITING) == 1)
        assert deleting.result(30) == 409
    assert Call.objects.get().lead == lead


@pytest.mark.django_db(transaction=True)
def test_a_call_never_begins_for_a_lead_that_is_being_deleted(staff):
    lead = Lead.objects.create(name="Ann", phone="+14155552671")
    insert = "INSERT INTO calls (lead_id) VALUES (%s)"

    def call():
        try:
            with connection.cursor() as cursor:
                cursor.execute(insert, [lead.pk])
        except IntegrityError:
            return "refused"
        finally:
            connections.close_all()
        return "called"

    with ThreadPoolExecutor(1) as thread:
        with transaction.atomic():
            assert staff.delete(f"{LEADS}{lead.pk}").status_code == 200
            calling = thread.submit(call)
            wait_until(lambda: count(WAITING) == 1)
        assert calling.result(30) == "refused"
    assert not Call.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_call_that_is_not_committed_when_its_lead_goes_never_is(staff):
    lead = Lead.objects.create(name="Ann", phone="+14155552671")

    with ThreadPoolExecutor(1) as thread, pytest.raises(IntegrityError), transaction.atomic():
        Call.objects.create(lead=lead)
        assert thread.submit(delete, staff, lead).result(30) == 200
    assert not Call.objects.exists() and not Lead.objects.exists()


def delete(client, lead):
    """Delete a lead from a thread; returns the status."""
    try:
        return client.delete(f"{LEADS}{lead.pk}").status_code
    finally:
        connections.close_all()


def lock_lead():
    """Check foreign keys at once, which locks the lead, as the end of the transaction does."""
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")


def count(query):
    with connection.cursor() as cursor:
        cursor.execute(query)
        return cursor.fetchone()[0]


def test_leads_are_filtered_by_partner_and_time(staff):
    acme, beta = (Partner.objects.create(name=name, rate_limit=1_000_000) for name in ("Acme", "Beta"))
    for number in range(6):
        Lead.objects.create(
            name=f"L{number}", phone=f"+1415555000{number}", partner=(acme, beta, None)[number % 3]
        )
        Lead.objects.filter(name=f"L{number}").update(created_at=datetime(2026, 1, 1 + number, tzinfo=UTC))

    def names(client=staff, **filters):
        return [each["name"] for each in client.get(LEADS, filters).json()["leads"]]

    assert names(partner_id=acme.pk) == ["L3", "L0"]
    assert names(created_after="2026-01-05T00:00:00Z") == ["L5", "L4"]
    assert names(created_after="2026-01-02T00:00:00Z", created_before="2026-01-04T00:00:00Z") == ["L2", "L1"]
    assert staff.get(LEADS, {"created_after": "2026-01-05"}).status_code == 422
    own = Client(headers={"X-API-Key": PartnerApiKey.issue(acme)[1]})
    assert (names(own), names(own, partner_id=beta.pk)) == (["L3", "L0"], [])


def test_the_export_holds_the_leads_of_the_list(staff):
    acme = Partner.objects.create(name="Acme", rate_limit=1_000_000)
    Lead.objects.create(name="=Ann", phone="+14155552671", partner=acme, status="failed")
    Lead.objects.create(name="Bob", phone="+14155552672")
    own = Client(headers={"X-API-Key": PartnerApiKey.issue(acme)[1]})

    def rows(client, query=""):
        text = b"".join(client.get(f"{LEADS}export{query}").streaming_content).decode("utf-8-sig")
        return [(row["name"], row["phone"]) for row in csv.DictReader(io.StringIO(text))]

    assert rows(staff) == [("Bob", "+14155552672"), ("'=Ann", "+14155552671")]
    assert rows(staff, "?status=FAILED") == rows(own) == [("'=Ann", "+14155552671")]
    assert rows(own, "?status=pending") == []
