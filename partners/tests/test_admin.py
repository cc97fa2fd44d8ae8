import re
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session
from django.db import connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from partners import results, services
from partners.models import Partner, PartnerApiKey, PartnerResult, digest_of
from partners.tasks import count_partner_results
from scheduler.staff.history import told
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


def issue(client: Client, partner: Partner, overlap: str = "24") -> Any:
    """Open the form and send it, as a browser does; return the answer."""
    form = client.get(issue_address(partner)).context["form"]
    data = {**staff.sent(form), "overlap": overlap} | ({"confirmed": "yes"} if overlap == "0" else {})
    return client.post(issue_address(partner), data)


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

    assert html.count(">Revoke<span") == 30


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


def test_issuing_shows_the_key_in_its_answer_and_stores_only_its_digest(
    admin_client: Client, acme: Partner
) -> None:
    answer = issue(admin_client, acme)

    (key,) = keys_shown(answer)
    row = PartnerApiKey.objects.get()
    assert answer.status_code == 200
    assert (row.digest, row.prefix, row.revoked_at) == (digest_of(key), key[:12], None)
    assert key not in "".join(map(str, PartnerApiKey.objects.values_list()))


def test_the_answer_with_the_key_may_be_stored_nowhere(admin_client: Client, acme: Partner) -> None:
    answer = issue(admin_client, acme)

    assert "no-store" in answer["Cache-Control"]
    assert "script-src 'self'" in answer["Content-Security-Policy"]
    assert "<script>" not in answer.content.decode()


def test_the_text_of_a_key_is_in_no_cookie_session_history_or_later_page(
    admin_client: Client, acme: Partner
) -> None:
    answer = issue(admin_client, acme)
    (key,) = keys_shown(answer)
    row = PartnerApiKey.objects.get()

    assert not any(key in cookie.OutputString() for cookie in answer.cookies.values())
    assert not any(key in cookie.OutputString() for cookie in admin_client.cookies.values())
    assert not any(key in str(session.get_decoded()) for session in Session.objects.all())
    for model, pk in ((Partner, acme.pk), (PartnerApiKey, row.pk)):
        pages = [staff.address(model, name, pk) for name in ("change", "history", "delete")]
        for path in (staff.address(model, "changelist"), *pages, issue_address(acme), reverse("admin:index")):
            html = staff.page(admin_client, path)
            assert key not in html and row.digest not in html, path
    assert not any(key in entry.change_message for entry in LogEntry.objects.all())


def test_a_form_sent_twice_issues_one_key_and_says_so(admin_client: Client, acme: Partner) -> None:
    data = {**staff.sent(admin_client.get(issue_address(acme)).context["form"]), "overlap": "0"}
    (key,) = keys_shown(admin_client.post(issue_address(acme), data))

    again = admin_client.post(issue_address(acme), data)

    assert again.status_code == 409
    assert "A key was issued since this page was opened" in again.content.decode()
    assert keys_shown(again) == []
    assert PartnerApiKey.objects.get().digest == digest_of(key)
    assert PartnerApiKey.objects.get().revoked_at is None


@pytest.mark.django_db(transaction=True)
def test_of_the_same_form_sent_at_once_one_issues_a_key() -> None:
    partner, user = Partner.objects.create(name="Acme"), User.objects.create_user("boss")

    def send(_: int) -> bool:
        try:
            services.rotate_key(partner.pk, timedelta(0), user.pk, newest=0)
        except services.KeyIssuedMeanwhile:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(6) as threads:
        assert sorted(threads.map(send, range(6))) == [False] * 5 + [True]
    assert PartnerApiKey.objects.filter(revoked_at=None).count() == 1


@pytest.mark.parametrize(("overlap", "hours"), [("1", 1), ("24", 24), ("168", 168)])
def test_rotation_lets_the_other_keys_live_on_for_the_chosen_time(
    admin_client: Client, acme: Partner, overlap: str, hours: int
) -> None:
    old, key = PartnerApiKey.issue(acme)

    answer = issue(admin_client, acme, overlap)

    old.refresh_from_db()
    assert old.expires_at is not None and old.revoked_at is None
    assert abs(old.expires_at - timezone.now() - timedelta(hours=hours)) < timedelta(minutes=5)
    for each in (key, *keys_shown(answer)):
        assert Client(headers={"X-API-Key": each}).get("/api/partners/me").status_code == 200
    entry = told(LogEntry.objects.get())
    assert f"the others end in {hours} hours" in entry.note
    assert [(change.label, change.before) for change in entry.changes] == [(f"API key {old} expires", "-")]


