"""Availability of 10 hosts over 60 days, among 50,000 meetings: milliseconds and queries.

    python -m benchmarks.availability [--hosts 10] [--days 60] [--repeat 30]

A server of its own; every other hour of each host is booked. Prints the median and the slowest of the runs, and the
processor time of this process, which a busy machine does not stretch as it does the rest.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from database.embedded import EmbeddedServer

FOLDER = Path(__file__).resolve().parent.parent / ".local" / "bench"
MUST_MILLISECONDS, MUST_QUERIES = 50, 2
ZONES = ("Europe/Zurich", "America/New_York", "Australia/Lord_Howe", "Asia/Kathmandu", "Africa/Casablanca")
MEETINGS = """
INSERT INTO meetings (lead_id, host_id, scheduled_time, duration)
SELECT %(lead)s, h.id, date_trunc('hour', now()) + (n - 1250) * interval '2 hours', 60
FROM meeting_hosts h CROSS JOIN generate_series(1, 50000 / %(hosts)s) n
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--hosts", type=int, default=10)
    parser.add_argument("--days", type=int, default=60)
    parser.add_argument("--repeat", type=int, default=30)
    options = parser.parse_args()
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = EmbeddedServer(FOLDER / "postgres", durable=False)
    server.start()
    try:
        variables = {"DATABASE_URL": server.url, "DEBUG": "1", "DB_COMMAND_TIMEOUT": "0"}
        os.environ.update(variables, DJANGO_SETTINGS_MODULE="scheduler.settings")
        measure(options.hosts, options.days, options.repeat)
    finally:
        server.stop()


def measure(number: int, days: int, repeat: int) -> None:
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection, transaction
    from django.test.utils import CaptureQueriesContext

    call_command("migrate", verbosity=0)
    with transaction.atomic():
        hosts = fill(number)
        ask = question(hosts, days)
        with CaptureQueriesContext(connection) as queries:
            slots = ask()
        begun = time.process_time()
        for _ in range(repeat):
            ask()
        processor = (time.process_time() - begun) * 1000 / repeat
        answer_only, whole = timed(ask, repeat), timed(answered(hosts, days), repeat)
        transaction.set_rollback(True)
    print(f"{number} hosts, {days} days, {slots:,} free slots")
    print(f"free_slots    {statistics.median(answer_only):6.1f} ms, slowest {max(answer_only):6.1f} ms")
    print(f"with JSON     {statistics.median(whole):6.1f} ms, slowest {max(whole):6.1f} ms")
    print(f"processor time{processor:6.1f} ms of free_slots, PostgreSQL apart")
    print(f"queries       {len(queries):6d}")
    median = statistics.median(answer_only)
    if median > MUST_MILLISECONDS or len(queries) > MUST_QUERIES:
        sys.exit(f"Must be under {MUST_MILLISECONDS} ms in {MUST_QUERIES} queries at most.")


def fill(number: int) -> list[int]:
    from django.db import connection

    from leads.models import Lead
    from meetings.models import MeetingHost

    MeetingHost.objects.all().delete()
    office = {day: [["09:00", "12:00"], ["13:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}
    rows = [
        MeetingHost(name=f"Host {n}", timezone=ZONES[n % len(ZONES)], working_hours=office)
        for n in range(number)
    ]
    hosts = [host.pk for host in MeetingHost.objects.bulk_create(rows)]
    lead = Lead.objects.create(name="Ada", phone="+14155550100")
    with connection.cursor() as cursor:
        cursor.execute(MEETINGS, {"lead": lead.pk, "hosts": number})
        cursor.execute("ANALYZE meetings, meeting_hosts, meeting_host_exceptions")
    return hosts


def question(hosts: list[int], days: int) -> Callable[[], int]:
    from meetings.availability import free_slots

    now = datetime.now(UTC)

    def ask() -> int:
        found = free_slots(hosts, now, now + timedelta(days=days), now=now)
        return sum(len(each.starts) for each in found)

    return ask


def answered(hosts: list[int], days: int) -> Callable[[], Any]:
    from meetings.offers import AvailabilityQuery, availability
    from scheduler.rest.answers import json_answer

    first = datetime.now(UTC).date()
    last = first + timedelta(days=days - 1)
    asked = AvailabilityQuery.model_validate(
        {"from": str(first), "to": str(last), "timezone": "Europe/Zurich"}
    )
    return lambda: json_answer(availability(hosts, asked))


def timed(action: Callable[[], Any], repeat: int) -> list[float]:
    """Return milliseconds of each run, after one that warms up."""
    action()
    found = []
    for _ in range(repeat):
        started = time.perf_counter()
        action()
        found.append((time.perf_counter() - started) * 1000)
    return found


if __name__ == "__main__":
    main()
