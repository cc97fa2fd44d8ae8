from datetime import timedelta
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.messages import get_messages
from django.db.models import Model
from django.test import Client
from django.utils import timezone

from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from scheduler.staff import history
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

TAKEN = {
    "scheduled_time": ["The host has another meeting at that time; choose another time, host or duration."]
}


@pytest.fixture
def host() -> MeetingHost:
    return MeetingHost.objects.create(name="Ruth")


def lead(number: int = 0, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}", **values})


def meeting(host: MeetingHost, hour: int = 10, **values: Any) -> Meeting:
    person = values.pop("lead", None) or lead(Lead.objects.count())
    time = values.pop("scheduled_time", f"2025-04-01T{hour:02}:00Z")
    return Meeting.objects.create(**{"lead": person, "host": host, "scheduled_time": time, **values})


def new(host: MeetingHost, time: str, **values: object) -> dict[str, Any]:
    person = lead(Lead.objects.count())
    return {
        "lead": str(person.pk),
        "host": str(host.pk),
        "scheduled_time_0": "2025-04-01",
        "scheduled_time_1": time,
        **values,
    }


def changes_of(row: Model) -> list[tuple[str, ...]]:
    """Return what the history of a row tells of changes, oldest first."""
    kind = ContentType.objects.get_for_model(row)
    entries = LogEntry.objects.filter(content_type=kind, object_id=str(row.pk)).order_by("pk")
    return [tuple(change) for entry in entries for change in history.told(entry).changes]


def test_every_page_of_meetings_and_hosts_opens_with_awkward_texts(admin_client: Client) -> None:
    for number, text in enumerate(staff.NASTY):
        host = MeetingHost.objects.create(name=text, calendar_id=text)
        row = meeting(
            host,
            lead=lead(number, name=text),
            status=Meeting.Status.values[number % 5],
            guest_email=text,
            notes=text,
            meeting_link=text,
            calendar_event_id=text,
        )
        row.call = Call.objects.create(lead=row.lead)
        row.save()
    staff.check_pages_open(admin_client, Meeting, "415 555 0001", "1", "9" * 30)
    staff.check_pages_open(admin_client, MeetingHost)

    for model in (Meeting, MeetingHost):
        assert staff.ESCAPED_SCRIPT in staff.page(admin_client, staff.address(model, "changelist"))


def test_the_lists_make_no_query_per_row(admin_client: Client) -> None:
    def make(number: int) -> None:
        meeting(MeetingHost.objects.create(name=f"Host {number}"), notes=staff.LONG)

    staff.check_lists_have_no_query_per_row(admin_client, Meeting, make)
    Meeting.objects.all().delete()
    MeetingHost.objects.all().delete()
    staff.check_lists_have_no_query_per_row(admin_client, MeetingHost, make)


def test_meetings_are_closed_to_staff_without_permissions(host: MeetingHost) -> None:
    staff.check_closed_to_staff_without_permissions(Meeting, meeting(host))
    staff.check_closed_to_staff_without_permissions(MeetingHost, host)


@pytest.mark.parametrize("typed", ["415 555 0134", "(415) 555-0134", "anna", "guest@example.com", "evt1"])
def test_a_meeting_is_found_by_its_lead_its_guest_and_its_event(
    admin_client: Client, host: MeetingHost, typed: str
) -> None:
    person = lead(134, name="Anna")
    wanted = meeting(host, lead=person, guest_email="guest@example.com", calendar_event_id="evt1")
    meeting(host, 12)

    assert staff.ids_listed(admin_client, Meeting, q=typed) == {wanted.pk}


def test_a_meeting_is_booked_and_moved(admin_client: Client, host: MeetingHost) -> None:
    assert staff.add(admin_client, Meeting, **new(host, "10:00")).status_code == 302
    row = Meeting.objects.get()
    assert staff.edit(admin_client, row, scheduled_time_1="10:15", notes=staff.HEBREW).status_code == 302

    row.refresh_from_db()
    assert (f"{row.scheduled_time:%H:%M}", row.notes) == ("10:15", staff.HEBREW)


