"""What PostgreSQL itself enforces about hosts and meetings, whoever writes."""

from datetime import datetime, timedelta

import psycopg
import pytest
from django.db import DataError, transaction

from database.tests.raw_sql import (
    assert_one_scan_of,
    constraints_of,
    copy_in,
    execute,
    insert,
    insert_at_once,
    is_now,
    refused_by,
    required_columns,
    stored,
)
from meetings.models import MAX_MINUTES, Meeting

BOOKERS = 40
NOON = "2026-05-04 12:00+00"
HALF_PAST = "2026-05-04 12:30+00"
LIVE = {"scheduled", "confirmed"}

# (constraint, what makes the meeting a forbidden one); a scheduled one at NOON with event "e1" is there.
FORBIDDEN_MEETINGS = [
    ("meetings_calendar_event_id_unique", {"calendar_event_id": "e1"}),
    ("meetings_status_known", {"status": "rescheduled"}),
    ("meetings_status_known", {"status": "SCHEDULED"}),
    ("meetings_duration_in_bounds", {"duration": MAX_MINUTES + 1}),
    ("meetings_no_double_booking", {"scheduled_time": NOON}),
    ("meetings_no_double_booking", {"scheduled_time": NOON, "status": "confirmed"}),
    ("meetings_no_double_booking", {"scheduled_time": "2026-05-04 12:29:59.999999+00"}),
    ("meetings_no_double_booking", {"scheduled_time": "2026-05-04 11:30:00.000001+00"}),
    ("meetings_no_double_booking", {"scheduled_time": "2026-05-04 11:00+00", "duration": 61}),
    ("meetings_no_double_booking", {"scheduled_time": "2026-05-04 12:10+00", "duration": 1}),
    ("meetings_buffers_kept", {"scheduled_time": HALF_PAST, "buffer_before": 1}),
    ("meetings_buffers_kept", {"scheduled_time": "2026-05-04 11:30+00", "buffer_after": 1}),
    ("meetings_buffers_kept", {"scheduled_time": "2026-05-05 10:00+00", "buffer_before": 1440}),
    ("meetings_buffers_in_bounds", {"buffer_before": -1}),
    ("meetings_buffers_in_bounds", {"buffer_after": 1441}),
    ("meetings_ics_sequence_not_negative", {"ics_sequence": -1}),
    ("meetings_time_in_bounds", {"scheduled_time": "infinity"}),
    ("meetings_time_in_bounds", {"scheduled_time": "-infinity"}),
    ("meetings_time_in_bounds", {"scheduled_time": "1969-12-31 23:59:59.999999+00"}),
    ("meetings_time_in_bounds", {"scheduled_time": "2200-01-01 00:00+00"}),
    ("meetings_time_in_bounds", {"scheduled_time": "12026-05-04 12:00+00"}),
    ("meetings_lead_id_35a8f192_fk_leads_id", {"lead_id": 0}),
    ("meetings_call_id_441d8d53_fk_calls_id", {"call_id": 0}),
    ("meetings_host_id_edb167de_fk_meeting_hosts_id", {"host_id": 0}),
]
FORBIDDEN_HOSTS = [
    ("meeting_hosts_name_unique", {"name": "Sales"}),
    ("meeting_hosts_slot_positive", {"slot_minutes": 0}),
    ("meeting_hosts_slot_positive", {"slot_minutes": -30}),
    ("meeting_hosts_slot_within_a_day", {"slot_minutes": 1441}),
    ("meeting_hosts_buffers_in_bounds", {"buffer_before": -1}),
    ("meeting_hosts_buffers_in_bounds", {"buffer_after": 1441}),
    ("meeting_hosts_notice_in_bounds", {"minimum_notice": -1}),
    ("meeting_hosts_notice_in_bounds", {"minimum_notice": 525_601}),
    ("meeting_hosts_horizon_in_bounds", {"horizon_days": 0}),
    ("meeting_hosts_horizon_in_bounds", {"horizon_days": 731}),
    ("meeting_hosts_timezone", {"timezone": ""}),
    ("meeting_hosts_timezone", {"timezone": "../etc/passwd"}),
    ("meeting_hosts_timezone", {"timezone": "Europe/Zurich\n"}),
]
FORBIDDEN_EXCEPTIONS = [
    ("meeting_host_exceptions_one_a_day", {"first_day": "2026-05-04"}),
    ("meeting_host_exceptions_one_a_day", {"first_day": "2026-04-01", "last_day": "2026-05-04"}),
    ("meeting_host_exceptions_one_a_day", {"first_day": "2026-05-08", "last_day": "2026-05-09"}),
    ("meeting_host_exceptions_days_in_order", {"last_day": "2026-05-31"}),
    ("meeting_host_exceptions_days_in_order", {"last_day": "infinity"}),
    ("meeting_host_exceptions_days_in_order", {"first_day": "-infinity"}),
    ("meeting_host_exceptions_host_id_facee38e_fk_meeting_hosts_id", {"host_id": 0}),
]
WINDOWS_THAT_ARE_NONE = [
    "[9]", '["09:00", "17:00"]', '[["09:00"]]', '[["09:00", "17:00", "18:00"]]', "[[9, 17]]", "[[null, null]]",
    '[["9:00", "17:00"]]', '[["09:00", "24:01"]]', '[["09:00", "09:00"]]', '[["17:00", "09:00"]]',
    '[["09:00\\n", "17:00"]]', '[["09:60", "17:00"]]', '[[["09:00"], "17:00"]]', '[{"0": "09:00"}]',
    '[["09:00", "17:00"], ["18:00", "x"]]', '"09:00"', "null", "1", "true", "{}",
]  # fmt: skip
WEEKS_THAT_ARE_NONE = [
    "[]", "null", '"mon"', "1", '{"montag": []}', '{"MON": []}', '{"": []}', '{"mon ": []}',
    '{"mon": [], "xyz": []}', *(f'{{"mon": {windows}}}' for windows in WINDOWS_THAT_ARE_NONE),
    *(f'{{"sun": [["09:00", "17:00"]], "mon": {windows}}}' for windows in WINDOWS_THAT_ARE_NONE),
]  # fmt: skip
WINDOWS = ["[]", '[["00:00", "24:00"]]', '[["09:00", "12:00"], ["13:00", "17:30"]]']

