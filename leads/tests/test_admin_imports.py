"""Files of leads in the admin: looked at first, imported by a worker, told row by row."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client
from django.utils import timezone
from openpyxl import Workbook

from leads import file_imports
from leads.erasure import erase
from leads.models import Lead, LeadImport, LeadImportPart
from scheduler.tests import staff
from scheduler.tests.test_jobs import database_url

ADD = "/admin/leads/leadimport/add/"
GOOD = "name,phone,email\nAnn,+1 415 555 0001,ann@example.com\nBen,+14155550002,\n"
BAD = GOOD + "Cid,12,\n<script>alert(1)</script>,+14155550001,\n,+14155550004,\n"


@pytest.fixture(autouse=True)
def no_jobs(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def send(client: Client, content: bytes | str, name: str = "leads.csv") -> Any:
    data = content.encode() if isinstance(content, str) else content
    return client.post(ADD, {"file": SimpleUploadedFile(name, data)}, follow=True)


def sheet(*rows: tuple[object, ...]) -> bytes:
    book, file = Workbook(), io.BytesIO()
    for row in rows:
        book.active.append(row)
    book.save(file)
    return file.getvalue()


@pytest.mark.django_db
def test_a_file_is_shown_with_an_error_for_each_wrong_row_and_nothing_is_imported(
    admin_client: Client,
) -> None:
    html = send(admin_client, BAD).content.decode()

    assert "5 rows, 3 of which would be refused" in html
    for sentence in (
        "Phone must be a phone number",
        "Row 2 has this phone already",
        "Name must not be empty",
    ):
        assert sentence in html, sentence
    assert "<script>alert(1)" not in html
    assert not Lead.objects.exists()
    assert LeadImport.objects.get().state == "preview"


@pytest.mark.django_db
def test_a_preview_says_what_the_import_then_does(admin_client: Client) -> None:
    Lead.objects.create(name="Old", phone="+14155550002")
    send(admin_client, BAD)
    row = LeadImport.objects.get()
    shown = [each.number for each in file_imports.preview(row).rows if each.problem]

    admin_client.post(f"/admin/leads/leadimport/{row.pk}/start/")
    file_imports.run(row.pk)

    row.refresh_from_db()
    assert [number for number, _ in row.errors] == shown == [3, 4, 5, 6]
    assert (row.state, row.rows, row.created, row.refused, row.bytes_read) == (
        "done",
        5,
        1,
        4,
        row.bytes_total,
    )
    assert not LeadImportPart.objects.exists()
    html = staff.page(admin_client, f"/admin/leads/leadimport/{row.pk}/change/")
    assert "4 rows refused" in html and "errors.csv" in html
    lines = admin_client.get(f"/admin/leads/leadimport/{row.pk}/errors.csv").content.decode().splitlines()
    assert lines[0] == "\ufeffrow,reason" and len(lines) == 5
    assert LogEntry.objects.filter(object_id=str(row.pk)).count() == 2


@pytest.mark.django_db
def test_a_sheet_of_excel_is_read_with_phones_as_numbers(admin_client: Client) -> None:
    send(
        admin_client,
        sheet(("Name", "Phone"), (staff.HEBREW, 14155550001.0), (None, None), ("Ben", "+14155550002")),
        "a.xlsx",
    )
    row = LeadImport.objects.get()

    assert [(each.name, each.phone) for each in file_imports.preview(row).rows] == [
        (staff.HEBREW, "14155550001"),
        ("Ben", "+14155550002"),
    ]


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("leads.csv", b"first,second\n1,2\n", "must name the columns name and phone"),
        ("leads.csv", b"\0\1\2", "must name the columns name and phone"),
        ("leads.xlsx", b"PK no archive", "no XLSX file"),
        ("leads.exe", b"name,phone\n", "Choose a CSV or XLSX file"),
        ("leads.csv", b"", "empty"),
    ],
)
def test_a_file_that_is_no_table_of_leads_is_refused_with_a_sentence(
    admin_client: Client, name: str, content: bytes, sentence: str
) -> None:
    assert sentence in send(admin_client, content, name).content.decode()
    assert not LeadImport.objects.exists() and not LeadImportPart.objects.exists()


@pytest.mark.django_db
def test_a_file_of_several_parts_is_read_back_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_imports, "PART", 7)
    content = GOOD.encode() * 3
    kept = file_imports.keep(io.BytesIO(content), "leads.csv", None)

    assert io.BufferedReader(file_imports.KeptFile(kept)).read() == content
    assert LeadImportPart.objects.count() == -(-len(content) // 7)


@pytest.mark.django_db
def test_a_file_is_handed_over_once_and_again_only_after_a_failure(admin_client: Client) -> None:
    send(admin_client, GOOD)
    row = LeadImport.objects.get()

    assert [file_imports.start(row.pk), file_imports.start(row.pk)] == [True, False]
    LeadImport.objects.filter(pk=row.pk).update(state="running", seen_at=timezone.now())
    assert not file_imports.start(row.pk)
    LeadImport.objects.filter(pk=row.pk).update(seen_at=timezone.now() - 2 * file_imports.SILENT)
    assert file_imports.start(row.pk)
    LeadImport.objects.filter(pk=row.pk).update(state="failed")
    assert file_imports.start(row.pk)


@pytest.mark.django_db
def test_a_job_that_runs_twice_imports_once(admin_client: Client) -> None:
    send(admin_client, GOOD)
    row = LeadImport.objects.get()
    file_imports.start(row.pk)

    file_imports.run(row.pk)
    file_imports.run(row.pk)

    row.refresh_from_db()
    assert (row.state, row.created, row.refused) == ("done", 2, 0)


@pytest.mark.django_db(transaction=True)
def test_a_failed_import_keeps_its_file_and_imports_nothing(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    send(admin_client, GOOD)
    row = LeadImport.objects.get()
    file_imports.start(row.pk)
    with connection.cursor() as cursor:
        cursor.execute("ALTER TABLE leads ADD CONSTRAINT no_ben CHECK (name <> 'Ben')")
    try:
        with pytest.raises(Exception, match="no_ben"):
            file_imports.run(row.pk)
    finally:
        with connection.cursor() as cursor:
            cursor.execute("ALTER TABLE leads DROP CONSTRAINT no_ben")

    row.refresh_from_db()
    assert (row.state, row.failure) == ("failed", "The import broke off (IntegrityError).")
    assert not Lead.objects.exists()
    assert "Start again" in staff.page(admin_client, f"/admin/leads/leadimport/{row.pk}/change/")
    assert file_imports.start(row.pk)
    file_imports.run(row.pk)
    assert Lead.objects.count() == 2


@pytest.mark.django_db(transaction=True)
def test_a_worker_process_imports_the_file(admin_client: Client, manage: Any) -> None:
    send(admin_client, GOOD)
    row = LeadImport.objects.get()
    admin_client.post(f"/admin/leads/leadimport/{row.pk}/start/")
    waiting = staff.page(admin_client, f"/admin/leads/leadimport/{row.pk}/change/")
    assert 'http-equiv="refresh"' in waiting and "Waiting for a worker" in waiting

    done = manage("procrastinate", "worker", "--one-shot", DATABASE_URL=database_url())

    assert done.returncode == 0, done.stderr
    row.refresh_from_db()
    assert (row.state, row.created) == ("done", 2)
    done_page = staff.page(admin_client, f"/admin/leads/leadimport/{row.pk}/change/")
    assert 'http-equiv="refresh"' not in done_page and "2 leads added" in done_page


@pytest.mark.django_db(transaction=True)
def test_progress_is_seen_by_others_before_the_import_commits() -> None:
    row = LeadImport.objects.create(file_name="a.csv", bytes_total=10, state="running")

    with file_imports.Progress(row.pk) as progress:
        progress(4)

    row.refresh_from_db()
    assert row.bytes_read == 4 and row.seen_at is not None


@pytest.mark.django_db
def test_staff_without_the_right_neither_upload_nor_start(admin_client: Client) -> None:
    send(admin_client, GOOD)
    row = LeadImport.objects.get()
    client = staff.staff_client("leads.view_lead", "leads.view_leadimport")

    assert client.get(ADD).status_code == 403
    assert client.post(f"/admin/leads/leadimport/{row.pk}/start/").status_code == 403
    assert "Import the file" not in staff.page(client, f"/admin/leads/leadimport/{row.pk}/change/")
    assert admin_client.get(f"/admin/leads/leadimport/{row.pk}/start/").status_code == 405


@pytest.mark.django_db
def test_files_that_nobody_confirms_go_after_days(admin_client: Client) -> None:
    send(admin_client, GOOD)
    assert file_imports.sweep() == 0
    LeadImport.objects.update(created_at=timezone.now() - 2 * file_imports.KEPT)

    assert file_imports.sweep() == 1
    assert not LeadImportPart.objects.exists()


@pytest.mark.django_db
def test_files_that_broke_off_lose_their_content_after_days(admin_client: Client) -> None:
    now = timezone.now()
    long_ago = now - 2 * file_imports.KEPT
    states: dict[str, dict[str, Any]] = {
        "failed": {"ended_at": long_ago},
        "running": {"seen_at": long_ago},
        "waiting": {},
        "failed today": {"state": "failed", "ended_at": now},
        "running today": {"state": "running", "seen_at": now},
    }
    for name, values in states.items():
        row = LeadImport.objects.create(file_name=name, bytes_total=3, **{"state": name, **values})
        LeadImportPart.objects.create(lead_import=row, number=0, content=b"abc")
    LeadImport.objects.update(created_at=long_ago)

    assert file_imports.sweep() == 2

    left = set(LeadImportPart.objects.values_list("lead_import__file_name", flat=True))
    assert left == {"waiting", "failed today", "running today"}
    assert LeadImport.objects.count() == len(states)


@pytest.mark.django_db
@pytest.mark.parametrize("encoding", ["utf-8", "utf-16", "cp1252"])
def test_an_erasure_deletes_the_files_that_hold_the_person(
    admin_client: Client, monkeypatch: pytest.MonkeyPatch, encoding: str
) -> None:
    monkeypatch.setattr(file_imports, "PART", 64)
    filling = "".join(f"Jörg {number},+4930123{number:05},\n" for number in range(50))
    lines = {
        "phone.csv": "Ann,(415) 555-0134,\n",
        "email.csv": "Ann,,ANN@example.com\n",
        "other.csv": "Joann,+14155550135,joann@example.com\n",
    }
    for name, line in lines.items():
        content = f"name,phone,email\n{filling}{line}".encode(encoding)
        for state in ("preview", "failed", "waiting"):
            kept = file_imports.keep(io.BytesIO(content), f"{state} {name}", None)
            LeadImport.objects.filter(pk=kept.pk).update(state=state)

    erase(Lead.objects.create(name="Ann", phone="+14155550134", email="ann@example.com").pk)

    left = set(LeadImportPart.objects.values_list("lead_import__file_name", flat=True))
    assert left == {"preview other.csv", "failed other.csv", *(f"waiting {name}" for name in lines)}
    assert not LeadImport.objects.filter(file_name="preview phone.csv").exists()
    assert LeadImport.objects.filter(file_name="failed phone.csv").exists()
