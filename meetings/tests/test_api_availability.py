"""Free slots over REST, on the guest's clock."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from django.test import Client

from meetings import offers
from meetings.models import MeetingHost
from meetings.offers import slot_objects
from meetings.tests.booking import host
from meetings.tests.rest import ALWAYS, NOON, TOMORROW, ruth, staff

__all__ = ["ruth", "staff"]

pytestmark = pytest.mark.django_db


def test_availability_is_told_on_the_guests_clock(staff: Client, ruth: MeetingHost) -> None:
    ruth.slot_minutes = 720
    ruth.save()
    day = TOMORROW.date().isoformat()

    answer = staff.get(
        f"/api/meetings/availability?host={ruth.pk}&from={day}&to={day}&timezone=Asia/Kathmandu"
    )

    assert answer.status_code == 200, answer.content
    (only,) = answer.json()["hosts"]
    assert answer.json()["from"] == (TOMORROW - timedelta(hours=17, minutes=45)).isoformat()
    assert (only["host_id"], only["timezone"], only["duration"]) == (ruth.pk, "UTC", 720)
    slot = only["slots"][-1]
    assert slot["start"] == NOON
    assert slot["end"] == (TOMORROW + timedelta(hours=12)).isoformat()
    assert slot["local"] == f"{day}T17:45:00+05:45"


def test_slots_keep_the_guests_clock_across_its_change(staff: Client) -> None:
    begin = int(datetime.fromisoformat("2026-10-25T00:00+00:00").timestamp())
    found = [
        each["local"]
        for each in slot_objects(range(begin, begin + 3 * 3600, 1800), 1800, ZoneInfo("Europe/Zurich"))
    ]

    assert [each[11:] for each in found] == [
        "02:00:00+02:00", "02:30:00+02:00", "02:00:00+01:00", "02:30:00+01:00", "03:00:00+01:00", "03:30:00+01:00",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("query", "status", "pointer"),
    [
        ("from=2026-05-04&to=2026-08-04", 200, ""),
        ("from=2026-05-04T09:00&to=2026-05-04T10:00Z", 200, ""),
        ("from=2026-05-04T09:00+02:00&to=2026-05-04T10:00%2B02:00", 200, ""),
        ("from=2026-05-04&to=2026-08-05", 422, "/query/to"),
        ("from=2026-05-04&to=2026-05-03", 422, "/query/to"),
        ("from=2026-05-04", 422, "/query/to"),
        ("to=2026-05-04", 422, "/query/from"),
        ("from=x&to=2026-05-04", 422, "/query/from"),
        ("from=0001-01-01&to=0001-01-02", 422, "/query/from"),
        ("from=9999-12-31&to=9999-12-31", 422, "/query/from"),
        ("from=2026-05-04&to=2026-05-04&timezone=Mars", 422, "/query/timezone"),
        ("from=2026-05-04&to=2026-05-04&timezone=../etc/passwd", 422, "/query/timezone"),
        ("from=2026-05-04&to=2026-05-04&timezone=", 422, "/query/timezone"),
        ("from=2026-05-04&to=2026-05-04&duration=0", 422, "/query/duration"),
        ("from=2026-05-04&to=2026-05-04&host=x", 422, "/query/host/0"),
        ("from=2026-05-04&to=2026-05-04&host=0", 404, ""),
        (f"from=2026-05-04&to=2026-05-04{'&host=1' * 51}", 422, "/query/host"),
    ],
)
def test_questions_for_availability_are_answered_or_refused(
    staff: Client, ruth, query, status: int, pointer: str
) -> None:
    answer = staff.get(f"/api/meetings/availability?{query}")

    assert answer.status_code == status, answer.content
    if pointer:
        assert answer.json()["errors"][0]["pointer"] == pointer


def test_availability_takes_two_queries_beside_the_token(
    staff: Client, ruth: MeetingHost, django_assert_num_queries
) -> None:
    day = TOMORROW.date()
    other = host("Omar", **ALWAYS)
    path = (
        f"/api/meetings/availability?host={ruth.pk}&host={other.pk}&from={day}&to={day + timedelta(days=59)}"
    )
    staff.get(path)

    with django_assert_num_queries(3):
        assert len(staff.get(path).json()["hosts"]) == 2


def test_without_named_hosts_those_that_can_be_read_are_offered_in_two_queries(
    staff: Client, ruth: MeetingHost, django_assert_num_queries
) -> None:
    mars = host("Mars", **ALWAYS | {"timezone": "Mars/Olympus"})
    path = f"/api/meetings/availability?from={TOMORROW.date()}&to={TOMORROW.date()}"
    staff.get(path)

    with django_assert_num_queries(3):
        answer = staff.get(path)

    assert (answer.status_code, [each["name"] for each in answer.json()["hosts"]]) == (200, ["Ruth"])
    assert staff.get(f"{path}&host={mars.pk}").json()["code"] == "host_unusable"
    MeetingHost.objects.bulk_create(MeetingHost(name=f"{number}") for number in range(50))
    answer = staff.get(path)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/query/host")
    MeetingHost.objects.all().delete()
    assert staff.get(path).json()["hosts"] == []


def test_more_slots_than_an_answer_may_have_are_refused(
    staff: Client, ruth: MeetingHost, monkeypatch
) -> None:
    day, path = TOMORROW.date(), "/api/meetings/availability?host="
    minutely = host("Minutely", **ALWAYS, slot_minutes=1)

    answer = staff.get(f"{path}{minutely.pk}&from={day}&to={day + timedelta(days=40)}")
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"pointer": "/query/to", "detail": "these are more than 50,000 slots; ask for fewer days or hosts"}
    ]

    monkeypatch.setattr(offers, "MOST_SLOTS", 48)
    assert staff.get(f"{path}{ruth.pk}&from={day}&to={day}").status_code == 200
    assert staff.get(f"{path}{ruth.pk}&from={day}&to={day + timedelta(days=1)}").status_code == 422