MANY_MEETINGS = """
INSERT INTO meetings (lead_id, host_id, scheduled_time, status)
SELECT %(lead_id)s, %(host_id)s, now() + n * interval '30 minutes', (%(statuses)s::text[])[1 + n %% 5]
FROM generate_series(1, 8000) n ORDER BY n * 7919 %% 8000  -- booked in another order than held
"""

Ids = dict[str, int]


@pytest.fixture
def ids(db) -> Ids:
    """The host and the lead of the meetings that a test books."""
    return {
        "lead_id": insert("leads", name="Ada", phone="+14155550134"),
        "host_id": insert("meeting_hosts", name="Sales"),
    }


@pytest.fixture
def booked(ids) -> int:
    return insert("meetings", **ids, scheduled_time=NOON, calendar_event_id="e1")


@pytest.mark.parametrize(("constraint", "values"), FORBIDDEN_MEETINGS)
def test_a_forbidden_meeting_is_refused_by_its_constraint(ids, booked, constraint, values):
    with refused_by(constraint):
        insert("meetings", **(ids | {"scheduled_time": "2026-05-05 12:00+00"} | values))


@pytest.mark.parametrize(("constraint", "values"), FORBIDDEN_HOSTS)
def test_a_forbidden_host_is_refused_by_its_constraint(ids, constraint, values):
    with refused_by(constraint):
        insert("meeting_hosts", **({"name": "Support"} | values))


@pytest.mark.parametrize(("constraint", "values"), FORBIDDEN_EXCEPTIONS)
def test_a_forbidden_exception_is_refused_by_its_constraint(ids, constraint, values):
    host = ids["host_id"]
    insert("meeting_host_exceptions", host_id=host, first_day="2026-05-04", last_day="2026-05-08")

    with refused_by(constraint):
        days = {"first_day": "2026-06-01", "last_day": "2026-06-02"} | values
        insert("meeting_host_exceptions", **({"host_id": host} | days))


@pytest.mark.parametrize("week", WEEKS_THAT_ARE_NONE)
def test_working_hours_that_are_none_are_refused(ids, week):
    with refused_by("meeting_hosts_working_hours"):
        insert("meeting_hosts", name="Support", working_hours=week)


@pytest.mark.parametrize("windows", WINDOWS_THAT_ARE_NONE)
def test_hours_of_an_exception_that_are_none_are_refused(ids, windows):
    days = {"first_day": "2026-05-04", "last_day": "2026-05-04"}

    with refused_by("meeting_host_exceptions_hours"):
        insert("meeting_host_exceptions", host_id=ids["host_id"], **days, hours=windows)


@pytest.mark.parametrize("windows", WINDOWS)
def test_hours_that_are_some_are_stored(ids, windows):
    days = {"first_day": "2026-05-04", "last_day": "2026-05-04"}
    insert("meeting_host_exceptions", host_id=ids["host_id"], **days, hours=windows)
    insert("meeting_hosts", name="Support", working_hours=f'{{"mon": {windows}, "sun": []}}')


