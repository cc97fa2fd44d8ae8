"""What PostgreSQL itself enforces about calls and their turns, whoever writes."""

import psycopg
import pytest

from calls.models import Call, Turn
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

CALLERS = 40
NOON = "2026-05-04 12:00+00"

# (constraint, what makes the call a forbidden one); an active call CA1 of another lead is there.
FORBIDDEN_CALLS = [
    ("calls_twilio_call_sid_unique", {"twilio_call_sid": "CA1"}),
    ("calls_outcome_known", {"outcome": "completed"}),
    ("calls_outcome_known", {"outcome": "BUSY"}),
    ("calls_outcome_known", {"outcome": ""}),
    ("calls_end_after_start", {"started_at": NOON, "ended_at": "2026-05-04 11:59:59.999999+00"}),
    ("calls_duration_not_negative", {"duration": -0.001}),
    ("calls_duration_not_negative", {"duration": float("nan")}),
    ("calls_duration_not_negative", {"duration": float("inf")}),
    ("calls_duration_not_negative", {"duration": float("-inf")}),
    ("calls_lead_id_613572e1_fk_leads_id", {"lead_id": 0}),
]
# The same for turns; turn 1 is there.
FORBIDDEN_TURNS = [
    ("conversation_history_call_turn", {"turn": 1}),
    ("conversation_history_role_known", {"role": "assistant"}),
    ("conversation_history_role_known", {"role": "AI"}),
    ("conversation_history_turn_positive", {"turn": 0}),
    ("conversation_history_turn_positive", {"turn": -1}),
    ("conversation_history_call_id_182280c7_fk_calls_id", {"call_id": 0}),
]

# Many for each lead and call: a few rows are sorted in memory for less than their order in the index costs.
# They lie in another order than that of their times, so that reading all of the newest is no short cut.
MANY_CALLS = """
INSERT INTO calls (lead_id, outcome, started_at, ended_at)
SELECT %(lead)s + n %% 10, (%(outcomes)s::text[])[1 + n %% 5], now() - n * interval '1 minute', now()
FROM generate_series(1, 8000) n ORDER BY n * 7919 %% 8000
"""
MANY_TURNS = """
INSERT INTO conversation_history (call_id, turn, role, message)
SELECT id, turn, 'ai', 'Good morning.' FROM (SELECT id FROM calls LIMIT 20) calls, generate_series(1, 400) turn
"""


@pytest.fixture
def lead(db) -> int:
    return insert("leads", name="Ada", phone="+14155550134")


@pytest.fixture
def call(lead) -> int:
    return insert("calls", lead_id=lead, twilio_call_sid="CA1")


@pytest.fixture
def lead_of_many_calls(db) -> int:
    lead = min(insert("leads", name=f"Lead {n}", phone=f"+1415{n}") for n in range(10))
    execute(MANY_CALLS, {"lead": lead, "outcomes": [*Call.Outcome.values, None]})
    execute(MANY_TURNS)
    execute("ANALYZE calls, conversation_history")
    return lead


@pytest.mark.parametrize(("constraint", "values"), FORBIDDEN_CALLS)
def test_a_forbidden_call_is_refused_by_its_constraint(call, constraint, values):
    other_lead = insert("leads", name="Bob", phone="+14155550135")

    with refused_by(constraint):
        insert("calls", **({"lead_id": other_lead} | values))


@pytest.mark.parametrize(("constraint", "values"), FORBIDDEN_TURNS)
def test_a_forbidden_turn_is_refused_by_its_constraint(call, constraint, values):
    turn = {"call_id": call, "role": "ai", "message": "Good morning."}
    insert("conversation_history", **turn, turn=1)

    with refused_by(constraint):
        insert("conversation_history", **(turn | {"turn": 2} | values))


def test_a_second_active_call_of_a_lead_is_refused(lead, call):
    with refused_by("calls_one_active_per_lead"):
        insert("calls", lead_id=lead)