def test_a_meeting_that_overlaps_another_of_its_host_is_refused(
    admin_client: Client, host: MeetingHost
) -> None:
    meeting(host, 10, duration=60)

    assert staff.errors_of(staff.add(admin_client, Meeting, **new(host, "10:45"))) == TAKEN
    assert Meeting.objects.count() == 1
    assert staff.add(admin_client, Meeting, **new(host, "11:00")).status_code == 302


def test_a_meeting_cannot_be_moved_onto_another_of_its_host(admin_client: Client, host: MeetingHost) -> None:
    meeting(host, 10)
    other = meeting(host, 12)

    assert staff.errors_of(staff.edit(admin_client, other, scheduled_time_1="10:15")) == TAKEN
    assert staff.edit(admin_client, other, scheduled_time_1="10:30").status_code == 302


def test_a_meeting_cannot_be_lengthened_into_another(admin_client: Client, host: MeetingHost) -> None:
    meeting(host, 10)
    earlier = meeting(host, 9)

    assert staff.errors_of(staff.edit(admin_client, earlier, duration="90")) == TAKEN


def test_another_host_and_a_cancelled_meeting_are_free(admin_client: Client, host: MeetingHost) -> None:
    meeting(host, 10)
    other = MeetingHost.objects.create(name="Omar")

    for values in (new(other, "10:00"), new(host, "10:00", status="cancelled")):
        assert staff.add(admin_client, Meeting, **values).status_code == 302


def test_no_form_sells_a_slot_twice(admin_client: Client, host: MeetingHost) -> None:
    meeting(host, 10)
    other = meeting(host, 12)

    assert (
        staff.errors_of(staff.add(admin_client, Meeting, **new(host, "10:00", allow_overlap="on"))) == TAKEN
    )
    moved = staff.edit(admin_client, other, scheduled_time_1="10:00", allow_overlap="on")
    assert staff.errors_of(moved) == TAKEN


def test_a_meeting_imported_over_another_keeps_its_mark_until_it_is_moved(
    admin_client: Client, host: MeetingHost
) -> None:
    meeting(host, 10)
    over = meeting(host, 10, allow_overlap=True)
    meeting(host, 12)

    assert staff.edit(admin_client, over, notes="Both come").status_code == 302
    over.refresh_from_db()
    assert over.allow_overlap
    assert staff.errors_of(staff.edit(admin_client, over, scheduled_time_1="12:00")) == TAKEN
    assert staff.edit(admin_client, over, scheduled_time_1="11:00").status_code == 302
    assert not Meeting.objects.get(pk=over.pk).allow_overlap
    assert ("Allow overlap", "yes", "no") in changes_of(over)


def test_a_meeting_imported_over_another_keeps_its_slot_from_the_form(
    admin_client: Client, host: MeetingHost
) -> None:
    over = meeting(host, 10, allow_overlap=True)
    other = meeting(host, 12)

    assert staff.errors_of(staff.add(admin_client, Meeting, **new(host, "10:15"))) == TAKEN
    assert staff.errors_of(staff.edit(admin_client, other, scheduled_time_1="09:45")) == TAKEN
    assert staff.edit(admin_client, over, scheduled_time_1="10:05").status_code == 302
    assert staff.edit(admin_client, other, scheduled_time_1="10:35").status_code == 302


def test_the_event_of_another_meeting_is_refused(admin_client: Client, host: MeetingHost) -> None:
    meeting(host, 10, calendar_event_id="evt1")

    errors = staff.errors_of(staff.edit(admin_client, meeting(host, 12), calendar_event_id="evt1"))

    assert errors == {"calendar_event_id": ["Another meeting has this event."]}


