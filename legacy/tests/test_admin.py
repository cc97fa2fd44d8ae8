import csv
import re
from io import StringIO
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.db import connection
from django.test import Client
from django.urls import reverse

from legacy import correction, reasons
from legacy.models import ImportRowNote, ImportRun
from legacy.reimport import CorrectionRefused
from legacy.tables import BY_NAME
from partners.models import Partner
from scheduler.tests import staff

pytestmark = pytest.mark.django_db

COUNTS = {"read": 1234, "inserted": 1200, "updated": 0, "unchanged": 0, "rejected": 24, "repaired": 10}
LEAD = {
    "id": 7,
    "name": staff.HEBREW,
    "phone": None,
    "email": "",
    "country_code": staff.SCRIPT,
    "partner_id": 3,
}


@pytest.fixture
def run() -> ImportRun:
    return new_run()


def new_run(path: str = "/old/ai_scheduler.db") -> ImportRun:
    report = {"tables": {"settings": {"read": 2}, "leads": COUNTS}, "source": {"path": path}}
    return ImportRun.objects.create(source_path=path, source_bytes=12_300_000, report=report, seconds=1.5)


def note(run: ImportRun, **values: Any) -> ImportRowNote:
    defaults = {"table_name": "leads", "row_id": 7, "kind": "repaired", "reason": "written as E.164"}
    return ImportRowNote.objects.create(**{"run": run, **defaults, **values})


def rejected(run: ImportRun, **values: Any) -> ImportRowNote:
    return note(run, **{"kind": "rejected", "original": LEAD, "reason": "phone is empty", **values})


def correction_address(of: ImportRowNote) -> str:
    return reverse("admin:legacy_importrownote_reimport", args=[of.pk])


def csv_rows(answer: Any) -> list[dict[str, str]]:
    assert answer.status_code == 200
    assert answer["Content-Type"] == "text/csv; charset=utf-8"
    assert "attachment" in answer["Content-Disposition"]
    text = b"".join(answer.streaming_content).decode()
    return list(csv.DictReader(StringIO(text, newline=""), strict=True))


def test_every_page_of_runs_and_notes_opens_with_awkward_texts(admin_client: Client) -> None:
    for number, text in enumerate(staff.NASTY):
        run = new_run(text)
        run.options = {text: text}
        run.report["tables"][text] = {"read": 1}
        run.save()
        note(run, column=text, original=text, reason=text, kind=ImportRowNote.Kind.values[number % 4])
        rejected(run, original={text: text}, table_name=[*BY_NAME, "unknown"][number], row_id=None)
    staff.check_pages_open(admin_client, ImportRun)
    staff.check_pages_open(admin_client, ImportRowNote, "7", "9" * 30)

    html = staff.page(admin_client, staff.address(ImportRowNote, "changelist"))
    assert staff.ESCAPED_SCRIPT in html


def test_the_lists_make_no_query_per_row(admin_client: Client) -> None:
    staff.check_lists_have_no_query_per_row(admin_client, ImportRun, lambda number: new_run(str(number)))
    ImportRun.objects.exclude(pk=ImportRun.objects.latest("pk").pk).delete()
    run = ImportRun.objects.get()
    staff.check_lists_have_no_query_per_row(
        admin_client, ImportRowNote, lambda number: note(run, row_id=number, original=staff.LONG)
    )


def test_the_page_of_a_run_shows_its_counts_and_leads_to_its_notes(
    admin_client: Client, run: ImportRun, django_assert_max_num_queries
) -> None:
    with django_assert_max_num_queries(staff.MOST_QUERIES):
        html = staff.page(admin_client, staff.address(ImportRun, "change", run.pk))

    assert "<td>leads</td><td>1,234</td><td>1,200</td>" in html
    assert f"run__id__exact={run.pk}&amp;table_name__exact=leads&amp;kind__exact=rejected" in html
    assert html.index("<td>leads</td>") < html.index("<td>settings</td>")
    assert "12.3 MB" in html and "1.5 s" in html
    assert "1236" in staff.page(admin_client, staff.address(ImportRun, "changelist"))


def test_a_run_without_a_report_has_a_page(admin_client: Client) -> None:
    run = ImportRun.objects.create(source_path="x", source_bytes=0)

    staff.page(admin_client, staff.address(ImportRun, "change", run.pk))


def test_notes_are_filtered_by_run_table_kind_and_state(admin_client: Client, run: ImportRun) -> None:
    other_run = note(new_run())
    repaired = note(run)
    conflict = note(run, kind="conflict", table_name="calls")
    done = rejected(run, resolved_at="2025-01-01T00:00Z")

    def listed(**parameters: str | int) -> set[int]:
        return staff.ids_listed(admin_client, ImportRowNote, **parameters)

    assert listed(run__id__exact=other_run.run_id) == {other_run.pk}
    assert listed(table_name__exact="calls") == {conflict.pk}
    assert listed(kind__exact="rejected") == {done.pk}
    assert listed(resolved_at__isempty="0") == {done.pk}
    assert listed(run__id__exact=run.pk, table_name__exact="leads", kind__exact="repaired") == {repaired.pk}
    assert listed(table_name__exact="no such table") == set()


