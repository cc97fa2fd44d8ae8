"""Booking: what changes a meeting, the lead's status with it, in one transaction.

PostgreSQL's exclusion constraints are the referee. The host's row is locked before anything is written, so that
callers for one slot stand in line: without it two writers may each wait for the other's row until one is ended
as a deadlock. Locks are taken in the order lead, meeting, host: who deletes or merges leads locks them first, too.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime, timedelta
from typing import Any

import psycopg
from django.core.exceptions import ValidationError
from django.core.validators import validate_email
from django.db import Error, IntegrityError, OperationalError, transaction
from django.db.models import Q, QuerySet
from django.utils import timezone

from calls.models import Call
from database.errors import constraint_of, driver_error
from leads.models import Lead
from meetings.availability import HostUnusable, busy_spans, calendars_of, next_free, objection
from meetings.models import DAY_MINUTES, DEFAULT_MINUTES, EARLIEST, LATEST, Meeting, MeetingHost

Status = Meeting.Status
GONE = "there is no such row"
PLACE = ("host", "scheduled_time", "duration", "buffer_before", "buffer_after")
SLOT_CONSTRAINTS = {"meetings_no_double_booking", "meetings_buffers_kept"}
# A completed meeting was kept: the lead is not to be won again.
WON = (Status.SCHEDULED, Status.CONFIRMED, Status.COMPLETED)
# Completed and no-show can be corrected into each other; a cancelled meeting can be taken up again while
# its slot is free.
TRANSITIONS: dict[str, tuple[str, ...]] = {
    Status.SCHEDULED: (Status.CONFIRMED, Status.CANCELLED, Status.COMPLETED, Status.NO_SHOW),
    Status.CONFIRMED: (Status.SCHEDULED, Status.CANCELLED, Status.COMPLETED, Status.NO_SHOW),
    Status.CANCELLED: (Status.SCHEDULED,),
    Status.COMPLETED: (Status.NO_SHOW,),
    Status.NO_SHOW: (Status.COMPLETED,),
}


class BookingRefused(Exception):
    """A booking that is not made; the text is a sentence for the caller, `code` is stable."""

    code = "refused"


class NotBookable(BookingRefused):
    """Past, out of hours, too soon, beyond the horizon, or a host that cannot be booked."""

    def __init__(self, code: str, sentence: str) -> None:
        super().__init__(sentence)
        self.code = code


class SlotTaken(BookingRefused):
    """Somebody else has the host at that time; `alternatives` are the next free starts, in UTC."""

    code = "slot_taken"

    def __init__(self, alternatives: list[datetime]) -> None:
        super().__init__("The host has another meeting at that time.")
        self.alternatives = alternatives


class ImpossibleTransition(BookingRefused):
    """The meeting's status does not allow what was asked."""

    code = "impossible_transition"


class _Taken(Exception):
    """The slot is taken; alternatives are looked for when the locks are gone."""


def book(
    lead: Lead,
    host: MeetingHost,
    start: datetime,
    duration: int | None = None,
    call: Call | None = None,
    guest_email: str | None = None,
    notes: str | None = None,
    *,
    now: datetime | None = None,
) -> Meeting:
    """Book a host for a lead, `duration` minutes long or as long as the host's slots.

    The same lead at the same time with the same host gets the meeting that is there: a caller that heard no
    answer may ask again. Raises NotBookable, SlotTaken with the next free slots, ValidationError.
    """
    now = now or timezone.now()
    _require_values(start, duration, guest_email)
    if call and call.lead_id != lead.pk:
        raise ValidationError({"call": "The call is one of another lead."})
    try:
        with transaction.atomic():
            if not _lock_leads([lead.pk]):
                raise ValidationError({"lead_id": GONE})
            host = _locked_host(host.pk)
            minutes = duration or host.slot_minutes
            if repeated := _same_booking(lead, host, start, minutes):
                return repeated
            _require_bookable(host, start, minutes, now)
            meeting = Meeting(
                lead=lead,
                call=call,
                host=host,
                scheduled_time=start,
                duration=minutes,
                guest_email=guest_email or None,
                notes=notes or None,
            )
            _write(meeting)
            _lead_is_won(lead.pk)
            return meeting
    except _Taken:
        raise SlotTaken(next_free(host, start, now=now, minutes=duration)) from None


