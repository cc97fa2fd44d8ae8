from typing import Any, ClassVar

from django.contrib import admin
from django.db import transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from django.utils.html import format_html_join
from unfold.decorators import action

from calls.admin import conversation, outcome, recording, words
from calls.corrections import hang_up, lead_on_the_telephone
from calls.models import Call
from leads import search
from scheduler import content_policy
from scheduler.staff import history
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import NOTHING, label, link, moment
from scheduler.staff.refusals import Refusal

MOST_MEETINGS = 20
ON_THE_TELEPHONE = "A call that is going on cannot be deleted; give it an end first."
OUTCOMES: dict[str, str] = {
    Call.Outcome.INTERESTED: "good",
    Call.Outcome.NOT_INTERESTED: "bad",
    Call.Outcome.NO_ANSWER: "warning",
    Call.Outcome.BUSY: "busy",
}


class ActiveFilter(admin.SimpleListFilter):
    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("active", "Active"), ("ended", "Ended")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Call]) -> QuerySet[Call]:
        if self.value() is None:
            return queryset
        return queryset.filter(ended_at__isnull=self.value() == "active")


@admin.register(Call)
class CallAdmin(StaffAdmin):
    list_display = ["id", "lead_link", "result", "length", "language", "voice_name", "started", "ended"]
    list_filter = ["outcome", ActiveFilter, "started_at"]
    list_select_related = ["lead"]
    list_defer = ("transcript", "summary")
    sortable_by = ["id", "started"]
    search_fields = ["twilio_call_sid"]
    search_help_text = "The lead's name, e-mail or phone, a Twilio SID, or the id."
    ordering = ["-started_at", "-id"]
    raw_id_fields = ["lead"]
    readonly_fields = ["meetings_made", "recording", "conversation", "created"]
    actions_list = ["find_words"]
    actions_detail = ["correct_outcome"]
    fieldsets = [
        (None, {"fields": ["lead", "outcome", "started_at", "ended_at", "duration", "meetings_made"]}),
        ("Conversation", {"fields": ["summary", "recording", "conversation", "transcript"]}),
        ("Telephony", {"fields": ["twilio_call_sid", "recording_url", "language", "voice_id", "voice_name"]}),
        (None, {"fields": ["created"]}),
    ]
    refusals = {
        "calls_one_active_per_lead": Refusal(
            "This lead has an active call already; give this one an end.", "ended_at"
        ),
        "calls_end_after_start": Refusal("A call cannot end before it starts.", "ended_at"),
        "calls_twilio_call_sid_unique": Refusal("Another call has this SID.", "twilio_call_sid"),
        "calls_duration_not_negative": Refusal("The duration must be 0 or more seconds.", "duration"),
    }

    class Media:
        css: ClassVar = {"all": ["staff/calls.css"]}

    result = label("outcome", "Outcome", OUTCOMES)
    started = moment("started_at", "Started")
    ended = moment("ended_at", "Ended")
    created = moment("created_at", "Created")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"started_at": timezone.now(), **super().get_changeform_initial_data(request)}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "lead__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Call], search_term: str
    ) -> tuple[QuerySet[Call], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(lead__in=search.ids_matching(term)) | Q(twilio_call_sid=term) | search.by_id(term)
        return queryset.filter(found), False

    @admin.display(description="Lead", ordering="lead")
    def lead_link(self, call: Call) -> str:
        return link(call.lead)

    @admin.display(description="Length")
    def length(self, call: Call) -> str:
        if call.duration is None:
            return NOTHING
        minutes, seconds = divmod(round(call.duration), 60)
        return f"{minutes}:{seconds:02}"

    @admin.display(description="Turns")
    def conversation(self, call: Call) -> str:
        return conversation.shown(call, *getattr(call, "_asked", (None, "")))

    @admin.display(description="Recording")
    def recording(self, call: Call) -> str:
        return recording.shown(call)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        call = super().get_object(request, object_id, from_field)
        if call is not None:
            # What the address says of the conversation; the fields of a form are not given the request.
            call._asked = conversation.asked(request)
            request.played_from = recording.origin(call.recording_url)  # type: ignore[attr-defined]
        return call

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Changing it takes a reason, and the lead may have to follow.
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "outcome"] if obj else fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        """Save a call; when that ends it or gives it away, its lead is no longer on the telephone."""
        if not change or not {"ended_at", "lead"} & set(form.changed_data):
            return super().save_model(request, obj, form, change)
        with transaction.atomic():
            # The lead before its call, as everywhere.
            lead = lead_on_the_telephone(obj.pk)
            super().save_model(request, obj, form, change)
            if lead is not None:
                before = {"status": lead.status}
                hang_up(lead, obj)
                if changes := history.changes_between(before, lead):
                    history.record(request, [(lead, changes)], f"{obj} was changed by hand")

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        page = super().changeform_view(request, *args, **kwargs)
        if origin := getattr(request, "played_from", None):
            page[content_policy.HEADER] = content_policy.playing_from(origin)
        return page

    def refuse_deletion(self, rows: QuerySet[Call]) -> str:
        # Without its active call a lead could be dialled while it is on the telephone.
        return ON_THE_TELEPHONE if rows.filter(ended_at__isnull=True).exists() else ""

    @action(description="Find words", url_path="words", icon="manage_search", permissions=["view"])
    def find_words(self, request: HttpRequest) -> HttpResponse:
        return words.page(self, request)

    @action(
        description="Correct the outcome", url_path="correct-outcome", icon="rule", permissions=["change"]
    )
    def correct_outcome(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return outcome.page(self, request, object_id)

    @admin.display(description="Meetings")
    def meetings_made(self, call: Call) -> str:
        meetings = call.meetings.all()[:MOST_MEETINGS]
        return format_html_join(", ", "{}", ((link(meeting),) for meeting in meetings)) or NOTHING
