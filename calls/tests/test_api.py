"""Calls over REST."""

import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client

from calls.models import Call, Turn
from leads.models import Lead
from partners.models import Partner, PartnerApiKey
from scheduler.models import StaffToken
from scheduler.rest.exports import ROWS_A_READ

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC)


@pytest.fixture
def staff() -> Client:
    user = get_user_model().objects.create_superuser("boss")
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})


@pytest.fixture
def partner() -> Partner:
    return Partner.objects.create(name="Acme")


@pytest.fixture
def partner_client(partner) -> Client:
    return Client(headers={"X-API-Key": PartnerApiKey.issue(partner)[1]})


def call(minute: int = 0, **values) -> Call:
    lead = values.pop("lead", None) or Lead.objects.create(
        name=f"Lead {minute}", phone=f"+14155550{minute:03d}", partner=values.pop("partner", None)
    )
    started = NOON + timedelta(minutes=minute)
    ended = values.pop("ended_at", started + timedelta(seconds=30))
    return Call.objects.create(lead=lead, started_at=started, ended_at=ended, **values)


def ids(answer) -> list[int]:
    return [each["id"] for each in answer.json()]


def test_a_list_is_bare_and_newest_first(staff):
    older, newer = call(1, transcript="Hello"), call(2, ended_at=None)

    answer = staff.get("/api/calls/")

    assert ids(answer) == [newer.pk, older.pk]
    assert answer["X-Total-Count"] == "2"
    assert answer.json()[1] == {
        "id": older.pk,
        "lead_id": older.lead_id,
        "lead_name": "Lead 1",
        "phone": "+14155550001",
        "twilio_call_sid": None,
        "recording_url": None,
        "transcript": "Hello",
        "summary": None,
        "duration": None,
        "language": None,
        "outcome": "unknown",
        "started_at": "2026-03-01T12:01:00+00:00",
        "ended_at": "2026-03-01T12:01:30+00:00",
    }


def test_fields_leave_the_transcript_out_and_out_of_the_query(staff, django_assert_num_queries):
    call(1, transcript="Hello")

    with django_assert_num_queries(3) as seen:  # token, its last use, calls
        answer = staff.get("/api/calls/?fields=id,outcome")

    assert list(answer.json()[0]) == ["id", "outcome"]
    assert "transcript" not in seen.captured_queries[-1]["sql"]


@pytest.mark.parametrize(
    ("asked", "found"),
    [("interested", [1]), ("INTERESTED", [1]), ("unknown", [2]), ("UNKNOWN", [2]), ("", [2, 1])],
)
def test_calls_are_filtered_by_outcome(staff, asked, found):
    call(1, outcome="interested")
    call(2)

    answer = staff.get(f"/api/calls/?outcome={asked}")

    assert [int(each["phone"][-3:]) for each in answer.json()] == found


def test_an_unknown_outcome_is_refused_with_the_allowed_ones(staff):
    answer = staff.get("/api/calls/?outcome=maybe")

    assert answer.status_code == 422
    assert "busy, interested, no_answer, not_interested, unknown" in answer.json()["errors"][0]["detail"]


def test_calls_are_filtered_by_lead_and_time(staff):
    first, second, third = call(1), call(2), call(3)

    assert ids(staff.get(f"/api/calls/?lead_id={first.lead_id}")) == [first.pk]
    after = "2026-03-01T13:02:00%2B01:00"  # noon and two minutes, written in another zone
    assert ids(staff.get(f"/api/calls/?started_after={after}")) == [third.pk, second.pk]
    assert ids(staff.get(f"/api/calls/?started_before={after}")) == [first.pk]
    assert staff.get("/api/calls/?started_after=2026-03-01T12:00:00").status_code == 422  # in no zone
    assert staff.get(f"/api/calls/?lead_id={10**30}").status_code == 422


