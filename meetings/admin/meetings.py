from datetime import UTC, datetime, timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.utils import timezone
from psycopg.types.range import TimestampRange
from unfold.decorators import action

from leads import search
from meetings import ics, services
from meetings.admin import booking, statuses, week
from meetings.availability import HostUnusable, calendars_of, next_free, objection
from meetings.models import DEFAULT_MINUTES, MAX_MINUTES, Meeting
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import label, link, mark, moment, written
from scheduler.staff.refusals import Refusal, StaffForm

# With another of these, a meeting is no longer the one that was imported over another.
SLOT = ("host", "scheduled_time", "duration")
FIRST_TIME = datetime(1990, 1, 1, tzinfo=UTC)
LAST_TIME = datetime(2101, 1, 1, tzinfo=UTC)
STATUSES: dict[str, str] = {
    Meeting.Status.SCHEDULED: "busy",
    Meeting.Status.CONFIRMED: "good",
    Meeting.Status.CANCELLED: "bad",
    Meeting.Status.NO_SHOW: "warning",
}


class MeetingForm(StaffForm):
    def clean_scheduled_time(self) -> datetime:
        time: datetime = self.cleaned_data["scheduled_time"]
        # As the import; the end of a meeting late in 9999 is no time that Python can read.
        if not FIRST_TIME <= time < LAST_TIME:
            raise ValidationError("Give a time between 1990 and 2100.")
        return time

    def _post_clean(self) -> None:
        super()._post_clean()
        if not self.errors and set(SLOT) & set(self.changed_data) and _is_over_imported(self.instance):
            self._refuse("meetings_no_double_booking", ValidationError("The slot is taken."))

    def _refuse(self, constraint: str, error: ValidationError) -> None:
        # Looked up first: an error takes its field out of the cleaned data.
        host, start = (self.cleaned_data.get(name) for name in ("host", "scheduled_time"))
        super()._refuse(constraint, error)
        # Who corrects the past does not look for a free slot.
        if constraint not in services.SLOT_CONSTRAINTS or not host or not start or start < timezone.now():
            return
        minutes = self.cleaned_data.get("duration") or DEFAULT_MINUTES
        free = next_free(host, start, now=timezone.now(), minutes=minutes, without=self.instance.pk)
        if free:
            self.add_error("scheduled_time", f"Free: {', '.join(map(written, free))}.")


