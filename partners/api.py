"""Partners over REST: staff manage them, a partner sees itself."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Any

from django.db.models import Count, QuerySet
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from ninja import Query, Router, Schema
from pydantic import AfterValidator, AwareDatetime, ConfigDict, Field

from partners import services
from partners.access import partner_key
from partners.models import Partner
from scheduler.rest.access import acting_user, caller, staff
from scheduler.rest.answers import json_answer, moment
from scheduler.rest.exports import csv_answer
from scheduler.rest.kept import Kept
from scheduler.rest.listings import Listing
from scheduler.rest.pages import PageQuery, page_of
from scheduler.rest.parameters import Body, Flag, RowId, Whole
from scheduler.rest.problems import NotFound, Problem
from scheduler.rest.shapes import Shape

router = Router(tags=["partners"])

MOST_REQUESTS = 1_000_000  # a minute
MOST_OVERLAP = 24 * 30  # hours
MOST_ROWS = 1000
PARTNER = Shape(
    id="id",
    name="name",
    is_active="is_active",
    rate_limit="rate_limit",
    created_at=("created_at", moment),
    updated_at=("updated_at", moment),
    total_leads="id",  # by which `with_totals` finds the number
)
EXAMPLE: dict[str, Any] = {
    "id": 3,
    "name": "Acme Leads",
    "is_active": True,
    "rate_limit": 100,
    "created_at": "2025-01-01T00:01:00+00:00",
    "updated_at": "2025-01-01T00:01:00+00:00",
    "total_leads": 1250,
}
KEY_EXAMPLE: dict[str, Any] = {
    "id": 3,
    "name": "Acme Leads",
    "api_key": "ais_ThisIsShownOnceAndNeverAgain",
    "is_active": True,
    "rate_limit": 100,
    "created_at": "2025-01-01T00:01:00+00:00",
}


def _checked_name(value: str) -> str:
    if not (name := value.strip()):
        raise ValueError("must not be blank")
    return name


PartnerName = Annotated[str, Field(max_length=200), AfterValidator(_checked_name)]
RateLimit = Annotated[int, Whole(1, MOST_REQUESTS), Field(description="Requests a minute.")]


class PartnerOut(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    name: str
    is_active: bool
    rate_limit: int
    created_at: AwareDatetime
    updated_at: AwareDatetime
    total_leads: int


class PartnerList(Schema):
    partners: list[PartnerOut]
    total: int


class PartnerWithKey(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [KEY_EXAMPLE]})

    id: int
    name: str
    api_key: str = Field(description="Shown here and never again.")
    is_active: bool
    rate_limit: int
    created_at: AwareDatetime


class NewPartner(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Acme Leads", "rate_limit": 100}]})

    name: PartnerName
    rate_limit: RateLimit = 100


class PartnerChanges(Body):
    """What is missing or null stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"is_active": False}]})

    name: PartnerName | None = None
    is_active: Flag | None = None
    rate_limit: RateLimit | None = None


class PartnerPages(PageQuery):
    # The old API had no pages here, and its clients expect all partners at once.
    page_size: int = Field(
        default=MOST_ROWS,
        ge=1,
        le=MOST_ROWS,
        description=f"{MOST_ROWS:,} unless told: old clients expect all partners at once.",
    )


class Overlap(Schema):
    overlap_hours: float = Field(
        0, ge=0, le=MOST_OVERLAP, allow_inf_nan=False, description="How long the old keys live on."
    )


def partner_rows(partner_id: int | None = None) -> QuerySet[Partner]:
    """Return the partners that a caller may know of: a partner itself, staff all."""
    return Partner.objects.all() if partner_id is None else Partner.objects.filter(pk=partner_id)


def _one(partner_id: int | None = None) -> QuerySet[Partner]:
    return Partner.objects.filter(pk=partner_id or 0)


PARTNERS = Listing(partner_rows, PARTNER, newest="created_at")
find_partner = PARTNER.one(_one)
_lead_counts: Kept[dict[int, int]] = Kept()


