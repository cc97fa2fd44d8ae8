from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.core.exceptions import ValidationError
from django.utils.html import format_html
from unfold.admin import TabularInline

from meetings.admin.week import week_link
from meetings.hours import BadHours, read_week, read_windows, require_no_overlap
from meetings.models import (
    DAY_MINUTES,
    MAX_HORIZON_DAYS,
    YEAR_MINUTES,
    Meeting,
    MeetingHost,
    MeetingHostException,
)
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import NOTHING, list_link, moment
from scheduler.staff.refusals import Refusal, StaffForm
from scheduler.staff.timezones import require_timezone


class HostForm(StaffForm):
    def clean_timezone(self) -> str:
        require_timezone(self.cleaned_data["timezone"])
        return self.cleaned_data["timezone"]

    def clean_working_hours(self) -> Any:
        # An empty field arrives as None.
        week = self.cleaned_data["working_hours"] or {}
        _require_hours(read_week, week)
        return week


class ExceptionForm(StaffForm):
    refusals = {
        "meeting_host_exceptions_days_in_order": Refusal("The last day comes before the first.", "last_day"),
        "meeting_host_exceptions_one_a_day": Refusal("Another exception has one of these days.", "first_day"),
    }

    def clean_hours(self) -> Any:
        windows = self.cleaned_data["hours"] or []
        _require_hours(read_windows, windows)
        return windows


def _require_hours(read: Callable[[Any], object], hours: Any) -> None:
    try:
        read(hours)
        require_no_overlap(hours)
    except BadHours as error:
        raise ValidationError(str(error)) from None


class ExceptionInline(TabularInline):
    model = MeetingHostException
    form = ExceptionForm
    extra = 0


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
        "buffer_before",
        "buffer_after",
        "minimum_notice",
        "horizon_days",
        "meetings_booked",
        "created",
    ]
    inlines = [ExceptionInline]
    readonly_fields = ["meetings_booked", "created"]
    refusals = {
        "meeting_hosts_name_unique": Refusal("A host with this name exists already.", "name"),
        "meeting_hosts_slot_positive": Refusal("A slot takes 1 minute or more.", "slot_minutes"),
        "meeting_hosts_slot_within_a_day": Refusal(
            f"A slot takes {DAY_MINUTES} minutes at most.", "slot_minutes"
        ),
        "meeting_hosts_buffers_in_bounds": Refusal(f"Buffers lie between 0 and {DAY_MINUTES} minutes."),
        "meeting_hosts_notice_in_bounds": Refusal(
            f"The notice lies between 0 and {YEAR_MINUTES} minutes.", "minimum_notice"
        ),
        "meeting_hosts_horizon_in_bounds": Refusal(
            f"The horizon lies between 1 and {MAX_HORIZON_DAYS} days.", "horizon_days"
        ),
        "meeting_host_exceptions_one_a_day": Refusal("Two exceptions have the same day."),
    }

    created = moment("created_at", "Created")

    @admin.display(description="Meetings")
    def meetings_booked(self, host: MeetingHost) -> str:
        if not host.pk:
            return NOTHING
        return format_html("{} · {}", list_link(Meeting, "List", host__id__exact=host.pk), week_link(host.pk))
