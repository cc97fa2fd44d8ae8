from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from django.contrib.admin.models import LogEntry
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from meetings.models import Meeting, MeetingHost
from meetings.tests import booking
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

ZURICH = ZoneInfo("Europe/Zurich")
AUTUMN = datetime(2030, 10, 27, tzinfo=UTC)


def week_of(client: Client, host: MeetingHost, day: str) -> str:
    return staff.page(client, reverse("admin:meetings_meeting_week"), host=host.pk, day=day)


def always(name: str = "Ruth", **values: Any) -> MeetingHost:
    return booking.host(name, **{"working_hours": {}, "horizon_days": 60} | values)


def soon(hours: int = 0) -> datetime:
    """Return a full hour in the day after tomorrow."""
    now = timezone.now().astimezone(UTC).replace(minute=0, second=0, microsecond=0)
    return now + timedelta(days=2, hours=hours)


def meeting(host: MeetingHost, start: datetime, number: int = 1, **values: Any) -> Meeting:
    person = values.pop("lead", None) or booking.lead(number)
    return Meeting.objects.create(
        **{"lead": person, "host": host, "scheduled_time": start, "duration": 30} | values
    )


def send(client: Client, page: str, *keys: int, **values: object) -> Any:
    return client.post(reverse(f"admin:meetings_meeting_{page}", args=keys), values)


def statuses() -> tuple[str, str]:
    row = Meeting.objects.get()
    return row.status, row.lead.status


def test_the_week_shows_meetings_zones_exceptions_and_overlaps(
    admin_client: Client, django_assert_max_num_queries: Any
) -> None:
    host = booking.host()
    host.exceptions.create(first_day="2026-05-06", last_day="2026-05-06", reason=staff.SCRIPT)
    for number, name in ((1, staff.SCRIPT), (2, staff.HEBREW)):
        meeting(
            host, booking.at("05-04 08:00"), number, lead=booking.lead(number, name=name), allow_overlap=True
        )
    meeting(host, booking.at("05-05 08:00"), 3, status="cancelled")

    with django_assert_max_num_queries(staff.MOST_QUERIES):
        html = week_of(admin_client, host, "2026-05-07")

    assert "Week 19: Mon 2026-05-04 to Sun 2026-05-10" in html
    assert "<strong>Europe/Zurich</strong>" in html and "Yours is UTC" in html
    assert html.count("10:00 to 10:30 (Mon 08:00 UTC)") == 2
    assert html.count("· overlaps · allowed to") == 2
    assert staff.SCRIPT not in html and f"Off: {staff.ESCAPED_SCRIPT}." in html
    assert "Lead 3" not in html
    assert f"?host={host.pk}&amp;day=2026-04-27" in html and f"?host={host.pk}&amp;day=2026-05-11" in html


def test_the_weeks_in_which_clocks_change_say_so(admin_client: Client) -> None:
    host = always()
    meeting(host, AUTUMN.replace(hour=1, minute=30))

    html = week_of(admin_client, host, "2030-10-27")

    assert "Clocks go back from 03:00 to 02:00" in html and "02:00 again" in html
    assert "02:30 to 03:00 (Sun 01:30 UTC)" in html
    assert "--from:210;--to:240" in html
    assert "week-skipped" in week_of(admin_client, host, "2030-03-31")


@pytest.mark.parametrize("day", ["", "x", "0001-01-01", "9999-12-31", "2026-02-30"])
def test_no_day_and_no_host_break_the_week(admin_client: Client, day: str) -> None:
    path = reverse("admin:meetings_meeting_week")
    assert "There is no host yet." in staff.page(admin_client, path)
    host = always()

    for asked in (str(host.pk), "9" * 30, "x"):
        assert "Ruth" in staff.page(admin_client, path, host=asked, day=day)


def test_a_free_slot_of_the_week_opens_the_form_with_its_time(admin_client: Client) -> None:
    host = always()
    start = soon()

    html = week_of(admin_client, host, f"{start:%Y-%m-%d}")

    assert f"start={start:%Y-%m-%dT%H}%3A00%3A00%2B00%3A00" in html
    opened = staff.page(
        admin_client, reverse("admin:meetings_meeting_book"), host=host.pk, start=start.isoformat()
    )
    assert f'value="{start.astimezone(ZURICH):%H:%M}"' in opened


def test_a_taken_slot_comes_back_with_free_ones_and_a_click_books_one(admin_client: Client) -> None:
    host = always()
    start = soon()
    meeting(host, start)
    lead = booking.lead(2)
    local = start.astimezone(ZURICH)
    form = {"lead": lead.pk, "host": host.pk, "day": local.date(), "time": f"{local:%H:%M}"}

    refused = send(admin_client, "book", **form)

    html = refused.content.decode()
    free = start + timedelta(minutes=30)
    assert "The host has another meeting at that time." in html
    assert f'name="exact" value="{free.isoformat()}"' in html and html.count('name="exact"') == 5
    assert Meeting.objects.count() == 1

    assert send(admin_client, "book", **form, exact=free.isoformat()).status_code == 302
    assert Meeting.objects.get(lead=lead).scheduled_time == free
    lead.refresh_from_db()
    assert lead.status == "meeting_scheduled"
    written = {
        entry.content_type.model: entry.change_message
        for entry in LogEntry.objects.all()
        if entry.content_type
    }
    assert "Booked" in written["meeting"] and '"Pending", "Meeting Scheduled"' in written["lead"]


