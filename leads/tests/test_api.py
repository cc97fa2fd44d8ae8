"""Leads over REST."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta

import pytest
import zeal
from django.contrib.admin.models import LogEntry
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from leads.api import LEAD, LeadList, LeadOut
from leads.models import Lead
from partners.models import Partner, PartnerApiKey

LEADS = "/api/leads/"


def partner_client(name, **options):
    partner = Partner.objects.create(name=name, rate_limit=1_000_000, **options)
    return partner, Client(headers={"X-API-Key": PartnerApiKey.issue(partner)[1]})


def leads(number, **options):
    first = Lead.objects.count()
    return Lead.objects.bulk_create(
        Lead(name=f"Lead {n}", phone=f"+4144668{n:04}", **options) for n in range(first, first + number)
    )


def patch(client, lead, **changes):
    return client.patch(f"{LEADS}{lead.pk}", json.dumps(changes), content_type="application/json")


def test_a_lead_has_the_old_members_and_values(staff):
    lead = Lead.objects.create(name="Ann", phone="+41446681800", email="a@example.com", status="no_answer")
    Lead.objects.update(created_at="2025-01-01T00:01:00Z")

    answer = staff.get(f"{LEADS}{lead.pk}")

    assert answer.status_code == 200
    assert answer.json() == {
        "id": lead.pk,
        "name": "Ann",
        "phone": "+41446681800",
        "email": "a@example.com",
        "country_code": None,
        "language": None,
        "status": "no_answer",
        "created_at": "2025-01-01T00:01:00+00:00",
    }


def test_a_list_has_the_old_members_and_its_objects_are_those_of_the_schema(staff):
    leads(3)
    Lead.objects.filter(name="Lead 1").update(email="x@example.com", country_code="+41", language="de")
    body = staff.get(LEADS).json()

    assert list(body) == ["leads", "total", "page", "page_size"]
    assert (body["total"], body["page"], body["page_size"]) == (3, 1, 50)
    # The rows never pass through the published model on their way out.
    assert (
        json.loads(LeadList.model_validate_json(json.dumps(body), strict=False).model_dump_json()).keys()
        == body.keys()
    )
    for each in body["leads"]:
        assert list(each) == list(LeadOut.model_fields) == list(LEAD.names)
        LeadOut.model_validate(each)


@pytest.mark.parametrize("wanted", ["no_answer", "NO_ANSWER"])
def test_leads_are_filtered_by_value_or_name_of_a_status(staff, wanted):
    leads(2)
    leads(3, status="no_answer")

    assert staff.get(LEADS, {"status": wanted}).json()["total"] == 3
    assert staff.get(LEADS, {"status": ""}).json()["total"] == 5
    refused = staff.get(LEADS, {"status": "No_Answer"})
    assert (refused.status_code, "no_answer" in refused.json()["errors"][0]["detail"]) == (422, True)


def test_a_partner_sees_its_own_leads_only(staff):
    ours, client = partner_client("Ours")
    theirs, _ = partner_client("Theirs")
    mine = leads(3, partner=ours)
    other = leads(4, partner=theirs) + leads(2)

    for query in ({}, {"page_size": 2}, {"status": "pending"}):
        body = client.get(LEADS, query).json()
        assert body["total"] == 3
        assert {each["id"] for each in body["leads"]} <= {each.pk for each in mine}
    missing = client.get(f"{LEADS}99999")
    for lead in other:
        refused = client.get(f"{LEADS}{lead.pk}")
        assert (refused.status_code, refused.json()["detail"]) == (404, missing.json()["detail"])
    assert client.get(f"{LEADS}{mine[0].pk}").status_code == 200
    assert patch(client, mine[0], name="x").status_code == 403


@pytest.mark.parametrize("number", [1, 40])
def test_a_list_takes_two_statements_whatever_its_length(staff, number):
    leads(number)
    staff.get(LEADS)  # notes the use of the token
    with zeal.zeal_context(), CaptureQueriesContext(connection) as captured:
        assert len(staff.get(LEADS).json()["leads"]) == number

    assert len(captured) == 2, [query["sql"] for query in captured]  # the token and the page
    with CaptureQueriesContext(connection) as captured:
        staff.get(f"{LEADS}{Lead.objects.values_list('pk', flat=True)[0]}")
    assert len(captured) == 3  # the id above, the token, the lead


@pytest.mark.parametrize(
    ("query", "index"),
    [("", "leads_newest"), ("status=no_answer", "leads_by_status"), ("partner", "leads_by_partner")],
)
def test_every_list_is_one_index_scan_also_behind_a_cursor(staff, query, index):
    partner, client = partner_client("Ours")
    start = datetime(2025, 1, 1, tzinfo=UTC)
    Lead.objects.bulk_create(
        Lead(
            name="x",
            phone=f"+4144{n:07}",
            partner=partner if n % 20 == 0 else None,
            status="no_answer" if n % 20 == 1 else "pending",
            created_at=start + timedelta(minutes=n),
        )
        for n in range(4000)
    )
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE leads")
    asking = client if query == "partner" else staff
    address = f"{LEADS}?page_size=20&{query}"
    for _ in range(2):
        with noted_queries() as queries:
            answer = asking.get(address)
        ((sql, parameters),) = [query for query in queries if '"leads"."name"' in query[0]]
        plan = explained(sql, parameters)
        assert f"Index Scan using {index}" in plan, plan
        assert "Sort" not in plan and "Seq Scan" not in plan, plan
        address = answer["Link"].partition("<")[2].partition(">")[0]


@contextmanager
def noted_queries():
    """Yield the queries of the block with their values, which CaptureQueriesContext leaves out."""
    queries = []

    def note(execute, sql, parameters, many, context):
        queries.append((sql, parameters))
        return execute(sql, parameters, many, context)

    with connection.execute_wrapper(note):
        yield queries


def explained(sql, parameters):
    with connection.cursor() as cursor:
        cursor.execute(f"EXPLAIN {sql}", parameters)
        return "\n".join(row[0] for row in cursor.fetchall())


def test_a_correction_changes_what_it_names_and_leaves_a_trace(staff):
    (lead,) = leads(1, email="old@example.com")
    answer = patch(staff, lead, name="  Neu ", phone="+1 (415) 555-2671", do_not_call=True, unknown=1)

    assert answer.status_code == 200
    assert (answer.json()["name"], answer.json()["phone"]) == ("Neu", "+14155552671")
    lead.refresh_from_db()
    assert (lead.phone_valid, lead.do_not_call, lead.email) == (True, True, "old@example.com")
    entry = LogEntry.objects.get()
    assert (entry.user.username, entry.object_id) == ("ada", str(lead.pk))
    assert "+1415" not in entry.change_message
    assert patch(staff, lead, email=None).json()["email"] is None


@pytest.mark.parametrize(
    ("before", "changes", "told"),
    [
        (("+41", "de"), {"phone": "+33 1 42 68 53 00"}, ("+33", "fr")),
        ((None, None), {"phone": "+33142685300"}, ("+33", "fr")),
        (("+41", "it"), {"phone": "+33142685300"}, ("+33", "it")),
        (("+41", "en"), {"phone": "+33142685300"}, ("+33", "en")),
        (("+41", "de"), {"phone": "+33142685300", "language": "nl"}, ("+33", "nl")),
        (("+41", "de"), {"phone": "+33142685300", "country_code": "FR"}, ("FR", "fr")),
        (("+41", "de"), {"phone": "+33142685300", "country_code": None, "language": None}, (None, None)),
        (("+41", "de"), {"phone": "044 668 18 99"}, ("+41", "de")),
        (("+41", "de"), {"phone": "12345678"}, ("+41", "de")),
        (("+41", "fr"), {"phone": "+41446681800"}, ("+41", "fr")),
        (("+33", "fr"), {"name": "Neu"}, ("+33", "fr")),
    ],
    ids=str,
)
def test_country_code_and_language_follow_another_phone_unless_somebody_chose_them(
    staff, before, changes, told
):
    lead = Lead.objects.create(
        name="Ann", phone="+41446681800", phone_valid=True, country_code=before[0], language=before[1]
    )

    answer = patch(staff, lead, **changes).json()

    assert (answer["country_code"], answer["language"]) == told


def test_a_number_that_gets_its_country_tells_the_language(staff):
    lead = Lead.objects.create(name="Ann", phone="044 668 18 00", language="en")

    answer = patch(staff, lead, country_code="+41").json()

    assert (answer["phone"], answer["country_code"], answer["language"]) == ("+41446681800", "+41", "de")


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": "  "}, "name"), ({"name": None}, "name"), ({"phone": "12345"}, "phone"),
        ({"phone": "call me 4155552671"}, "phone"), ({"phone": "1" * 16}, "phone"), ({"email": "x@"}, "email"),
        ({"status": "calling"}, "status"), ({"status": "queued"}, "status"), ({"do_not_call": "x"}, "do_not_call"),
    ],
)  # fmt: skip
def test_a_wrong_correction_is_refused_by_its_field(staff, changes, field):
    (lead,) = leads(1)
    answer = patch(staff, lead, **changes)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, f"/{field}")
    assert Lead.objects.get().updated_at == Lead.objects.get(pk=lead.pk).updated_at
    assert not LogEntry.objects.exists()


def test_a_phone_of_another_lead_is_a_conflict_that_names_it(staff):
    first, second = leads(2)
    answer = patch(staff, second, phone=f" {first.phone} ")

    assert (answer.status_code, answer.json()["lead_id"]) == (409, first.pk)
    assert first.phone not in answer.content.decode()


def test_the_status_of_a_lead_that_is_being_called_stays(staff):
    (lead,) = leads(1, status="calling")

    assert patch(staff, lead, status="failed").json()["code"] == "call_active"
    assert patch(staff, lead, name="Neu").status_code == 200
    assert Lead.objects.get().status == "calling"


def test_a_correction_of_no_lead_is_not_found(staff):
    answer = staff.patch(f"{LEADS}99999", "{}", content_type="application/json")

    assert (answer.status_code, answer.json()["detail"]) == (404, "Lead not found")


@pytest.mark.django_db(transaction=True)
def test_two_corrections_at_once_lose_nothing(staff):
    (lead,) = leads(1)

    def correct(changes):
        try:
            return patch(staff, lead, **changes).status_code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(4) as pool:
        statuses = list(pool.map(correct, [{"name": "A"}, {"language": "de"}, {"do_not_call": True}] * 4))

    lead.refresh_from_db()
    assert set(statuses) == {200}
    assert (lead.name, lead.language, lead.do_not_call) == ("A", "de", True)
    assert LogEntry.objects.count() == 12
