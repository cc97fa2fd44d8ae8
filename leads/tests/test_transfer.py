"""Leads that partners hand over."""

from __future__ import annotations

import json
import random
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connection, connections
from django.test import Client
from django.test.utils import CaptureQueriesContext

from leads.models import Lead
from partners.models import Partner, PartnerApiKey

TRANSFER = "/api/leads/partner-transfer"
EXISTS = "Phone number already exists"
pytestmark = pytest.mark.django_db


def partner(name="Acme", **options):
    return Partner.objects.create(name=name, **{"rate_limit": 1_000_000, **options})


def client_of(owner):
    return Client(headers={"X-API-Key": PartnerApiKey.issue(owner)[1]})


def send(client, leads, **headers):
    body = leads if isinstance(leads, str) else json.dumps({"leads": leads})
    return client.post(TRANSFER, body, content_type="application/json", headers=headers)


def lead(number, **more):
    return {"name": f"Lead {number}", "phone": f"+1415555{number:04d}", **more}


def test_new_leads_are_created_and_known_ones_named():
    acme = partner()
    known = Lead.objects.create(name="Ann", phone="+14155550001", partner=acme)

    answer = send(client_of(acme), [lead(1), lead(2, email="a@example.com"), lead(3)])

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "total_submitted": 3,
        "created": 2,
        "skipped": 1,
        "failed": 0,
        "errors": [{"index": 0, "phone": "+14155550001", "reason": f"{EXISTS} (Lead ID: {known.pk})"}],
        "message": "Successfully processed 2 out of 3 leads",
    }
    created = Lead.objects.get(phone="+14155550002")
    assert (created.name, created.email, created.partner) == ("Lead 2", "a@example.com", acme)
    assert (created.country_code, created.language, created.phone_valid) == ("+1", "en", True)
    assert (created.status, created.do_not_call) == ("pending", False)


def test_without_errors_there_are_none():
    body = send(client_of(partner()), [lead(1)]).json()

    assert (body["errors"], body["created"]) == (None, 1)
    empty = send(client_of(partner("B")), []).json()
    assert (empty["total_submitted"], empty["message"]) == (0, "Successfully processed 0 out of 0 leads")


def test_leads_of_others_are_known_but_not_by_their_id():
    beta = partner("Beta")
    others = [
        Lead.objects.create(name="x", phone=f"+1415555000{n}", partner=p) for n, p in ((1, beta), (2, None))
    ]

    answer = send(client_of(partner()), [lead(1), lead(2), lead(1)])

    assert [error["reason"] for error in answer.json()["errors"]] == [EXISTS] * 3
    assert Lead.objects.count() == len(others)


def test_a_phone_twice_in_a_request_is_created_once_and_skipped_once():
    answer = send(client_of(partner()), [lead(7), {"name": "Again", "phone": "+1 (415) 555-0007"}])

    (made,) = Lead.objects.all()
    assert made.name == "Lead 7"
    body = answer.json()
    assert (body["created"], body["skipped"]) == (1, 1)
    assert body["errors"] == [
        {"index": 1, "phone": "+1 (415) 555-0007", "reason": f"{EXISTS} (Lead ID: {made.pk})"}
    ]


def test_wrong_items_fail_by_their_reason_and_cost_no_other():
    wrong: list[tuple[object, str]] = [
        (7, "A lead must be a JSON object"),
        (None, "A lead must be a JSON object"),
        ([], "A lead must be a JSON object"),
        ({}, "Name is missing"),
        ({"name": "x"}, "Phone is missing"),
        ({"name": " ", "phone": "+14155550001"}, "Name must not be empty"),
        ({"name": 5, "phone": "+14155550001"}, "Name must be a text"),
        ({"name": "x", "phone": ["+1"]}, "Phone must be a text"),
        ({"name": "x", "phone": "call me"}, "Phone must be a phone number of 7 to 15 digits"),
        ({"name": "x", "phone": ""}, "Phone must not be empty"),
        ({"name": "x" * 501, "phone": "+14155550001"}, "Name must not be longer than 500 characters"),
        ({"name": "x", "phone": "+14155550001", "email": "nope"}, "Email must be an e-mail address"),
    ]
    answer = send(client_of(partner()), [item for each, _ in wrong for item in (each, lead(len(str(each))))])
    body = answer.json()

    failed = [error["reason"] for error in body["errors"] if EXISTS not in error["reason"]]
    assert failed == [reason for _, reason in wrong]
    assert body["failed"] == len(wrong)
    assert body["created"] + body["skipped"] + body["failed"] == body["total_submitted"] == 2 * len(wrong)
    assert body["created"] == Lead.objects.count() > 3


def test_a_number_that_no_plan_knows_is_kept_as_typed_and_never_dialled():
    send(client_of(partner()), [{"name": "x", "phone": " +1234567890 ", "email": "", "unknown": 1}])

    made = Lead.objects.get()
    assert (made.phone, made.phone_valid, made.email, made.country_code) == ("+1234567890", False, None, "+1")


