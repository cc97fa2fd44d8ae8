from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from calls.models import Call
from leads.models import Lead
from meetings.fields import TimestampRangeField

DEFAULT_MINUTES = 30
MAX_MINUTES = 527_040  # a leap year; keeps `during` inside what a timestamp can hold


class During(models.Func):
    """The span of a meeting in UTC, from columns of its own row."""

    template = (
        "tsrange(timezone('UTC', \"scheduled_time\"), "
        "timezone('UTC', \"scheduled_time\") + coalesce(nullif(\"duration\", 0), %(default)s) * interval '1 minute')"
    )
    output_field = TimestampRangeField()

    def __init__(self) -> None:
        super().__init__(F("scheduled_time"), F("duration"), default=DEFAULT_MINUTES)

    def deconstruct(self) -> tuple[str, tuple[object, ...], dict[str, object]]:
        return "meetings.models.During", (), {}


class MeetingHost(models.Model):
    """A calendar into which meetings are booked."""

    name = models.CharField()
    calendar_id = models.CharField(null=True, blank=True)
    timezone = models.CharField(
        default="UTC", db_default="UTC", help_text="IANA name, for example Europe/Zurich."
    )
    working_hours = models.JSONField(
        default=dict,
        blank=True,
        db_default={},
        help_text='For example {"mon": [["09:00", "17:00"]]}; empty: always.',
    )
    slot_minutes = models.IntegerField(default=DEFAULT_MINUTES, db_default=DEFAULT_MINUTES)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "meeting_hosts"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="meeting_hosts_name_unique"),
            models.CheckConstraint(condition=Q(slot_minutes__gte=1), name="meeting_hosts_slot_positive"),
        ]

    def __str__(self) -> str:
        return self.name


class Meeting(models.Model):
    """A booking; PostgreSQL refuses a second live one of the same host in the same span."""

    class Status(models.TextChoices):
        SCHEDULED = "scheduled"
        CONFIRMED = "confirmed"
        CANCELLED = "cancelled"
        COMPLETED = "completed"
        NO_SHOW = "no_show"

    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, related_name="meetings")
    call = models.ForeignKey(Call, null=True, blank=True, on_delete=models.SET_NULL, related_name="meetings")
    host = models.ForeignKey(MeetingHost, on_delete=models.PROTECT, related_name="meetings", db_index=False)
    scheduled_time = models.DateTimeField()
    duration = models.IntegerField(
        null=True, blank=True, help_text=f"Minutes; empty or 0 counts as {DEFAULT_MINUTES}."
    )
    during = models.GeneratedField(expression=During(), output_field=TimestampRangeField(), db_persist=True)
    guest_email = models.CharField(null=True, blank=True)
    calendar_event_id = models.CharField(null=True, blank=True)
    meeting_link = models.TextField(null=True, blank=True)
    notes = models.TextField(null=True, blank=True)
    status = models.CharField(choices=Status, default=Status.SCHEDULED, db_default=Status.SCHEDULED)
    allow_overlap = models.BooleanField(
        default=False,
        db_default=False,
        help_text="Set on overlapping bookings that came from the old system.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "meetings"
        ordering = ["-scheduled_time", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["calendar_event_id"], name="meetings_calendar_event_id_unique"),
            ExclusionConstraint(
                name="meetings_no_double_booking",
                expressions=[("host", RangeOperators.EQUAL), ("during", RangeOperators.OVERLAPS)],
                condition=Q(status__in=["scheduled", "confirmed"], allow_overlap=False),
            ),
            models.CheckConstraint(
                condition=Q(status__in=["scheduled", "confirmed", "cancelled", "completed", "no_show"]),
                name="meetings_status_known",
            ),
            models.CheckConstraint(
                condition=Q(duration__gte=0, duration__lte=MAX_MINUTES), name="meetings_duration_in_bounds"
            ),
        ]
        indexes = [
            models.Index(F("scheduled_time").desc(), F("id").desc(), name="meetings_latest"),
            models.Index("status", F("scheduled_time").desc(), F("id").desc(), name="meetings_by_status"),
            models.Index("host", "scheduled_time", name="meetings_by_host"),
        ]

    def __str__(self) -> str:
        return f"Meeting {self.pk}"
