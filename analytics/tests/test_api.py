"""Figures over REST: each is compared with rows counted by hand."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest
from django.contrib.auth import get_user_model
from django.db import connection
from django.test import Client
from django.utils import timezone

from analytics import queries
from calls.models import Call
from leads.models import Campaign, Lead
from meetings.models import Meeting, MeetingHost
from scheduler.models import StaffToken

pytestmark = pytest.mark.django_db

LONG_AGO = datetime(2025, 1, 1, tzinfo=UTC)


@pytest.fixture
def staff() -> Client:
    user = get_user_model().objects.create_superuser("boss")
    return Client(headers={"Authorization": f"Bearer {StaffToken.issue(user)[1]}"})


def lead(number: int, **values) -> Lead:
    return Lead.objects.create(name=f"Lead {number}", phone=f"+1415555{number:04d}", **values)


def call(of: Lead, started: datetime = LONG_AGO, **values) -> Call:
    return Call.objects.create(lead=of, started_at=started, ended_at=started + timedelta(minutes=1), **values)


def meeting(of: Lead, status: str, hour: int, **values) -> Meeting:
    host, _ = MeetingHost.objects.get_or_create(name="Host")
    return Meeting.objects.create(
        lead=of, host=host, status=status, scheduled_time=LONG_AGO + timedelta(hours=hour), **values
    )


def created_long_ago(made: Meeting) -> None:
    Meeting.objects.filter(pk=made.pk).update(created_at=LONG_AGO)


def test_the_overview_of_nothing_is_zeros(staff):
    assert set(staff.get("/api/analytics/overview").json().values()) == {0}


def test_the_overview_counts_everything_and_today(staff, monkeypatch):
    one, two = lead(1), lead(2)
    # The clock of the transaction, at which its meetings are made, stands still: midnight does not come between.
    with connection.cursor() as cursor:
        cursor.execute("SELECT now()")
        (moment,) = cursor.fetchone()
    monkeypatch.setattr(timezone, "now", lambda: moment)
    call(one, moment, duration=10.0)
    call(two, duration=20.005)
    call(two, LONG_AGO + timedelta(days=1))  # of unknown duration
    created_long_ago(meeting(one, "scheduled", 1))
    meeting(one, "confirmed", 2)
    meeting(one, "completed", 3)
    meeting(two, "cancelled", 4)

    assert staff.get("/api/analytics/overview").json() == {
        "total_leads": 2,
        "total_calls": 3,
        "total_meetings": 1,
        "meetings_booked": 3,
        "meetings_scheduled_today": 2,
        "calls_today": 1,
        "conversion_rate": 33.33,
        "booking_rate": 100.0,
        "average_call_duration": 15.0,
    }


@pytest.mark.parametrize(
    ("zone", "day", "hours"),
    [
        ("UTC", datetime(2026, 3, 29), 24),
        ("Europe/Zurich", datetime(2026, 3, 29), 23),
        ("Europe/Zurich", datetime(2026, 10, 25), 25),
    ],
)
def test_today_is_as_long_as_the_day_is(monkeypatch, zone, day, hours):
    with timezone.override(zone):
        begin = timezone.make_aware(day)
        monkeypatch.setattr(timezone, "localtime", lambda: begin + timedelta(hours=12))
        of = lead(1)
        for second in (-1, 0, hours * 3600 - 1, hours * 3600):
            call(of, datetime.fromtimestamp(begin.timestamp() + second, tz=UTC))

        assert queries.overview()["calls_today"] == 2


def test_an_undecided_call_counts_as_unknown(staff):
    of = lead(1)
    for outcome in ("busy", None, None):
        call(of, outcome=outcome)

    assert staff.get("/api/analytics/call-outcomes").json() == {
        "outcomes": [{"outcome": "unknown", "count": 2}, {"outcome": "busy", "count": 1}]
    }


def test_languages_are_those_of_the_calls(staff):
    of = lead(1, language="fr")
    for language in ("he", "he", "", None):
        call(of, language=language)

    assert staff.get("/api/analytics/language-distribution").json() == {
        "languages": [{"language": "he", "count": 2}, {"language": "unknown", "count": 2}]
    }


def test_statuses_have_their_share(staff):
    for number, status in enumerate(("pending", "pending", "failed")):
        lead(number, status=status)

    assert staff.get("/api/analytics/lead-status-distribution").json() == {
        "statuses": [
            {"status": "pending", "count": 2, "percentage": 66.67},
            {"status": "failed", "count": 1, "percentage": 33.33},
        ],
        "total": 3,
    }


def test_a_call_of_a_voice_counts_once_however_many_meetings_it_led_to(staff):
    of = lead(1)
    booked = call(of, voice_id="v1", voice_name="Rachel", duration=10)
    call(of, voice_id="v1", voice_name="Rachel", duration=20)
    call(of)  # by no voice
    for hour, status in enumerate(("scheduled", "completed", "cancelled")):
        meeting(of, status, hour, call=booked)

    assert staff.get("/api/analytics/voice-performance").json() == [
        {
            "voice_id": "v1",
            "voice_name": "Rachel",
            "total_calls": 2,
            "meetings_booked": 1,
            "conversion_rate": 50.0,
            "avg_duration": 15.0,
        }
    ]


def test_recent_activity_mixes_all_kinds_newest_first(staff):
    old = lead(1)
    Lead.objects.filter(pk=old.pk).update(created_at=LONG_AGO)
    begun = call(old, LONG_AGO + timedelta(hours=1), outcome="no_answer")
    made = meeting(old, "scheduled", 1)

    activities = staff.get("/api/analytics/recent-activity").json()["activities"]

    assert activities == [
        {**activities[0], "id": f"meeting-{made.pk}", "type": "meeting", "status": "success"},
        {
            "id": f"call-{begun.pk}",
            "type": "call",
            "title": "Call with Lead 1",
            "description": "No answer",
            "time": "2025-01-01T01:00:00+00:00",
            "status": "error",
        },
        {**activities[2], "id": f"lead-{old.pk}", "type": "lead", "status": "info"},
    ]
    assert len(staff.get("/api/analytics/recent-activity?limit=1").json()["activities"]) == 1
    for limit in ("0", "-1", "x"):
        assert staff.get(f"/api/analytics/recent-activity?limit={limit}").status_code == 422


def test_more_activities_than_are_listed_may_be_asked_for(staff):
    for number in range(101):
        lead(number)

    for limit, listed in ((100, 100), (101, 100), (500, 100), (10**30, 100), (99, 99)):
        answer = staff.get(f"/api/analytics/recent-activity?limit={limit}")
        assert (answer.status_code, len(answer.json()["activities"])) == (200, listed)


@pytest.mark.django_db(transaction=True)
def test_figures_are_computed_once_until_something_changes(staff, monkeypatch, django_assert_num_queries):
    lead(1)
    # Whoever else tests on this server changes its state. What does is proven by scheduler/rest/tests/test_kept.py.
    with monkeypatch.context() as quiet:
        quiet.setattr("scheduler.rest.kept.STATE", f"SELECT 'quiet since {uuid4()}'")
        assert staff.get("/api/analytics/overview").json()["total_leads"] == 1
        with django_assert_num_queries(2) as seen:  # token, state of the database
            assert staff.get("/api/analytics/overview").json()["total_leads"] == 1
    assert "FROM leads" not in str([query["sql"] for query in seen.captured_queries])
    lead(2)
    assert staff.get("/api/analytics/overview").json()["total_leads"] == 2
    with connection.cursor() as cursor:
        cursor.execute("DELETE FROM leads")
    assert staff.get("/api/analytics/overview").json()["total_leads"] == 0


def test_members_stand_in_the_order_of_the_old_api_and_ours_behind_them(staff):
    Campaign.objects.create(name="Spring")

    assert [*staff.get("/api/analytics/overview").json()] == [
        "total_leads", "total_calls", "total_meetings", "meetings_scheduled_today", "calls_today",
        "conversion_rate", "average_call_duration", "meetings_booked", "booking_rate",
    ]  # fmt: skip
    (campaign,) = staff.get("/api/analytics/active-campaigns").json()["campaigns"]
    assert [*campaign] == ["name", "is_active", "queued", "calling", "completed", "total", "progress"]