def test_other_keys_are_revoked_at_once_or_stay_as_asked(admin_client: Client, acme: Partner) -> None:
    old, _ = PartnerApiKey.issue(acme)

    issue(admin_client, acme, "keep")
    old.refresh_from_db()
    kept = (old.expires_at, old.revoked_at)
    issue(admin_client, acme, "0")

    assert kept == (None, None)
    assert PartnerApiKey.objects.filter(revoked_at=None).get() == PartnerApiKey.objects.latest("pk")


def test_live_keys_are_revoked_by_a_rotation_only_after_a_question(
    admin_client: Client, acme: Partner
) -> None:
    old, _ = PartnerApiKey.issue(acme)
    data = {**staff.sent(admin_client.get(issue_address(acme)).context["form"]), "overlap": "0"}

    asked = admin_client.post(issue_address(acme), data)

    html = asked.content.decode()
    assert "Revoke the other API keys of Acme and issue a new one?" in html and str(old) in html
    assert keys_shown(asked) == [] and PartnerApiKey.objects.get().revoked_at is None
    # The page sends back what it was asked with.
    hidden = dict(re.findall(r'<input type="hidden" name="(\w+)" value="([^"]*)">', html))
    (key,) = keys_shown(admin_client.post(issue_address(acme), hidden))
    assert PartnerApiKey.objects.get(revoked_at=None).digest == digest_of(key)


def test_a_deleted_partner_leaves_its_leads_and_their_origin(admin_client: Client, acme: Partner) -> None:
    lead = Lead.objects.create(name="Ada", phone="+14155550100", partner=acme)
    PartnerApiKey.issue(acme)
    path = staff.address(Partner, "delete", acme.pk)

    html = admin_client.post(path, {}).content.decode()
    assert "1 API key goes with it." in html and "1 lead stays, with no partner any more." in html
    assert Partner.objects.exists()
    admin_client.post(path, {"confirmed": "yes"})

    lead.refresh_from_db()
    assert lead.partner is None and not Partner.objects.exists() and not PartnerApiKey.objects.exists()
    history = staff.page(admin_client, staff.address(Lead, "history", lead.pk))
    assert "Came from the partner Acme, which was deleted" in history


@pytest.mark.parametrize("data", [{}, {"overlap": "5", "newest": "0"}, {"overlap": "24", "newest": "x"}])
def test_a_form_that_is_none_issues_nothing(
    admin_client: Client, acme: Partner, data: dict[str, str]
) -> None:
    answer = admin_client.post(issue_address(acme), data)

    assert answer.status_code == 200 and answer.context["form"].errors
    assert not PartnerApiKey.objects.exists()


def test_a_key_is_revoked_after_a_question(admin_client: Client, acme: Partner) -> None:
    key, _ = PartnerApiKey.issue(acme)
    other, _ = PartnerApiKey.issue(acme)

    asked = [admin_client.get(revoke_address(key)), admin_client.post(revoke_address(key))]
    assert all("cannot be undone" in answer.content.decode() for answer in asked)
    assert not PartnerApiKey.objects.exclude(revoked_at=None).exists()
    first = admin_client.post(revoke_address(key), {"confirmed": "yes"}, follow=True).content.decode()
    key.refresh_from_db()
    revoked_at = key.revoked_at
    second = admin_client.post(revoke_address(key), {"confirmed": "yes"}, follow=True).content.decode()

    key.refresh_from_db()
    other.refresh_from_db()
    assert "is revoked; requests with it are refused now." in first
    assert "was revoked before." in second
    assert revoked_at is not None and key.revoked_at == revoked_at
    assert other.revoked_at is None
    assert (
        sorted(told(entry).changes[0].label for entry in LogEntry.objects.all())
        == [f"API key {key} revoked"] * 2
    )


def test_chosen_keys_are_revoked_on_their_list_after_a_question(admin_client: Client, acme: Partner) -> None:
    keys = [PartnerApiKey.issue(acme)[0] for _ in range(3)]
    data = {"action": "revoke", "_selected_action": [key.pk for key in keys[:2]]}

    asked = admin_client.post(staff.address(PartnerApiKey, "changelist"), data)
    assert "Revoke 2 API keys?" in asked.content.decode()
    assert not PartnerApiKey.objects.exclude(revoked_at=None).exists()
    data["confirmed"] = "yes"
    answer = admin_client.post(staff.address(PartnerApiKey, "changelist"), data, follow=True)

    assert "Revoked 2 API keys" in answer.content.decode()
    assert PartnerApiKey.objects.filter(revoked_at=None).get() == keys[2]