def move(
    meeting: Meeting,
    start: datetime | None = None,
    host: MeetingHost | None = None,
    duration: int | None = None,
    *,
    now: datetime | None = None,
) -> Meeting:
    """Give a scheduled or confirmed meeting another time, host or length; what is None stays.

    Moving it to where it is changes nothing. Raises as `book`, and ImpossibleTransition.
    """
    now = now or timezone.now()
    try:
        with transaction.atomic():
            row = locked(meeting)
            if row.status not in Meeting.LIVE:
                raise ImpossibleTransition(
                    f"A {_words(row.status)} meeting cannot be moved; book another one."
                )
            target = _locked_host(host.pk if host else row.host_id)
            at = start or row.scheduled_time
            minutes = duration or row.duration or DEFAULT_MINUTES
            if (target.pk, at, minutes) == (row.host_id, row.scheduled_time, row.duration or DEFAULT_MINUTES):
                return row
            _require_values(at, minutes, None)
            _require_bookable(target, at, minutes, now)
            row.host, row.scheduled_time, row.duration = target, at, minutes
            row.ics_sequence += 1
            _write(row, [*PLACE, "ics_sequence"])
            return row
    except _Taken:
        free = next_free(target, at, now=now, minutes=minutes, without=meeting.pk)
        raise SlotTaken(free) from None


def cancel(meeting: Meeting) -> Meeting:
    """Free the slot; the lead becomes `contacted` when nothing else is booked for it or was kept."""
    return change_status(meeting, Status.CANCELLED)


def confirm(meeting: Meeting) -> Meeting:
    return change_status(meeting, Status.CONFIRMED)


def complete(meeting: Meeting) -> Meeting:
    """Note that the meeting took place; the lead stays `meeting_scheduled`."""
    return change_status(meeting, Status.COMPLETED)


def mark_no_show(meeting: Meeting) -> Meeting:
    """Note that the guest did not come; the lead's status changes as on `cancel`."""
    return change_status(meeting, Status.NO_SHOW)


def change_status(meeting: Meeting, status: str, *, now: datetime | None = None) -> Meeting:
    """Bring a meeting into another status and its lead with it; the status it has already changes nothing.

    Raises ImpossibleTransition, and SlotTaken when a cancelled meeting's slot was sold again.
    """
    try:
        with transaction.atomic():
            row = locked(meeting)
            if row.status == status:
                return row
            if status not in TRANSITIONS[row.status]:
                raise ImpossibleTransition(f"A {_words(row.status)} meeting cannot become {_words(status)}.")
            _change(row, status)
            return row
    except _Taken:
        host = meeting.host
        free = next_free(
            host,
            meeting.scheduled_time,
            now=now or timezone.now(),
            minutes=meeting.duration or DEFAULT_MINUTES,
        )
        raise SlotTaken(free) from None


def describe(meeting: Meeting, texts: Mapping[str, str | None]) -> None:
    """Set texts of a meeting: guest_email, meeting_link, calendar_event_id, notes; an empty one becomes null.

    Raises ValidationError for an e-mail that is none, IntegrityError for the event of another meeting.
    """
    if email := texts.get("guest_email"):
        _require_email(email)
    if texts:
        values = {name: text or None for name, text in texts.items()}
        Meeting.objects.filter(pk=meeting.pk).update(**values, updated_at=timezone.now())


