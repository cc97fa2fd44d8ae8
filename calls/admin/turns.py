from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.db.models.expressions import Combinable
from django.http import HttpRequest
from django.utils import timezone

from calls.models import Turn
from leads import search
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import list_link, moment
from scheduler.staff.refusals import Refusal

SHOWN_CHARACTERS = 160


@admin.register(Turn)
class TurnAdmin(StaffAdmin):
    list_display = ["id", "call_link", "turn", "role", "beginning", "created"]
    list_filter = ["role"]
    sortable_by = ["id"]
    search_fields = ["message"]
    search_help_text = (
        "The number of a call: 17 finds the turns of call 17. To find words, see Calls, Find words."
    )
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