def test_issuing_and_revoking_are_refused_without_permission(admin_client: Client, acme: Partner) -> None:
    key, _ = PartnerApiKey.issue(acme)
    viewer = staff.staff_client("partners.view_partner", "partners.view_partnerapikey")

    for path in (issue_address(acme), revoke_address(key)):
        assert viewer.get(path).status_code == 403
        assert viewer.post(path, {"confirmed": "yes", "overlap": "0"}).status_code == 403
        assert Client().post(path).status_code == 302
    html = staff.page(viewer, staff.address(Partner, "change", acme.pk))
    assert issue_address(acme) not in html and revoke_address(key) not in html
    assert PartnerApiKey.objects.filter(revoked_at=None).count() == 1


def test_a_key_of_another_partner_is_not_revoked(admin_client: Client, acme: Partner) -> None:
    key, _ = PartnerApiKey.issue(acme)
    bolt = Partner.objects.create(name="Bolt")

    path = reverse("admin:partners_partner_revoke_key", args=[bolt.pk, key.pk])

    assert admin_client.post(path, {"confirmed": "yes"}).status_code == 404
    assert admin_client.get(staff.address(PartnerApiKey, "add")).status_code == 403


def with_results(partner: Partner, number: int) -> None:
    """Give a partner two leads, three calls, one booked meeting and one cancelled."""
    host = MeetingHost.objects.get_or_create(name="Host")[0]
    first, _ = (
        Lead.objects.create(name="Lead", phone=f"+1415555{number:03}{place}", partner=partner)
        for place in range(2)
    )
    now = timezone.now()
    for hour in range(3):
        Call.objects.create(lead=first, started_at=now - timedelta(hours=hour + 1), ended_at=now)
    for status in ("scheduled", "cancelled"):
        at = now + timedelta(days=number)
        Meeting.objects.create(lead=first, host=host, scheduled_time=at, duration=30, status=status)


def cells(html: str, name: str) -> list[str]:
    """Return the texts of a column of the list."""
    found = re.findall(rf"<td[^>]*field-{name}[^>]*>(.*?)</td>", html, re.S)
    return [re.sub("<[^>]*>", "", cell).strip() for cell in found]


def test_the_list_and_the_page_tell_leads_and_results(admin_client: Client, acme: Partner) -> None:
    with_results(acme, 1)
    Partner.objects.create(name="Bolt")

    html = staff.page(admin_client, staff.address(Partner, "changelist"))
    page = staff.page(admin_client, staff.address(Partner, "change", acme.pk))

    figures = [cells(html, name) for name in ("leads", "calls", "meetings", "booking_rate")]
    assert figures == [["0", "2"], ["0", "3"], ["0", "1"], ["-", "33.3 %"]]
    assert f"/admin/leads/lead/?partner__id__exact={acme.pk}" in page and "33.3 %" in page
    assert staff.ids_listed(admin_client, Lead, partner__id__exact=acme.pk) == set(
        Lead.objects.values_list("pk", flat=True)
    )


def test_a_large_database_shows_what_the_background_job_counted(
    admin_client: Client, acme: Partner, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_results(acme, 1)
    gone = PartnerResult.objects.create(partner_id=10**9, leads=1, calls=1, meetings=1)
    monkeypatch.setattr(results, "COUNTED_AT_ONCE", -1)

    before = staff.page(admin_client, staff.address(Partner, "changelist"))
    count_partner_results()
    after = staff.page(admin_client, staff.address(Partner, "changelist"))
    with_results(acme, 2)
    later = staff.page(admin_client, staff.address(Partner, "changelist"))

    assert cells(before, "leads") == ["-"] and "not counted yet" in before
    assert cells(after, "leads") == cells(later, "leads") == ["2"] and "as counted" in after
    assert not PartnerResult.objects.filter(pk=gone.pk).exists()
    count_partner_results()
    assert cells(staff.page(admin_client, staff.address(Partner, "changelist")), "leads") == ["4"]


def test_the_list_says_when_a_key_was_used_last(admin_client: Client, acme: Partner) -> None:
    _, key = PartnerApiKey.issue(acme)
    before = staff.page(admin_client, staff.address(Partner, "changelist"))
    Client(headers={"X-API-Key": key}).get("/api/partners/me")

    after = staff.page(admin_client, staff.address(Partner, "changelist"))

    assert cells(before, "last_used") == ["never"]
    assert cells(after, "last_used")[0].startswith(f"{timezone.now():%Y-%m}")
