from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils.functional import cached_property

from leads import search, timeline
from leads.admin.actions import LeadActions
from leads.admin.calling import CallingActions
from leads.admin.filters import DuplicateFilter, LanguageFilter
from leads.admin.leaving import LeavingPages
from leads.models import Lead
from leads.phones import normalise
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import NOTHING, label, mark, moment
from scheduler.staff.refusals import Refusal, StaffForm
from scheduler.staff.timezones import require_timezone

PHONE_TAKEN = "Another lead has this phone number; open it, or make this one its duplicate."

STATUSES: dict[str, str] = {
    Lead.Status.QUEUED: "busy",
    Lead.Status.CALLING: "busy",
    Lead.Status.MEETING_SCHEDULED: "good",
    Lead.Status.NOT_INTERESTED: "bad",
    Lead.Status.FAILED: "bad",
    Lead.Status.NO_ANSWER: "warning",
}


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
class LeadAdmin(LeadActions, CallingActions, LeavingPages, StaffAdmin):
    form = LeadForm
    list_display = [
        "id",
        "name",
        "phone",
        "email",
        "state",
        "never_called",
        "partner",
        "duplicate",
        "created",
    ]
    list_display_links = ["id", "name"]
    list_filter = [
        "status",
        "partner",
        LanguageFilter,
        "do_not_call",
        DuplicateFilter,
        "phone_valid",
        "created_at",
    ]
    list_select_related = ["partner"]
    # The leads' other columns have no index to sort by.
    sortable_by = ["id", "created"]
    search_fields = ["name", "email", "phone"]
    search_help_text = search.HELP
    ordering = ["-created_at", "-id"]
    autocomplete_fields = ["partner"]
    raw_id_fields = ["duplicate_of"]
    actions = ["queue", "unqueue", "stop_calling", "recall", "merge", "export", "delete_selected"]
    actions_detail = ["stop_one", "recall_one", "erase_person"]
    actions_list = ["erase_phone"]
    change_form_outer_before_template = "leads/to_timeline.html"
    change_form_outer_after_template = "leads/timeline.html"
    readonly_fields = [
        "phone_valid",
        "attempts",
        "claimed_by",
        "claimed_until",
        "created",
        "changed",
    ]
    fieldsets = [
        (None, {"fields": ["name", "phone", "phone_valid", "email", "country_code", "language", "timezone"]}),
        ("State", {"fields": ["status", "do_not_call", "partner", "duplicate_of"]}),
        ("Queue", {"fields": ["priority", "next_attempt_at", "attempts", "claimed_by", "claimed_until"]}),
        ("Times", {"fields": ["created", "changed"]}),
    ]
    refusals = {
        "leads_phone_unique": Refusal(PHONE_TAKEN, "phone"),
        "leads_phone_not_empty": Refusal("A lead needs a phone number.", "phone"),
        "leads_not_duplicate_of_itself": Refusal("A lead cannot be its own duplicate.", "duplicate_of"),
    }

    state = label("status", "Status", STATUSES)
    never_called = mark("do_not_call", "Do not call", "Never call")
    created = moment("created_at", "Created")
    changed = moment("updated_at", "Changed")
    claimed_until = moment("lease_expires_at", "Claimed until")

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Lead], search_term: str
    ) -> tuple[QuerySet[Lead], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(search.found(search_term)), False

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Changing it takes a reason, and lifting it a right.
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "do_not_call"] if obj else fields

    @admin.display(description="Duplicate of", ordering="duplicate_of")
    def duplicate(self, lead: Lead) -> str:
        return str(lead.duplicate_of_id or NOTHING)

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        context = {**(extra_context or {}), "timeline": _Timeline(request, object_id)}
        return super().change_view(request, object_id, form_url, context)

    def _lead(self, request: HttpRequest, object_id: str, may: Any) -> Lead:
        lead = self.get_object(request, unquote(object_id))
        if lead is None:
            raise Http404("There is no such lead.")
        if not may(request, lead):
            raise PermissionDenied
        return lead


class _Timeline:
    """A page of the timeline, read when the template asks for it: never for a POST that redirects."""

    def __init__(self, request: HttpRequest, object_id: str) -> None:
        self._request, self._id = request, object_id

    @cached_property
    def page(self) -> timeline.Page:
        after = self._request.GET.get("after", "")
        lead = Lead(pk=int(unquote(self._id)))
        try:
            return timeline.of_lead(lead, self._request.user.has_perm, after)
        except ValueError:
            return timeline.of_lead(lead, self._request.user.has_perm)

    @property
    def is_continued(self) -> bool:
        return bool(self._request.GET.get("after"))