@pytest.mark.parametrize(
    ("field", "text"),
    [
        ("duration", "-1"),
        ("duration", "527041"),
        ("duration", "9" * 30),
        ("lead", "0"),
        ("call", "0"),
        ("host", ""),
        ("scheduled_time_0", ""),
        ("scheduled_time_1", "25:00"),
    ],
)
def test_a_value_that_is_none_is_refused_beside_its_field(
    admin_client: Client, host: MeetingHost, field: str, text: str
) -> None:
    errors = staff.errors_of(staff.edit(admin_client, meeting(host), **{field: text}))

    assert field.removesuffix("_0").removesuffix("_1") in errors


@pytest.mark.parametrize("day", ["0001-01-01", "9999-12-31"])
def test_a_meeting_at_the_ends_of_the_calendar_is_refused(
    admin_client: Client, host: MeetingHost, day: str
) -> None:
    row = meeting(host)

    answer = staff.edit(admin_client, row, scheduled_time_0=day, scheduled_time_1="23:59:59")

    assert staff.errors_of(answer) == {"scheduled_time": ["Give a time between 1990 and 2100."]}


def test_the_name_of_another_host_is_refused(admin_client: Client, host: MeetingHost) -> None:
    errors = staff.errors_of(staff.add(admin_client, MeetingHost, name="Ruth"))

    assert errors == {"name": ["A host with this name exists already."]}


@pytest.mark.parametrize(
    ("field", "text"),
    [("timezone", "Mars/Olympus"), ("slot_minutes", "0"), ("working_hours", "{"), ("name", "")],
)
def test_a_host_with_a_value_that_is_none_is_refused(
    admin_client: Client, host: MeetingHost, field: str, text: str
) -> None:
    assert list(staff.errors_of(staff.edit(admin_client, host, **{field: text}))) == [field]


def test_a_host_with_meetings_is_not_deleted(admin_client: Client, host: MeetingHost) -> None:
    meeting(host)

    admin_client.post(staff.address(MeetingHost, "delete", host.pk), {"confirmed": "yes"})

    assert MeetingHost.objects.filter(pk=host.pk).exists()


def test_a_double_booking_names_free_slots_in_a_sentence(admin_client: Client) -> None:
    ruth = MeetingHost.objects.create(name="Ruth", slot_minutes=60, horizon_days=30)
    day = (timezone.now() + timedelta(days=2)).date()
    taken = f"{day}T10:00Z"
    meeting(ruth, scheduled_time=taken, duration=60)

    answer = staff.add(admin_client, Meeting, **new(ruth, "10:00", scheduled_time_0=str(day)))

    refused, free = staff.errors_of(answer)["scheduled_time"]
    assert refused == TAKEN["scheduled_time"][0]
    assert free.startswith(f"Free: {day} 11:00:00 UTC, {day} 12:00:00 UTC")
    assert free.count(",") == 4


def test_staff_may_book_out_of_hours_but_are_told(admin_client: Client) -> None:
    never = MeetingHost.objects.create(name="Never", working_hours={"mon": []})
    day = (timezone.now() + timedelta(days=2)).date()

    answer = staff.add(admin_client, Meeting, **new(never, "10:00", scheduled_time_0=str(day)))

    assert answer.status_code == 302
    sentences = [str(each) for each in get_messages(answer.wsgi_request)]
    assert "Saved, but: That time is not within the working hours of Never." in sentences
    assert Lead.objects.get().status == "meeting_scheduled"


def test_the_lead_follows_what_staff_do_to_its_meeting(admin_client: Client, host: MeetingHost) -> None:
    staff.add(admin_client, Meeting, **new(host, "10:00"))
    row = Meeting.objects.get()
    assert Lead.objects.get().status == "meeting_scheduled"

    staff.edit(admin_client, row, scheduled_time_1="10:15")
    row.refresh_from_db()
    assert row.ics_sequence == 1
    admin_client.post(staff.address(Meeting, "delete", row.pk), {"confirmed": "yes"})

    person = Lead.objects.get()
    assert person.status == "contacted"
    assert changes_of(person) == [
        ("Status", "Pending", "Meeting Scheduled"),
        ("Status", "Meeting Scheduled", "Contacted"),
    ]