@pytest.mark.django_db
def test_no_constraint_is_left_untried():
    tried = {constraint for constraint, _ in FORBIDDEN_MEETINGS + FORBIDDEN_HOSTS + FORBIDDEN_EXCEPTIONS}
    tried |= {"meeting_hosts_working_hours", "meeting_host_exceptions_hours"}

    assert constraints_of("meetings", "meeting_hosts", "meeting_host_exceptions") == tried


def test_buffers_of_two_meetings_stand_one_behind_the_other(ids):
    insert("meetings", **ids, scheduled_time=NOON, duration=30, buffer_after=10)
    with refused_by("meetings_buffers_kept"):
        insert("meetings", **ids, scheduled_time="2026-05-04 12:44+00", buffer_before=5)
    insert("meetings", **ids, scheduled_time="2026-05-04 12:45+00", buffer_before=5)

    assert execute("SELECT busy::text FROM meetings ORDER BY id LIMIT 1") == [
        ('["2026-05-04 12:00:00","2026-05-04 12:40:00")',)
    ]


def test_a_meeting_that_ends_before_it_starts_is_refused_by_its_span_before_any_check_is_asked(ids):
    with pytest.raises(DataError, match="range lower bound"), transaction.atomic():
        insert("meetings", **ids, scheduled_time=NOON, duration=-1)


def test_meetings_that_touch_are_no_double_booking(ids, booked):
    insert("meetings", **ids, scheduled_time=HALF_PAST)
    insert("meetings", **ids, scheduled_time="2026-05-04 11:00+00", duration=60)


@pytest.mark.parametrize("status", Meeting.Status.values)
def test_only_scheduled_and_confirmed_meetings_hold_their_slot(ids, status):
    insert("meetings", **ids, scheduled_time=NOON, status=status)

    if status in LIVE:
        with refused_by("meetings_no_double_booking"):
            insert("meetings", **ids, scheduled_time=NOON)
    else:
        insert("meetings", **ids, scheduled_time=NOON)


def test_a_meeting_that_may_overlap_stands_beside_another_whichever_came_first(ids, booked):
    insert("meetings", **ids, scheduled_time=NOON, allow_overlap=True)
    insert("meetings", **ids, scheduled_time=NOON, allow_overlap=True)
    insert("meetings", **ids, scheduled_time="2026-05-06 12:00+00", allow_overlap=True)
    insert("meetings", **ids, scheduled_time="2026-05-06 12:00+00")


def test_another_host_is_free_at_the_same_time(ids, booked):
    other = insert("meeting_hosts", name="Support")

    insert("meetings", **(ids | {"host_id": other}), scheduled_time=NOON)


@pytest.mark.parametrize("status", sorted(LIVE))
def test_a_cancelled_meeting_cannot_come_back_into_a_slot_that_was_sold_again(ids, booked, status):
    execute("UPDATE meetings SET status = 'cancelled' WHERE id = %s", [booked])
    insert("meetings", **ids, scheduled_time=NOON)

    with refused_by("meetings_no_double_booking"):
        execute("UPDATE meetings SET status = %s WHERE id = %s", [status, booked])


@pytest.mark.parametrize("change", [{"scheduled_time": NOON}, {"duration": 31}])
def test_a_meeting_cannot_be_moved_or_stretched_into_another_one(ids, booked, change):
    earlier = insert("meetings", **ids, scheduled_time="2026-05-04 11:30+00")
    ((column, value),) = change.items()

    with refused_by("meetings_no_double_booking"):
        execute(f"UPDATE meetings SET {column} = %s WHERE id = %s", [value, earlier])


def test_a_meeting_of_no_minutes_holds_half_an_hour_like_one_of_unknown_length(ids):
    # An empty span overlaps nothing: it would let the same slot be sold again and again.
    insert("meetings", **ids, scheduled_time=NOON, duration=0)

    assert execute("SELECT during::text FROM meetings") == [
        ('["2026-05-04 12:00:00","2026-05-04 12:30:00")',)
    ]
    for duration in (0, None, 1):
        with refused_by("meetings_no_double_booking"):
            insert("meetings", **ids, scheduled_time="2026-05-04 12:29+00", duration=duration)
    insert("meetings", **ids, scheduled_time=HALF_PAST, duration=0)


@pytest.mark.parametrize("zone", ["UTC", "Europe/Zurich", "America/New_York", "Asia/Kathmandu"])
def test_during_is_the_span_in_utc_in_any_time_zone_of_the_session(ids, zone):
    execute("SELECT set_config('TimeZone', %s, true)", [zone])
    insert("meetings", **ids, scheduled_time=NOON, duration=45)
    insert("meetings", **ids, scheduled_time="2026-05-04 20:00-04")

    spans = execute("SELECT during::text FROM meetings ORDER BY id")
    assert spans == [
        ('["2026-05-04 12:00:00","2026-05-04 12:45:00")',),
        ('["2026-05-05 00:00:00","2026-05-05 00:30:00")',),
    ]
    execute("UPDATE meetings SET notes = 'written again'")
    assert execute("SELECT during::text FROM meetings ORDER BY id") == spans


