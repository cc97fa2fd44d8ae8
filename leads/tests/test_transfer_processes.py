"""Fifty partners hand over the same phones at the same moment, to a real server of four processes."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Barrier

import pytest
from django.db import connection

from conftest import PROJECT
from database.testing import free_port, wait_until
from leads.models import Lead
from partners.models import Partner, PartnerApiKey
from scheduler.rest.tests.processes import database_url

pytestmark = [pytest.mark.slow, pytest.mark.chaos, pytest.mark.django_db(transaction=True)]
PARTNERS = 50
SHARED = [f"+1415555{number:04d}" for number in range(20)]


@contextmanager
def served() -> Iterator[str]:
    port = free_port()
    environment = {
        **os.environ,
        "DATABASE_URL": database_url(),
        "DB_POOL_MIN_SIZE": "1",
        "DB_POOL_MAX_SIZE": "15",
    }
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--workers", "4",
               "--blocking-threads", "15", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error",
               "scheduler.wsgi:application"]  # fmt: skip
    process = subprocess.Popen(command, env=environment, cwd=PROJECT)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until(lambda: answers(f"{address}/health"), timeout=60)
        yield address
    finally:
        process.terminate()
        process.wait(30)


def answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return bool(answer.status == 200)
    except OSError:
        return False


def post_at_once(address: str, content: object, start: Barrier, **headers: str) -> tuple[int, dict]:
    """Send a POST as soon as all others are ready to; returns status and body."""
    headers = {**headers, "Content-Type": "application/json"}
    request = urllib.request.Request(address, json.dumps(content).encode(), headers)
    start.wait()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


def transfer(address: str, key: str, phones: list[str], start: Barrier) -> tuple[int, dict]:
    leads = [{"name": "x", "phone": phone} for phone in phones]
    return post_at_once(
        f"{address}/api/leads/partner-transfer", {"leads": leads}, start, **{"X-API-Key": key}
    )


def test_fifty_batches_at_once_make_each_lead_once_five_times_over():
    keys = [
        PartnerApiKey.issue(Partner.objects.create(name=f"P{n}", rate_limit=1_000_000))[1]
        for n in range(PARTNERS)
    ]
    with served() as address, ThreadPoolExecutor(PARTNERS) as threads:
        for each in range(5):
            Lead.objects.all().delete()
            connection.close()
            start = Barrier(PARTNERS, timeout=60)
            running = []
            for number, key in enumerate(keys):
                phones = [*SHARED, f"+1415666{number:04d}"]
                random.Random(1000 * each + number).shuffle(phones)
                running.append(threads.submit(transfer, address, key, phones, start))
            results = [future.result(120) for future in running]

            assert [status for status, _ in results] == [200] * PARTNERS, results
            assert Lead.objects.count() == len(SHARED) + PARTNERS
            assert sum(body["created"] for _, body in results) == len(SHARED) + PARTNERS
            assert all(body["failed"] == 0 for _, body in results)