def test_a_time_that_comes_twice_is_asked_for_and_one_that_never_comes_is_refused(
    admin_client: Client,
) -> None:
    host, lead = always(), booking.lead(1)
    form = {"lead": lead.pk, "host": host.pk, "time": "02:30"}

    twice = send(admin_client, "book", **form, day="2030-10-27").content.decode()
    never = send(admin_client, "book", **form, day="2030-03-31").content.decode()

    assert "this time comes twice" in twice and twice.count('name="exact"') == 2
    assert "it does not come" in never and 'name="exact"' not in never


def test_a_time_out_of_hours_is_refused_with_free_ones(admin_client: Client) -> None:
    host, lead = booking.host(horizon_days=60), booking.lead(1)
    day = soon() + timedelta(days=1)

    html = send(
        admin_client, "book", lead=lead.pk, host=host.pk, day=day.date(), time="03:00"
    ).content.decode()

    assert "not within the working hours of Ruth" in html and html.count('name="exact"') == 5


def test_a_meeting_is_moved_onto_a_free_slot_only(admin_client: Client) -> None:
    host, start = always(), soon()
    meeting(host, start)
    other = meeting(host, start + timedelta(hours=2), 2)

    refused = send(admin_client, "move", other.pk, host=host.pk, exact=start.isoformat(), duration=30)
    assert "another meeting at that time" in refused.content.decode()
    done = send(admin_client, "move", other.pk, host=host.pk, exact=(start + timedelta(hours=1)).isoformat())

    assert done.status_code == 302
    other.refresh_from_db()
    assert other.scheduled_time == start + timedelta(hours=1)
    assert "Scheduled time" in LogEntry.objects.get().change_message


def test_cancelling_asks_first_and_the_lead_follows_in_the_history(admin_client: Client) -> None:
    row = meeting(always(), soon(), lead=booking.lead(1, status="meeting_scheduled"))

    assert "Cancel the meeting of Lead 1" in send(admin_client, "cancel_one", row.pk).content.decode()
    assert statuses() == ("scheduled", "meeting_scheduled")
    send(admin_client, "cancel_one", row.pk, confirmed="yes")

    assert statuses() == ("cancelled", "contacted")
    written = {
        entry.content_type.model: entry.change_message
        for entry in LogEntry.objects.all()
        if entry.content_type
    }
    assert '"Scheduled", "Cancelled"' in written["meeting"]
    assert '"Meeting Scheduled", "Contacted"' in written["lead"]


def test_a_cancelled_meeting_is_scheduled_again_while_its_slot_is_free(admin_client: Client) -> None:
    row = meeting(always(), soon(), status="cancelled", lead=booking.lead(1, status="contacted"))
    asked = send(admin_client, "schedule_one", row.pk).content.decode()
    assert "again?" in asked and statuses() == ("cancelled", "contacted")

    send(admin_client, "schedule_one", row.pk, confirmed="yes")
    assert statuses() == ("scheduled", "meeting_scheduled")

    send(admin_client, "cancel_one", row.pk, confirmed="yes")
    meeting(row.host, soon(), 2)
    refused = admin_client.post(
        reverse("admin:meetings_meeting_schedule_one", args=[row.pk]), {"confirmed": "yes"}, follow=True
    )
    assert "another meeting at that time" in refused.content.decode()
    row.refresh_from_db()
    assert row.status == "cancelled"


def test_an_impossible_status_is_a_sentence(admin_client: Client) -> None:
    row = meeting(always(), soon(), status="completed")

    path = reverse("admin:meetings_meeting_confirm_one", args=[row.pk])
    answer = admin_client.post(path, {"confirmed": "yes"}, follow=True)

    assert "A completed meeting cannot become confirmed." in answer.content.decode()
    assert Meeting.objects.get().status == "completed"


def test_actions_of_the_list_change_what_they_can_and_say_what_was_left(admin_client: Client) -> None:
    host = always()
    rows = [
        meeting(host, soon(hour), hour + 1, status=status)
        for hour, status in enumerate(["scheduled", "completed"])
    ]
    path = staff.address(Meeting, "changelist")
    form = {"action": "cancel_meetings", "_selected_action": [row.pk for row in rows]}

    assert "Cancel these 2 meetings?" in admin_client.post(path, form).content.decode()
    html = admin_client.post(path, form | {"confirmed": "yes"}, follow=True).content.decode()

    assert "Changed 1 meetings." in html and "1 were left." in html
    assert sorted(Meeting.objects.values_list("status", flat=True)) == ["cancelled", "completed"]


def test_a_meeting_is_downloaded_as_a_calendar_file(admin_client: Client) -> None:
    row = meeting(always(), soon())

    answer = admin_client.get(reverse("admin:meetings_meeting_calendar_file", args=[row.pk]))

    assert answer["Content-Type"].startswith("text/calendar")
    assert (
        answer.content.startswith(b"BEGIN:VCALENDAR")
        and f"meeting-{row.pk}.ics" in answer["Content-Disposition"]
    )


@pytest.mark.parametrize(
    "page", ["move", "confirm_one", "complete_one", "no_show_one", "cancel_one", "schedule_one"]
)
def test_those_who_may_only_look_change_nothing(page: str) -> None:
    row = meeting(always(), soon())
    viewer = staff.staff_client("meetings.view_meeting")

    assert send(viewer, page, row.pk, confirmed="yes").status_code == 403
    assert send(viewer, "book").status_code == 403
    assert viewer.get(reverse("admin:meetings_meeting_week")).status_code == 200
    assert staff.staff_client().get(reverse("admin:meetings_meeting_week")).status_code == 403
    assert " free</a>" not in week_of(viewer, row.host, f"{soon():%Y-%m-%d}")
