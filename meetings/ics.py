"""Meetings as calendar files (RFC 5545, RFC 5546)."""

from __future__ import annotations

import re
import uuid
from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TYPE_CHECKING

from django.core.exceptions import ValidationError
from django.core.validators import URLValidator, validate_email

from meetings.models import DEFAULT_MINUTES, Meeting, MeetingHost

# Imported where a file is written: icalendar loads every time zone, which would be a tenth of each process's start.
if TYPE_CHECKING:
    from icalendar import Event

PRODUCT = "-//AI Scheduler//Meetings//EN"
CONTENT_TYPE = "text/calendar; charset=utf-8"
UID_NAMESPACE = uuid.UUID("7f1d2f4e-5c1e-4e0a-9f4b-3b6f0c7f2a51")
STATUSES = {
    Meeting.Status.SCHEDULED: "TENTATIVE",
    Meeting.Status.CONFIRMED: "CONFIRMED",
    Meeting.Status.CANCELLED: "CANCELLED",
    Meeting.Status.COMPLETED: "CONFIRMED",
    Meeting.Status.NO_SHOW: "CONFIRMED",
}
CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\u0085\u2028\u2029]")
is_web_address = URLValidator(schemes=["http", "https"])


def meeting_file(meeting: Meeting, *, with_guest: bool) -> bytes:
    """Return one meeting: an invitation, a cancellation, or something to take note of where nobody is invited.

    The guest's e-mail is in it with `with_guest` only. Reads the meeting's lead and host.
    """
    event = _event(meeting, with_guest=with_guest)
    # Both need the organizer (RFC 5546); what is published says by its status that it is cancelled.
    if "ORGANIZER" in event and meeting.status == Meeting.Status.CANCELLED:
        method = "CANCEL"
    elif "ORGANIZER" in event and "ATTENDEE" in event:
        method = "REQUEST"
    else:
        method = "PUBLISH"
    return _file([event], method)


def host_file(host: MeetingHost, meetings: Iterable[Meeting], *, with_guest: bool) -> bytes:
    """Return meetings of a host as a calendar to subscribe to; reads their leads."""
    return _file([_event(each, with_guest=with_guest) for each in meetings], "PUBLISH", name=host.name)


def uid_of(meeting: Meeting) -> str:
    """Return what calendars know a meeting by: it never changes, and no other installation has it."""
    return f"{uuid.uuid5(UID_NAMESPACE, f'{meeting.pk} {meeting.created_at.isoformat()}')}@ai-scheduler"


def _file(events: Iterable[Event], method: str, name: str | None = None) -> bytes:
    from icalendar import Calendar

    calendar = Calendar()
    calendar.add("PRODID", PRODUCT)
    calendar.add("VERSION", "2.0")
    calendar.add("CALSCALE", "GREGORIAN")
    calendar.add("METHOD", method)
    if name:
        calendar.add("NAME", plain(name))
        calendar.add("X-WR-CALNAME", plain(name))
    for event in events:
        calendar.add_component(event)
    return calendar.to_ical()


def _event(meeting: Meeting, *, with_guest: bool) -> Event:
    from icalendar import Event

    event = Event()
    event.add("UID", uid_of(meeting))
    event.add("DTSTAMP", meeting.updated_at)
    event.add("LAST-MODIFIED", meeting.updated_at)
    event.add("CREATED", meeting.created_at)
    event.add("DTSTART", meeting.scheduled_time)
    event.add("DTEND", meeting.scheduled_time + timedelta(minutes=meeting.duration or DEFAULT_MINUTES))
    event.add("SEQUENCE", meeting.ics_sequence)
    event.add("STATUS", STATUSES[Meeting.Status(meeting.status)])
    event.add("TRANSP", "OPAQUE" if meeting.status in Meeting.LIVE else "TRANSPARENT")
    event.add("SUMMARY", f"{plain(meeting.lead.name)} and {plain(meeting.host.name)}")
    _add_addresses(event, meeting, with_guest=with_guest)
    return event


def _add_addresses(event: Event, meeting: Meeting, *, with_guest: bool) -> None:
    from icalendar import vCalAddress, vUri

    # Addresses are not escaped as texts are: one that is none, such as two lines, stays out.
    if meeting.meeting_link and _passes(is_web_address, meeting.meeting_link):
        event.add("URL", vUri(meeting.meeting_link))
        event.add("LOCATION", meeting.meeting_link)
    if _passes(validate_email, meeting.host.calendar_id):
        organizer = vCalAddress(f"mailto:{meeting.host.calendar_id}")
        organizer.params["CN"] = _parameter(meeting.host.name)
        event.add("ORGANIZER", organizer)
    if with_guest and _passes(validate_email, meeting.guest_email):
        guest = vCalAddress(f"mailto:{meeting.guest_email}")
        guest.params["CN"] = _parameter(meeting.lead.name)
        guest.params["ROLE"] = "REQ-PARTICIPANT"
        guest.params["PARTSTAT"] = (
            "ACCEPTED" if meeting.status == Meeting.Status.CONFIRMED else "NEEDS-ACTION"
        )
        event.add("ATTENDEE", guest)


def plain(text: str) -> str:
    """Return a text without control characters; the line ends that stay are escaped by icalendar."""
    return CONTROLS.sub(" ", text.replace("\r\n", "\n"))


def _parameter(text: str) -> str:
    # A parameter's value has no escape for quotes and line ends.
    return plain(text).replace("\n", " ").replace('"', "'")


def _passes(validator: Callable[[str], None], value: str | None) -> bool:
    if not value or CONTROLS.search(value) or "\n" in value:
        return False
    try:
        validator(value)
    except ValidationError:
        return False
    return True
