"""Meetings over REST: staff book, move and end them, a partner reads those of its leads."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Annotated, Any, Literal

from django.core.exceptions import ValidationError
from django.db import IntegrityError, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils import timezone
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from calls.models import Call
from database.errors import constraint_of
from leads.models import Lead
from meetings import ics, offers, services
from meetings.history import booking_noted, changes_noted
from meetings.models import DAY_MINUTES, DEFAULT_MINUTES, Meeting, MeetingHost
from partners.access import staff_or_partner
from scheduler.rest.access import caller, staff
from scheduler.rest.answers import json_answer, moment
from scheduler.rest.exports import csv_answer
from scheduler.rest.listings import Conditions, Listing
from scheduler.rest.pages import PageQuery, page_of
from scheduler.rest.parameters import BIGINT, Body, BodyId, Moment, RowId, Whole, choice_of
from scheduler.rest.problems import Invalid, NotFound, Problem, also_answers
from scheduler.rest.shapes import Shape

router = Router(tags=["meetings"])

Status = Literal["scheduled", "confirmed", "cancelled", "completed", "no_show"]
QueryId = Annotated[int, Field(ge=0, le=BIGINT)]
Minutes = Annotated[int, Whole(1, DAY_MINUTES)]
MEETING = Shape(
    id="id",
    lead_id="lead_id",
    lead_name="lead__name",
    call_id="call_id",
    scheduled_at=("scheduled_time", moment),
    email="guest_email",
    duration="duration",
    meeting_link="meeting_link",
    notes="notes",
    calendar_event_id="calendar_event_id",
    status="status",
    created_at=("created_at", moment),
)
# What the old API had, and with whom.
BOOKING = Shape(
    **{name: MEETING.columns[name] for name in MEETING.names if name not in MEETING.converts},
    scheduled_at=("scheduled_time", moment),
    created_at=("created_at", moment),
    host_id="host_id",
    host_name="host__name",
)
HOST = Shape(
    id="id",
    name="name",
    timezone="timezone",
    working_hours="working_hours",
    slot_minutes="slot_minutes",
    buffer_before="buffer_before",
    buffer_after="buffer_after",
    minimum_notice="minimum_notice",
    horizon_days="horizon_days",
)
EXAMPLE: dict[str, Any] = {
    "id": 9,
    "lead_id": 42,
    "lead_name": "Ada Lovelace",
    "call_id": 7,
    "scheduled_at": "2025-01-03T09:30:00+00:00",
    "email": "ada@example.com",
    "duration": 30,
    "meeting_link": "https://meet.example.com/9",
    "notes": "Wants to see the calculator.",
    "calendar_event_id": None,
    "status": "scheduled",
    "created_at": "2025-01-01T00:03:00+00:00",
}
# Name in the API -> column.
TEXTS = {
    "email": "guest_email",
    "notes": "notes",
    "meeting_link": "meeting_link",
    "calendar_event_id": "calendar_event_id",
}
POINTERS = {"start": "/scheduled_at", "duration": "/duration", "guest_email": "/email", "call": "/call_id"}


class MeetingOut(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    lead_id: int
    lead_name: str
    call_id: int | None
    scheduled_at: AwareDatetime
    email: str | None
    duration: int | None = Field(description=f"Minutes; null or 0 counts as {DEFAULT_MINUTES}.")
    meeting_link: str | None
    notes: str | None
    calendar_event_id: str | None
    status: Status
    created_at: AwareDatetime


class BookingOut(MeetingOut):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{**EXAMPLE, "host_id": 1, "host_name": "Ruth"}]}
    )

    host_id: int
    host_name: str


class MeetingList(Schema):
    meetings: list[MeetingOut]
    total: int
    page: int
    page_size: int


class StatusChanged(Schema):
    success: Literal[True]
    message: str = Field(examples=["Meeting status updated"])


class HostOut(Schema):
    id: int
    name: str = Field(examples=["Ruth"])
    timezone: str = Field(examples=["Europe/Zurich"])
    working_hours: dict[str, list[tuple[str, str]]] = Field(
        description="Empty: always.", examples=[{"mon": [("09:00", "12:00"), ("13:00", "17:00")]}]
    )
    slot_minutes: int = Field(examples=[30])
    buffer_before: int = Field(description="Minutes.", examples=[0])
    buffer_after: int = Field(description="Minutes.", examples=[10])
    minimum_notice: int = Field(description="Minutes.", examples=[120])
    horizon_days: int = Field(examples=[60])


class HostList(Schema):
    hosts: list[HostOut]


class MeetingFilters(BaseModel):
    """What a list or an export of meetings may be narrowed by."""

    status: choice_of(Meeting.Status) = None  # type: ignore[valid-type]
    lead_id: QueryId | None = None
    host_id: QueryId | None = None
    after: Moment | None = Field(None, description="At this time or later.")
    before: Moment | None = Field(None, description="Before this time.")

    def conditions(self) -> Conditions:
        return {
            "status": self.status,
            "lead_id": self.lead_id,
            "host_id": self.host_id,
            "scheduled_time__gte": self.after,
            "scheduled_time__lt": self.before,
        }


class NewMeeting(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"lead_id": 42, "host_id": 1, "scheduled_at": "2025-01-03T09:30:00+00:00"}]
        }
    )

    lead_id: BodyId
    host_id: BodyId
    scheduled_at: Moment
    duration: Minutes | None = Field(None, description="Minutes; default: the host's slots.")
    call_id: BodyId | None = None
    email: str | None = Field(None, max_length=320)
    notes: str | None = Field(None, max_length=20_000)


class MeetingChanges(Body):
    """What is missing stays as it is; another time, host or duration moves the meeting."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"scheduled_at": "2025-01-03T11:00:00+00:00"}]})

    scheduled_at: Moment | None = None
    host_id: BodyId | None = None
    duration: Minutes | None = None
    email: str | None = Field(None, max_length=320)
    notes: str | None = Field(None, max_length=20_000)
    meeting_link: str | None = Field(None, max_length=2_000)
    calendar_event_id: str | None = Field(None, max_length=1_000)


