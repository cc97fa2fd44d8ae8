from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils import timezone

from calls.models import Call, Turn
from leads import search
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import NOTHING, link, list_link, moment
from scheduler.staff.refusals import Refusal

MOST_TURNS = 500
SHOWN_CHARACTERS = 160


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
    list_display = ["id", "lead_link", "outcome", "length", "language", "voice_name", "started", "ended"]
    list_filter = ["outcome", ActiveFilter, "started_at"]
    list_select_related = ["lead"]
    list_defer = ("transcript", "summary")
    sortable_by = ["id", "started"]
    search_fields = ["twilio_call_sid"]
    search_help_text = "The lead's name, e-mail or phone, a Twilio SID, or the id."
    ordering = ["-started_at", "-id"]
    raw_id_fields = ["lead"]
    readonly_fields = ["meetings_made", "conversation", "created"]
    fieldsets = [
        (None, {"fields": ["lead", "outcome", "started_at", "ended_at", "duration", "meetings_made"]}),
        ("Conversation", {"fields": ["summary", "conversation", "transcript"]}),
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
        """Show the turns as a readable exchange; a very long one continues in the list of turns."""
        turns = list(Turn.objects.filter(call=call).order_by("turn")[: MOST_TURNS + 1])
        every = list_link(Turn, "Show all turns", call__id__exact=call.pk) if len(turns) > MOST_TURNS else ""
        return render_to_string("calls/conversation.html", {"turns": turns[:MOST_TURNS], "every": every})

    @admin.display(description="Meetings")
    def meetings_made(self, call: Call) -> str:
        meetings = call.meetings.all()[:MOST_TURNS]
        return render_to_string("calls/links.html", {"links": [link(meeting) for meeting in meetings]})


@admin.register(Turn)
class TurnAdmin(StaffAdmin):
    list_display = ["id", "call_link", "turn", "role", "beginning", "created"]
    list_filter = ["role"]
    sortable_by = ["id"]
    search_fields = ["message"]
    search_help_text = "The number of a call: 17 finds the turns of call 17."
    ordering = ["-id"]
    raw_id_fields = ["call"]
    fields = ["call", "turn", "role", "message", "created_at"]
    refusals = {
        "conversation_history_call_turn": Refusal("The call has a turn with this number already.", "turn"),
        "conversation_history_turn_positive": Refusal("Turns count from 1.", "turn"),
    }

    created = moment("created_at", "Created")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        return {"created_at": timezone.now(), **super().get_changeform_initial_data(request)}

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "call__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_ordering(self, request: HttpRequest) -> list[str | Combinable]:
        # The turns of one call read downwards; the list of all shows what was said last.
        return ["turn"] if "call__id__exact" in request.GET else ["-id"]

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Turn], search_term: str
    ) -> tuple[QuerySet[Turn], bool]:
        if not search_term.strip():
            return queryset, False
        call = search.row_number(search_term)
        return (queryset.filter(call=call) if call is not None else queryset.none()), False

    @admin.display(description="Call", ordering="call")
    def call_link(self, turn: Turn) -> str:
        return list_link(Turn, f"Call {turn.call_id}", call__id__exact=turn.call_id)

    @admin.display(description="Message")
    def beginning(self, turn: Turn) -> str:
        text = turn.message
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"
