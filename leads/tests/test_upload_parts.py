"""Files of leads in parts: what others see meanwhile, and what is left when one breaks off."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, connections
from django.test import Client

from database.testing import wait_until
from leads import uploads
from leads.models import ErasedPhone, Lead
from leads.tombstones import keep
from leads.uploads import upload
from partners.models import Partner, PartnerApiKey

pytestmark = pytest.mark.django_db(transaction=True)
PATIENCE = 60  # seconds


@pytest.fixture(autouse=True)
def few_rows_a_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(uploads, "ROWS_A_PART", 3)


def line(number: int, name: str = "Ann") -> str:
    return f"{name},+1415555{number:04d}\n"


def sheet(*lines: str) -> bytes:
    return ("name,phone\n" + "".join(lines)).encode()


def send(client: Client, content: bytes, **headers: str):
    file = SimpleUploadedFile("leads.csv", content, "text/csv")
    return client.post("/api/leads/upload", {"file": file}, headers=headers)


@contextmanager
def refusing(name: str) -> Iterator[None]:
    """Let PostgreSQL refuse leads of a name."""
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE leads ADD CONSTRAINT refusing CHECK (name <> %s) NOT VALID", [name])
    try:
        yield
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE leads DROP CONSTRAINT refusing")


class Halting(io.BytesIO):
    """A file of which the second half can only be read after `goes_on` is set."""

    def __init__(self, first: bytes, second: bytes) -> None:
        super().__init__(first + second)
        self.half, self.goes_on = len(first), Event()

    def read(self, size: int | None = -1) -> bytes:
        left = self.half - self.tell()
        if left > 0:
            return super().read(left if size is None or size < 0 else min(size, left))
        assert self.goes_on.wait(PATIENCE)
        return super().read(size)

    read1 = read


def test_rows_of_all_parts_are_accounted_for(staff):
    Lead.objects.create(name="Old", phone="+14155550004")
    keep(["+14155550006"])
    lines = [line(1), line(2), line(2), line(3), line(4), "Bob,1\n", "\n", line(1), line(5), line(6), line(7)]
    body = send(staff, sheet(*lines)).json()

    assert body == {
        "success": True,
        "leads_created": 6,
        "errors": [
            "Row 4: Phone +14155550002 already exists in row 3",
            "Row 6: Phone +14155550004 already exists",
            "Row 7: Phone must be a phone number of 7 to 15 digits",
            "Row 9: Phone +14155550001 already exists",
        ],
        "error_count": 4,
        "rows": 10,
        "blank_rows": 1,
    }
    assert Lead.objects.count() == 7
    assert list(Lead.objects.filter(do_not_call=True).values_list("phone", flat=True)) == ["+14155550006"]
    assert ErasedPhone.objects.count() == 1


def test_of_many_errors_over_all_parts_the_first_are_listed(staff, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_ERRORS", 5)
    body = send(staff, sheet(*(line(n // 2) if n % 3 else "Bob,1\n" for n in range(30)))).json()

    numbers = [int(error.split(":")[0].removeprefix("Row ")) for error in body["errors"]]
    assert numbers == [2, 5, 7, 8, 11]
    assert (body["rows"], body["leads_created"] + body["error_count"]) == (30, 30)
    assert body["leads_created"] == Lead.objects.count()


def test_a_partner_with_a_phone_of_the_file_waits_for_its_part_only():
    key = PartnerApiKey.issue(Partner.objects.create(name="Acme", rate_limit=1000))[1]
    # It halts within the second part, which thus cannot be created.
    file = Halting(sheet(*(line(n) for n in range(5))), "".join(line(n) for n in range(5, 12)).encode())
    connection.close()

    def run():
        try:
            return upload(file)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(run)
        try:
            wait_until(lambda: Lead.objects.count() == 3, timeout=PATIENCE)
            leads = [{"name": "Pat", "phone": f"+1415555{n:04d}"} for n in (0, 10, 11, 20)]
            answer = Client(headers={"X-API-Key": key}).post(
                "/api/leads/partner-transfer", json.dumps({"leads": leads}), "application/json"
            )
            assert not running.done()
            assert (answer.status_code, answer.json()["created"], answer.json()["skipped"]) == (200, 3, 1)
        finally:
            file.goes_on.set()
        done = running.result(PATIENCE)

    assert (done.rows, done.created, done.refused) == (12, 10, 2)
    assert done.sentences() == [
        "Row 12: Phone +14155550010 already exists",
        "Row 13: Phone +14155550011 already exists",
    ]
    assert Lead.objects.count() == 13


def test_what_breaks_off_leaves_the_parts_before_and_can_be_sent_again(staff):
    content = sheet(*(line(n, "Cid" if n == 7 else "Ann") for n in range(10)))
    with refusing("Cid"):
        assert send(staff, content).status_code >= 400
        assert Lead.objects.count() == 6

    body = send(staff, content).json()
    assert (body["rows"], body["leads_created"], body["error_count"]) == (10, 4, 6)
    assert Lead.objects.count() == 10


def test_with_a_key_it_is_all_rows_or_none(staff):
    content = sheet(*(line(n, "Cid" if n == 7 else "Ann") for n in range(10)))
    with refusing("Cid"):
        assert send(staff, content, Idempotency_Key="k").status_code >= 400
        assert not Lead.objects.exists()

    bodies = [send(staff, content, Idempotency_Key="k").json() for _ in range(2)]
    assert bodies[0] == bodies[1]
    assert (bodies[0]["leads_created"], Lead.objects.count()) == (10, 10)


def test_a_deadlock_of_a_part_is_tried_again(staff, monkeypatch):
    fails = iter([True, False])
    stop_calls = uploads._stop_erased

    def failing_once():
        stop_calls()
        if next(fails, False):
            with connection.cursor() as cursor:
                cursor.execute("DO $$ BEGIN RAISE SQLSTATE '40P01'; END $$")

    monkeypatch.setattr(uploads, "_stop_erased", failing_once)
    body = send(staff, sheet(*(line(n) for n in range(4)), "Bob,1\n")).json()

    assert (body["leads_created"], body["error_count"], Lead.objects.count()) == (4, 1, 4)