class StatusChange(Body):
    status: str | None = Field(None, examples=["confirmed"])


def meeting_rows(meeting_id: int | None = None, partner_id: int | None = None) -> QuerySet[Meeting]:
    """Return the meetings that a caller may know of: with a `partner_id` those of that partner's leads, else all."""
    meetings = Meeting.objects.all()
    if partner_id is not None:
        meetings = meetings.filter(lead__partner_id=partner_id)
    return meetings if meeting_id is None else meetings.filter(pk=meeting_id)


find_meeting = MEETING.one(meeting_rows)
find_booking = BOOKING.one(meeting_rows)
MEETINGS = Listing(meeting_rows, MEETING, newest="scheduled_time")


def visible(request: HttpRequest) -> QuerySet[Meeting]:
    return meeting_rows(partner_id=caller(request).partner_id)


@router.get("/", auth=staff_or_partner("meetings.view_meeting"), response=MeetingList)
def list_meetings(
    request: HttpRequest, page: Query[PageQuery], filters: Query[MeetingFilters]
) -> HttpResponse:
    """List meetings, latest first."""
    found = page_of(request, MEETINGS, page, filters.conditions())
    body = {"meetings": found.rows, "total": found.total, "page": found.page, "page_size": found.page_size}
    return json_answer(body, headers=found.headers)


@router.get("/export", auth=staff_or_partner("meetings.view_meeting"), response={200: None})
def export_meetings(request: HttpRequest, filters: Query[MeetingFilters]) -> StreamingHttpResponse:
    """Stream all meetings as CSV, latest first."""
    rows = MEETINGS.narrowed(caller(request).partner_id, filters.conditions())
    return csv_answer(rows, MEETING, newest="scheduled_time", filename="meetings.csv")