def test_one_call_comes_with_its_turns_in_order(staff):
    shown = call(1)
    for turn, role in ((2, "user"), (1, "ai"), (3, "system")):
        Turn.objects.create(
            call=shown, turn=turn, role=role, message=f"{turn} \u05e9\u05dc\u05d5\u05dd", created_at=NOON
        )

    answer = staff.get(f"/api/calls/{shown.pk}").json()

    assert [turn["role"] for turn in answer["conversation_history"]] == ["ai", "user", "system"]
    assert answer["conversation_history"][0] == {
        "role": "ai",
        "message": "1 \u05e9\u05dc\u05d5\u05dd",
        "created_at": "2026-03-01T12:00:00+00:00",
    }


def test_a_recording_is_an_address_or_404(staff):
    with_one, without = call(1, recording_url="https://x.example/1.mp3"), call(2)

    assert staff.get(f"/api/calls/{with_one.pk}/recording").json() == {
        "recording_url": "https://x.example/1.mp3"
    }
    missing = staff.get(f"/api/calls/{without.pk}/recording")
    assert (missing.status_code, missing.json()["detail"]) == (404, "Recording not available")
    assert staff.get("/api/calls/99999999999/recording").json()["detail"] == "Call not found"


def test_a_partner_sees_the_calls_of_its_leads_only(partner_client, partner):
    own = call(1, partner=partner, recording_url="https://x.example/1.mp3")
    other = call(2, recording_url="https://x.example/2.mp3", transcript="secret")

    assert ids(partner_client.get("/api/calls/")) == [own.pk]
    assert partner_client.get("/api/calls/")["X-Total-Count"] == "1"
    assert ids(partner_client.get(f"/api/calls/?lead_id={other.lead_id}")) == []
    assert partner_client.get(f"/api/calls/{own.pk}").status_code == 200
    for path in (f"/api/calls/{other.pk}", f"/api/calls/{other.pk}/recording"):
        assert partner_client.get(path).status_code == 404
    assert b"secret" not in b"".join(partner_client.get("/api/calls/export").streaming_content)


def test_the_export_holds_every_call_once_however_many_there_are(staff):
    lead = Lead.objects.create(name="=cmd()", phone="+14155550999")
    number = ROWS_A_READ + 3
    # All begin at the same moment, so only the id tells them apart.
    Call.objects.bulk_create(
        Call(lead=lead, started_at=NOON, ended_at=NOON, transcript='He said "no",\nthen left')
        for _ in range(number)
    )

    answer = staff.get("/api/calls/export")
    text = b"".join(answer.streaming_content).decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))

    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert [int(row["id"]) for row in rows] == sorted(Call.objects.values_list("pk", flat=True), reverse=True)
    assert rows[0]["transcript"] == 'He said "no",\nthen left'
    assert rows[0]["phone"] == "+14155550999"
    assert rows[0]["lead_name"] == "'=cmd()"


@pytest.mark.parametrize("filters", ["", "outcome = 'busy' AND", "lead_id = 7 AND"])
def test_a_page_of_calls_is_one_index_scan(filters):
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        cursor.execute(
            f"EXPLAIN (FORMAT json) SELECT id FROM calls WHERE {filters} (started_at, id) < (now(), 5)"
            " ORDER BY started_at DESC, id DESC LIMIT 51"
        )
        (plan,) = cursor.fetchone()
    text = json.dumps(plan)

    assert text.count("Index") >= 1
    assert '"Sort"' not in text


def test_an_export_whose_database_fails_midway_says_so_in_its_last_line(staff, monkeypatch, caplog):
    monkeypatch.setattr("scheduler.rest.exports.ROWS_A_READ", 1)
    call(1), call(2)
    lines = iter(staff.get("/api/calls/export").streaming_content)
    head = [next(lines), next(lines)]
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE calls RENAME COLUMN summary TO gone")

    assert len(head) == 2
    assert next(lines).startswith(b"The export broke off here")
    assert next(lines, None) is None
    assert "An export broke off: django.db.utils.ProgrammingError" in caplog.text