@router.get("/", auth=staff("partners.view_partner"), response=PartnerList)
def list_partners(request: HttpRequest, page: Query[PartnerPages], active_only: bool = False) -> HttpResponse:
    """List partners, newest first, with the number of their leads."""
    found = page_of(request, PARTNERS, page, {"is_active": active_only or None})
    return json_answer({"partners": with_totals(found.rows), "total": found.total}, headers=found.headers)


@router.get("/export", auth=staff("partners.view_partner"), response={200: None})
def export_partners(request: HttpRequest, active_only: bool = False) -> StreamingHttpResponse:
    """Stream all partners as CSV, newest first."""
    partners = PARTNERS.narrowed(None, {"is_active": active_only or None})
    return csv_answer(
        partners, PARTNER, newest="created_at", filename="partners.csv", without=("total_leads",)
    )


@router.get("/me", auth=partner_key, response=PartnerOut)
def get_own_partner(request: HttpRequest) -> HttpResponse:
    """Show the partner whose key was sent."""
    return json_answer(_shown(caller(request).partner_id))


@router.get("/{partner_id}", auth=staff("partners.view_partner"), response=PartnerOut)
def get_partner(request: HttpRequest, partner_id: RowId) -> HttpResponse:
    """Show one partner."""
    return json_answer(_shown(partner_id))


@router.post("/", auth=staff("partners.add_partner"), response={201: PartnerWithKey})
def create_partner(request: HttpRequest, new: NewPartner) -> HttpResponse:
    """Make a partner; its API key is in this answer and nowhere else."""
    try:
        partner, key = services.create(new.name, new.rate_limit, acting_user(request))
    except services.NameTaken:
        raise name_taken() from None
    return json_answer(with_key(partner, key), status=201)


@router.patch("/{partner_id}", auth=staff("partners.change_partner"), response=PartnerOut)
def change_partner(request: HttpRequest, partner_id: RowId, changes: PartnerChanges) -> HttpResponse:
    """Change name, limit or whether a partner may call at all."""
    try:
        given = changes.model_dump(exclude_none=True)
        found = services.change(partner_id, given, acting_user(request))
    except services.NameTaken:
        raise name_taken() from None
    if not found:
        raise NotFound("Partner")
    return json_answer(_shown(partner_id))


@router.post("/{partner_id}/regenerate-key", auth=staff("partners.change_partner"), response=PartnerWithKey)
def regenerate_key(request: HttpRequest, partner_id: RowId, query: Query[Overlap]) -> HttpResponse:
    """Issue a new API key; the old ones are dead at once, or after `overlap_hours`."""
    overlap = timedelta(hours=query.overlap_hours)
    rotated = services.rotate_key(partner_id, overlap, acting_user(request))
    if rotated is None:
        raise NotFound("Partner")
    return json_answer(with_key(*rotated))


@router.delete("/{partner_id}", auth=staff("partners.delete_partner"), response={204: None})
def delete_partner(request: HttpRequest, partner_id: RowId) -> HttpResponse:
    """Delete a partner; its leads stay, and their history says where they came from."""
    if not services.delete(partner_id, acting_user(request)):
        raise NotFound("Partner")
    return HttpResponse(status=204)


def name_taken() -> Problem:
    return Problem(400, "name_taken", "A partner with this name exists already.")


def with_key(partner: Partner, key: str) -> dict[str, Any]:
    return {
        "id": partner.pk,
        "name": partner.name,
        "api_key": key,
        "is_active": partner.is_active,
        "rate_limit": partner.rate_limit,
        "created_at": moment(partner.created_at),
    }


def with_totals(partners: list[Any]) -> list[Any]:
    """Put the number of leads where a row has the id of its partner."""
    if partners and hasattr(partners[0], "total_leads"):
        counts = _lead_counts.get("all", _count_leads)
        for partner in partners:
            partner.total_leads = counts.get(partner.total_leads, 0)
    return partners


def _shown(partner_id: int | None) -> dict[str, Any]:
    partner = find_partner(partner_id=partner_id)
    if partner is None:
        raise NotFound("Partner")
    return {**partner, "total_leads": _one(partner_id).aggregate(leads=Count("leads"))["leads"]}


def _count_leads() -> dict[int, int]:
    return dict(Partner.objects.order_by().values_list("id").annotate(Count("leads")))
