"""What PostgreSQL itself enforces about leads, whoever writes."""

import psycopg
import pytest

from database.tests.raw_sql import (
    assert_one_scan_of,
    constraints_of,
    copy_in,
    execute,
    insert,
    insert_at_once,
    is_now,
    refused_by,
    required_columns,
    stored,
)
from leads.models import Lead

PHONE = "+14155550134"
OTHER_PHONE = "+14155550135"
WRITERS = 40

# (constraint, what makes the row a forbidden one); a lead with PHONE is there.
FORBIDDEN = [
    ("leads_phone_unique", {"phone": PHONE}),
    ("leads_status_known", {"status": "completed"}),
    ("leads_status_known", {"status": "PENDING"}),
    ("leads_status_known", {"status": ""}),
    ("leads_phone_not_empty", {"phone": ""}),
    ("leads_not_duplicate_of_itself", {"id": 10**12, "duplicate_of_id": 10**12}),
    ("leads_attempts_not_negative", {"attempts": -1}),
    ("leads_duplicate_of_id_80cbf043_fk_leads_id", {"duplicate_of_id": 0}),
    ("leads_partner_id_aa947b27_fk_partners_id", {"partner_id": 0}),
]

# A mix of everything that the claim must leave out, in an order that says nothing about the ids.
MANY_LEADS = """
INSERT INTO leads (name, phone, status, partner_id, phone_valid, do_not_call, priority, next_attempt_at, created_at)
SELECT 'Lead ' || n, '+1415' || n, (%(statuses)s::text[])[1 + n %% 8], %(partner)s + n %% 10, n %% 5 > 0,
    n %% 7 = 0, n * 7919 %% 4, CASE WHEN n %% 3 > 0 THEN now() + (n * 6007 %% 1000) * interval '1 second' END,
    now() - n * interval '1 minute'
FROM generate_series(1, 8000) n
"""


@pytest.fixture
def lead(db) -> int:
    return insert("leads", name="Ada", phone=PHONE)


@pytest.fixture
def partner_of_many_leads(db) -> int:
    partner = min(insert("partners", name=f"Partner {number}") for number in range(10))
    execute(MANY_LEADS, {"statuses": Lead.Status.values, "partner": partner})
    execute(
        "INSERT INTO leads (name, phone, duplicate_of_id, status, phone_valid)"
        " SELECT name, phone, id, status, phone_valid FROM leads WHERE id % 10 = 0"
    )
    execute("ANALYZE leads")
    return partner


@pytest.mark.parametrize(("constraint", "values"), FORBIDDEN)
def test_a_forbidden_lead_is_refused_by_its_constraint(lead, constraint, values):
    with refused_by(constraint):
        insert("leads", **({"name": "Bob", "phone": OTHER_PHONE} | values))


@pytest.mark.django_db
def test_no_constraint_is_left_untried():
    assert constraints_of("leads") == {constraint for constraint, _ in FORBIDDEN}


def test_a_lead_cannot_be_updated_into_a_forbidden_one(lead):
    other = insert("leads", name="Bob", phone=OTHER_PHONE)

    with refused_by("leads_phone_unique"):
        execute("UPDATE leads SET phone = %s WHERE id = %s", [PHONE, other])
    with refused_by("leads_not_duplicate_of_itself"):
        execute("UPDATE leads SET duplicate_of_id = id WHERE id = %s", [other])


def test_any_number_of_duplicates_shares_the_phone_until_one_of_them_stands_for_itself(lead):
    duplicates = [insert("leads", name="Ada", phone=PHONE, duplicate_of_id=lead) for _ in range(3)]

    with refused_by("leads_phone_unique"):
        execute("UPDATE leads SET duplicate_of_id = NULL WHERE id = %s", [duplicates[0]])


@pytest.mark.django_db
@pytest.mark.parametrize("status", Lead.Status.values)
def test_each_status_that_the_model_knows_is_accepted(status):
    insert("leads", name="Ada", phone=PHONE, status=status)


@pytest.mark.django_db
@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_lead_written_with_name_and_phone_only_gets_all_defaults(write):
    row = stored("leads", write("leads", name="Ada", phone=PHONE))

    assert required_columns("leads") == {"name", "phone"}
    assert {
        "status": "pending", "phone_valid": False, "do_not_call": False, "priority": 0, "attempts": 0
    }.items() <= row.items()  # fmt: skip
    assert is_now(row.pop("created_at"))
    assert is_now(row.pop("updated_at"))
    assert {name for name, value in row.items() if value is None} == {
        "email", "country_code", "language", "timezone", "partner_id", "duplicate_of_id",
        "next_attempt_at", "claimed_by", "lease_expires_at",
    }  # fmt: skip


@pytest.mark.django_db(transaction=True)
def test_of_many_leads_with_one_phone_written_at_once_one_stays():
    results = insert_at_once("leads", [{"name": f"{n}", "phone": PHONE} for n in range(WRITERS)])

    refusals = [error for error in results if error]
    assert len(refusals) == WRITERS - 1
    assert {type(error) for error in refusals} == {psycopg.errors.UniqueViolation}
    assert {error.diag.constraint_name for error in refusals} == {"leads_phone_unique"}
    assert execute("SELECT count(*) FROM leads") == [(1,)]


def test_the_newest_leads_are_one_index_scan(partner_of_many_leads):
    assert_one_scan_of("leads_newest", "SELECT * FROM leads ORDER BY created_at DESC, id DESC LIMIT 50")


@pytest.mark.parametrize("status", Lead.Status.values)
def test_the_leads_of_a_status_are_one_index_scan(partner_of_many_leads, status):
    query = "SELECT * FROM leads WHERE status = %s ORDER BY created_at DESC, id DESC LIMIT 50"

    assert_one_scan_of("leads_by_status", query, [status])


def test_the_leads_of_a_partner_are_one_index_scan(partner_of_many_leads):
    query = "SELECT * FROM leads WHERE partner_id = %s ORDER BY created_at DESC, id DESC LIMIT 50"

    assert_one_scan_of("leads_by_partner", query, [partner_of_many_leads])


@pytest.mark.parametrize("lock", ["", "FOR UPDATE SKIP LOCKED"])
def test_the_claim_of_queued_leads_is_one_index_scan(partner_of_many_leads, lock):
    query = f"""
        SELECT * FROM leads
        WHERE status = 'queued' AND NOT do_not_call AND phone_valid AND duplicate_of_id IS NULL
        ORDER BY priority DESC, next_attempt_at ASC NULLS FIRST, id LIMIT 50 {lock}
    """

    assert_one_scan_of("leads_claim_order", query)
