"""Fifty requests for one slot at the same moment, to a real server of four processes."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from threading import Barrier

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.utils import timezone

from leads.models import Lead
from leads.tests.test_transfer_processes import post_at_once, served
from meetings.models import Meeting, MeetingHost
from scheduler.models import StaffToken

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]
CALLERS, ROUNDS = 50, 20


def book(
    address: str, token: str, lead_id: int, host_id: int, start: str, at_once: Barrier
) -> tuple[int, dict]:
    body = {"lead_id": lead_id, "host_id": host_id, "scheduled_at": start}
    return post_at_once(f"{address}/api/meetings/", body, at_once, Authorization=f"Bearer {token}")


def test_of_fifty_requests_for_one_slot_one_books_it_and_all_others_hear_what_is_free():
    token = StaffToken.issue(User.objects.create_superuser("boss"))[1]
    ruth = MeetingHost.objects.create(name="Ruth", timezone="UTC")
    people = [Lead.objects.create(name=f"Lead {n}", phone=f"+1415555{n:04d}").pk for n in range(CALLERS)]
    first = (timezone.now() + timedelta(days=2)).replace(hour=9, minute=0, second=0, microsecond=0)
    connection.close()
    with served() as address, ThreadPoolExecutor(CALLERS) as threads:
        for each in range(ROUNDS):
            start = (first + timedelta(days=each)).isoformat()
            barrier = Barrier(CALLERS, timeout=60)
            running = [threads.submit(book, address, token, who, ruth.pk, start, barrier) for who in people]
            answers = [each.result(120) for each in running]

            assert Counter(status for status, _ in answers) == {201: 1, 409: CALLERS - 1}, answers
            refusals = [body for status, body in answers if status == 409]
            assert {body["code"] for body in refusals} == {"slot_taken"}
            assert all(len(body["alternatives"]) == 5 for body in refusals)
            assert all(slot["start"] > start for body in refusals for slot in body["alternatives"])
    assert Meeting.objects.count() == ROUNDS
