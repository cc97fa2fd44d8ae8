"""Figures over REST, for staff. What each one counts is written in docs/analytics.md."""

from __future__ import annotations

from typing import Annotated, Literal

from django.http import HttpRequest, HttpResponse
from ninja import Query, Router, Schema
from pydantic import AfterValidator, AwareDatetime, Field

from analytics import queries
from scheduler.rest.access import staff
from scheduler.rest.answers import json_answer

router = Router(tags=["analytics"])

CALLS = "calls.view_call"
LEADS = "leads.view_lead"
MOST_ACTIVITIES = 100


class Overview(Schema):
    total_leads: int = Field(examples=[50_000])
    total_calls: int = Field(examples=[150_000])
    total_meetings: int = Field(
        description="Meetings that are scheduled and not yet confirmed or held.", examples=[21_000]
    )
    meetings_booked: int = Field(
        description="Meetings that are scheduled, confirmed or completed.", examples=[24_000]
    )
    meetings_scheduled_today: int = Field(description="Booked meetings that were made today.", examples=[80])
    calls_today: int = Field(description="Calls that began today.", examples=[500])
    conversion_rate: float = Field(description="total_meetings per 100 calls, two decimals.", examples=[14.0])
    booking_rate: float = Field(description="meetings_booked per 100 calls, two decimals.", examples=[16.0])
    average_call_duration: float = Field(
        description="Seconds, over calls whose duration is known.", examples=[93.5]
    )


class OutcomeCount(Schema):
    outcome: str = Field(examples=["interested"])
    count: int = Field(examples=[1_250])


class Outcomes(Schema):
    outcomes: list[OutcomeCount]


class LanguageCount(Schema):
    language: str = Field(examples=["en"])
    count: int = Field(examples=[1_250])


class Languages(Schema):
    languages: list[LanguageCount]


class StatusCount(Schema):
    status: str = Field(examples=["pending"])
    count: int = Field(examples=[1_250])
    percentage: float = Field(examples=[12.5])


class Statuses(Schema):
    statuses: list[StatusCount]
    total: int = Field(examples=[100])


class Activity(Schema):
    id: str = Field(examples=["call-1"])
    type: Literal["call", "meeting", "lead"]
    title: str = Field(examples=["Call with Ada Lovelace"])
    description: str = Field(examples=["Interested"])
    time: AwareDatetime
    status: Literal["success", "error", "info"]


class Activities(Schema):
    activities: list[Activity]


class VoiceFigures(Schema):
    voice_id: str = Field(examples=["21m00Tcm4TlvDq8ikWAM"])
    voice_name: str = Field(examples=["Rachel"])
    total_calls: int = Field(examples=[150_000])
    meetings_booked: int = Field(description="Calls that led to a booked meeting.", examples=[24_000])
    conversion_rate: float = Field(description="Percent of the calls, two decimals.", examples=[14.0])
    avg_duration: float = Field(description="Seconds.", examples=[93.5])


class CampaignFigures(Schema):
    name: str = Field(examples=["Spring"])
    is_active: bool = Field(description="Some of its leads wait or are being called.")
    queued: int = Field(examples=[20])
    calling: int = Field(examples=[1])
    completed: int = Field(
        description="Leads that it queued and that neither wait nor are being called.", examples=[79]
    )
    total: int = Field(examples=[100])
    progress: float = Field(description="`completed` in percent of `total`, two decimals.", examples=[79.0])


class Campaigns(Schema):
    campaigns: list[CampaignFigures]


class Limit(Schema):
    # Old clients may ask for any number.
    limit: Annotated[int, AfterValidator(lambda limit: min(limit, MOST_ACTIVITIES))] = Field(
        10, ge=1, description=f"Rows; more than {MOST_ACTIVITIES} counts as {MOST_ACTIVITIES}."
    )


@router.get("/overview", auth=staff(CALLS), response=Overview)
def get_overview(request: HttpRequest) -> HttpResponse:
    """Count leads, calls and meetings, in all and today."""
    return json_answer(queries.overview())


@router.get("/call-outcomes", auth=staff(CALLS), response=Outcomes)
def get_call_outcomes(request: HttpRequest) -> HttpResponse:
    """Count calls by outcome."""
    return json_answer({"outcomes": queries.call_outcomes()})


@router.get("/language-distribution", auth=staff(CALLS), response=Languages)
def get_languages(request: HttpRequest) -> HttpResponse:
    """Count calls by language."""
    return json_answer({"languages": queries.languages()})


@router.get("/lead-status-distribution", auth=staff(LEADS), response=Statuses)
def get_lead_statuses(request: HttpRequest) -> HttpResponse:
    """Count leads by status."""
    statuses = queries.lead_statuses()
    return json_answer({"statuses": statuses, "total": sum(each["count"] for each in statuses)})


@router.get("/recent-activity", auth=staff(CALLS), response=Activities)
def get_recent_activity(request: HttpRequest, query: Query[Limit]) -> HttpResponse:
    """List the newest calls, meetings and leads."""
    return json_answer({"activities": queries.recent_activity(query.limit)})


@router.get("/voice-performance", auth=staff(CALLS), response=list[VoiceFigures])
def get_voices(request: HttpRequest) -> HttpResponse:
    """Compare the voices."""
    return json_answer(queries.voices())


@router.get("/active-campaigns", auth=staff(LEADS), response=Campaigns)
def get_campaigns(request: HttpRequest) -> HttpResponse:
    """Show how far campaigns have come: those with leads to call, and the ten latest."""
    return json_answer({"campaigns": queries.campaigns()})