def test_notes_are_found_by_reason_and_row(admin_client: Client, run: ImportRun) -> None:
    orphan = note(run, row_id=5, reason="calls 24 is not in the database")
    other = note(run, row_id=24, reason="phone is empty")

    assert staff.ids_listed(admin_client, ImportRowNote, q="not in the database") == {orphan.pk}
    assert staff.ids_listed(admin_client, ImportRowNote, q="24") == {other.pk}


def test_reasons_that_differ_in_a_number_are_one_choice_of_the_filter(
    admin_client: Client, run: ImportRun
) -> None:
    orphans = {note(run, reason=f"calls {number} is not in the database").pk for number in (9, 24, 1000)}
    note(run, reason="leads 24 is not in the database")
    copy = note(run, reason=r"a.b (c) [d] \d + 5 of settings 1")
    html = staff.page(admin_client, staff.address(ImportRowNote, "changelist"))

    assert html.count("calls N is not in the database") == html.count("leads N is not in the database") > 0
    found = [link for link in staff.filter_links(html) if "reason=calls" in link]
    assert len(found) == 1
    reason = "calls N is not in the database"
    assert staff.ids_listed(admin_client, ImportRowNote, reason=reason) == orphans
    reason = r"a.b (c) [d] \d + N of settings N"
    assert staff.ids_listed(admin_client, ImportRowNote, reason=reason) == {copy.pk}


def test_filter_and_search_by_reason_read_no_note_that_they_do_not_show(run: ImportRun) -> None:
    ImportRowNote.objects.bulk_create(
        ImportRowNote(
            run=run, table_name="leads", row_id=number, kind="repaired", reason=f"reason {number % 7}{word}"
        )
        for number in range(4000)
        for word in ("", " of another")
    )
    note(run, reason="phone 24 is empty")
    with connection.cursor() as cursor:
        cursor.execute("ANALYZE import_row_notes")
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute("EXPLAIN (ANALYZE, COSTS off, TIMING off) " + reasons.SHAPES, [1000])
        leaps = "\n".join(line for (line,) in cursor.fetchall())
    found = ImportRowNote.objects.alias(shape=reasons.SHAPE).filter(shape="phone N is empty")

    assert reasons.shapes() == ["phone N is empty", "reason N", "reason N of another"]
    assert "import_row_notes_by_reason" in leaps and "Seq Scan" not in leaps
    assert max(int(rows) for rows in re.findall(r"Rows Removed by Filter: (\d+)", leaps) or ["0"]) < 10
    assert "import_row_notes_by_reason" in found.explain()


@pytest.mark.parametrize(
    ("term", "number"),
    [("EMPTY phone", 1), ("24 phone", 1), ("phone 99", 1), ("phone full", 0), ("%", 0), ("  ", 2)],
)
def test_words_of_a_reason_are_found_in_any_order(
    admin_client: Client, run: ImportRun, term: str, number: int
) -> None:
    note(run, reason="phone 24 is empty")
    note(run, reason="not a time")

    assert len(staff.ids_listed(admin_client, ImportRowNote, q=term)) == number


def test_the_page_of_a_note_leads_to_the_stored_row(admin_client: Client, run: ImportRun) -> None:
    partner = Partner.objects.create(name="Acme")
    of_partner = note(run, table_name="partners", row_id=partner.pk, original=staff.HEBREW)
    of_nothing = note(run, row_id=10**18)

    html = staff.page(admin_client, staff.address(ImportRowNote, "change", of_partner.pk))
    assert staff.address(Partner, "change", partner.pk) in html
    assert f'<td><span dir="auto">{staff.HEBREW}</span></td>' in html
    html = staff.page(admin_client, staff.address(ImportRowNote, "change", of_nothing.pk))
    assert "not in the database" in html


