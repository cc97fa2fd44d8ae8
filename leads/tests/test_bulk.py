"""The bulk operations on leads, whose phone is unique among those that are no duplicates."""

import pytest
from django.core.exceptions import FieldError

from database.bulk import bulk_insert, bulk_update, bulk_upsert
from database.errors import RowRefused, ValueRefused
from leads.models import Lead
from partners.models import Partner

pytestmark = pytest.mark.django_db

PHONE = "+1415555"


def leads(number, **values):
    return [{"name": f"Lead {i}", "phone": f"{PHONE}{i:04}", **values} for i in range(number)]


def test_leads_come_in_with_the_defaults_of_the_database():
    partner = Partner.objects.create(name="Acme")

    ids = bulk_insert(Lead, leads(3, partner=partner))

    found = Lead.objects.in_bulk(list(ids))
    assert [(found[id].name, found[id].status, found[id].partner_id) for id in ids] == [
        (f"Lead {i}", "pending", partner.pk) for i in range(3)
    ]
    assert all(lead.created_at and lead.updated_at for lead in found.values())


@pytest.mark.parametrize(
    ("constraint", "bad"),
    [
        ("leads_phone_unique", {"phone": f"{PHONE}0001"}),
        ("leads_status_known", {"status": "Pending"}),
        ("leads_phone_not_empty", {"phone": ""}),
        ("leads_attempts_not_negative", {"attempts": -1}),
        ("leads_partner_id_", {"partner": 0}),
        ("leads_duplicate_of_id_", {"duplicate_of": 0}),
    ],
)
def test_a_forbidden_lead_is_named_without_its_phone(constraint, bad):
    rows = leads(30, status="pending", attempts=0, partner=None, duplicate_of=None)
    rows[17] |= bad

    with pytest.raises(RowRefused, match=f"Row 17 .*{constraint}") as refused:
        bulk_insert(Lead, rows)

    assert refused.value.position == 17
    assert PHONE not in str(refused.value)
    assert refused.value.__cause__ is None and refused.value.__context__ is None
    assert not Lead.objects.exists()


def test_an_upsert_by_phone_leaves_duplicates_alone():
    [first] = bulk_insert(Lead, leads(1))
    [duplicate] = bulk_insert(Lead, leads(1, duplicate_of=first))

    done = bulk_upsert(Lead, leads(2, email="a@example.com"), ["phone"], ["email"])

    assert (done.inserted, done.updated, done.ids[0]) == (1, 1, first)
    assert Lead.objects.get(pk=first).email == "a@example.com"
    assert Lead.objects.get(pk=duplicate).email is None


def test_a_phone_that_comes_twice_is_refused_without_saying_it():
    with pytest.raises(ValueRefused, match="Rows 0 and 2 .*phone") as refused:
        bulk_upsert(Lead, [*leads(2), *leads(1)], ["phone"], ["name"])

    assert PHONE not in str(refused.value)


def test_a_key_of_leads_without_a_unique_index_is_refused_with_those_that_there_are():
    with pytest.raises(FieldError, match="phone"):
        bulk_upsert(Lead, leads(1, email="a@example.com"), ["email"], ["name"])


def test_many_statuses_are_written_and_nothing_else():
    ids = bulk_insert(Lead, leads(50))

    done = bulk_update(Lead, [(id, "queued") for id in ids], ["status"])

    assert done.updated == 50
    assert set(Lead.objects.values_list("status", "attempts")) == {("queued", 0)}
    assert Lead.objects.get(pk=ids[7]).name == "Lead 7"
