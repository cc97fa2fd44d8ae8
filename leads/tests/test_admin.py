from typing import Any

import pytest
from django.test import Client

from leads.models import Lead
from partners.models import Partner
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


def lead(number: int = 0, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


def test_every_page_of_leads_opens_with_awkward_texts(admin_client: Client) -> None:
    for number, text in enumerate(staff.NASTY):
        partner = Partner.objects.create(name=text)
        lead(number, name=text, email=text, language=text, timezone=text, partner=partner, claimed_by=text)
    staff.check_pages_open(admin_client, Lead, "+14155550001", "1", "0", "9" * 30, "+", "()", "%", "_")

    html = staff.page(admin_client, staff.address(Lead, "changelist"))
    assert html.count(staff.ESCAPED_SCRIPT) >= 3


def test_the_list_makes_no_query_per_row(admin_client: Client) -> None:
    def make(number: int) -> None:
        lead(number, partner=Partner.objects.create(name=f"Partner {number}"))

    staff.check_lists_have_no_query_per_row(admin_client, Lead, make)


def test_leads_are_closed_to_staff_without_permissions() -> None:
    staff.check_closed_to_staff_without_permissions(Lead, lead())


@pytest.mark.parametrize(
    "typed",
    [
        "415 555 0134",
        "(415) 555-0134",
        "+14155550134",
        "+1 415 555 0134",
        "415.555.0134",
        " 4155550134 ",
        "555-0134",
    ],
)
def test_a_phone_is_found_in_any_spelling(admin_client: Client, typed: str) -> None:
    wanted = lead(134)
    lead(135)

    assert staff.ids_listed(admin_client, Lead, q=typed) == {wanted.pk}


def test_leads_are_found_by_words_of_name_and_email_and_by_id(admin_client: Client) -> None:
    anna = lead(1, name="Anna Smith", email="anna@example.com")
    moshe = lead(2, name=staff.HEBREW)

    assert staff.ids_listed(admin_client, Lead, q="smith anna") == {anna.pk}
    assert staff.ids_listed(admin_client, Lead, q="ANNA@example") == {anna.pk}
    assert staff.ids_listed(admin_client, Lead, q=staff.HEBREW.split()[0]) == {moshe.pk}
    assert moshe.pk in staff.ids_listed(admin_client, Lead, q=str(moshe.pk))
    assert staff.ids_listed(admin_client, Lead, q="nobody") == set()


def test_filters_narrow_the_list(admin_client: Client) -> None:
    acme = Partner.objects.create(name="Acme")
    queued = lead(1, status="queued", partner=acme)
    lead(2)

    assert staff.ids_listed(admin_client, Lead, status__exact="queued") == {queued.pk}
    assert staff.ids_listed(admin_client, Lead, partner__id__exact=acme.pk) == {queued.pk}


def test_a_lead_is_added_with_its_phone_in_e164(admin_client: Client) -> None:
    answer = staff.add(admin_client, Lead, name="Anna", phone="(415) 555-0134", country_code="US")

    assert answer.status_code == 302
    added = Lead.objects.get()
    assert (added.phone, added.phone_valid, added.email) == ("+14155550134", True, None)


def test_the_phone_of_another_lead_is_refused_in_any_spelling(admin_client: Client) -> None:
    lead(134)
    other = lead(135)

    for answer in (
        staff.add(admin_client, Lead, name="Ben", phone="+1 (415) 555-0134"),
        staff.edit(admin_client, other, phone="+14155550134"),
    ):
        assert list(staff.errors_of(answer)) == ["phone"]
        assert "Another lead has this phone number" in answer.content.decode()


def test_the_phone_of_another_lead_is_kept_by_its_duplicate(admin_client: Client) -> None:
    first = lead(134)

    answer = staff.add(admin_client, Lead, name="Ben", phone=first.phone, duplicate_of=str(first.pk))

    assert answer.status_code == 302
    assert Lead.objects.filter(phone=first.phone, duplicate_of=first).count() == 1


def test_a_lead_cannot_be_its_own_duplicate(admin_client: Client) -> None:
    alone = lead(1)

    errors = staff.errors_of(staff.edit(admin_client, alone, duplicate_of=str(alone.pk)))

    assert errors == {"duplicate_of": ["A lead cannot be its own duplicate."]}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("phone", ""),
        ("phone", "   "),
        ("timezone", "Mars/Olympus"),
        ("timezone", "../etc/passwd"),
        ("timezone", "x" * 10_000),
        ("status", "unheard of"),
        ("duplicate_of", "9" * 30),
        ("duplicate_of", "0"),
        ("partner", "0"),
        ("priority", "9" * 30),
        ("next_attempt_at_0", "tomorrow"),
    ],
)
def test_a_value_that_is_none_is_refused_beside_its_field(
    admin_client: Client, field: str, text: str
) -> None:
    errors = staff.errors_of(staff.edit(admin_client, lead(1), **{field: text}))

    assert list(errors) == [field.removesuffix("_0")]


def test_a_phone_too_long_for_its_index_is_refused(admin_client: Client) -> None:
    phone = "".join(chr(0x4E00 + number) for number in range(10_000))

    assert staff.errors_of(staff.add(admin_client, Lead, name="Anna", phone=phone))


def test_long_and_foreign_texts_are_saved_as_they_are(admin_client: Client) -> None:
    row = lead(1)

    for text in (staff.SCRIPT, staff.HEBREW, staff.ARABIC, staff.LONG.strip()):
        assert staff.edit(admin_client, row, name=text).status_code == 302
        row.refresh_from_db()
        assert row.name == text


def test_saving_one_field_leaves_what_a_worker_wrote_meanwhile(admin_client: Client) -> None:
    row = lead(1)
    path = staff.address(Lead, "change", row.pk)
    data = staff.sent(admin_client.get(path).context["adminform"].form)
    Lead.objects.filter(pk=row.pk).update(status="calling", attempts=3)

    assert admin_client.post(path, {**data, "name": "Anna"}).status_code == 302

    row.refresh_from_db()
    assert (row.name, row.status, row.attempts) == ("Anna", "calling", 3)
