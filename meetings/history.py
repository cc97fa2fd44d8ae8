"""What the API does to meetings, written into their history with the values before and after."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction

from meetings import services
from meetings.models import Meeting
from scheduler.rest.access import Principal
from scheduler.staff.history import changed_message, changes_between, values_of

# They follow from the others.
DERIVED = {"ics_sequence", "buffer_before", "buffer_after", "updated_at"}


@contextmanager
def changes_noted(meeting: Meeting, staff: Principal) -> Iterator[None]:
    """Note what the block changes of a meeting, in one transaction with it; nothing changed, nothing noted.

    Raises Meeting.DoesNotExist. The lock comes first: of two who do the same at once, one has changed something.
    """
    with transaction.atomic():
        before = {
            name: value for name, value in values_of(services.locked(meeting)).items() if name not in DERIVED
        }
        yield
        after = Meeting.objects.get(pk=meeting.pk)
        if changes := changes_between(before, after):
            message = changed_message(changes, "Over the API")
            _log(after, staff, CHANGE, message)


def booking_noted(meeting: Meeting, staff: Principal) -> None:
    """Note that a meeting was booked, once; call it in the transaction of the booking, which holds the host."""
    kind = ContentType.objects.get_for_model(Meeting)
    known = LogEntry.objects.filter(content_type=kind, object_id=str(meeting.pk), action_flag=ADDITION)
    if not known.exists():
        _log(meeting, staff, ADDITION, "Booked over the API")


def _log(meeting: Meeting, staff: Principal, action: int, message: str) -> None:
    assert staff.user_id is not None  # routes for staff only
    LogEntry.objects.log_actions(staff.user_id, [meeting], action, message, single_object=True)