@admin.register(Meeting)
class MeetingAdmin(StaffAdmin):
    form = MeetingForm
    list_display = ["id", "time", "minutes", "lead_link", "host", "state", "guest_email", "overlap"]
    list_filter = ["status", "host", "scheduled_time", "allow_overlap"]
    list_select_related = ["lead", "host"]
    list_defer = ("notes",)
    sortable_by = ["id", "time"]
    search_fields = ["guest_email"]
    search_help_text = "The lead's name, e-mail or phone, the guest's exact e-mail, an event id, or the id."
    ordering = ["-scheduled_time", "-id"]
    autocomplete_fields = ["host"]
    raw_id_fields = ["lead", "call"]
    # Only imports may sell a slot twice.
    readonly_fields = ["allow_overlap", "created", "changed"]
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
        "meetings_buffers_kept": Refusal(
            "The host keeps that time free around another meeting; choose another time, host or duration.",
            "scheduled_time",
        ),
        "meetings_calendar_event_id_unique": Refusal("Another meeting has this event.", "calendar_event_id"),
        "meetings_duration_in_bounds": Refusal(
            f"The duration must lie between 0 and {MAX_MINUTES} minutes.", "duration"
        ),
    }

    actions = ["confirm_meetings", "complete_meetings", "mark_no_show", "cancel_meetings"]
    actions_list = ["week", "book"]
    actions_detail = [
        "move",
        "confirm_one",
        "complete_one",
        "no_show_one",
        "cancel_one",
        "schedule_one",
        "calendar_file",
    ]

    class Media:
        css: ClassVar = {"all": ["staff/meetings.css"]}

    created = moment("created_at", "Created")
    changed = moment("updated_at", "Changed")
    time = moment("scheduled_time", "Time")
    state = label("status", "Status", STATUSES)
    overlap = mark("allow_overlap", "Overlap", "May overlap")

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

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # Each change has a button, which asks first and moves the lead along.
        fields = super().get_readonly_fields(request, obj)
        return [*fields, "status"] if obj else fields

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        before = Meeting.objects.get(pk=obj.pk) if change else None
        changed = set(form.changed_data)
        if obj.allow_overlap and changed & set(SLOT):
            obj.allow_overlap = False
            changed.add("allow_overlap")
        with statuses.leads_noted(request, {obj.lead_id, before.lead_id if before else obj.lead_id}):
            services.write_as_staff(obj, changed, before)
        if obj.status in Meeting.LIVE and (sentence := _warning(obj)):
            messages.warning(request, f"Saved, but: {sentence}")

    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        self._delete(request, [obj])

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Meeting]) -> None:
        self._delete(request, list(queryset.only("pk", "lead_id")))

    def _delete(self, request: HttpRequest, meetings: list[Meeting]) -> None:
        with statuses.leads_noted(request, {meeting.lead_id for meeting in meetings}):
            services.delete(meetings)

    @action(description="Week", url_path="week", icon="calendar_view_week", permissions=["view"])
    def week(self, request: HttpRequest) -> HttpResponse:
        return week.page(self, request)

    @action(description="Book", url_path="book", icon="event_available", permissions=["add"])
    def book(self, request: HttpRequest) -> HttpResponse:
        return booking.book(self, request)

    @action(description="Move", url_path="move", icon="event_repeat", permissions=["change"])
    def move(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return booking.move(self, request, found(self, request, object_id))

    @action(description="Confirm", url_path="confirm", permissions=["change"])
    def confirm_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return statuses.page(self, request, found(self, request, object_id), Meeting.Status.CONFIRMED)

    @action(description="Took place", url_path="complete", permissions=["change"])
    def complete_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return statuses.page(self, request, found(self, request, object_id), Meeting.Status.COMPLETED)

    @action(description="No show", url_path="no-show", permissions=["change"])
    def no_show_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return statuses.page(self, request, found(self, request, object_id), Meeting.Status.NO_SHOW)

    @action(description="Cancel", url_path="cancel", icon="event_busy", permissions=["change"])
    def cancel_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return statuses.page(self, request, found(self, request, object_id), Meeting.Status.CANCELLED)

    @action(description="Schedule again", url_path="schedule", icon="event_repeat", permissions=["change"])
    def schedule_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return statuses.page(self, request, found(self, request, object_id), Meeting.Status.SCHEDULED)

    @action(description="Calendar file", url_path="calendar.ics", icon="download", permissions=["view"])
    def calendar_file(self, request: HttpRequest, object_id: str) -> HttpResponse:
        meeting = found(self, request, object_id)
        name = f'attachment; filename="meeting-{meeting.pk}.ics"'
        file = ics.meeting_file(meeting, with_guest=True)
        return HttpResponse(file, content_type=ics.CONTENT_TYPE, headers={"Content-Disposition": name})

    confirm_meetings = statuses.list_action("Confirm", Meeting.Status.CONFIRMED)
    complete_meetings = statuses.list_action("Note that they took place", Meeting.Status.COMPLETED)
    mark_no_show = statuses.list_action("Note that nobody came", Meeting.Status.NO_SHOW)
    cancel_meetings = statuses.list_action("Cancel", Meeting.Status.CANCELLED)

    @admin.display(description="Minutes")
    def minutes(self, meeting: Meeting) -> Any:
        return meeting.duration

    @admin.display(description="Lead", ordering="lead")
    def lead_link(self, meeting: Meeting) -> str:
        return link(meeting.lead)


def _is_over_imported(meeting: Meeting) -> bool:
    """Tell whether imported meetings lie on the slot: the constraints exempt those, yet their host sits in them."""
    host, start = meeting.host, meeting.scheduled_time
    begins = start - timedelta(minutes=host.buffer_before)
    ends = start + timedelta(minutes=(meeting.duration or DEFAULT_MINUTES) + host.buffer_after)
    begins, ends = (time.astimezone(UTC).replace(tzinfo=None) for time in (begins, ends))
    span = TimestampRange(begins, ends)
    others = Meeting.objects.filter(host=host, status__in=Meeting.LIVE, allow_overlap=True)
    is_live = meeting.status in Meeting.LIVE
    return is_live and others.filter(busy__overlap=span).exclude(pk=meeting.pk).exists()


def _warning(meeting: Meeting) -> str | None:
    """Return what would forbid a caller to book this; staff may, but should know."""
    try:
        (calendar,) = calendars_of([meeting.host_id], meeting.scheduled_time, meeting.scheduled_time)
    except HostUnusable as error:
        return str(error)
    calendar = calendar.lasting(meeting.duration or DEFAULT_MINUTES)
    found = objection(calendar, meeting.scheduled_time, timezone.now())
    return found[1] if found else None


def found(model_admin: Any, request: HttpRequest, object_id: str) -> Meeting:
    meeting = model_admin.get_object(request, object_id)
    if meeting is None:
        raise Http404("There is no such meeting.")
    return meeting
