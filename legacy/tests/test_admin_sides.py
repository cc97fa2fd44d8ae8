"""Original and stored values side by side, and the order of fields on the page of a correction."""

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse

from leads.models import Lead
from legacy.models import ImportRowNote, ImportRun
from legacy.tables import LEADS
from partners.models import Partner
from scheduler.models import Setting
from scheduler.tests import staff

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> ImportRun:
    return ImportRun.objects.create(source_path="x", source_bytes=1)


def note(
    run: ImportRun, table: str, row_id: int, column: str | None, original: Any, **values: Any
) -> ImportRowNote:
    values = {"kind": "repaired", "reason": "it was so", **values}
    return ImportRowNote.objects.create(
        run=run, table_name=table, row_id=row_id, column=column, original=original, **values
    )


def test_the_list_shows_the_original_beside_the_stored_value(admin_client: Client, run: ImportRun) -> None:
    lead = Lead.objects.create(name="Anna", phone="+14155550101", language="en")
    note(run, "leads", lead.pk, "phone", "(415) 555-0101")
    note(run, "leads", 10**9, "language", "xx")

    html = staff.page(admin_client, staff.address(ImportRowNote, "changelist"))

    assert "(415) 555-0101" in html and "+14155550101" in html and "not stored" in html


def test_notes_on_all_tables_take_a_fixed_number_of_queries(admin_client: Client, run: ImportRun) -> None:
    def fill(first: int) -> None:
        for number in range(first, first + 6):
            partner = Partner.objects.create(name=f"Partner {number}")
            lead = Lead.objects.create(name="Anna", phone=f"+1415555{number:04}")
            setting = Setting.objects.create(key=f"key {number}", value="x")
            for table, row in (("partners", partner), ("leads", lead), ("settings", setting)):
                note(run, table, row.pk, "id", row.pk)
            for table in ("calls", "conversation_history", "meetings"):
                note(run, table, number + 1, "id", number)

    path = staff.address(ImportRowNote, "changelist")
    # More than a page from the first on, as what fits one page is not counted.
    for first in (0, 10):
        fill(first)
    staff.queries_of(admin_client, path)
    few = staff.queries_of(admin_client, path)
    fill(20)

    assert staff.queries_of(admin_client, path) == few <= staff.MOST_QUERIES


def test_the_page_of_a_rejected_row_compares_every_column_in_the_order_of_the_table(
    admin_client: Client, run: ImportRun
) -> None:
    lead = Lead.objects.create(name="Anna", phone="+14155550101", email="anna@example.com")
    original = {"phone": "x", "id": lead.pk, "email": "anna@example.com", "name": staff.SCRIPT}
    rejected = note(run, "leads", lead.pk, None, original, kind="rejected")

    html = staff.page(admin_client, staff.address(ImportRowNote, "change", rejected.pk))

    table = html[html.index('<th scope="col">Original</th>') :].partition("</table>")[0]
    assert [table.index(f"<td>{name}</td>") for name in ("id", "name", "phone", "email")] == sorted(
        table.index(f"<td>{name}</td>") for name in original
    )
    assert table.count("<td>differs</td>") == 2
    assert staff.ESCAPED_SCRIPT in table and staff.SCRIPT not in html


def test_the_key_of_a_partner_is_shown_on_no_page_of_notes(admin_client: Client, run: ImportRun) -> None:
    key = "key-of-acme-0123456789"
    partner = Partner.objects.create(name="Acme")
    notes = [
        note(run, "partners", partner.pk, None, {"id": partner.pk, "api_key": key}, kind="rejected"),
        note(run, "partners", partner.pk, "api_key", key),
    ]
    paths = [staff.address(ImportRowNote, "changelist")]
    paths += [staff.address(ImportRowNote, "change", each.pk) for each in notes]

    for path in paths:
        assert key not in staff.page(admin_client, path), path


def test_the_fields_of_a_correction_stand_as_in_the_table(admin_client: Client, run: ImportRun) -> None:
    original = {name: None for name in reversed(LEADS.source_columns)} | {"surplus": "1"}
    rejected = note(run, "leads", 7, None, original, kind="rejected")

    answer = admin_client.get(reverse("admin:legacy_importrownote_reimport", args=[rejected.pk]))

    assert list(answer.context["form"].fields) == [*LEADS.source_columns, "surplus"]
