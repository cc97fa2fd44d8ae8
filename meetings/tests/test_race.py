"""Fifty callers for one slot, over connections of their own."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial
from threading import Barrier
from time import monotonic
from typing import Any

import psycopg
import pytest
from django.contrib.auth import get_user_model
from django.db import connection, connections
from django.test import Client

from calls.models import Call
from database.tests.raw_sql import execute
from leads.models import Lead
from meetings import services
from meetings.availability import free_slots, moment
from meetings.models import Meeting, MeetingHost
from meetings.services import ImpossibleTransition, SlotTaken
from meetings.tests.booking import NOW, at, host, lead
from scheduler.models import StaffToken

pytestmark = pytest.mark.django_db(transaction=True)
CALLERS = 50
NINE = at("05-05 07:00")

Outcome = Meeting | SlotTaken | ImpossibleTransition


def at_once(actions: list[Callable[[], Meeting]]) -> list[Outcome]:
    """Run each action in a thread of its own, all from the same moment on; other exceptions are raised."""
    start = Barrier(len(actions), timeout=60)

    def run(action: Callable[[], Meeting]) -> Outcome:
        start.wait()
        try:
            return action()
        except (SlotTaken, ImpossibleTransition) as refusal:
            return refusal
        finally:
            connections.close_all()

    # Its connection would be one less for the callers.
    connection.close()
    with ThreadPoolExecutor(len(actions)) as threads:
        return list(threads.map(run, actions))


def rush(
    ruth: MeetingHost, people: list[Lead], start: datetime, step: timedelta = timedelta()
) -> list[Outcome]:
    return at_once(
        [
            partial(services.book, person, ruth, start + step * number, now=NOW)
            for number, person in enumerate(people)
        ]
    )


def check_one_is_sold(outcomes: list[Outcome], ruth: MeetingHost, day: datetime) -> None:
    assert Counter(type(outcome) for outcome in outcomes) == {Meeting: 1, SlotTaken: CALLERS - 1}
    refused = [outcome for outcome in outcomes if isinstance(outcome, SlotTaken)]
    (ruths,) = free_slots([ruth.pk], day, day + timedelta(days=3), now=NOW)
    free = [moment(start) for start in ruths.starts]
    assert all(outcome.alternatives == free[:5] for outcome in refused)


def rounds(number: int, step: timedelta = timedelta()) -> None:
    ruth = host(horizon_days=200)
    people = [lead(each) for each in range(CALLERS)]
    for each in range(number):
        day = NINE + timedelta(days=7 * (each % 20))
        Meeting.objects.all().delete()
        Lead.objects.update(status="pending")

        check_one_is_sold(rush(ruth, people, day, step), ruth, day)
        assert Meeting.objects.count() == 1
        assert Lead.objects.filter(status="meeting_scheduled").count() == 1


def test_of_fifty_callers_for_one_slot_one_is_booked_and_all_others_hear_what_is_free() -> None:
    rounds(3)


@pytest.mark.slow
def test_of_fifty_callers_for_one_slot_one_is_booked_two_hundred_times_over() -> None:
    rounds(200)


def test_one_caller_that_asks_ten_times_at_once_has_one_meeting() -> None:
    ruth, person = host(), lead()

    outcomes = rush(ruth, [person] * 10, NINE)

    assert {outcome.pk for outcome in outcomes if isinstance(outcome, Meeting)} == {Meeting.objects.get().pk}
    assert len([outcome for outcome in outcomes if isinstance(outcome, Meeting)]) == 10


def test_two_bookings_at_once_whose_buffers_meet_but_not_they_themselves_are_one_booking() -> None:
    ruth = host(buffer_before=10, buffer_after=10)
    people = [lead(1), lead(2)]
    for each in range(5):
        outcomes = rush(ruth, people, NINE + timedelta(days=7 * each), timedelta(minutes=45))
        assert {type(outcome) for outcome in outcomes} == {Meeting, SlotTaken}
    assert Meeting.objects.count() == 5


def test_meetings_that_move_to_one_slot_at_once_do_not_all_get_there() -> None:
    ruth = host()
    rows = [services.book(lead(n), ruth, NINE + timedelta(minutes=30 * n), now=NOW) for n in range(1, 11)]

    outcomes = at_once([partial(services.move, row, NINE, now=NOW) for row in rows])

    assert Counter(type(outcome) for outcome in outcomes) == {Meeting: 1, SlotTaken: 9}
    assert Meeting.objects.filter(scheduled_time=NINE).count() == 1


def test_two_meetings_that_change_places_at_once_end_without_a_deadlock() -> None:
    ruth = host()
    first, second = (services.book(lead(n), ruth, NINE + timedelta(minutes=30 * n), now=NOW) for n in (0, 1))

    outcomes = at_once(
        [
            lambda: services.move(first, second.scheduled_time, now=NOW),
            lambda: services.move(second, first.scheduled_time, now=NOW),
        ]
    )

    assert {type(outcome) for outcome in outcomes} == {SlotTaken}


def test_bookings_moves_and_cancellations_of_one_lead_at_once_leave_its_status_right() -> None:
    ruth, omar, person = host(), host("Omar"), lead()
    for each in range(5):
        day = NINE + timedelta(days=7 * each)
        row = services.book(person, ruth, day, now=NOW)
        other = services.book(person, omar, day, now=NOW)
        hour = timedelta(hours=1)
        at_once(
            [
                partial(services.cancel, row),
                partial(services.cancel, other),
                partial(services.move, row, day + hour, now=NOW),
                partial(services.confirm, other),
                partial(services.book, person, omar, day + 2 * hour, now=NOW),
                partial(services.book, person, omar, day + 3 * hour, now=NOW),
            ]
        )
        assert Lead.objects.get().status == "meeting_scheduled"
        at_once([partial(services.cancel, live) for live in Meeting.objects.filter(status__in=Meeting.LIVE)])
        assert Lead.objects.get().status == "contacted"


WAITING = """
SELECT count(*) FROM pg_stat_activity
WHERE wait_event_type = 'Lock' AND query LIKE %s AND datname = current_database()
"""


def wait_for_waiting(query: str, number: int = 1) -> None:
    """Wait until as many connections wait for a lock with a query like this."""
    deadline = monotonic() + 20
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as monitor:
        while monitor.execute(WAITING, [query]).fetchone() != (number,):
            assert monotonic() < deadline, f"{query} never waited"


def test_a_booking_meets_a_raw_row_that_is_not_committed_yet() -> None:
    ruth, people = host(), [lead(1), lead(2)]
    with (
        ThreadPoolExecutor(1) as threads,
        # Left before the threads are waited for: an exception ends the row's transaction, and the booking with it.
        psycopg.connect(**connection.get_connection_params()) as raw,
    ):
        raw.execute(
            "INSERT INTO meetings (lead_id, host_id, scheduled_time) VALUES (%s, %s, %s)",
            [people[0].pk, ruth.pk, NINE + timedelta(minutes=10)],
        )
        booking = threads.submit(rush, ruth, people[1:], NINE)
        wait_for_waiting('INSERT INTO "meetings"%')
        raw.commit()
        (outcome,) = booking.result(timeout=30)

    assert isinstance(outcome, SlotTaken)
    assert outcome.alternatives[0] == at("05-05 08:00")
    assert execute("SELECT count(*) FROM meetings") == [(1,)]


def boss() -> dict[str, str]:
    user = get_user_model().objects.create_superuser("boss")
    return {"Authorization": f"Bearer {StaffToken.issue(user)[1]}"}


def asked(headers: dict[str, str], method: str, path: str, body: object = None) -> Any:
    try:
        client = Client(headers=headers)
        return client.generic(method, path, json.dumps(body), content_type="application/json")
    finally:
        connections.close_all()


def test_a_host_that_is_deleted_while_somebody_books_is_named() -> None:
    headers, person, ruth = boss(), lead(), host(working_hours={})
    order = {"lead_id": person.pk, "host_id": ruth.pk, "scheduled_at": f"{datetime.now(UTC) + timedelta(1)}"}
    with (
        ThreadPoolExecutor(1) as threads,
        psycopg.connect(**connection.get_connection_params()) as raw,
    ):
        raw.execute("DELETE FROM meeting_hosts")
        booking = threads.submit(asked, headers, "POST", "/api/meetings/", order)
        wait_for_waiting('%"meeting_hosts"%FOR NO KEY UPDATE%')
        raw.commit()
        answer = booking.result(timeout=30)

    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/host_id")


def test_a_lead_is_deleted_while_its_meeting_is_cancelled() -> None:
    """Its call is held, so that the deletion has the lead and not yet the meeting when the cancellation comes."""
    headers, person, ruth = boss(), lead(), host()
    row = services.book(person, ruth, NINE, now=NOW)
    Call.objects.create(lead=person, started_at=NOW, ended_at=NOW)
    with (
        ThreadPoolExecutor(2) as threads,
        psycopg.connect(**connection.get_connection_params()) as raw,
    ):
        raw.execute("SELECT FROM calls FOR UPDATE")
        deletion = threads.submit(asked, headers, "DELETE", f"/api/leads/{person.pk}")
        wait_for_waiting("%FOR UPDATE%")
        cancellation = threads.submit(asked, headers, "POST", f"/api/meetings/{row.pk}/cancel")
        wait_for_waiting("%FOR %UPDATE%", 2)
        raw.commit()
        statuses = [each.result(timeout=30).status_code for each in (deletion, cancellation)]

    assert statuses == [200, 404]


def test_leads_are_deleted_and_their_meetings_changed_at_once_without_a_deadlock() -> None:
    headers, ruth = boss(), host(working_hours={})
    for each in range(15):
        person, time = lead(each), datetime.now(UTC) + timedelta(days=1 + each)
        row = services.book(person, ruth, time)
        path = f"/api/meetings/{row.pk}"
        requests: list[tuple[str, str, object]] = [
            ("DELETE", f"/api/leads/{person.pk}", None),
            ("POST", f"{path}/cancel", None),
            ("PATCH", path, {"scheduled_at": f"{time + timedelta(hours=2)}"}),
            (
                "POST",
                "/api/meetings/",
                {"lead_id": person.pk, "host_id": ruth.pk, "scheduled_at": f"{time + timedelta(hours=4)}"},
            ),
        ]
        connection.close()
        with ThreadPoolExecutor(4) as threads:
            answers = list(threads.map(lambda request: asked(headers, *request), requests))

        assert [answer.status_code for answer in answers if answer.status_code >= 500] == []
        assert answers[0].status_code == 200
        assert not Meeting.objects.exists()