def test_a_meeting_given_to_another_lead_is_told_in_the_history_of_both(
    admin_client: Client, host: MeetingHost
) -> None:
    row = meeting(host, lead=lead(1, status="meeting_scheduled"))
    other = lead(2)

    assert staff.edit(admin_client, row, lead=str(other.pk)).status_code == 302

    assert changes_of(row.lead) == [("Status", "Meeting Scheduled", "Contacted")]
    assert changes_of(other) == [("Status", "Pending", "Meeting Scheduled")]


def test_the_leads_of_meetings_deleted_together_follow_in_the_history(
    admin_client: Client, host: MeetingHost
) -> None:
    rows = [meeting(host, hour, lead=lead(hour, status="meeting_scheduled")) for hour in (9, 10)]
    chosen = {"_selected_action": [row.pk for row in rows], "confirmed": "yes"}

    admin_client.post(staff.address(Meeting, "changelist"), {"action": "delete_selected", **chosen})

    assert not Meeting.objects.exists()
    for row in rows:
        assert changes_of(row.lead) == [("Status", "Meeting Scheduled", "Contacted")]


def test_the_status_of_a_meeting_changes_by_its_buttons_only(admin_client: Client, host: MeetingHost) -> None:
    row = meeting(host)

    staff.edit(admin_client, row, status="cancelled")

    row.refresh_from_db()
    assert row.status == "scheduled"


@pytest.mark.parametrize(
    ("hours", "sentence"),
    [
        ('{"montag": []}', '"montag" is no weekday; use mon, tue, wed, thu, fri, sat, sun.'),
        ('{"mon": [["9:00", "17:00"]]}', 'mon: "9:00" is no time of day; write it as 09:00, up to 24:00.'),
        (
            '{"mon": [["17:00", "09:00"]]}',
            "mon: 09:00 is not after 17:00; split a span that runs over midnight into two days.",
        ),
        (
            '{"mon": [["09:00", "12:00"], ["11:00", "13:00"]]}',
            "mon: 09:00 to 12:00 and 11:00 to 13:00 overlap.",
        ),
        ('{"mon": ["09:00", "17:00"]}', 'mon: write each span as ["09:00", "17:00"].'),
        ("[1]", 'Write working hours as {"mon": [["09:00", "17:00"]]}.'),
    ],
)
def test_working_hours_that_are_none_are_refused_in_a_sentence(
    admin_client: Client, host: MeetingHost, hours: str, sentence: str
) -> None:
    errors = staff.errors_of(staff.edit(admin_client, host, working_hours=hours))

    assert errors == {"working_hours": [sentence]}


def test_exceptions_are_entered_beside_their_host(admin_client: Client, host: MeetingHost) -> None:
    one = {
        "exceptions-TOTAL_FORMS": "1",
        "exceptions-0-first_day": "2026-05-04",
        "exceptions-0-last_day": "2026-05-08",
        "exceptions-0-hours": "[]",
        "exceptions-0-host": str(host.pk),
    }
    assert staff.edit(admin_client, host, **one).status_code == 302
    assert host.exceptions.get().hours == []

    host.exceptions.all().delete()
    wrong = one | {"exceptions-0-last_day": "2026-05-01", "exceptions-0-hours": '[["9", "10"]]'}
    html = staff.edit(admin_client, host, **wrong).content.decode()
    assert "is no time of day; write it as 09:00" in html
    html = staff.edit(admin_client, host, **(one | {"exceptions-0-last_day": "2026-05-01"})).content.decode()
    assert "The last day comes before the first." in html
    assert not host.exceptions.exists()