@router.get(
    "/availability",
    auth=staff("meetings.view_meeting"),
    response=offers.Availability,
    by_alias=True,
    openapi_extra=also_answers(404, 409),
)
def get_availability(
    request: HttpRequest,
    asked: Query[offers.AvailabilityQuery],
    host: list[QueryId] = Query(  # noqa: B008
        [], max_length=offers.MOST_HOSTS, description="Ids, one `host=` each; none: all hosts."
    ),
) -> HttpResponse:
    """Say which slots of hosts are free."""
    return json_answer(offers.availability(host, asked))


@router.get("/hosts", auth=staff("meetings.view_meetinghost"), response=HostList)
def list_hosts(request: HttpRequest) -> HttpResponse:
    """List those with whom meetings are booked, by name."""
    rows = MeetingHost.objects.order_by("name", "id").values_list(*HOST.columns.values())
    return json_answer({"hosts": HOST.write(rows)})


@router.get("/hosts/{host_id}/calendar.ics", auth=staff("meetings.view_meeting"), response={200: None})
def get_host_calendar(request: HttpRequest, host_id: RowId) -> HttpResponse:
    """Write a host's meetings of the last 30 days and of the time to come as a calendar file."""
    host = MeetingHost.objects.filter(pk=host_id).first()
    if host is None:
        raise NotFound("Host")
    recent = Q(scheduled_time__gte=timezone.now() - timedelta(days=30))
    meetings = host.meetings.filter(recent).select_related("lead", "host").order_by("scheduled_time", "pk")
    return _calendar(ics.host_file(host, meetings, with_guest=True), f"host-{host.pk}.ics")


@router.post("/", auth=staff("meetings.add_meeting"), response={201: BookingOut})
def book_meeting(request: HttpRequest, new: NewMeeting) -> HttpResponse:
    """Book a free slot. A taken one is 409 with `alternatives`; the same booking again is the same meeting."""
    lead = _row(Lead, new.lead_id, "lead_id")
    host = _row(MeetingHost, new.host_id, "host_id")
    call = _row(Call, new.call_id, "call_id") if new.call_id is not None else None
    minutes = new.duration or host.slot_minutes
    with _refusals(minutes), transaction.atomic():
        row = services.book(lead, host, new.scheduled_at, new.duration, call, new.email, new.notes)
        booking_noted(row, caller(request))
    return json_answer(_booking(row.pk), 201)


@router.get("/{meeting_id}", auth=staff_or_partner("meetings.view_meeting"), response=MeetingOut)
def get_meeting(request: HttpRequest, meeting_id: RowId) -> HttpResponse:
    """Show one meeting."""
    return json_answer(_found(find_meeting(meeting_id=meeting_id, partner_id=caller(request).partner_id)))


@router.get(
    "/{meeting_id}/calendar.ics", auth=staff_or_partner("meetings.view_meeting"), response={200: None}
)
def get_meeting_file(request: HttpRequest, meeting_id: RowId) -> HttpResponse:
    """Write one meeting as a calendar file; the guest's address is for staff."""
    meeting = _meeting(request, meeting_id)
    is_staff = request.auth.partner_id is None  # type: ignore[attr-defined]
    return _calendar(ics.meeting_file(meeting, with_guest=is_staff), f"meeting-{meeting.pk}.ics")


@router.patch("/{meeting_id}", auth=staff("meetings.change_meeting"), response=BookingOut)
def change_meeting(request: HttpRequest, meeting_id: RowId, changes: MeetingChanges) -> HttpResponse:
    """Move a meeting or correct its texts, all or nothing."""
    given = changes.model_dump(exclude_unset=True)
    meeting = _meeting(request, meeting_id)
    host = _row(MeetingHost, changes.host_id, "host_id") if changes.host_id is not None else None
    minutes = changes.duration or meeting.duration or DEFAULT_MINUTES
    with _refusals(minutes), changes_noted(meeting, caller(request)):
        if any(getattr(changes, name) is not None for name in ("scheduled_at", "host_id", "duration")):
            services.move(meeting, changes.scheduled_at, host, changes.duration)
        texts = {column: given[name] for name, column in TEXTS.items() if name in given}
        services.describe(meeting, texts)
    return json_answer(_booking(meeting_id))


