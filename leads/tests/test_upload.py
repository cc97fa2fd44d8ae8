"""CSV files of leads, as staff upload them."""

from __future__ import annotations

import csv
import io
import os

import psutil
import pytest
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection, transaction
from django.test import Client, override_settings
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from leads import uploads
from leads.models import Lead
from leads.uploads import upload

UPLOAD = "/api/leads/upload"
NO_FILE = b'--x\r\nContent-Disposition: form-data; name="file"\r\n\r\nx\r\n--x--\r\n'
pytestmark = pytest.mark.django_db


def send(client, content, name="leads.csv", **headers):
    if isinstance(content, str):
        content = content.encode()
    return client.post(UPLOAD, {"file": SimpleUploadedFile(name, content, "text/csv")}, headers=headers)


def test_valid_rows_become_leads_and_others_are_named(staff):
    Lead.objects.create(name="Old", phone="+14155550005")
    answer = send(
        staff,
        "name,phone,email\n"
        "Ann,+1 415 555 0001,ann@example.com\n"
        "Bob,+14155550005,\n"
        "\n"
        "Cid,12345,\n"
        " ,+14155550006,\n"
        "Dan,+49 30 123456\n"
        "Eve,+1-415-555-0001,\n"
        "Fay,+14155550007,nope\n",
    )

    assert answer.status_code == 200
    assert answer.json() == {
        "success": True,
        "leads_created": 2,
        "errors": [
            "Row 3: Phone +14155550005 already exists",
            "Row 5: Phone must be a phone number of 7 to 15 digits",
            "Row 6: Name must not be empty",
            "Row 8: Phone +14155550001 already exists in row 2",
            "Row 9: Email must be an e-mail address",
        ],
        "error_count": 5,
        "rows": 7,
        "blank_rows": 1,
    }
    ann, dan = Lead.objects.exclude(name="Old").order_by("name")
    assert (ann.phone, ann.email, ann.country_code, ann.language) == (
        "+14155550001",
        "ann@example.com",
        "+1",
        "en",
    )
    assert (dan.phone, dan.email, dan.language, dan.status) == ("+4930123456", None, "de", "pending")
    assert dan.phone_valid and dan.partner is None


def test_without_errors_they_are_null(staff):
    body = send(staff, "phone;name\n+14155550001;Ann\n", name="LEADS.CSV").json()

    assert (body["leads_created"], body["errors"]) == (1, None)


@pytest.mark.parametrize("name", ["leads.xlsx", "csv", "leads.csv.exe"])
def test_another_kind_of_file_is_refused(staff, name):
    answer = send(staff, "name,phone\n", name=name)

    assert (answer.status_code, answer.json()["detail"]) == (400, "File must be a CSV")


def test_a_file_without_the_columns_is_refused(staff):
    for content in ("", "Ann,+14155550001\n", "name;e-mail\n"):
        answer = send(staff, content)
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, "/file"), content


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b"", "multipart/form-data; boundary=x", 422),
        (b"--x--\r\n", "multipart/form-data; boundary=x", 422),
        (b"nonsense", "multipart/form-data", 400),
        (b"nonsense", "multipart/form-data; boundary=" + "x" * 300, 400),
        (NO_FILE, "multipart/form-data; boundary=x", 422),
        (b"{}", "application/json", 422),
        (b"name,phone", "text/csv", 422),
    ],
)  # fmt: skip
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_form_that_is_none_is_refused(staff, content, kind, status, headers):
    answer = staff.generic("POST", UPLOAD, content, content_type=kind, headers=headers)

    assert answer.status_code == status, answer.content


@override_settings(LARGEST_UPLOAD=1000)
@pytest.mark.parametrize("headers", [{}, {"Idempotency-Key": "k"}])
def test_a_file_above_the_limit_is_refused(staff, headers):
    answer = send(staff, b"name,phone\n" + b"x" * 1000, **headers)

    assert (answer.status_code, answer.json()["code"]) == (413, "too_large")


