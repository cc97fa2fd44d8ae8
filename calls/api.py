"""Calls over REST, to be read only: staff see all of them, a partner those of its own leads."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from calls.models import Call, Turn
from partners.access import staff_or_partner
from scheduler.rest.access import caller
from scheduler.rest.answers import json_answer, moment
from scheduler.rest.exports import csv_answer
from scheduler.rest.listings import Conditions, Listing
from scheduler.rest.pages import PageQuery, page_of
from scheduler.rest.parameters import BIGINT, Moment, RowId, choice_of
from scheduler.rest.prepared import FixedQuery
from scheduler.rest.problems import NotFound, Problem
from scheduler.rest.shapes import Shape

router = Router(tags=["calls"])

UNKNOWN = "unknown"  # how an outcome that is not decided is written

Outcome = Literal["interested", "not_interested", "no_answer", "busy", "unknown"]
CALL = Shape(
    id="id",
    lead_id="lead_id",
    lead_name="lead__name",
    phone="lead__phone",
    twilio_call_sid="twilio_call_sid",
    recording_url="recording_url",
    transcript="transcript",
    summary="summary",
    duration="duration",
    language="language",
    outcome=("outcome", lambda outcome: outcome or UNKNOWN),
    started_at=("started_at", moment),
    ended_at=("ended_at", moment),
)
TURN = Shape(role="role", message="message", created_at=("created_at", moment))
EXAMPLE: dict[str, Any] = {
    "id": 7,
    "lead_id": 42,
    "lead_name": "Ada Lovelace",
    "phone": "+442079460000",
    "twilio_call_sid": "CA0123456789abcdef0123456789abcdef",
    "recording_url": "https://recordings.example.com/7.mp3",
    "transcript": "AI: Good morning!\nUser: Hello.",
    "summary": "Wants a meeting next week.",
    "duration": 93.5,
    "language": "en",
    "outcome": "interested",
    "started_at": "2025-01-01T00:01:00+00:00",
    "ended_at": "2025-01-01T00:02:33.500000+00:00",
}


class CallOut(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    lead_id: int
    lead_name: str
    phone: str
    twilio_call_sid: str | None
    recording_url: str | None
    transcript: str | None
    summary: str | None
    duration: float | None = Field(description="Seconds.")
    language: str | None
    outcome: Outcome = Field(description="`unknown` while it is undecided.")
    started_at: AwareDatetime
    ended_at: AwareDatetime | None = Field(description="Null while the call is active.")


class TurnOut(Schema):
    role: Literal["ai", "user", "system"]
    message: str
    created_at: AwareDatetime


class CallWithTurns(CallOut):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    **EXAMPLE,
                    "conversation_history": [
                        {"role": "ai", "message": "Good morning!", "created_at": "2025-01-01T00:01:02+00:00"}
                    ],
                }
            ]
        }
    )

    conversation_history: list[TurnOut]


class RecordingOut(Schema):
    recording_url: str = Field(examples=[EXAMPLE["recording_url"]])


class CallFilters(BaseModel):
    """What a list or an export of calls may be narrowed by."""

    outcome: choice_of(Call.Outcome, UNKNOWN) = None  # type: ignore[valid-type]
    lead_id: Annotated[int, Field(ge=0, le=BIGINT)] | None = None
    started_after: Moment | None = Field(None, description="At this time or later.")
    started_before: Moment | None = Field(None, description="Before this time.")

    def conditions(self) -> Conditions:
        is_undecided = self.outcome == UNKNOWN
        return {
            "outcome": None if is_undecided else self.outcome,
            "outcome__isnull": True if is_undecided else None,
            "lead_id": self.lead_id,
            "started_at__gte": self.started_after,
            "started_at__lt": self.started_before,
        }


def call_rows(call_id: int | None = None, partner_id: int | None = None) -> QuerySet[Call]:
    """Return the calls that a caller may know of: with a `partner_id` those of that partner's leads, else all."""
    calls = Call.objects.all()
    if partner_id is not None:
        calls = calls.filter(lead__partner_id=partner_id)
    return calls if call_id is None else calls.filter(pk=call_id)


def turns_of(call_id: int | None = None) -> QuerySet[Turn, Any]:
    return Turn.objects.filter(call_id=call_id or 0).order_by("turn").values_list(*TURN.columns.values())


find_call = CALL.one(call_rows)
CALLS = Listing(call_rows, CALL, newest="started_at")
find_turns = FixedQuery(turns_of)


@router.get("/", auth=staff_or_partner("calls.view_call"), response=list[CallOut])
def list_calls(request: HttpRequest, page: Query[PageQuery], filters: Query[CallFilters]) -> HttpResponse:
    """List calls, newest first; leave transcripts out with `fields=`."""
    found = page_of(request, CALLS, page, filters.conditions())
    return json_answer(found.rows, headers=found.headers)


@router.get("/export", auth=staff_or_partner("calls.view_call"), response={200: None})
def export_calls(request: HttpRequest, filters: Query[CallFilters]) -> StreamingHttpResponse:
    """Stream all calls as CSV, newest first."""
    calls = CALLS.narrowed(caller(request).partner_id, filters.conditions())
    return csv_answer(calls, CALL, newest="started_at", filename="calls.csv")


@router.get("/{call_id}", auth=staff_or_partner("calls.view_call"), response=CallWithTurns)
def get_call(request: HttpRequest, call_id: RowId) -> HttpResponse:
    """Show one call with the turns of its conversation."""
    call = _found(request, call_id)
    return json_answer({**call, "conversation_history": TURN.write(find_turns(call_id=call_id))})


@router.get("/{call_id}/recording", auth=staff_or_partner("calls.view_call"), response=RecordingOut)
def get_recording(request: HttpRequest, call_id: RowId) -> HttpResponse:
    """Say where the recording of a call is."""
    url = _found(request, call_id)["recording_url"]
    if not url:
        raise Problem(404, "recording_not_available", "Recording not available")
    return json_answer({"recording_url": url})


def _found(request: HttpRequest, call_id: int) -> dict[str, Any]:
    call = find_call(call_id=call_id, partner_id=caller(request).partner_id)
    if call is None:
        raise NotFound("Call")
    return call
