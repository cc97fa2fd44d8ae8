"""What PostgreSQL itself enforces about partners and their keys, whoever writes."""

import pytest

from database.tests.raw_sql import (
    assert_one_scan_of,
    constraints_of,
    copy_in,
    execute,
    insert,
    is_now,
    refused_by,
    required_columns,
    stored,
)

pytestmark = pytest.mark.django_db

DIGEST = "0123456789abcdef" * 4
OTHER_DIGEST = "f" * 64

# (constraint, table, what makes the row a forbidden one); a row with name "Acme" and its legacy key is there.
FORBIDDEN = [
    ("partners_name_unique", "partners", {"name": "Acme"}),
    ("partners_name_not_empty", "partners", {"name": ""}),
    ("partners_rate_limit_positive", "partners", {"rate_limit": 0}),
    ("partners_rate_limit_positive", "partners", {"rate_limit": -1}),
    ("partner_api_keys_digest_unique", "partner_api_keys", {"digest": DIGEST}),
    ("partner_api_keys_one_legacy_key", "partner_api_keys", {"is_legacy": True}),
    ("partner_api_keys_digest", "partner_api_keys", {"digest": ""}),
    ("partner_api_keys_digest", "partner_api_keys", {"digest": "ais_a-key-in-clear-text"}),
    ("partner_api_keys_digest", "partner_api_keys", {"digest": OTHER_DIGEST.upper()}),
    ("partner_api_keys_digest", "partner_api_keys", {"digest": OTHER_DIGEST + "\n"}),
    ("partner_api_keys_digest", "partner_api_keys", {"digest": OTHER_DIGEST + "f"}),
    ("partner_api_keys_partner_id_86da1b76_fk_partners_id", "partner_api_keys", {"partner_id": 0}),
]


@pytest.fixture
def partner() -> int:
    partner = insert("partners", name="Acme")
    insert("partner_api_keys", partner_id=partner, prefix="ais_1", digest=DIGEST, is_legacy=True)
    return partner


def acceptable(table: str, partner: int) -> dict[str, object]:
    if table == "partners":
        return {"name": "Another"}
    return {"partner_id": partner, "prefix": "ais_2", "digest": OTHER_DIGEST}


@pytest.mark.parametrize(("constraint", "table", "values"), FORBIDDEN)
def test_a_forbidden_row_is_refused_by_its_constraint(partner, constraint, table, values):
    with refused_by(constraint):
        insert(table, **(acceptable(table, partner) | values))


@pytest.mark.parametrize("table", ["partners", "partner_api_keys"])
def test_the_same_row_without_the_forbidden_value_is_accepted(partner, table):
    insert(table, **acceptable(table, partner))


def test_no_constraint_is_left_untried():
    tried = {constraint for constraint, _, _ in FORBIDDEN}

    assert constraints_of("partners", "partner_api_keys") == tried


def test_a_partner_has_many_live_keys_and_one_legacy_key(partner):
    for number in range(3):
        insert("partner_api_keys", partner_id=partner, prefix="ais_", digest=f"{number:064x}")
    other = insert("partners", name="Other")
    insert("partner_api_keys", partner_id=other, prefix="ais_", digest=OTHER_DIGEST, is_legacy=True)

    assert execute("SELECT count(*) FROM partner_api_keys") == [(5,)]


@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_partner_written_with_a_name_only_gets_all_defaults(write):
    row = stored("partners", write("partners", name="Bare"))

    assert required_columns("partners") == {"name"}
    assert (row["is_active"], row["rate_limit"]) == (True, 100)
    assert is_now(row["created_at"])
    assert is_now(row["updated_at"])


@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_key_written_with_the_required_columns_only_gets_all_defaults(write):
    partner = insert("partners", name="Bare")
    values = acceptable("partner_api_keys", partner)

    row = stored("partner_api_keys", write("partner_api_keys", **values))

    assert required_columns("partner_api_keys") == set(values)
    assert row["is_legacy"] is False
    assert [row["last_used_at"], row["expires_at"], row["revoked_at"]] == [None, None, None]
    assert is_now(row["created_at"])


def test_the_newest_partners_are_one_index_scan():
    execute(
        "INSERT INTO partners (name, created_at)"
        " SELECT 'Partner ' || n, now() - n * interval '1 minute' FROM generate_series(1, 3000) n"
    )
    execute("ANALYZE partners")

    assert_one_scan_of("partners_newest", "SELECT * FROM partners ORDER BY created_at DESC, id DESC LIMIT 50")
