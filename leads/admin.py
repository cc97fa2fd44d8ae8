from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest
from django.utils.html import format_html

from leads import search
from leads.models import Lead
from leads.phones import normalise
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import NOTHING, link, list_link, moment, table, written
from scheduler.staff.refusals import Refusal, StaffForm
from scheduler.staff.timezones import require_timezone

LATEST = 10
PHONE_TAKEN = "Another lead has this phone number; open it, or make this one its duplicate."


class LeadForm(StaffForm):
    """Bring the phone into E.164 and note whether it can be dialled."""

    @property
    def derived(self) -> list[str]:
        return ["phone", "phone_valid"] if {"phone", "country_code"} & set(self.changed_data) else []

    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean()
        if cleaned and cleaned.get("phone") and self.derived:
            cleaned["phone"], self.instance.phone_valid = normalise(
                cleaned["phone"], cleaned.get("country_code")
            )
        return cleaned

    def clean_timezone(self) -> str | None:
        require_timezone(self.cleaned_data["timezone"])
        return self.cleaned_data["timezone"]


@admin.register(Lead)
class LeadAdmin(StaffAdmin):
    form = LeadForm
    list_display = [
        "id",
        "name",
        "phone",
        "email",
        "status",
        "do_not_call",
        "partner",
        "duplicate",
        "created",
    ]
    list_display_links = ["id", "name"]
    list_filter = ["status", "partner", "do_not_call", "phone_valid", "created_at"]
    list_select_related = ["partner"]
    # The leads' other columns have no index to sort by.
    sortable_by = ["id", "created"]
    search_fields = ["name", "email", "phone"]
    search_help_text = search.HELP
    ordering = ["-created_at", "-id"]
    autocomplete_fields = ["partner"]
    raw_id_fields = ["duplicate_of"]
    actions = ["queue", "stop_calling"]
    readonly_fields = [
        "phone_valid",
        "attempts",
        "claimed_by",
        "claimed_until",
        "created",
        "changed",
        "calls_made",
        "meetings_made",
    ]
    fieldsets = [
        (None, {"fields": ["name", "phone", "phone_valid", "email", "country_code", "language", "timezone"]}),
        ("State", {"fields": ["status", "do_not_call", "partner", "duplicate_of"]}),
        ("Queue", {"fields": ["priority", "next_attempt_at", "attempts", "claimed_by", "claimed_until"]}),
        ("History", {"fields": ["calls_made", "meetings_made", "created", "changed"]}),
    ]
    refusals = {
        "leads_phone_unique": Refusal(PHONE_TAKEN, "phone"),
        "leads_phone_not_empty": Refusal("A lead needs a phone number.", "phone"),
        "leads_not_duplicate_of_itself": Refusal("A lead cannot be its own duplicate.", "duplicate_of"),
    }

    created = moment("created_at", "Created")
    changed = moment("updated_at", "Changed")
    claimed_until = moment("lease_expires_at", "Claimed until")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Lead], search_term: str
    ) -> tuple[QuerySet[Lead], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(search.matching(search_term)), False

    @admin.display(description="Duplicate of", ordering="duplicate_of")
    def duplicate(self, lead: Lead) -> str:
        return str(lead.duplicate_of_id or NOTHING)

    @admin.display(description="Calls")
    def calls_made(self, lead: Lead) -> str:
        calls = list(lead.calls.defer("transcript", "summary")[:LATEST])
        rows = [
            (
                link(call),
                written(call.started_at),
                written(call.ended_at),
                call.get_outcome_display() or NOTHING,
            )
            for call in calls
        ]
        return _latest(lead, lead.calls.model, ["", "Started", "Ended", "Outcome"], rows)

    @admin.display(description="Meetings")
    def meetings_made(self, lead: Lead) -> str:
        rows = [
            (link(meeting), written(meeting.scheduled_time), meeting.host, meeting.get_status_display())
            for meeting in lead.meetings.select_related("host")[:LATEST]
        ]
        return _latest(lead, lead.meetings.model, ["", "Time", "Host", "Status"], rows)

    @admin.action(description="Queue for calling", permissions=["change"])
    def queue(self, request: HttpRequest, leads: QuerySet[Lead]) -> None:
        """Queue the leads that may be dialled and are not on the telephone at this moment."""
        chosen = leads.count()
        queued = (
            leads.filter(phone_valid=True, do_not_call=False, duplicate_of__isnull=True)
            .exclude(status=Lead.Status.CALLING)
            .update(status=Lead.Status.QUEUED, updated_at=Now())
        )
        messages.success(request, f"Queued {queued} leads.")
        if queued < chosen:
            messages.warning(
                request,
                f"{chosen - queued} leads were left: on a call now, a duplicate, marked as not to be called, "
                "or without a valid phone number.",
            )

    @admin.action(description="Never call again", permissions=["change"])
    def stop_calling(self, request: HttpRequest, leads: QuerySet[Lead]) -> None:
        stopped = leads.update(do_not_call=True, updated_at=Now())
        messages.success(request, f"{stopped} leads will not be called again.")


def _latest(lead: Lead, model: type[Model], headers: list[str], rows: Sequence[Sequence[object]]) -> str:
    if not rows:
        return NOTHING
    every = list_link(model, "Show all", lead__id__exact=lead.pk)
    return format_html("{}<p>{}</p>", table(headers, rows), every)
