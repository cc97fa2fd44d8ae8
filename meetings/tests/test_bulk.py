"""The bulk operations on meetings, of which a host has one at a time."""

from datetime import UTC, datetime, timedelta

import pytest
from django.core.exceptions import FieldError

from database.bulk import bulk_insert, bulk_update
from database.errors import RowRefused
from leads.models import Lead
from meetings.models import Meeting, MeetingHost

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)


@pytest.fixture
def rows():
    host = MeetingHost.objects.create(name="Sales")
    lead = Lead.objects.create(name="A", phone="+14155550100")
    return [
        {"lead": lead, "host": host, "scheduled_time": NOON + timedelta(hours=i), "duration": 30}
        for i in range(40)
    ]


def test_the_span_of_a_meeting_is_computed(rows):
    ids = bulk_insert(Meeting, rows)

    during = Meeting.objects.get(pk=ids[0]).during
    assert (during.lower.hour, during.upper - during.lower) == (12, timedelta(minutes=30))
    with pytest.raises(FieldError, match="computes"):
        bulk_update(Meeting, [(ids[0], None)], ["during"])


def test_the_meeting_that_clashes_is_named(rows):
    rows[33]["scheduled_time"] = NOON + timedelta(hours=5, minutes=10)

    with pytest.raises(RowRefused, match="exclusion") as refused:
        bulk_insert(Meeting, rows)

    assert (refused.value.position, refused.value.constraint) == (33, "meetings_no_double_booking")
    assert not Meeting.objects.exists()


def test_the_meeting_that_is_moved_onto_another_is_named(rows):
    ids = bulk_insert(Meeting, rows)
    moved = [(id, NOON + timedelta(days=9, hours=i)) for i, id in enumerate(ids)]
    moved[21] = (ids[21], moved[4][1])

    with pytest.raises(RowRefused) as refused:
        bulk_update(Meeting, moved, ["scheduled_time"])

    assert (refused.value.position, refused.value.constraint) == (21, "meetings_no_double_booking")
    assert Meeting.objects.get(pk=ids[0]).scheduled_time == NOON
