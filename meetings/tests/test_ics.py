"""Calendar files of meetings, read back by a parser and looked at byte by byte."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from icalendar import Calendar

from leads.models import Lead
from meetings import ics, services
from meetings.models import Meeting, MeetingHost
from meetings.tests.booking import NOW, at, host, lead

NINE = at("05-05 07:00")
INJECTION = "x\r\nATTENDEE:mailto:evil@example.com\r\nBEGIN:VEVENT"


@pytest.fixture
def booked(db) -> Meeting:
    ruth = host(calendar_id="ruth@example.com", slot_minutes=45)
    row = services.book(lead(name="Ada"), ruth, NINE, guest_email="guest@example.com", now=NOW)
    row.refresh_from_db()
    return row


def event(file: bytes):
    calendar = Calendar.from_ical(file)
    (found,) = calendar.walk("VEVENT")
    return calendar["METHOD"], found


def test_an_invitation_has_all_that_a_calendar_needs(booked: Meeting) -> None:
    method, found = event(ics.meeting_file(booked, with_guest=True))

    assert (method, found["STATUS"], found["SEQUENCE"]) == ("REQUEST", "TENTATIVE", 0)
    assert (found.decoded("DTSTART"), found.decoded("DTEND")) == (NINE, at("05-05 07:45"))
    assert (str(found["ORGANIZER"]), str(found["ATTENDEE"])) == (
        "mailto:ruth@example.com",
        "mailto:guest@example.com",
    )
    assert str(found["SUMMARY"]) == "Ada and Ruth"
    assert found["UID"] and found["DTSTAMP"]


def test_without_permission_the_guests_address_is_not_in_the_file(booked: Meeting) -> None:
    file = ics.meeting_file(booked, with_guest=False)

    assert b"guest@example.com" not in file
    assert event(file)[0] == "PUBLISH"
    assert booked.lead.phone.encode() not in file


def test_the_uid_stays_and_the_sequence_grows_with_each_move_and_cancellation(booked: Meeting) -> None:
    seen = [event(ics.meeting_file(booked, with_guest=True))]
    for start in ("05-05 08:00", "05-06 08:00"):
        services.move(booked, at(start), now=NOW)
        seen.append(event(ics.meeting_file(Meeting.objects.get(), with_guest=True)))
    services.cancel(booked)
    seen.append(event(ics.meeting_file(Meeting.objects.get(), with_guest=True)))

    assert len({str(found["UID"]) for _, found in seen}) == 1
    assert [found["SEQUENCE"] for _, found in seen] == [0, 1, 2, 3]
    assert [method for method, _ in seen] == ["REQUEST", "REQUEST", "REQUEST", "CANCEL"]
    assert seen[-1][1]["STATUS"] == "CANCELLED"


def test_without_an_organizer_a_cancelled_meeting_is_published(booked: Meeting) -> None:
    MeetingHost.objects.update(calendar_id=None)
    services.cancel(booked)

    method, found = event(ics.meeting_file(Meeting.objects.get(), with_guest=True))

    assert (method, found["STATUS"], "ORGANIZER" in found) == ("PUBLISH", "CANCELLED", False)


def test_uids_of_meetings_differ(booked: Meeting) -> None:
    other = services.book(lead(2), booked.host, at("05-05 09:00"), now=NOW)
    other.refresh_from_db()

    assert ics.uid_of(booked) != ics.uid_of(other)


def test_a_hosts_calendar_has_all_its_meetings(booked: Meeting) -> None:
    services.book(lead(2), booked.host, at("05-05 09:00"), now=NOW)
    rows = Meeting.objects.select_related("lead", "host")

    calendar = Calendar.from_ical(ics.host_file(booked.host, rows, with_guest=False))

    assert (calendar["METHOD"], calendar["X-WR-CALNAME"]) == ("PUBLISH", "Ruth")
    assert len(calendar.walk("VEVENT")) == 2
    assert len(Calendar.from_ical(ics.host_file(booked.host, [], with_guest=False)).walk("VEVENT")) == 0


def unsaved(**texts: str) -> Meeting:
    person = Lead(id=1, name=texts.get("name", "Ada"), phone="+14155550134")
    ruth = MeetingHost(id=1, name=texts.get("host", "Ruth"), calendar_id=texts.get("calendar"))
    return Meeting(
        id=1,
        lead=person,
        host=ruth,
        scheduled_time=NINE,
        status="scheduled",
        guest_email=texts.get("email"),
        meeting_link=texts.get("link"),
        created_at=NOW,
        updated_at=NOW,
    )


FIELDS = ["name", "host", "calendar", "email", "link"]


def check(file: bytes) -> None:
    """No line is longer than 75 octets, each is UTF-8 by itself, and there is nothing but what we put in."""
    lines = file.split(b"\r\n")
    assert lines[-1] == b""
    assert not any(b"\r" in line or b"\n" in line for line in lines)
    assert max(map(len, lines)) <= 75
    unfolded = file.replace(b"\r\n ", b"").decode().split("\r\n")
    names = [line.partition(":")[0].partition(";")[0] for line in unfolded if line]
    assert set(names) <= {
        "BEGIN", "END", "PRODID", "VERSION", "CALSCALE", "METHOD", "UID", "DTSTAMP", "LAST-MODIFIED", "CREATED",
        "DTSTART", "DTEND", "SEQUENCE", "STATUS", "TRANSP", "SUMMARY", "URL", "LOCATION", "ORGANIZER", "ATTENDEE",
    }  # fmt: skip
    assert names.count("BEGIN") == 2
    assert names.count("ATTENDEE") <= 1
    assert len(Calendar.from_ical(file).walk("VEVENT")) == 1


@pytest.mark.parametrize("field", FIELDS)
@pytest.mark.parametrize(
    "text",
    [
        INJECTION,
        f"a@example.com{INJECTION}",
        f"https://example.com/{INJECTION}",
        "a@example.com\nATTENDEE:mailto:evil@example.com",
        "a@example.com\rX:1",
        '";ROLE=CHAIR:x"\u2028\u0085\x0b',
        "שלום " * 60,
        "\\n;,:",
        "https://example.com/" + "a" * 500,
        "",
    ],
)
def test_no_text_breaks_out_of_its_line(field: str, text: str) -> None:
    file = ics.meeting_file(unsaved(**{field: text}), with_guest=True)

    check(file)
    lines = file.replace(b"\r\n ", b"").split(b"\r\n")
    assert not [line for line in lines if line.startswith(b"ATTENDEE") and b"evil" in line]


@settings(max_examples=60, deadline=None)
@given(
    st.dictionaries(
        st.sampled_from(FIELDS), st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"))
    )
)
def test_files_of_any_texts_are_sound(texts: dict[str, str]) -> None:
    check(ics.meeting_file(unsaved(**texts), with_guest=True))


def test_texts_come_back_as_they_are() -> None:
    name = "Ada; Countess, of \\ Lovelace\nsecond line: שלום"

    _, found = event(ics.meeting_file(unsaved(name=name), with_guest=True))

    assert str(found["SUMMARY"]) == f"{name} and Ruth"
