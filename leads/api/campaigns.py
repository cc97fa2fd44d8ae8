"""Campaigns over REST, for staff."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse
from ninja import Router

from leads import campaigns
from leads.api.schemas import CampaignIn, CampaignStarted, StatusCounts
from scheduler.rest.access import acting_user, staff
from scheduler.rest.answers import json_answer
from scheduler.rest.problems import also_answers

router = Router(tags=["campaigns"])


@router.post(
    "/start",
    auth=staff("leads.add_campaign"),
    response=CampaignStarted,
    openapi_extra=also_answers(404),
)
def start_campaign(request: HttpRequest, new: CampaignIn) -> HttpResponse:
    """Queue leads that are pending or were not reached; who must not be called is left out."""
    queued = campaigns.start(new.name, new.lead_ids, acting_user(request))
    message = f"Campaign started successfully with {queued} leads queued"
    return json_answer({"success": True, "message": message, "queued_leads": queued})


@router.get("/status", auth=staff("leads.view_lead"), response=StatusCounts)
def get_campaign_status(request: HttpRequest) -> HttpResponse:
    """Count all leads by status."""
    return json_answer({"status_counts": campaigns.status_counts()})
