"""Fifty callers for one slot, over connections of their own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from threading import Barrier
from time import monotonic

import psycopg
import pytest
from django.db import connection, connections

from database.tests.raw_sql import execute
from leads.models import Lead
from meetings import services
from meetings.availability import free_slots, moment
from meetings.models import Meeting, MeetingHost
from meetings.services import ImpossibleTransition, SlotTaken
from meetings.tests.booking import NOW, at, host, lead

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
WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO "meetings"%' AND datname = current_database()
"""


def wait_for_a_waiting_insert() -> None:
    deadline = monotonic() + 20
    with psycopg.connect(**connection.get_connection_params(), autocommit=True) as monitor:
        while monitor.execute(WAITING).fetchone() == (0,):
            assert monotonic() < deadline, "the booking never waited for the row"


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
        wait_for_a_waiting_insert()
        raw.commit()
        (outcome,) = booking.result(timeout=30)

    assert isinstance(outcome, SlotTaken)
    assert outcome.alternatives[0] == at("05-05 08:00")
    assert execute("SELECT count(*) FROM meetings") == [(1,)]