def test_a_file_larger_than_what_fits_into_memory_comes_over_the_disk(staff):
    content = "name,phone\n" + "".join(f"{'Ann' * 100},+1{2002000000 + n}\n" for n in range(10_000))
    assert len(content) > 2_621_440

    assert send(staff, content).json()["leads_created"] == 10_000


def test_of_many_errors_the_first_are_listed_and_all_are_counted(staff, monkeypatch):
    monkeypatch.setattr(uploads, "MOST_ERRORS", 10)
    Lead.objects.bulk_create(Lead(name="x", phone=f"+1415555{n:04d}") for n in range(0, 60, 3))
    lines = [f"Ann,+1415555{n:04d}" if n % 3 < 2 else "Bob,1" for n in range(60)]
    body = send(staff, "\n".join(["name,phone", *lines])).json()

    numbers = [int(error.split(":")[0].removeprefix("Row ")) for error in body["errors"]]
    assert numbers == [n + 2 for n in range(60) if n % 3 != 1][:10]
    assert (body["error_count"], body["leads_created"], body["rows"]) == (40, 20, 60)


def test_a_fault_leaves_no_lead_behind(staff, monkeypatch):
    monkeypatch.setattr(uploads, "REFUSED", "SELECT 1 / 0")
    answer = send(staff, "name,phone\nAnn,+14155550001\nBob,+14155550001\n")

    assert answer.status_code >= 400
    assert not Lead.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_a_file_that_is_sent_again_with_its_key_creates_nothing_twice(staff):
    content = "name,phone\nAnn,+14155550001\nBob,1\n"
    first = send(staff, content, **{"Idempotency-Key": "k"})
    again = send(staff, content, **{"Idempotency-Key": "k"})

    assert first.json() == again.json()
    assert (first.json()["leads_created"], again["Idempotent-Replayed"]) == (1, "true")
    other = send(staff, content + "Cid,+14155550003\n", **{"Idempotency-Key": "k"})
    assert (other.status_code, Lead.objects.count()) == (422, 1)


def test_a_partner_and_staff_who_may_not_add_leads_upload_nothing(staff):
    assert send(Client(), "name,phone\n").status_code == 401
    assert send(Client(headers={"X-API-Key": "x"}), "name,phone\nAnn,+14155550001\n").status_code == 401


CELL = st.text(max_size=12) | st.sampled_from(
    ["+14155550001", "+4930123456", "Ann", "a@b.de", '"', "\x00", "=1"]
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.lists(CELL, max_size=4), max_size=15), st.binary(max_size=60))
def test_whatever_is_uploaded_every_row_is_accounted_for(rows, junk):
    text = io.StringIO()
    csv.writer(text).writerows([("name", "phone", "email"), *rows])
    content = text.getvalue().encode("utf-8", "replace") + junk
    with transaction.atomic():
        before = Lead.objects.count()
        done = upload(io.BytesIO(content))
        assert done.rows == done.created + done.refused
        assert Lead.objects.count() - before == done.created
        assert len(done.sentences() or []) == done.refused
        transaction.set_rollback(True)


@pytest.mark.slow
def test_memory_stays_flat_however_large_the_file_is(tmp_path):
    """Compare the peak of a file with that of one ten times as large."""

    def grown(number):
        path = tmp_path / f"{number}.csv"
        with path.open("w") as file:
            file.write("name,phone\n")
            file.writelines(f"Lead {n},+1{2002000000 + n}\n" for n in range(number))
        before = psutil.Process(os.getpid()).memory_info().rss
        with path.open("rb") as file, transaction.atomic():
            assert upload(file).created == number
            transaction.set_rollback(True)
        return psutil.Process(os.getpid()).memory_info().rss - before

    grown(20_000)
    assert grown(300_000) < 30 * 1024 * 1024
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM leads")
        assert cursor.fetchone() == (0,)
