"""Leads over REST: staff see all of them, a partner its own."""

from __future__ import annotations

from typing import Any

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router

from leads.api.schemas import LeadChanges, LeadDeleted, LeadFilters, LeadIn, LeadList, LeadOut
from leads.corrections import correct, delete
from leads.intake import create, new_lead
from leads.models import Lead
from partners.access import staff_or_partner
from scheduler.rest.access import acting_user, caller, staff
from scheduler.rest.answers import json_answer, moment
from scheduler.rest.exports import csv_answer
from scheduler.rest.listings import Listing
from scheduler.rest.pages import PageQuery, page_of
from scheduler.rest.parameters import RowId
from scheduler.rest.problems import NotFound
from scheduler.rest.shapes import Shape

router = Router(tags=["leads"])

LEAD = Shape(
    id="id",
    name="name",
    phone="phone",
    email="email",
    country_code="country_code",
    language="language",
    status="status",
    created_at=("created_at", moment),
)


def lead_rows(lead_id: int | None = None, partner_id: int | None = None) -> QuerySet[Lead]:
    """Return the leads that a caller may know of: with a `partner_id` that partner's, else all."""
    leads = Lead.objects.all()
    if partner_id is not None:
        leads = leads.filter(partner_id=partner_id)
    return leads if lead_id is None else leads.filter(pk=lead_id)


find_lead = LEAD.one(lead_rows)
LEADS = Listing(lead_rows, LEAD, newest="created_at")


@router.get("/", auth=staff_or_partner("leads.view_lead"), response=LeadList)
def list_leads(request: HttpRequest, page: Query[PageQuery], filters: Query[LeadFilters]) -> HttpResponse:
    """List leads, newest first."""
    found = page_of(request, LEADS, page, filters.conditions())
    body = {"leads": found.rows, "total": found.total, "page": found.page, "page_size": found.page_size}
    return json_answer(body, headers=found.headers)


@router.get("/export", auth=staff_or_partner("leads.export_lead"), response={200: None})
def export_leads(request: HttpRequest, filters: Query[LeadFilters]) -> StreamingHttpResponse:
    """Stream all leads as CSV, newest first."""
    leads = LEADS.narrowed(caller(request).partner_id, filters.conditions())
    return csv_answer(leads, LEAD, newest="created_at", filename="leads.csv")


@router.post("/", auth=staff("leads.add_lead"), response=LeadOut)
def create_lead(request: HttpRequest, new: LeadIn) -> HttpResponse:
    """Add a lead; country code and language come from the number."""
    lead = new_lead(new.name, new.phone, new.email)
    return json_answer(_shown(request, create(lead, acting_user(request))))


@router.get("/{lead_id}", auth=staff_or_partner("leads.view_lead"), response=LeadOut)
def get_lead(request: HttpRequest, lead_id: RowId) -> HttpResponse:
    """Show one lead."""
    return json_answer(_shown(request, lead_id))


@router.patch("/{lead_id}", auth=staff("leads.change_lead"), response=LeadOut)
def change_lead(request: HttpRequest, lead_id: RowId, changes: LeadChanges) -> HttpResponse:
    """Correct a lead; country code and language follow another phone. Its history says who did it.

    `do_not_call` is taken off by those who hold `leads.recall_lead`, and never from the phone of an erased person.
    """
    correct(
        lead_id,
        changes.model_dump(exclude_unset=True),
        acting_user(request),
        may_recall=caller(request).may("leads.recall_lead"),
    )
    return json_answer(_shown(request, lead_id))


@router.delete("/{lead_id}", auth=staff("leads.delete_lead"), response=LeadDeleted)
def delete_lead(request: HttpRequest, lead_id: RowId) -> HttpResponse:
    """Delete a lead with its duplicates, calls and meetings; refused while it is being called."""
    delete(lead_id, acting_user(request))
    return json_answer({"success": True, "message": "Lead deleted"})


def _shown(request: HttpRequest, lead_id: int) -> dict[str, Any]:
    lead = find_lead(lead_id=lead_id, partner_id=caller(request).partner_id)
    if lead is None:
        raise NotFound("Lead")
    return lead
