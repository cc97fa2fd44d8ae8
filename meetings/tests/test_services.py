"""Booking, moving and ending meetings, and what that does to leads."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction

from calls.models import Call
from leads.models import Lead
from meetings import services
from meetings.availability import next_free
from meetings.models import Meeting, MeetingHost, MeetingHostException
from meetings.services import BookingRefused, ImpossibleTransition, NotBookable, SlotTaken
from meetings.tests.booking import NOW, at, host, lead, written

pytestmark = pytest.mark.django_db
NINE = at("05-05 07:00")  # in Zurich


def status_of(row: Lead) -> str:
    return Lead.objects.get(pk=row.pk).status


def book(person: Lead, ruth, start=NINE, **values):
    return services.book(person, ruth, start, now=NOW, **values)


def test_a_meeting_is_booked_with_the_hosts_slot_and_buffers_and_moves_the_lead() -> None:
    person = lead(status="calling")
    call = Call.objects.create(lead=person)
    ruth = host(slot_minutes=45, buffer_before=5, buffer_after=10)

    row = book(person, ruth, call=call, guest_email="guest@example.com", notes="hello")

    row.refresh_from_db()
    assert (row.duration, row.buffer_before, row.buffer_after, row.ics_sequence) == (45, 5, 10, 0)
    assert (row.call, row.guest_email, row.notes, row.status) == (
        call,
        "guest@example.com",
        "hello",
        "scheduled",
    )
    assert row.busy.upper - row.busy.lower == timedelta(minutes=60)
    assert status_of(person) == "meeting_scheduled"


def test_the_same_caller_asking_again_gets_the_same_meeting() -> None:
    person, ruth = lead(), host()

    assert book(person, ruth).pk == book(person, ruth).pk == book(person, ruth, duration=30).pk
    with pytest.raises(SlotTaken):
        book(person, ruth, duration=60)
    with pytest.raises(SlotTaken):
        book(lead(2), ruth)
    assert Meeting.objects.count() == 1


def test_asking_again_is_answered_when_the_time_has_come_too_near() -> None:
    person, ruth = lead(), host(minimum_notice=60)
    row = book(person, ruth)

    assert services.book(person, ruth, NINE, now=NINE).pk == row.pk


def test_a_taken_slot_names_the_next_five_free_ones() -> None:
    ruth = host()
    for number in (1, 2):
        book(lead(number), ruth, NINE + timedelta(minutes=60 * number))
    book(lead(3), ruth)

    with pytest.raises(SlotTaken) as refused:
        book(lead(4), ruth)

    assert written(refused.value.alternatives) == [
        "05-05 07:30",
        "05-05 08:30",
        "05-05 09:30",
        "05-05 10:00",
        "05-05 10:30",
    ]
    for free in refused.value.alternatives:
        book(lead(Lead.objects.count() + 1), ruth, free)


def test_alternatives_are_looked_for_over_weeks_without_hours() -> None:
    ruth = host()
    MeetingHostException.objects.create(host=ruth, first_day="2026-05-06", last_day="2026-06-10")
    book(lead(1), ruth, at("05-05 14:30"))

    with pytest.raises(SlotTaken) as refused:
        book(lead(2), ruth, at("05-05 14:30"))

    assert written(refused.value.alternatives)[0] == "06-11 07:00"


@pytest.mark.parametrize(
    ("start", "code"),
    [
        (at("05-04 07:59"), "in_the_past"),
        (at("2001-01-01 12:00"), "in_the_past"),
        (at("05-04 08:59"), "too_soon"),
        (at("05-14 08:01"), "beyond_horizon"),
        (at("2190-05-14 08:01"), "beyond_horizon"),
        (at("05-05 06:59"), "out_of_hours"),
        (at("05-05 14:31"), "out_of_hours"),
        (at("05-09 08:00"), "out_of_hours"),
        (at("05-06 08:00"), "out_of_hours"),
        (at("05-07 09:45"), "out_of_hours"),
    ],
)
def test_what_the_host_does_not_offer_is_refused_in_a_sentence(start, code: str) -> None:
    ruth = host(minimum_notice=60, horizon_days=10)
    MeetingHostException.objects.create(host=ruth, first_day="2026-05-06", last_day="2026-05-06")
    MeetingHostException.objects.create(
        host=ruth, first_day="2026-05-07", last_day="2026-05-07", hours=[["09:00", "12:00"]]
    )
    person = lead()

    with pytest.raises(NotBookable, match="^[A-Z].*[.]$") as refused:
        book(person, ruth, start)

    assert refused.value.code == code
    assert (Meeting.objects.count(), status_of(person)) == (0, "pending")


def test_extra_hours_on_a_sunday_and_the_ends_of_notice_and_horizon_can_be_booked() -> None:
    ruth = host(minimum_notice=60, horizon_days=10)
    MeetingHostException.objects.create(
        host=ruth, first_day="2026-05-10", last_day="2026-05-10", hours=[["20:00", "24:00"]]
    )

    for number, start in enumerate(("05-10 21:30", "05-04 09:00", "05-14 08:00")):
        book(lead(number), ruth, at(start))


@pytest.mark.parametrize(
    ("values", "field"),
    [
        ({"start": NINE.replace(tzinfo=None)}, "start"),
        ({"start": at("1969-12-31 12:00")}, "start"),
        ({"start": at("2199-12-31 12:00")}, "start"),
        ({"duration": 0}, "duration"),
        ({"duration": 1441}, "duration"),
        ({"guest_email": "nobody"}, "guest_email"),
        ({"guest_email": "a@example.com\r\nX:1"}, "guest_email"),
    ],
)
def test_a_value_that_is_none_is_named(values, field: str) -> None:
    with pytest.raises(ValidationError) as refused:
        book(lead(), host(), **values)

    assert list(refused.value.message_dict) == [field]


def test_a_call_of_another_lead_is_refused() -> None:
    with pytest.raises(ValidationError, match="another lead"):
        book(lead(1), host(), call=Call.objects.create(lead=lead(2)))


def test_buffers_keep_meetings_apart_also_when_the_host_changes_them_later() -> None:
    ruth = host(buffer_after=15)
    book(lead(1), ruth)
    ruth.buffer_after = 0
    ruth.save()

    with pytest.raises(SlotTaken) as refused:
        book(lead(2), ruth, NINE + timedelta(minutes=40))
    assert written(refused.value.alternatives)[0] == "05-05 08:00"
    book(lead(3), ruth, NINE + timedelta(minutes=45))


def test_a_meeting_that_may_overlap_still_takes_its_hosts_time() -> None:
    ruth = host()
    Meeting.objects.create(lead=lead(1), host=ruth, scheduled_time=NINE, allow_overlap=True)

    with pytest.raises(SlotTaken) as refused:
        book(lead(2), ruth)
    assert written(refused.value.alternatives)[0] == "05-05 07:30"


def test_a_meeting_that_came_with_an_overlap_is_not_moved_onto_a_sold_slot() -> None:
    ruth = host()
    old = Meeting.objects.create(
        lead=lead(1), host=ruth, scheduled_time=NINE + timedelta(hours=2), allow_overlap=True
    )
    book(lead(2), ruth)

    with pytest.raises(SlotTaken):
        services.move(old, NINE, now=NOW)
    old.refresh_from_db()
    assert (old.scheduled_time, old.allow_overlap) == (NINE + timedelta(hours=2), True)

    services.move(old, NINE + timedelta(hours=1), now=NOW)
    old.refresh_from_db()
    assert old.allow_overlap is False
    with pytest.raises(IntegrityError), transaction.atomic():
        Meeting.objects.create(lead=lead(3), host=ruth, scheduled_time=old.scheduled_time)


def test_a_cancelled_meeting_that_came_with_an_overlap_comes_back_while_its_slot_is_not_sold() -> None:
    ruth = host()
    values = {"host": ruth, "scheduled_time": NINE, "allow_overlap": True}
    old, beside = (Meeting.objects.create(lead=lead(number), **values) for number in (1, 2))

    for _ in range(2):
        services.cancel(old)
        services.change_status(old, "scheduled", now=NOW)
    old.refresh_from_db()
    assert (old.status, old.allow_overlap) == ("scheduled", False)

    services.cancel(beside)
    with pytest.raises(SlotTaken) as refused:
        services.change_status(beside, "scheduled", now=NOW)
    assert written(refused.value.alternatives)[0] == "05-05 07:30"
    assert Meeting.objects.get(pk=beside.pk).status == "cancelled"


def test_a_meeting_moves_to_a_free_time_host_and_length_and_keeps_its_status() -> None:
    ruth, omar = host(), host("Omar", buffer_after=5)
    row = services.confirm(book(lead(), ruth))

    services.move(row, NINE + timedelta(minutes=15), now=NOW)
    row = services.move(row, host=omar, duration=20, now=NOW)

    row.refresh_from_db()
    assert (row.host, row.duration, row.buffer_after, row.status, row.ics_sequence) == (
        omar,
        20,
        5,
        "confirmed",
        2,
    )
    assert row.scheduled_time == NINE + timedelta(minutes=15)
    assert services.move(row, row.scheduled_time, now=NOW).ics_sequence == 2


def test_a_move_onto_another_meeting_is_refused_and_changes_nothing() -> None:
    ruth = host()
    book(lead(1), ruth)
    row = book(lead(2), ruth, NINE + timedelta(minutes=30))

    with pytest.raises(SlotTaken) as refused:
        services.move(row, NINE, now=NOW)

    row.refresh_from_db()
    assert (row.scheduled_time, row.ics_sequence) == (NINE + timedelta(minutes=30), 0)
    assert written(refused.value.alternatives)[0] == "05-05 07:30"  # its own slot
    with pytest.raises(NotBookable, match="working hours"):
        services.move(row, at("05-05 05:00"), now=NOW)


@pytest.mark.parametrize("end", [services.cancel, services.complete, services.mark_no_show])
def test_an_ended_meeting_is_not_moved_and_frees_its_slot(end) -> None:
    ruth = host()
    row = end(book(lead(1), ruth))

    with pytest.raises(ImpossibleTransition, match="cannot be moved"):
        services.move(row, NINE + timedelta(hours=1), now=NOW)
    book(lead(2), ruth)


@pytest.mark.parametrize("was", Meeting.Status.values)
@pytest.mark.parametrize("becomes", Meeting.Status.values)
def test_every_transition_is_made_or_refused(was: str, becomes: str) -> None:
    row = Meeting.objects.create(lead=lead(), host=host(), scheduled_time=NINE, status=was)

    if becomes == was or becomes in services.TRANSITIONS[was]:
        assert services.change_status(row, becomes, now=NOW).status == becomes
    else:
        with pytest.raises(ImpossibleTransition, match="^A .* meeting cannot become .*[.]$"):
            services.change_status(row, becomes, now=NOW)
    row.refresh_from_db()
    assert row.status == (becomes if becomes == was or becomes in services.TRANSITIONS[was] else was)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        (services.cancel, "contacted"),
        (services.mark_no_show, "contacted"),
        (services.complete, "meeting_scheduled"),
        (services.confirm, "meeting_scheduled"),
    ],
)
def test_the_lead_follows_its_only_meeting(end, status: str) -> None:
    person = lead()
    end(book(person, host()))

    assert status_of(person) == status


@pytest.mark.parametrize("other", [services.confirm, services.complete])
def test_a_lead_with_another_meeting_stays_won_until_that_is_cancelled_too(other) -> None:
    person, ruth = lead(), host()
    first, second = book(person, ruth), book(person, ruth, NINE + timedelta(hours=1))
    other(second)

    services.cancel(first)
    assert status_of(person) == "meeting_scheduled"
    services.delete([second])
    assert status_of(person) == "contacted"


def test_a_lead_that_turned_away_meanwhile_is_not_brought_back_by_a_cancellation() -> None:
    person = lead()
    row = book(person, host())
    Lead.objects.update(status="not_interested")

    services.cancel(row)

    assert status_of(person) == "not_interested"


def test_a_cancelled_meeting_is_taken_up_again_while_its_slot_is_free() -> None:
    person, ruth = lead(), host()
    row = services.cancel(book(person, ruth))

    assert services.change_status(row, "scheduled", now=NOW).ics_sequence == 2
    assert status_of(person) == "meeting_scheduled"
    services.cancel(row)
    book(lead(2), ruth)
    with pytest.raises(SlotTaken) as refused:
        services.change_status(row, "scheduled", now=NOW)
    assert written(refused.value.alternatives)[0] == "05-05 07:30"
    assert status_of(person) == "contacted"


def test_cancelling_twice_is_cancelling_once() -> None:
    row = book(lead(), host())

    assert services.cancel(row).ics_sequence == services.cancel(row).ics_sequence == 1


def test_a_host_with_hours_or_a_zone_that_nobody_knows_is_refused_not_an_error() -> None:
    ruth = host(timezone="Mars/Olympus")

    with pytest.raises(BookingRefused, match="Ruth has no known time zone"):
        book(lead(), ruth)


def test_a_host_or_lead_that_is_gone_is_named_not_an_error() -> None:
    ruth, omar, person = host(), host("Omar"), lead()
    row = book(person, ruth)
    MeetingHost.objects.filter(pk=omar.pk).delete()

    for action in (
        lambda: book(person, omar),
        lambda: services.move(row, host=omar, now=NOW),
    ):
        with pytest.raises(ValidationError) as refused:
            action()
        assert list(refused.value.message_dict) == ["host_id"]
    assert next_free(omar, NINE, now=NOW) == []
    Lead.objects.filter(pk=person.pk).delete()
    with pytest.raises(ValidationError) as refused:
        book(person, ruth)
    assert list(refused.value.message_dict) == ["lead_id"]


def test_inside_a_transaction_a_refusal_leaves_the_transaction_usable() -> None:
    ruth = host()
    book(lead(1), ruth)

    with transaction.atomic():
        with pytest.raises(SlotTaken):
            book(lead(2), ruth)
        assert Meeting.objects.count() == 1


def test_an_event_that_another_meeting_has_is_the_databases_word() -> None:
    ruth = host()
    Meeting.objects.create(lead=lead(1), host=ruth, scheduled_time=NINE, calendar_event_id="e1")
    row = book(lead(2), ruth, NINE + timedelta(hours=1))
    row.calendar_event_id = "e1"

    with pytest.raises(IntegrityError), transaction.atomic():
        services.write_as_staff(row, ["calendar_event_id"], before=row)