def write_as_staff(meeting: Meeting, changed: Collection[str], before: Meeting | None = None) -> None:
    """Save what staff entered by hand, and let the leads follow.

    Hours, notice, horizon and transitions do not bind staff, who correct what happened; PostgreSQL does.
    `changed` names the edited fields, `before` is the row as it was, None for a new one. Raises
    IntegrityError, with which the transaction is lost.
    """
    with transaction.atomic():
        _lock_leads({meeting.lead_id, before.lead_id if before else meeting.lead_id})
        if before is not None:
            locked(before)
        host = _locked_host(meeting.host_id)
        fields = set(changed)
        if before is None or fields & {"host", "scheduled_time", "duration"}:
            meeting.buffer_before, meeting.buffer_after = host.buffer_before, host.buffer_after
            fields |= {"buffer_before", "buffer_after"}
        if before is None:
            meeting.save(force_insert=True)
        elif changed:
            if fields & {"host", "scheduled_time", "duration", "status"}:
                meeting.ics_sequence = before.ics_sequence + 1
                fields.add("ics_sequence")
            meeting.save(update_fields=[*fields, "updated_at"])
        if before is None or fields & {"status", "lead"}:
            _leads_follow(meeting, before)


def delete(meetings: Collection[Meeting]) -> None:
    """Delete meetings; their leads' statuses change as on `cancel`."""
    lead_ids = sorted({meeting.lead_id for meeting in meetings})
    with transaction.atomic():
        _lock_leads(lead_ids)
        Meeting.objects.filter(pk__in=[meeting.pk for meeting in meetings]).delete()
        for lead_id in lead_ids:
            _lead_is_open(lead_id)


def locked(meeting: Meeting) -> Meeting:
    """Lock a meeting's lead, then the meeting; return it as it is now. Raises Meeting.DoesNotExist."""
    # The lead that it has now: a merge may have given it another one since the caller read it.
    _lock_leads(Meeting.objects.filter(pk=meeting.pk).values("lead"))
    rows = Meeting.objects.select_for_update(no_key=True, of=("self",)).select_related("host")
    if (row := rows.filter(pk=meeting.pk).first()) is None:
        raise Meeting.DoesNotExist
    return row


def _change(row: Meeting, status: str) -> None:
    was, row.status = row.status, status
    fields = ["status"]
    if Status.CANCELLED in (was, status):
        row.ics_sequence += 1
        fields.append("ics_sequence")
    if was == Status.CANCELLED:
        _locked_host(row.host_id)
        _write(row, fields, is_revived=True)
    else:
        row.save(update_fields=[*fields, "updated_at"])
    if status in (Status.CANCELLED, Status.NO_SHOW):
        _lead_is_open(row.lead_id)
    elif was not in Meeting.LIVE:
        _lead_is_won(row.lead_id)


def _write(meeting: Meeting, fields: list[str] | None = None, *, is_revived: bool = False) -> None:
    """Insert a meeting, or update `fields`, with its host locked; raises _Taken.

    From here on it overlaps no other booking, also when it came from the old system and did. A revived one keeps its
    buffers, and may lie over meetings that may overlap: nobody could have booked there since.
    """
    meeting.allow_overlap = False
    if not is_revived:
        meeting.buffer_before, meeting.buffer_after = meeting.host.buffer_before, meeting.host.buffer_after
        # The constraints exempt meetings that may overlap, yet the host sits in them.
        if busy_spans([meeting.host_id], *_taking(meeting), without=meeting.pk):
            raise _Taken
    try:
        with transaction.atomic():
            if fields is None:
                meeting.save(force_insert=True)
            else:
                meeting.save(update_fields=[*fields, "allow_overlap", "updated_at"])
    except (IntegrityError, OperationalError) as error:
        if _is_taken(error):
            raise _Taken from None
        raise


def _taking(meeting: Meeting) -> tuple[datetime, datetime]:
    """Return the span for which a meeting keeps its host, buffers included."""
    begins = meeting.scheduled_time - timedelta(minutes=meeting.buffer_before)
    length = (meeting.duration or DEFAULT_MINUTES) + meeting.buffer_after
    return begins, meeting.scheduled_time + timedelta(minutes=length)


