"""The guards of the real API: limits stand before every endpoint, Idempotency-Key around every POST."""

import re

import pytest
from django.contrib.auth.models import User
from django.test import Client

from partners.access import PartnerAccess
from partners.models import Partner, PartnerApiKey
from scheduler.api import api
from scheduler.models import StaffToken
from scheduler.rest.idempotency import IdempotencyGuard
from scheduler.rest.routing import access_of

pytestmark = pytest.mark.django_db

LEADS = "/api/leads/"
PARTNERS = "/api/partners/"  # for staff only


@pytest.fixture
def partner_key() -> str:
    partner = Partner.objects.create(name="Partner", rate_limit=3)
    return PartnerApiKey.issue(partner)[1]


@pytest.fixture
def staff_token() -> str:
    return StaffToken.issue(User.objects.create_superuser("boss"))[1]


def get(client: Client, **headers: str):
    return client.get(LEADS, headers={name.replace("_", "-"): value for name, value in headers.items()})


def test_every_post_looks_at_the_idempotency_key(client: Client, partner_key, staff_token):
    """A key that is none is refused by whatever POST sees it, before the body is looked at."""
    Partner.objects.update(rate_limit=1_000_000)
    posts = [(route, operation) for method, route, operation in api.operations() if method == "POST"]

    assert any(isinstance(guard, IdempotencyGuard) for guard in api.guards)
    for route, operation in posts:
        is_for_partners = isinstance(access_of(operation), PartnerAccess)
        caller = {"X-API-Key": partner_key} if is_for_partners else {"Authorization": f"Bearer {staff_token}"}
        address = f"/api/{re.sub('{[^}]*}', '1', route)}"

        answer = client.post(
            address, b"", "application/json", headers={**caller, "Idempotency-Key": "x" * 256}
        )

        assert answer.status_code == 422, address
        assert [error["pointer"] for error in answer.json()["errors"]] == ["/header/Idempotency-Key"], address


def test_a_partner_s_answers_say_what_is_left_until_it_is_refused(client: Client, partner_key):
    left = [get(client, X_API_Key=partner_key)["RateLimit"] for _ in range(3)]

    refused = get(client, X_API_Key=partner_key)

    assert [re.sub(r"t=\d+", "t", field) for field in left] == [f'"default";r={n};t' for n in (2, 1, 0)]
    assert refused.status_code == 429
    assert refused["Content-Type"] == "application/problem+json"
    assert refused.json()["detail"] == "Rate limit exceeded. Maximum 3 requests per 60 seconds."
    assert refused["RateLimit-Policy"] == '"default";q=3;w=60'
    assert 1 <= int(refused["Retry-After"]) <= 61


def test_staff_have_no_limit(client: Client, staff_token):
    answer = get(client, Authorization=f"Bearer {staff_token}")

    assert answer.status_code == 200
    assert "RateLimit" not in answer


@pytest.mark.parametrize("name", ["X-API-Key", "Authorization"])
def test_an_address_that_guesses_is_refused_even_with_the_right_key(client: Client, partner_key, name):
    wrong = "Bearer ast_wrong" if name == "Authorization" else "ais_wrong"
    statuses = [client.get(LEADS, headers={name: wrong}).status_code for _ in range(21)]

    assert statuses == [401] * 20 + [429]
    refused = get(client, X_API_Key=partner_key)
    assert (refused.status_code, refused.json()["code"]) == (429, "too_many_failed_attempts")
    assert 1 <= int(refused["Retry-After"]) <= 61
    elsewhere = client.get(LEADS, headers={"X-API-Key": partner_key}, REMOTE_ADDR="192.0.2.77")
    assert elsewhere.status_code == 200


def test_keys_guessed_on_a_path_for_staff_are_counted_too(client: Client, partner_key):
    answers = [client.get(PARTNERS, headers={"X-API-Key": f"ais_{number}"}) for number in range(21)]

    told = [(answer.status_code, answer.json()["code"]) for answer in answers]
    assert told == [(401, "invalid_api_key")] * 20 + [(429, "too_many_failed_attempts")]
    assert client.get(PARTNERS, headers={"X-API-Key": partner_key}).status_code == 429


def test_people_who_are_signed_in_do_not_suffer_for_a_guesser_at_their_address(client: Client):
    client.force_login(User.objects.create_superuser("boss"))
    for _ in range(21):
        Client().get(LEADS, headers={"X-API-Key": "ais_wrong"})

    assert client.get(LEADS).status_code == 200


def test_requests_with_good_keys_or_none_are_no_attempts(client: Client, partner_key):
    Partner.objects.update(rate_limit=1_000)
    for _ in range(25):
        assert get(client, X_API_Key=partner_key).status_code == 200
        assert get(client).status_code == 401


@pytest.mark.parametrize("is_active", [True, False])
def test_refused_requests_of_a_partner_count_against_its_limit(client: Client, partner_key, is_active):
    Partner.objects.update(is_active=is_active)
    path, code = (PARTNERS, "not_staff") if is_active else (LEADS, "partner_disabled")

    *counted, refused = [client.get(path, headers={"X-API-Key": partner_key}) for _ in range(4)]

    assert [(answer.status_code, answer.json()["code"]) for answer in counted] == [(403, code)] * 3
    left = [re.sub(r"t=\d+", "t", answer["RateLimit"]) for answer in counted]
    assert left == [f'"default";r={n};t' for n in (2, 1, 0)]
    assert (refused.status_code, refused.json()["code"]) == (429, "rate_limited")


def test_a_disabled_partner_is_told_so_and_not_taken_for_a_guesser(client: Client, partner_key):
    Partner.objects.update(is_active=False, rate_limit=1_000)

    assert {get(client, X_API_Key=partner_key).status_code for _ in range(25)} == {403}