@router.patch("/{meeting_id}/status", auth=staff("meetings.change_meeting"), response=StatusChanged)
def change_meeting_status(
    request: HttpRequest,
    meeting_id: RowId,
    status: str | None = Query(None, description="scheduled, confirmed, cancelled, completed or no_show"),
    change: StatusChange | None = None,
) -> HttpResponse:
    """Bring a meeting into another status, named in the query or the body; 409 for one that cannot be."""
    wanted = status if status is not None or change is None else change.status
    if wanted is None:
        raise Invalid([("/query/status", "Field required")])
    if wanted.lower() not in Meeting.Status.values or wanted not in (wanted.lower(), wanted.upper()):
        raise Problem(400, "invalid_status", "Invalid status")
    meeting = _meeting(request, meeting_id)
    with _refusals(meeting.duration or DEFAULT_MINUTES), changes_noted(meeting, caller(request)):
        services.change_status(meeting, wanted.lower())
    return json_answer({"success": True, "message": "Meeting status updated"})


@router.post("/{meeting_id}/cancel", auth=staff("meetings.change_meeting"), response=BookingOut)
def cancel_meeting(request: HttpRequest, meeting_id: RowId) -> HttpResponse:
    """Cancel a meeting; one that is cancelled stays so."""
    meeting = _meeting(request, meeting_id)
    with _refusals(DEFAULT_MINUTES), changes_noted(meeting, caller(request)):
        services.cancel(meeting)
    return json_answer(_booking(meeting_id))


@contextmanager
def _refusals(minutes: int) -> Iterator[None]:
    """Answer the refusals of services as problems; alternatives are `minutes` long."""
    try:
        yield
    except services.SlotTaken as taken:
        length = timedelta(minutes=minutes)
        free = [{"start": moment(start), "end": moment(start + length)} for start in taken.alternatives]
        raise Problem(409, taken.code, str(taken), extra={"alternatives": free}) from None
    except services.NotBookable as refused:
        raise Invalid([("/scheduled_at", str(refused))], code=refused.code) from None
    except services.BookingRefused as refused:
        raise Problem(409, refused.code, str(refused)) from None
    except Meeting.DoesNotExist:
        raise NotFound("Meeting") from None
    except ValidationError as error:
        named = error.message_dict.items()
        raise Invalid(
            [(POINTERS.get(name, f"/{name}"), text) for name, texts in named for text in texts]
        ) from None
    except IntegrityError as error:
        if constraint_of(error) != "meetings_calendar_event_id_unique":
            raise
        raise Problem(409, "calendar_event_taken", "Another meeting has this calendar_event_id.") from None


def _meeting(request: HttpRequest, meeting_id: int) -> Meeting:
    meeting = visible(request).select_related("lead", "host").filter(pk=meeting_id).first()
    if meeting is None:
        raise NotFound("Meeting")
    return meeting


def _booking(meeting_id: int) -> dict[str, Any]:
    return _found(find_booking(meeting_id=meeting_id))


def _found(meeting: dict[str, Any] | None) -> dict[str, Any]:
    if meeting is None:
        raise NotFound("Meeting")
    return meeting


def _row(model: Any, row_id: int | None, field: str) -> Any:
    row = model.objects.filter(pk=row_id).first()
    if row is None:
        raise Invalid([(f"/{field}", services.GONE)])
    return row


def _calendar(file: bytes, name: str) -> HttpResponse:
    headers = {"Content-Disposition": f'attachment; filename="{name}"'}
    return HttpResponse(file, content_type=ics.CONTENT_TYPE, headers=headers)