@pytest.mark.parametrize("body", ["[]", "{", '{"leads": 5}', '{"leads": {}}', '{"leads": null}', "{}", ""])
def test_a_body_that_is_no_list_of_leads_is_refused(body):
    answer = send(client_of(partner()), body)

    assert (answer.status_code, answer.json()["code"] in ("invalid", "bad_json")) == (422, True)


def test_more_leads_than_the_limit_are_refused_and_none_is_stored():
    client = client_of(partner())
    answer = send(client, [lead(n) for n in range(10_001)])

    assert answer.status_code == 413
    assert "10,000" in answer.json()["detail"]
    assert not Lead.objects.exists()
    full = send(client, [{"name": "x", "phone": f"+1{2002000000 + n}"} for n in range(10_000)]).json()
    assert full["created"] == Lead.objects.count() == 10_000


def test_the_key_and_the_limit_are_looked_at_before_the_body():
    for client, status, sentence in (
        (Client(), 401, "Missing API key. Include 'X-API-Key' header."),
        (Client(headers={"X-API-Key": "wrong"}), 401, "Invalid API key"),
        (
            client_of(partner("Off", is_active=False)),
            403,
            "Partner access has been disabled. Contact support.",
        ),
    ):
        answer = send(client, "{")
        assert (answer.status_code, answer.json()["detail"]) == (status, sentence)
    limited = client_of(partner("Slow", rate_limit=1))
    assert send(limited, "{").status_code == 422
    answer = send(limited, "{")
    assert (answer.status_code, answer.json()["detail"]) == (
        429,
        "Rate limit exceeded. Maximum 1 requests per 60 seconds.",
    )
    assert int(answer["Retry-After"]) >= 1


@pytest.mark.parametrize("number", [1, 300])
def test_a_transfer_takes_as_many_statements_whatever_its_size(number):
    client = client_of(partner())
    send(client, [])  # notes the use of the key
    known = [lead(n) for n in range(number)]
    with CaptureQueriesContext(connection) as captured:
        assert send(client, known).json()["created"] == number
    assert len(captured) == 3, [query["sql"][:60] for query in captured]  # the key, the limit, the leads
    with CaptureQueriesContext(connection) as captured:
        assert send(client, [*known, lead(9000)]).json()["skipped"] == number
    assert len(captured) == 4  # and the leads that were there


@pytest.mark.django_db(transaction=True)
def test_a_request_that_is_sent_again_with_its_key_creates_nothing_twice():
    client = client_of(partner())
    first = send(client, [lead(1), lead(2)], **{"Idempotency-Key": "k"})
    again = send(client, [lead(1), lead(2)], **{"Idempotency-Key": "k"})

    assert first.json() == again.json()
    assert (again["Idempotent-Replayed"], Lead.objects.count()) == ("true", 2)


@pytest.mark.django_db(transaction=True)
def test_batches_of_the_same_phones_at_once_lose_no_lead_and_never_fail():
    number = 16
    clients = [client_of(partner(f"P{n}")) for n in range(number)]
    for each in range(5):
        Lead.objects.all().delete()
        batches = []
        for n in range(number):
            batch = [lead(k) for k in range(20)]
            random.Random(100 * each + n).shuffle(batch)
            batches.append([*batch, lead(100 + n)])
        answers = at_once(list(zip(clients, batches, strict=True)))

        assert [answer.status_code for answer in answers] == [200] * number
        assert Lead.objects.count() == 20 + number
        bodies = [answer.json() for answer in answers]
        assert sum(body["created"] for body in bodies) == 20 + number
        assert all(body["created"] + body["skipped"] == 21 for body in bodies)


def at_once(requests):
    start = Barrier(len(requests), timeout=60)

    def run(request):
        start.wait()
        try:
            return send(*request)
        finally:
            connections.close_all()

    connection.close()
    with ThreadPoolExecutor(len(requests)) as threads:
        return list(threads.map(run, requests))


@pytest.mark.parametrize("escape", ["\\u0000", "\\ud800", "\\uDC00"])
@pytest.mark.parametrize("member", ["name", "phone", "email"])
def test_a_text_that_cannot_be_stored_costs_its_own_item_only(escape, member):
    spoiled = {"name": "Spoiled", "phone": "+14155550001", "email": "a@example.com"}
    spoiled[member] += "SPOILED"
    body = json.dumps({"leads": [spoiled, lead(2)]}).replace("SPOILED", escape)

    answer = send(client_of(partner()), body)

    assert answer.status_code == 200
    told = answer.json()
    assert (told["created"], told["failed"]) == (1, 1)
    assert told["errors"][0]["reason"].endswith("holds a character that cannot be stored")
    assert list(Lead.objects.values_list("phone", flat=True)) == ["+14155550002"]


def test_a_body_that_is_no_json_is_refused_whole_even_with_half_a_character():
    for body in (r'{"leads": ["\ud800", NaN]}', r'{"leads": ["\ud800"', r'{"leads": "\u0000"}'):
        assert send(client_of(partner(body)), body).status_code == 422
