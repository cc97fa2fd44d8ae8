import re
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse

from partners.models import Partner, PartnerApiKey, digest_of
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

KEY = re.compile(r"ais_[\w-]{60}")


@pytest.fixture
def acme() -> Partner:
    return Partner.objects.create(name="Acme")


def issue_address(partner: Partner) -> str:
    return reverse("admin:partners_partner_issue_key", args=[partner.pk])


def revoke_address(key: PartnerApiKey) -> str:
    return reverse("admin:partners_partner_revoke_key", args=[key.partner_id, key.pk])


def keys_shown(answer: Any) -> list[str]:
    return KEY.findall(answer.content.decode())


def test_every_page_of_partners_and_keys_opens_with_awkward_names(admin_client: Client) -> None:
    for name in staff.NASTY:
        PartnerApiKey.issue(Partner.objects.create(name=name))
    staff.check_pages_open(admin_client, Partner)
    staff.check_pages_open(admin_client, PartnerApiKey, "ais_")

    assert staff.ESCAPED_SCRIPT in staff.page(admin_client, staff.address(Partner, "changelist"))
    assert staff.ESCAPED_SCRIPT in staff.page(admin_client, staff.address(PartnerApiKey, "changelist"))


def test_the_lists_make_no_query_per_row(admin_client: Client) -> None:
    def make(number: int) -> None:
        PartnerApiKey.issue(Partner.objects.create(name=f"Partner {number}"))

    staff.check_lists_have_no_query_per_row(admin_client, Partner, make)
    PartnerApiKey.objects.all().delete()
    staff.check_lists_have_no_query_per_row(admin_client, PartnerApiKey, lambda number: make(100 + number))


def test_a_partner_with_thirty_keys_has_a_page_of_few_queries(
    admin_client: Client, acme: Partner, django_assert_max_num_queries
) -> None:
    for _ in range(30):
        PartnerApiKey.issue(acme)
    with django_assert_max_num_queries(staff.MOST_QUERIES):
        html = staff.page(admin_client, staff.address(Partner, "change", acme.pk))

    assert html.count(">Revoke</button>") == 30


def test_partners_are_closed_to_staff_without_permissions(acme: Partner) -> None:
    key, _ = PartnerApiKey.issue(acme)

    staff.check_closed_to_staff_without_permissions(Partner, acme)
    staff.check_closed_to_staff_without_permissions(PartnerApiKey, key)


def test_a_partner_is_found_by_name_and_a_key_by_its_beginning(admin_client: Client, acme: Partner) -> None:
    Partner.objects.create(name="Bolt")
    row, key = PartnerApiKey.issue(acme)
    PartnerApiKey.issue(acme)

    assert staff.ids_listed(admin_client, Partner, q="acm") == {acme.pk}
    assert staff.ids_listed(admin_client, PartnerApiKey, q=row.prefix) == {row.pk}
    assert staff.ids_listed(admin_client, PartnerApiKey, q=key) == set()


def test_a_partner_is_added_and_edited(admin_client: Client) -> None:
    assert staff.add(admin_client, Partner, name="Acme", rate_limit="60").status_code == 302
    partner = Partner.objects.get()
    assert staff.edit(admin_client, partner, name=staff.HEBREW).status_code == 302

    partner.refresh_from_db()
    assert (partner.name, partner.rate_limit, partner.is_active) == (staff.HEBREW, 60, True)


def test_the_name_of_another_partner_is_refused_beside_the_field(admin_client: Client, acme: Partner) -> None:
    other = Partner.objects.create(name="Bolt")
    sentence = ["A partner with this name exists already."]

    assert staff.errors_of(staff.add(admin_client, Partner, name="Acme")) == {"name": sentence}
    assert staff.errors_of(staff.edit(admin_client, other, name="Acme")) == {"name": sentence}


@pytest.mark.parametrize("limit", ["0", "-1", "", "many", "9" * 30])
def test_a_rate_limit_that_is_none_is_refused(admin_client: Client, acme: Partner, limit: str) -> None:
    assert "rate_limit" in staff.errors_of(staff.edit(admin_client, acme, rate_limit=limit))