def _require_bookable(host: MeetingHost, start: datetime, minutes: int, now: datetime) -> None:
    try:
        (calendar,) = calendars_of([host.pk], start, start)
    except HostUnusable as error:
        raise NotBookable("host_unusable", str(error)) from None
    if found := objection(calendar.lasting(minutes), start, now):
        raise NotBookable(*found)


def _require_values(start: datetime, duration: int | None, guest_email: str | None) -> None:
    if timezone.is_naive(start):
        raise ValidationError({"start": "Give the time with its offset to UTC."})
    if not EARLIEST <= start < LATEST - timedelta(days=400):
        raise ValidationError({"start": "Give a time between 1970 and 2198."})
    if duration is not None and not 1 <= duration <= DAY_MINUTES:
        raise ValidationError({"duration": f"A meeting takes 1 to {DAY_MINUTES} minutes."})
    if guest_email:
        _require_email(guest_email)


def _require_email(text: str) -> None:
    try:
        validate_email(text)
    except ValidationError:
        raise ValidationError({"guest_email": "This is no e-mail address."}) from None


def _same_booking(lead: Lead, host: MeetingHost, start: datetime, minutes: int) -> Meeting | None:
    length = (
        Q(duration=minutes) if minutes != DEFAULT_MINUTES else Q(duration__in=[minutes, 0]) | Q(duration=None)
    )
    same = Meeting.objects.filter(lead=lead, host=host, scheduled_time=start, status__in=Meeting.LIVE)
    return same.filter(length).first()


def _locked_host(host_id: int) -> MeetingHost:
    # No key update: foreign keys of rows that others insert need not wait.
    host = MeetingHost.objects.select_for_update(no_key=True).filter(pk=host_id).first()
    if host is None:
        raise ValidationError({"host_id": GONE})
    return host


def _lock_leads(lead_ids: Collection[int] | QuerySet[Any]) -> int:
    """Lock leads in the order of their ids; return how many there are."""
    return len(
        Lead.objects.select_for_update(no_key=True).filter(pk__in=lead_ids).order_by("pk").values("pk")
    )


def _lead_is_won(lead_id: int) -> None:
    leads = Lead.objects.filter(pk=lead_id).exclude(status=Lead.Status.MEETING_SCHEDULED)
    leads.update(status=Lead.Status.MEETING_SCHEDULED, updated_at=timezone.now())


def _lead_is_open(lead_id: int) -> None:
    """Take `meeting_scheduled` off a lead for which nothing is booked or was kept."""
    # Locked first: of two meetings cancelled at once, the second one must see the first one gone.
    lead = Lead.objects.select_for_update(no_key=True).filter(pk=lead_id).only("status").first()
    if lead is None or lead.status != Lead.Status.MEETING_SCHEDULED:
        return
    if not Meeting.objects.filter(lead_id=lead_id, status__in=WON).exists():
        Lead.objects.filter(pk=lead_id).update(status=Lead.Status.CONTACTED, updated_at=timezone.now())


def _leads_follow(meeting: Meeting, before: Meeting | None) -> None:
    was_won = before is not None and before.status in WON and before.lead_id == meeting.lead_id
    if meeting.status in WON and not was_won:
        _lead_is_won(meeting.lead_id)
    if before is not None and before.lead_id != meeting.lead_id:
        _lead_is_open(before.lead_id)
    if meeting.status not in WON:
        _lead_is_open(meeting.lead_id)


def _is_taken(error: Error) -> bool:
    """Tell whether a row was refused for another one's sake.

    Writers that do not lock the host, such as raw SQL, meet the constraints only. PostgreSQL writes the row
    first and looks for others then, so two of them may wait for each other until one is ended as a deadlock.
    """
    if isinstance(driver_error(error), psycopg.errors.DeadlockDetected):
        return True
    return constraint_of(error) in SLOT_CONSTRAINTS


def _words(status: str) -> str:
    return Status(status).label.lower()