def test_during_is_as_long_as_the_meeting_across_the_hour_that_spring_skips(ids):
    execute("SELECT set_config('TimeZone', 'Europe/Zurich', true)")
    insert("meetings", **ids, scheduled_time="2026-03-29 01:30", duration=60)

    assert execute("SELECT during::text FROM meetings") == [
        ('["2026-03-29 00:30:00","2026-03-29 01:30:00")',)
    ]
    with refused_by("meetings_no_double_booking"):
        insert("meetings", **ids, scheduled_time="2026-03-29 03:29")
    insert("meetings", **ids, scheduled_time="2026-03-29 03:30")


def test_the_hour_that_autumn_repeats_can_be_booked_twice_but_not_three_times(ids):
    execute("SELECT set_config('TimeZone', 'Europe/Zurich', true)")
    insert("meetings", **ids, scheduled_time="2026-10-25 02:00+02", duration=60)
    insert("meetings", **ids, scheduled_time="2026-10-25 02:00+01", duration=60)

    for offset in ("+02", "+01"):
        with refused_by("meetings_no_double_booking"):
            insert("meetings", **ids, scheduled_time=f"2026-10-25 02:30{offset}")


@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_meeting_written_with_the_required_columns_only_gets_all_defaults(ids, write):
    row = stored("meetings", write("meetings", **ids, scheduled_time=NOON))

    assert required_columns("meetings") == {*ids, "scheduled_time"}
    assert (row["status"], row["allow_overlap"], row["duration"]) == ("scheduled", False, None)
    assert row["during"].upper - row["during"].lower == timedelta(minutes=30)
    assert is_now(row["created_at"])
    assert is_now(row["updated_at"])


@pytest.mark.django_db
@pytest.mark.parametrize("write", [insert, copy_in])
def test_a_host_written_with_a_name_only_gets_all_defaults(write):
    host = write("meeting_hosts", name="Sales")

    query = "SELECT timezone, working_hours::text, slot_minutes, created_at FROM meeting_hosts WHERE id = %s"
    ((timezone, hours, minutes, created_at),) = execute(query, [host])
    assert required_columns("meeting_hosts") == {"name"}
    assert (timezone, hours, minutes) == ("UTC", "{}", 30)
    assert is_now(created_at)


@pytest.mark.django_db(transaction=True)
def test_of_many_overlapping_meetings_booked_at_once_one_is_sold():
    host = insert("meeting_hosts", name="Sales")
    lead = insert("leads", name="Ada", phone="+14155550134")
    noon = datetime.fromisoformat(NOON)

    results = insert_at_once(
        "meetings",
        [
            {"lead_id": lead, "host_id": host, "scheduled_time": noon + timedelta(minutes=n), "duration": 60}
            for n in range(BOOKERS)
        ],
    )

    refusals = [error for error in results if error]
    assert len(refusals) == BOOKERS - 1
    # PostgreSQL writes the row first and looks for others then, so two writers may wait for each other;
    # the one that it ends as a deadlock (40P01) is refused too: nothing of it stays.
    violations = [e for e in refusals if not isinstance(e, psycopg.errors.DeadlockDetected)]
    assert {type(error) for error in violations} <= {psycopg.errors.ExclusionViolation}
    # Both forbid it; which one is asked first depends on which index is older, and imports make them anew.
    assert {error.diag.constraint_name for error in violations} <= {
        "meetings_no_double_booking",
        "meetings_buffers_kept",
    }
    assert execute("SELECT count(*) FROM meetings") == [(1,)]


@pytest.fixture
def many_meetings(ids) -> None:
    execute(MANY_MEETINGS, ids | {"statuses": Meeting.Status.values})
    execute("ANALYZE meetings")


def test_the_latest_meetings_are_one_index_scan(many_meetings):
    query = "SELECT * FROM meetings ORDER BY scheduled_time DESC, id DESC LIMIT 50"

    assert_one_scan_of("meetings_latest", query)


@pytest.mark.parametrize("status", Meeting.Status.values)
def test_the_meetings_of_a_status_are_one_index_scan(many_meetings, status):
    query = "SELECT * FROM meetings WHERE status = %s ORDER BY scheduled_time DESC, id DESC LIMIT 50"

    assert_one_scan_of("meetings_by_status", query, [status])