@pytest.mark.parametrize("model", [ImportRun, ImportRowNote])
def test_runs_and_notes_are_not_added_edited_or_deleted(admin_client: Client, model: Any) -> None:
    row = rejected(new_run())
    pk = row.pk if model is ImportRowNote else row.run_id
    before = list(model.objects.values())

    assert admin_client.get(staff.address(model, "add")).status_code == 403
    assert admin_client.post(staff.address(model, "change", pk), {"reason": "x"}).status_code == 403
    assert admin_client.post(staff.address(model, "delete", pk), {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [pk], "post": "yes"}
    admin_client.post(staff.address(model, "changelist"), data)
    assert list(model.objects.values()) == before
    assert '<input type="submit" value="Save"' not in staff.page(
        admin_client, staff.address(model, "change", pk)
    )


def test_chosen_notes_are_downloaded_as_csv(admin_client: Client, run: ImportRun) -> None:
    notes = [note(run, original=text, column=text, reason=text) for text in [*staff.NASTY, '=1+1,";\r\n\t']]
    note(run)
    data = {"action": "download", "_selected_action": [each.pk for each in notes]}

    rows = csv_rows(admin_client.post(staff.address(ImportRowNote, "changelist"), data))

    assert [row["reason"] for row in rows] == [each.reason for each in notes]
    assert [row["column"] for row in rows] == [each.column for each in notes]
    assert {(row["run"], row["table"], row["row"], row["kind"]) for row in rows} == {
        (str(run.pk), "leads", "7", "repaired")
    }


def test_all_filtered_notes_are_downloaded_as_csv(admin_client: Client, run: ImportRun) -> None:
    rows = (
        ImportRowNote(run=run, table_name="leads", row_id=n, kind="repaired", reason="x") for n in range(4500)
    )
    ImportRowNote.objects.bulk_create(rows)
    rejected(run, row_id=None, resolved_at="2025-01-01T00:00Z")
    path = reverse("admin:legacy_importrownote_csv")

    every = csv_rows(admin_client.get(path))
    some = csv_rows(admin_client.get(path, {"kind__exact": "rejected"}))

    assert [row["row"] for row in every] == [*map(str, range(4500)), ""]
    assert [(row["reason"], row["resolved"]) for row in some] == [
        ("phone is empty", "2025-01-01T00:00:00+00:00")
    ]


def test_imports_are_closed_to_staff_without_permissions(run: ImportRun) -> None:
    row = rejected(run)

    staff.check_closed_to_staff_without_permissions(ImportRun, run)
    staff.check_closed_to_staff_without_permissions(ImportRowNote, row)
    assert staff.staff_client().get(reverse("admin:legacy_importrownote_csv")).status_code == 403
    assert staff.staff_client().get(correction_address(row)).status_code == 403


def test_the_correction_page_shows_a_field_for_each_column(admin_client: Client, run: ImportRun) -> None:
    row = rejected(run, original={**LEAD, "notes": staff.LONG, "raw": {"blob_hex": "ff00"}})

    answer = admin_client.get(correction_address(row))

    form, html = answer.context["form"], answer.content.decode()
    assert set(form.fields) == {*LEAD, "notes", "raw"}
    assert form["phone"].value() == "" and form["id"].value() == "7"
    assert staff.SCRIPT not in html and html.count('dir="auto"') >= len(form.fields)
    assert correction_address(row) in staff.page(admin_client, staff.address(ImportRowNote, "change", row.pk))


@pytest.mark.parametrize(
    "values",
    [
        {"kind": "repaired"},
        {"resolved_at": "2025-01-01T00:00Z"},
        {"original": "text"},
        {"table_name": "unknown"},
    ],
)
def test_only_an_open_rejected_row_of_a_known_table_is_corrected(
    admin_client: Client, run: ImportRun, values: dict[str, object]
) -> None:
    row = rejected(run, **values)

    assert admin_client.get(correction_address(row)).status_code == 403
    assert admin_client.post(correction_address(row), {}).status_code == 403
    assert correction_address(row) not in staff.page(
        admin_client, staff.address(ImportRowNote, "change", row.pk)
    )


@pytest.mark.parametrize("permission", ["legacy.change_importrownote", "leads.add_lead"])
def test_one_of_the_two_permissions_is_not_enough_to_correct_a_row(run: ImportRun, permission: str) -> None:
    client = staff.staff_client("legacy.view_importrownote", permission)
    row = rejected(run)

    assert client.get(correction_address(row)).status_code == 403
    assert client.post(correction_address(row), {"phone": "1"}).status_code == 403


@pytest.mark.parametrize("column", ["phone", None, "unknown"])
def test_what_the_import_refuses_stands_on_the_form(
    admin_client: Client, run: ImportRun, monkeypatch: pytest.MonkeyPatch, column: str | None
) -> None:
    received: dict[str, str | None] = {}

    def refuse(note: ImportRowNote, values: dict[str, str | None], user: User) -> int:
        received.update(values)
        raise CorrectionRefused("It is <b>wrong</b>.", column)

    monkeypatch.setattr(correction, "import_corrected", refuse)
    row = rejected(run)
    form = admin_client.get(correction_address(row)).context["form"]
    data = {**staff.sent(form), "phone": staff.ARABIC}

    answer = admin_client.post(correction_address(row), data)

    assert answer.status_code == 200
    assert list(answer.context["form"].errors) == ["phone" if column == "phone" else "__all__"]
    assert "It is &lt;b&gt;wrong&lt;/b&gt;." in answer.content.decode()
    assert staff.ARABIC in answer.content.decode()
    assert received == {**LEAD, "id": "7", "partner_id": "3", "phone": staff.ARABIC}


def test_a_correction_page_of_no_note_is_not_found(admin_client: Client) -> None:
    assert admin_client.get("/admin/legacy/importrownote/999999999/reimport/").status_code == 404
