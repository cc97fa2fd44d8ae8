from datetime import UTC, datetime
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest

from leads import search
from meetings.models import MAX_MINUTES, Meeting, MeetingHost
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import NOTHING, link, list_link, moment
from scheduler.staff.refusals import Refusal, StaffForm
from scheduler.staff.timezones import require_timezone

FIRST_TIME = datetime(1990, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(2101, 1, 1, tzinfo=UTC)


class HostForm(StaffForm):
    def clean_timezone(self) -> str:
        require_timezone(self.cleaned_data["timezone"])
        return self.cleaned_data["timezone"]


@admin.register(MeetingHost)
class MeetingHostAdmin(StaffAdmin):
    form = HostForm
    list_display = ["name", "calendar_id", "timezone", "slot_minutes", "meetings_booked", "created"]
    search_fields = ["name", "calendar_id"]
    ordering = ["name"]
    fields = [
        "name",
        "calendar_id",
        "timezone",
        "working_hours",
        "slot_minutes",
        "meetings_booked",
        "created",
    ]
    readonly_fields = ["meetings_booked", "created"]
    refusals = {
        "meeting_hosts_name_unique": Refusal("A host with this name exists already.", "name"),
        "meeting_hosts_slot_positive": Refusal("A slot takes 1 minute or more.", "slot_minutes"),
    }

    created = moment("created_at", "Created")

    @admin.display(description="Meetings")
    def meetings_booked(self, host: MeetingHost) -> str:
        return list_link(Meeting, "Show", host__id__exact=host.pk) if host.pk else NOTHING


class MeetingForm(StaffForm):
    def clean_scheduled_time(self) -> datetime:
        time: datetime = self.cleaned_data["scheduled_time"]
        # As the import; the end of a meeting late in 9999 is no time that Python can read.
        if not FIRST_TIME <= time < LAST_TIME:
            raise ValidationError("Give a time between 1990 and 2100.")
        return time


@admin.register(Meeting)
class MeetingAdmin(StaffAdmin):
    form = MeetingForm
    list_display = ["id", "time", "minutes", "lead_link", "host", "status", "guest_email", "allow_overlap"]
    list_filter = ["status", "host", "scheduled_time", "allow_overlap"]
    list_select_related = ["lead", "host"]
    list_defer = ("notes",)
    sortable_by = ["id", "time"]
    search_fields = ["guest_email"]
    search_help_text = "The lead's name, e-mail or phone, the guest's exact e-mail, an event id, or the id."
    ordering = ["-scheduled_time", "-id"]
    autocomplete_fields = ["host"]
    raw_id_fields = ["lead", "call"]
    readonly_fields = ["created", "changed"]
    fieldsets = [
        (None, {"fields": ["lead", "call", "host", "scheduled_time", "duration", "status"]}),
        ("Invitation", {"fields": ["guest_email", "meeting_link", "calendar_event_id", "notes"]}),
        ("Exceptions", {"fields": ["allow_overlap"]}),
        (None, {"fields": ["created", "changed"]}),
    ]
    refusals = {
        "meetings_no_double_booking": Refusal(
            "The host has another meeting at that time; choose another time, host or duration.",
            "scheduled_time",
        ),
        "meetings_calendar_event_id_unique": Refusal("Another meeting has this event.", "calendar_event_id"),
        "meetings_duration_in_bounds": Refusal(
            f"The duration must lie between 0 and {MAX_MINUTES} minutes.", "duration"
        ),
    }

    created = moment("created_at", "Created")
    changed = moment("updated_at", "Changed")
    time = moment("scheduled_time", "Time")

    def lookup_allowed(self, lookup: str, value: str, request: HttpRequest) -> bool:
        return lookup == "lead__id__exact" or super().lookup_allowed(lookup, value, request)

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[Meeting], search_term: str
    ) -> tuple[QuerySet[Meeting], bool]:
        term = search_term.strip()
        if not term:
            return queryset, False
        found = Q(lead__in=search.ids_matching(term)) | Q(guest_email=term) | Q(calendar_event_id=term)
        return queryset.filter(found | search.by_id(term)), False

    @admin.display(description="Minutes")
    def minutes(self, meeting: Meeting) -> Any:
        return meeting.duration

    @admin.display(description="Lead", ordering="lead")
    def lead_link(self, meeting: Meeting) -> str:
        return link(meeting.lead)