def test_issuing_shows_the_key_once_and_stores_only_its_digest(admin_client: Client, acme: Partner) -> None:
    answer = admin_client.post(issue_address(acme), follow=True)

    (key,) = keys_shown(answer)
    row = PartnerApiKey.objects.get()
    assert (row.digest, row.prefix, row.revoked_at) == (digest_of(key), key[:12], None)
    assert key not in "".join(map(str, PartnerApiKey.objects.values_list()))


def test_the_text_of_a_key_appears_nowhere_after_it_was_shown(admin_client: Client, acme: Partner) -> None:
    (key,) = keys_shown(admin_client.post(issue_address(acme), follow=True))
    row = PartnerApiKey.objects.get()

    for model, pk in ((Partner, acme.pk), (PartnerApiKey, row.pk)):
        for path in (staff.address(model, "changelist"), *_pages_of(model, pk)):
            html = staff.page(admin_client, path)
            assert key not in html and row.digest not in html, path
    assert key not in staff.page(admin_client, reverse("admin:index"))
    assert not any(key in entry.change_message for entry in LogEntry.objects.all())
    assert not any(key in str(session) for session in _sessions())


def _pages_of(model: type[Partner | PartnerApiKey], pk: int) -> list[str]:
    return [staff.address(model, name, pk) for name in ("change", "history", "delete")]


def _sessions() -> list[object]:
    from django.contrib.sessions.models import Session

    return [session.get_decoded() for session in Session.objects.all()]


def test_the_action_on_the_list_issues_a_key_to_each_chosen_partner(
    admin_client: Client, acme: Partner
) -> None:
    bolt = Partner.objects.create(name="Bolt")
    data = {"action": "issue_keys", "_selected_action": [acme.pk, bolt.pk]}

    answer = admin_client.post(staff.address(Partner, "changelist"), data, follow=True)

    keys = keys_shown(answer)
    assert {digest_of(key) for key in keys} == set(PartnerApiKey.objects.values_list("digest", flat=True))
    assert len(keys) == 2


def test_a_key_is_revoked_on_the_page_of_its_partner(admin_client: Client, acme: Partner) -> None:
    key, _ = PartnerApiKey.issue(acme)
    other, _ = PartnerApiKey.issue(acme)

    first = admin_client.post(revoke_address(key), follow=True).content.decode()
    key.refresh_from_db()
    revoked_at = key.revoked_at
    second = admin_client.post(revoke_address(key), follow=True).content.decode()

    key.refresh_from_db()
    other.refresh_from_db()
    assert "is revoked; requests with it are refused now." in first
    assert "was revoked before." in second
    assert revoked_at is not None and key.revoked_at == revoked_at
    assert other.revoked_at is None


def test_chosen_keys_are_revoked_on_their_list(admin_client: Client, acme: Partner) -> None:
    keys = [PartnerApiKey.issue(acme)[0] for _ in range(3)]
    data = {"action": "revoke", "_selected_action": [key.pk for key in keys[:2]]}

    answer = admin_client.post(staff.address(PartnerApiKey, "changelist"), data, follow=True)

    assert "Revoked 2 API keys." in answer.content.decode()
    assert PartnerApiKey.objects.filter(revoked_at=None).get() == keys[2]


def test_issuing_and_revoking_are_refused_without_permission_and_by_get(
    admin_client: Client, acme: Partner
) -> None:
    key, _ = PartnerApiKey.issue(acme)
    viewer = staff.staff_client("partners.view_partner", "partners.view_partnerapikey")

    for path in (issue_address(acme), revoke_address(key)):
        assert viewer.post(path).status_code == 403
        assert admin_client.get(path).status_code == 405
    html = staff.page(viewer, staff.address(Partner, "change", acme.pk))
    assert "Issue a new key" not in html and ">Revoke</button>" not in html
    assert PartnerApiKey.objects.filter(revoked_at=None).count() == 1


def test_a_key_of_another_partner_is_not_revoked(admin_client: Client, acme: Partner) -> None:
    key, _ = PartnerApiKey.issue(acme)
    bolt = Partner.objects.create(name="Bolt")

    path = reverse("admin:partners_partner_revoke_key", args=[bolt.pk, key.pk])

    assert admin_client.post(path).status_code == 404
    assert admin_client.get(staff.address(PartnerApiKey, "add")).status_code == 403
