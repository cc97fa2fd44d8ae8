from datetime import UTC, date, datetime

from django.contrib.postgres.constraints import ExclusionConstraint
from django.contrib.postgres.fields import RangeOperators
from django.contrib.postgres.indexes import GistIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from calls.models import Call
from leads.models import Lead
from meetings.fields import Days, IsWeek, IsWindows, TimestampRangeField

DEFAULT_MINUTES = 30
MAX_MINUTES = 527_040  # a leap year; keeps `during` inside what a timestamp can hold
DAY_MINUTES = 24 * 60
YEAR_MINUTES = 365 * DAY_MINUTES
MAX_HORIZON_DAYS = 730
DEFAULT_HORIZON_DAYS = 90
# Wider than what the import and the forms let pass. The span of an infinite time is empty and would
# overlap nothing; a year past 9999 could be stored, but not read by Python.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
LATEST = datetime(2200, 1, 1, tzinfo=UTC)


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


class Busy(models.Func):
    """The span for which a meeting keeps its host: `During`, and the buffers before and after."""

    template = (
        "tsrange(timezone('UTC', \"scheduled_time\") - \"buffer_before\" * interval '1 minute', "
        'timezone(\'UTC\', "scheduled_time") + (coalesce(nullif("duration", 0), %(default)s) + "buffer_after")'
        " * interval '1 minute')"
    )
    output_field = TimestampRangeField()

    def __init__(self) -> None:
        columns = ("scheduled_time", "duration", "buffer_before", "buffer_after")
        super().__init__(*map(F, columns), default=DEFAULT_MINUTES)

    def deconstruct(self) -> tuple[str, tuple[object, ...], dict[str, object]]:
        return "meetings.models.Busy", (), {}


