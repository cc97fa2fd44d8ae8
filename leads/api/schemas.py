"""What the endpoints of leads take and give."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from ninja import Schema
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, WithJsonSchema

from leads.fields import LeadEmail, LeadName, LeadPhone
from leads.models import Lead
from scheduler.rest.listings import Conditions
from scheduler.rest.parameters import BIGINT, Body, BodyId, Flag, Moment, choice_of

MOST_TRANSFERRED = 10_000  # leads of one request
MOST_QUEUED = 100_000  # leads of one campaign
LeadStatus = Literal[
    "pending",
    "queued",
    "calling",
    "contacted",
    "meeting_scheduled",
    "not_interested",
    "no_answer",
    "failed",
]
# A campaign queues and a call sets `calling`; by hand neither would be true.
StatusByHand = Literal["pending", "contacted", "meeting_scheduled", "not_interested", "no_answer", "failed"]
EXAMPLE: dict[str, Any] = {
    "id": 42,
    "name": "Ada Lovelace",
    "phone": "+442079460000",
    "email": "ada@example.com",
    "country_code": "+44",
    "language": "en",
    "status": "pending",
    "created_at": "2025-01-01T00:01:00+00:00",
}


class LeadOut(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    id: int
    name: str
    phone: str = Field(description="E.164; as typed when no numbering plan knows it.")
    email: str | None
    country_code: str | None
    language: str | None
    status: LeadStatus
    created_at: AwareDatetime


class LeadList(Schema):
    leads: list[LeadOut]
    total: int
    page: int
    page_size: int


class LeadChanges(Body):
    """What is missing stays as it is."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Ada King", "do_not_call": True}]})

    name: LeadName = ""
    phone: LeadPhone = ""
    email: LeadEmail | None = None
    country_code: str | None = Field(None, max_length=8)
    language: str | None = Field(None, max_length=35)
    status: StatusByHand = "pending"
    do_not_call: Flag = False


class LeadFilters(BaseModel):
    """What a list or an export of leads may be narrowed by."""

    status: choice_of(Lead.Status) = None  # type: ignore[valid-type]
    partner_id: Annotated[int, Field(ge=0, le=BIGINT)] | None = None
    created_after: Moment | None = Field(None, description="At this time or later.")
    created_before: Moment | None = Field(None, description="Before this time.")

    def conditions(self) -> Conditions:
        return {
            "status": self.status,
            "partner_id": self.partner_id,
            "created_at__gte": self.created_after,
            "created_at__lt": self.created_before,
        }


class LeadIn(Body):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [{"name": "Ada Lovelace", "phone": "+44 20 7946 0000", "email": "ada@example.com"}]
        }
    )

    name: LeadName
    phone: LeadPhone = Field(
        description="With its calling code, such as +44; other numbers are never dialled."
    )
    email: LeadEmail | None = None


class LeadDeleted(Schema):
    model_config = ConfigDict(json_schema_extra={"examples": [{"success": True, "message": "Lead deleted"}]})

    success: bool
    message: str


class UploadOut(Schema):
    """`rows` = `leads_created` + `error_count`; blank rows are counted apart."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "success": True,
                    "leads_created": 4,
                    "errors": ["Row 3: Phone +14150000005 already exists"],
                    "error_count": 1,
                    "rows": 5,
                    "blank_rows": 0,
                }
            ]
        }
    )

    success: bool
    leads_created: int
    errors: list[str] | None = Field(
        description="The first 1,000, in the order of the rows; null when there is none. The header is row 1."
    )
    error_count: int
    rows: int
    blank_rows: int


# Wrong items are answered one by one, so any list of anything is taken; the schema says what makes sense.
Items = Annotated[
    list[Any],
    WithJsonSchema(
        {
            "type": "array",
            "maxItems": MOST_TRANSFERRED,
            "items": {
                "type": "object",
                "required": ["name", "phone"],
                "properties": {
                    "name": {"type": "string"},
                    "phone": {"type": "string"},
                    "email": {"type": ["string", "null"]},
                },
            },
        }
    ),
]


class TransferIn(Body):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"leads": [{"name": "Ada Lovelace", "phone": "+442079460000"}]}]}
    )

    leads: Items


class TransferError(Schema):
    index: int = Field(description="Which lead of the request, counted from 0.")
    phone: str = Field(description="As it was sent; empty when it was no text.")
    reason: str


class TransferOut(Schema):
    """`total_submitted` = `created` + `skipped` + `failed`."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "success": True,
                    "total_submitted": 3,
                    "created": 2,
                    "skipped": 1,
                    "failed": 0,
                    "errors": [
                        {
                            "index": 0,
                            "phone": "+442079460000",
                            "reason": "Phone number already exists (Lead ID: 42)",
                        }
                    ],
                    "message": "Successfully processed 2 out of 3 leads",
                }
            ]
        }
    )

    success: bool
    total_submitted: int
    created: int
    skipped: int = Field(description="The phone is there already, here or earlier in the request.")
    failed: int = Field(description="No valid lead.")
    errors: list[TransferError] | None
    message: str


class CampaignIn(Body):
    model_config = ConfigDict(json_schema_extra={"examples": [{"name": "Spring", "lead_ids": [42, 43, 44]}]})

    name: LeadName
    lead_ids: list[BodyId] = Field(max_length=MOST_QUEUED)


class CampaignStarted(Schema):
    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "success": True,
                    "message": "Campaign started successfully with 3 leads queued",
                    "queued_leads": 3,
                }
            ]
        }
    )

    success: bool
    message: str
    queued_leads: int


class StatusCounts(Schema):
    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status_counts": {"pending": 1, "queued": 3}}]}
    )

    status_counts: dict[LeadStatus, int]
