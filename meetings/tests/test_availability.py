"""Availability of many hosts: right, in two queries, over indexes."""

from __future__ import annotations

from datetime import timedelta

import pytest

from database.tests.raw_sql import execute, plan_nodes
from meetings.availability import BUSY, HostUnusable, free_slots, moment
from meetings.models import Meeting, MeetingHost, MeetingHostException
from meetings.tests.booking import NOW, at, host, lead, written

pytestmark = pytest.mark.django_db


def starts(hosts, first: str, last: str, **values) -> dict[str, list[str]]:
    found = free_slots(hosts, at(first), at(last), now=values.pop("now", NOW), **values)
    return {each.name: written([moment(start) for start in each.starts]) for each in found}


def test_each_host_has_its_own_hours_buffers_and_meetings() -> None:
    ruth = host(slot_minutes=120)
    omar = host(
        "Omar", timezone="Asia/Kathmandu", slot_minutes=240, working_hours={"tue": [["09:00", "17:00"]]}
    )
    host("Never", working_hours={"mon": []})
    Meeting.objects.create(lead=lead(1), host=ruth, scheduled_time=at("05-05 09:10"), duration=1)
    Meeting.objects.create(lead=lead(2), host=omar, scheduled_time=at("05-05 12:00"), status="cancelled")

    assert starts(None, "05-05 00:00", "05-06 00:00") == {
        "Never": [],
        "Omar": ["05-05 03:15", "05-05 07:15"],
        "Ruth": ["05-05 07:00", "05-05 11:00", "05-05 13:00"],
    }
    assert set(starts([ruth.pk, 0], "05-05 00:00", "05-06 00:00")) == {"Ruth"}


def test_notice_horizon_and_the_asked_time_bound_what_is_offered() -> None:
    ruth = host(slot_minutes=60, minimum_notice=150, horizon_days=1)

    assert starts([ruth.pk], "05-01 00:00", "06-01 00:00")["Ruth"] == [
        "05-04 11:00",
        "05-04 12:00",
        "05-04 13:00",
        "05-04 14:00",
        "05-05 07:00",
        "05-05 08:00",
    ]
    assert starts([ruth.pk], "05-04 12:00", "05-04 13:00")["Ruth"] == ["05-04 12:00"]
    assert starts([ruth.pk], "05-04 13:00", "05-04 12:00")["Ruth"] == []
    assert starts([ruth.pk], "05-01 00:00", "05-04 00:00")["Ruth"] == []


def test_a_meeting_longer_than_a_slot_fits_whole_or_not_at_all() -> None:
    ruth = host(
        slot_minutes=30, working_hours={"tue": [["09:00", "10:00"], ["10:00", "11:00"], ["13:00", "14:00"]]}
    )

    assert starts([ruth.pk], "05-05 00:00", "05-06 00:00", minutes=90)["Ruth"] == [
        "05-05 07:00",
        "05-05 07:30",
    ]


def test_an_exception_replaces_the_hours_of_its_days_on_the_hosts_calendar() -> None:
    kiri = host("Kiri", timezone="Pacific/Kiritimati", slot_minutes=480)  # UTC+14
    MeetingHostException.objects.create(host=kiri, first_day="2026-05-06", last_day="2026-05-06")
    MeetingHostException.objects.create(
        host=kiri, first_day="2026-05-09", last_day="2026-05-10", hours=[["00:00", "24:00"]]
    )

    assert starts([kiri.pk], "05-04 12:00", "05-09 23:00")["Kiri"] == [
        "05-04 19:00",
        "05-06 19:00",
        "05-07 19:00",
        "05-08 10:00",
        "05-08 18:00",
        "05-09 02:00",
        "05-09 10:00",
        "05-09 18:00",
    ]


@pytest.mark.parametrize("zone", ["UTC", "America/New_York", "Asia/Kathmandu"])
def test_the_time_zone_of_the_session_plays_no_part(zone: str) -> None:
    ruth = host(slot_minutes=240)
    Meeting.objects.create(lead=lead(1), host=ruth, scheduled_time=at("05-05 10:59"), duration=1)
    execute("SELECT set_config('TimeZone', %s, true)", [zone])

    assert starts([ruth.pk], "05-05 00:00", "05-06 00:00")["Ruth"] == ["05-05 11:00"]


def test_ten_hosts_over_sixty_days_take_two_queries(django_assert_num_queries) -> None:
    hosts = [host(f"Host {number}").pk for number in range(10)]
    for pk in hosts:
        MeetingHostException.objects.create(host_id=pk, first_day="2026-05-06", last_day="2026-05-07")

    with django_assert_num_queries(2):
        found = free_slots(hosts, NOW, NOW + timedelta(days=60), now=NOW)
    with django_assert_num_queries(2):
        free_slots(hosts[:1], NOW, NOW + timedelta(days=1), now=NOW)
    assert min(len(each.starts) for each in found) > 500


def test_busy_times_are_read_over_the_indexes_of_the_constraints() -> None:
    ids = [host(f"Host {number}").pk for number in range(20)]
    execute(
        "INSERT INTO meetings (lead_id, host_id, scheduled_time, allow_overlap)"
        " SELECT %s, (%s::bigint[])[1 + n %% 20], '2026-01-01 00:00+00'::timestamptz + n / 20 * interval '1 hour',"
        " n %% 400 = 7 FROM generate_series(1, 40000) n",
        [lead().pk, ids],
    )
    execute("ANALYZE meetings")

    week = {"start": at("02-01 00:00").replace(tzinfo=None), "end": at("02-08 00:00").replace(tzinfo=None)}
    nodes = plan_nodes(BUSY, {"hosts": ids[:10], "without": None, **week})

    scans = {
        node.get("Index Name")
        for node in nodes
        if node["Node Type"] in ("Index Scan", "Bitmap Index Scan", "Index Only Scan")
    }
    assert scans == {"meetings_buffers_kept", "meetings_overlapping"}
    assert not [node for node in nodes if node["Node Type"] == "Seq Scan"]


def test_no_host_at_all_is_no_error() -> None:
    assert free_slots([], NOW, NOW + timedelta(days=1), now=NOW) == []
    assert MeetingHost.objects.count() == 0


def test_a_host_that_cannot_be_read_is_named_when_asked_for_and_hides_no_other() -> None:
    broken = host("Broken", timezone="Mars/Olympus")
    host()

    assert set(starts(None, "05-05 00:00", "05-06 00:00")) == {"Ruth"}
    with pytest.raises(HostUnusable, match="Broken has no known time zone"):
        starts([broken.pk], "05-05 00:00", "05-06 00:00")
