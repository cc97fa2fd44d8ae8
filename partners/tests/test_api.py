"""Partners over REST."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import timezone

from leads.models import Lead
from partners.models import Partner, PartnerApiKey, digest_of
from scheduler.models import StaffToken

pytestmark = pytest.mark.django_db


@pytest.fixture
def staff() -> Client:
    user = get_user_model().objects.create_superuser("boss")
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})


def with_leads(name: str, number: int) -> Partner:
    partner = Partner.objects.create(name=name)
    for each in range(number):
        Lead.objects.create(name="x", phone=f"+1415555{partner.pk:02d}{each:02d}", partner=partner)
    return partner


def post(client: Client, path: str, body: object = None):
    return client.post(path, body if body is not None else {}, content_type="application/json")


def patch(client: Client, path: str, body: object):
    return client.patch(path, body, content_type="application/json")


def test_partners_come_newest_first_with_their_leads_counted(staff):
    first, second = with_leads("One", 2), with_leads("Two", 0)
    second.is_active = False
    second.save()

    answer = staff.get("/api/partners/").json()
    active = staff.get("/api/partners/?active_only=true").json()

    assert [(each["id"], each["total_leads"]) for each in answer["partners"]] == [
        (second.pk, 0),
        (first.pk, 2),
    ]
    assert answer["total"] == 2
    assert set(answer["partners"][0]) == {
        "id", "name", "is_active", "rate_limit", "created_at", "updated_at", "total_leads",
    }  # fmt: skip
    assert [each["id"] for each in active["partners"]] == [first.pk]
    assert staff.get("/api/partners/?fields=total_leads").json()["partners"] == [
        {"total_leads": 0},
        {"total_leads": 2},
    ]


@pytest.mark.django_db(transaction=True)
def test_counts_follow_every_change_at_once(staff):
    partner = with_leads("One", 1)
    seen = []
    for number in range(2, 5):
        seen.append(staff.get("/api/partners/").json()["partners"][0]["total_leads"])
        Lead.objects.create(name="x", phone=f"+1415555990{number}", partner=partner)

    assert seen == [1, 2, 3]


def test_a_new_partner_gets_a_key_that_is_shown_once(staff):
    answer = post(staff, "/api/partners/", {"name": "  Acme ", "rate_limit": 7, "unknown": 1})
    body = answer.json()

    assert answer.status_code == 201
    assert set(body) == {"id", "name", "api_key", "is_active", "rate_limit", "created_at"}
    assert (body["name"], body["rate_limit"], body["is_active"]) == ("Acme", 7, True)
    assert PartnerApiKey.objects.get(partner=body["id"]).digest == digest_of(body["api_key"])
    assert body["api_key"] not in staff.get(f"/api/partners/{body['id']}").content.decode()
    assert body["api_key"] not in str(list(LogEntry.objects.values()))
    assert LogEntry.objects.get().user.username == "boss"


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"name": " "},
        {"name": None},
        {"name": "x", "rate_limit": 0},
        {"name": "x", "rate_limit": 1_000_001},
        [],
    ],
)
def test_a_partner_that_cannot_be_is_422(staff, body):
    assert post(staff, "/api/partners/", body).status_code == 422
    assert not Partner.objects.exists()


def test_a_name_is_taken_once(staff):
    Partner.objects.create(name="Acme")
    other = Partner.objects.create(name="Other")

    for answer in (
        post(staff, "/api/partners/", {"name": "Acme"}),
        patch(staff, f"/api/partners/{other.pk}", {"name": "Acme"}),
    ):
        assert (answer.status_code, answer.json()["code"]) == (400, "name_taken")
    assert PartnerApiKey.objects.count() == 0


def test_a_change_writes_what_is_given_and_leaves_the_rest(staff):
    partner = Partner.objects.create(name="Acme", rate_limit=5)

    answer = patch(staff, f"/api/partners/{partner.pk}", {"is_active": False, "name": None})

    assert answer.json()["is_active"] is False
    assert (answer.json()["name"], answer.json()["rate_limit"]) == ("Acme", 5)
    assert LogEntry.objects.get().get_change_message() == "Changed is_active over the API"
    assert patch(staff, "/api/partners/999", {"name": "x"}).status_code == 404


def test_numbers_and_booleans_may_be_written_as_old_clients_do(staff):
    partner = Partner.objects.create(name="Acme")
    for sent, stored in (
        ("7", 7),
        (8.0, 8),
        ("true", None),
        (True, None),
        ("0", None),
        (0, None),
        (1.5, None),
    ):
        answer = patch(staff, f"/api/partners/{partner.pk}", {"rate_limit": sent})
        assert (answer.status_code, answer.json().get("rate_limit")) == (200 if stored else 422, stored)
    for sent, stored in (
        (0, False),
        ("true", True),
        ("False", False),
        (1.0, True),
        ("maybe", None),
        (2, None),
    ):
        answer = patch(staff, f"/api/partners/{partner.pk}", {"is_active": sent})
        expected = (422, None) if stored is None else (200, stored)
        assert (answer.status_code, answer.json().get("is_active")) == expected


def test_a_new_key_kills_the_old_ones_at_once(staff):
    partner = Partner.objects.create(name="Acme")
    old = PartnerApiKey.issue(partner)[1]

    new = post(staff, f"/api/partners/{partner.pk}/regenerate-key").json()["api_key"]

    assert Client(headers={"X-API-Key": old}).get("/api/partners/me").status_code == 401
    assert Client(headers={"X-API-Key": new}).get("/api/partners/me").json()["id"] == partner.pk
    assert Client(headers={"Authorization": f"Bearer {new}"}).get("/api/partners/me").status_code == 200


def test_with_an_overlap_both_keys_live_until_it_is_over(staff):
    partner = Partner.objects.create(name="Acme")
    soon = timezone.now() + timedelta(hours=1)
    old, ending = PartnerApiKey.issue(partner)[1], PartnerApiKey.issue(partner)[0]
    PartnerApiKey.objects.filter(pk=ending.pk).update(expires_at=soon)

    new = post(staff, f"/api/partners/{partner.pk}/regenerate-key?overlap_hours=24").json()["api_key"]

    for key in (old, new):
        assert Client(headers={"X-API-Key": key}).get("/api/partners/me").status_code == 200
    ending.refresh_from_db()
    assert ending.expires_at == soon  # an overlap lengthens no life
    PartnerApiKey.objects.filter(digest=digest_of(old)).update(expires_at=timezone.now() - timedelta(hours=1))
    assert Client(headers={"X-API-Key": old}).get("/api/partners/me").status_code == 401


@pytest.mark.parametrize("hours", ["-1", "nan", "inf", "1e9", "x"])
def test_an_overlap_that_cannot_be_is_422(staff, hours):
    partner = Partner.objects.create(name="Acme")

    answer = post(staff, f"/api/partners/{partner.pk}/regenerate-key?overlap_hours={hours}")

    assert answer.status_code == 422
    assert not partner.api_keys.exists()


@pytest.mark.django_db(transaction=True)
def test_of_rotations_at_once_one_key_stays_alive(staff):
    partner = Partner.objects.create(name="Acme")

    def rotate(_: int) -> str:
        try:
            return post(staff, f"/api/partners/{partner.pk}/regenerate-key").json()["api_key"]
        finally:
            connection.close()

    with ThreadPoolExecutor(8) as threads:
        keys = list(threads.map(rotate, range(8)))

    alive = [Client(headers={"X-API-Key": key}).get("/api/partners/me").status_code for key in keys]
    assert sorted(alive) == [200] + [401] * 7


def test_a_deleted_partner_leaves_its_leads_with_their_origin(staff):
    partner = with_leads("Acme", 2)
    key = PartnerApiKey.issue(partner)[1]

    answer = staff.delete(f"/api/partners/{partner.pk}")

    assert (answer.status_code, answer.content) == (204, b"")
    assert list(Lead.objects.values_list("partner", flat=True)) == [None, None]
    for lead in Lead.objects.all():
        entry = LogEntry.objects.get(object_id=str(lead.pk), content_type__model="lead")
        assert entry.get_change_message() == "Came from the partner Acme, which was deleted"
    assert Client(headers={"X-API-Key": key}).get("/api/partners/me").status_code == 401
    assert staff.delete(f"/api/partners/{partner.pk}").status_code == 404


def test_a_key_opens_its_own_partner_and_nothing_of_the_others():
    mine, other = with_leads("Mine", 1), with_leads("Other", 3)
    client = Client(headers={"X-API-Key": PartnerApiKey.issue(mine)[1]})

    assert client.get("/api/partners/me").json()["total_leads"] == 1
    for path in (
        "/api/partners/",
        f"/api/partners/{mine.pk}",
        f"/api/partners/{other.pk}",
        "/api/partners/export",
    ):
        assert client.get(path).status_code in (401, 403)


def test_the_export_lists_partners_without_keys(staff):
    partner = Partner.objects.create(name="Acme")
    key = PartnerApiKey.issue(partner)[1]

    text = b"".join(staff.get("/api/partners/export").streaming_content).decode("utf-8-sig")

    assert text.splitlines()[0] == "id,name,is_active,rate_limit,created_at,updated_at"
    assert text.splitlines()[1].startswith(f"{partner.pk},Acme,True,100,")
    assert key not in text