@pytest.mark.django_db
def test_no_constraint_is_left_untried():
    tried = {constraint for constraint, _ in FORBIDDEN_CALLS + FORBIDDEN_TURNS}

    assert constraints_of("calls", "conversation_history") == tried | {"calls_one_active_per_lead"}


def test_the_next_call_may_start_once_the_last_one_ended_and_then_that_one_cannot_be_reopened(lead, call):
    execute("UPDATE calls SET ended_at = now() + interval '1 minute' WHERE id = %s", [call])
    insert("calls", lead_id=lead)

    with refused_by("calls_one_active_per_lead"):
        execute("UPDATE calls SET ended_at = NULL WHERE id = %s", [call])


def test_a_call_may_end_in_the_instant_in_which_it_started_after_no_seconds(lead):
    insert("calls", lead_id=lead, started_at=NOON, ended_at=NOON, duration=0)


def test_many_ended_calls_have_no_twilio_call_sid(lead):
    for _ in range(3):
        insert("calls", lead_id=lead, started_at=NOON, ended_at=NOON)


@pytest.mark.parametrize("outcome", [*Call.Outcome.values, None])
def test_each_outcome_that_the_model_knows_is_accepted(lead, outcome):
    insert("calls", lead_id=lead, outcome=outcome)


@pytest.mark.parametrize("role", Turn.Role.values)
def test_each_role_that_the_model_knows_is_accepted(call, role):
    insert("conversation_history", call_id=call, turn=1, role=role, message="")


@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_call_written_with_a_lead_only_is_active_and_starts_now(lead, write):
    row = stored("calls", write("calls", lead_id=lead))

    assert required_columns("calls") == {"lead_id"}
    assert is_now(row.pop("started_at"))
    assert is_now(row.pop("created_at"))
    assert {name for name, value in row.items() if value is not None} == {"id", "lead_id"}


@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_turn_written_with_the_required_columns_only_gets_its_time(call, write):
    turn = {"call_id": call, "turn": 1, "role": "user", "message": "Who is this?"}

    row = stored("conversation_history", write("conversation_history", **turn))

    assert required_columns("conversation_history") == set(turn)
    assert is_now(row["created_at"])


@pytest.mark.django_db(transaction=True)
def test_of_many_calls_of_one_lead_started_at_once_one_is_active():
    lead = insert("leads", name="Ada", phone="+14155550134")

    results = insert_at_once("calls", [{"lead_id": lead}] * CALLERS)

    refusals = [error for error in results if error]
    assert len(refusals) == CALLERS - 1
    assert {type(error) for error in refusals} == {psycopg.errors.UniqueViolation}
    assert {error.diag.constraint_name for error in refusals} == {"calls_one_active_per_lead"}
    assert execute("SELECT lead_id FROM calls WHERE ended_at IS NULL") == [(lead,)]


def test_the_newest_calls_are_one_index_scan(lead_of_many_calls):
    assert_one_scan_of("calls_newest", "SELECT * FROM calls ORDER BY started_at DESC, id DESC LIMIT 50")


def test_the_calls_of_a_lead_are_one_index_scan(lead_of_many_calls):
    query = "SELECT * FROM calls WHERE lead_id = %s ORDER BY started_at DESC, id DESC LIMIT 50"

    assert_one_scan_of("calls_by_lead", query, [lead_of_many_calls])


@pytest.mark.parametrize("outcome", Call.Outcome.values)
def test_the_calls_of_an_outcome_are_one_index_scan(lead_of_many_calls, outcome):
    query = "SELECT * FROM calls WHERE outcome = %s ORDER BY started_at DESC, id DESC LIMIT 50"

    assert_one_scan_of("calls_by_outcome", query, [outcome])


def test_the_turns_of_a_call_are_one_index_scan(lead_of_many_calls):
    call = execute("SELECT min(call_id) FROM conversation_history")[0][0]
    query = "SELECT * FROM conversation_history WHERE call_id = %s ORDER BY turn LIMIT 50"

    assert_one_scan_of("conversation_history_call_turn", query, [call])