class MeetingHost(models.Model):
    """A calendar into which meetings are booked, and the rules for booking there.

    The rules bind whoever books through `meetings.services`; PostgreSQL enforces what two bookings may do to
    each other, see `Meeting`.
    """

    name = models.CharField()
    calendar_id = models.CharField(null=True, blank=True)
    timezone = models.CharField(
        default="UTC", db_default="UTC", help_text="IANA name, for example Europe/Zurich."
    )
    working_hours = models.JSONField(
        default=dict,
        blank=True,
        db_default={},
        help_text='In the host\'s time zone, for example {"mon": [["09:00", "17:00"]]}; empty: always.',
    )
    slot_minutes = models.IntegerField(
        default=DEFAULT_MINUTES,
        db_default=DEFAULT_MINUTES,
        help_text="Minutes of a meeting, and from one offered start to the next.",
    )
    buffer_before = models.IntegerField(
        default=0, db_default=0, help_text="Minutes to keep free before each meeting booked from now on."
    )
    buffer_after = models.IntegerField(
        default=0, db_default=0, help_text="Minutes to keep free after each meeting booked from now on."
    )
    minimum_notice = models.IntegerField(
        default=0, db_default=0, help_text="Minutes between booking and the earliest start."
    )
    horizon_days = models.IntegerField(
        default=DEFAULT_HORIZON_DAYS,
        db_default=DEFAULT_HORIZON_DAYS,
        help_text="Days ahead that can be booked.",
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "meeting_hosts"
        ordering = ["name"]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="meeting_hosts_name_unique"),
            models.CheckConstraint(condition=Q(slot_minutes__gte=1), name="meeting_hosts_slot_positive"),
            models.CheckConstraint(
                condition=Q(slot_minutes__lte=DAY_MINUTES), name="meeting_hosts_slot_within_a_day"
            ),
            models.CheckConstraint(
                condition=Q(buffer_before__range=(0, DAY_MINUTES), buffer_after__range=(0, DAY_MINUTES)),
                name="meeting_hosts_buffers_in_bounds",
            ),
            models.CheckConstraint(
                condition=Q(minimum_notice__range=(0, YEAR_MINUTES)), name="meeting_hosts_notice_in_bounds"
            ),
            models.CheckConstraint(
                condition=Q(horizon_days__range=(1, MAX_HORIZON_DAYS)),
                name="meeting_hosts_horizon_in_bounds",
            ),
            models.CheckConstraint(condition=IsWeek("working_hours"), name="meeting_hosts_working_hours"),
            models.CheckConstraint(
                condition=Q(timezone__regex=r"^[A-Za-z0-9_+-]+(/[A-Za-z0-9_+-]+)*$"),
                name="meeting_hosts_timezone",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class MeetingHostException(models.Model):
    """Days on which other hours than the weekly ones hold; without hours they are days off."""

    host = models.ForeignKey(MeetingHost, on_delete=models.CASCADE, related_name="exceptions", db_index=False)
    first_day = models.DateField()
    last_day = models.DateField(help_text="Included.")
    hours = models.JSONField(
        default=list,
        blank=True,
        db_default=[],
        help_text='Instead of the weekly hours, for example [["09:00", "12:00"]]; empty: off.',
    )
    reason = models.CharField(null=True, blank=True)

    class Meta:
        db_table = "meeting_host_exceptions"
        ordering = ["first_day"]
        verbose_name = "exception"
        constraints = [
            # Its index also finds the exceptions of a host.
            ExclusionConstraint(
                name="meeting_host_exceptions_one_a_day",
                expressions=[
                    ("host", RangeOperators.EQUAL),
                    (Days("first_day", "last_day"), RangeOperators.OVERLAPS),
                ],
            ),
            models.CheckConstraint(
                condition=Q(
                    first_day__gte=date(1970, 1, 1),
                    last_day__lt=date(2200, 1, 1),
                    last_day__gte=F("first_day"),
                ),
                name="meeting_host_exceptions_days_in_order",
            ),
            models.CheckConstraint(condition=IsWindows("hours"), name="meeting_host_exceptions_hours"),
        ]

    def __str__(self) -> str:
        return f"{self.first_day} to {self.last_day}"


class Meeting(models.Model):
    """A booking.

    PostgreSQL refuses a second live one of the same host in the same span, and one whose buffers run into
    those of another. The buffers are copied from the host at booking: they are part of what was agreed, so
    a host's can change at any time without breaking what is booked.
    """

    class Status(models.TextChoices):
        SCHEDULED = "scheduled"
        CONFIRMED = "confirmed"
        CANCELLED = "cancelled"
        COMPLETED = "completed"
        NO_SHOW = "no_show"

    LIVE = (Status.SCHEDULED, Status.CONFIRMED)

    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, related_name="meetings")
    call = models.ForeignKey(Call, null=True, blank=True, on_delete=models.SET_NULL, related_name="meetings")
    host = models.ForeignKey(MeetingHost, on_delete=models.PROTECT, related_name="meetings", db_index=False)
    scheduled_time = models.DateTimeField()
    duration = models.IntegerField(
        null=True, blank=True, help_text=f"Minutes; empty or 0 counts as {DEFAULT_MINUTES}."
    )
    buffer_before = models.IntegerField(default=0, db_default=0, editable=False, help_text="Minutes.")
    buffer_after = models.IntegerField(default=0, db_default=0, editable=False, help_text="Minutes.")
    during = models.GeneratedField(expression=During(), output_field=TimestampRangeField(), db_persist=True)
    busy = models.GeneratedField(expression=Busy(), output_field=TimestampRangeField(), db_persist=True)
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
    ics_sequence = models.IntegerField(
        default=0,
        db_default=0,
        editable=False,
        help_text="Grows whenever guests' calendars must take over a change.",
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
            ExclusionConstraint(
                name="meetings_buffers_kept",
                expressions=[("host", RangeOperators.EQUAL), ("busy", RangeOperators.OVERLAPS)],
                condition=Q(status__in=["scheduled", "confirmed"], allow_overlap=False),
            ),
            models.CheckConstraint(
                condition=Q(scheduled_time__gte=EARLIEST, scheduled_time__lt=LATEST),
                name="meetings_time_in_bounds",
            ),
            models.CheckConstraint(
                condition=Q(buffer_before__range=(0, DAY_MINUTES), buffer_after__range=(0, DAY_MINUTES)),
                name="meetings_buffers_in_bounds",
            ),
            models.CheckConstraint(
                condition=Q(ics_sequence__gte=0), name="meetings_ics_sequence_not_negative"
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
            # Counts of what was booked in a span of days read nothing else.
            models.Index("created_at", "status", name="meetings_made"),
            # Staff search by it.
            models.Index(
                fields=["guest_email"], name="meetings_by_guest", condition=Q(guest_email__isnull=False)
            ),
            # What the exclusion constraints leave out, but keeps its host busy all the same.
            GistIndex(
                fields=["host", "busy"],
                condition=Q(status__in=["scheduled", "confirmed"], allow_overlap=True),
                name="meetings_overlapping",
            ),
        ]

    def __str__(self) -> str:
        return f"Meeting {self.pk}"
