"""Staff correct a rejected row and import it again."""

from pathlib import Path
from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import User
from django.test import Client

from calls.models import Call, Turn
from leads.models import Lead
from legacy.models import ImportRowNote
from legacy.originals import shown
from legacy.reimport import CorrectionRefused, import_corrected
from legacy.tests.handmade import bring, call, lead, partner, run, setting, turn
from legacy.tests.moves import verify
from partners.models import Partner, PartnerApiKey, digest_of
from scheduler.models import Setting

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def staff() -> User:
    return User.objects.create_superuser("anna", password="a secret")


def rejected(table: str, row_id: int | None) -> ImportRowNote:
    return ImportRowNote.objects.get(table_name=table, row_id=row_id, kind="rejected", resolved_at=None)


def correct(note: ImportRowNote, staff: User, **changes: str | None) -> int:
    values: dict[str, Any] = {column: shown(value) or None for column, value in (note.original or {}).items()}
    return import_corrected(note, {**values, **changes}, staff)


def test_a_corrected_lead_comes_in_under_its_old_id_and_leaves_a_trace(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, leads=[lead(1), lead(7, phone="  ", name="Ünal")])
    note = rejected("leads", 7)

    assert correct(note, staff, phone="+1 (415) 555-0199") == 7

    stored = Lead.objects.get(pk=7)
    assert (stored.name, stored.phone, stored.phone_valid) == ("Ünal", "+14155550199", True)
    note.refresh_from_db()
    assert note.resolved_by == staff and note.resolved_at is not None
    assert LogEntry.objects.get(object_id="7").user == staff


def test_the_next_import_lets_the_children_of_a_corrected_row_in_and_verifies(
    tmp_path: Path, staff: User
) -> None:
    bring(tmp_path, leads=[lead(7, phone="")], calls=[call(3, lead_id=7)])
    assert not Call.objects.exists()
    correct(rejected("leads", 7), staff, phone="+14155550199")

    report = run(tmp_path / "ai_scheduler.db")

    assert (report.tables["leads"].rejected, report.tables["calls"].inserted) == (1, 1)
    assert Call.objects.get(pk=3).lead_id == 7
    assert not ImportRowNote.objects.filter(table_name="leads", kind="rejected", resolved_at=None).exists()
    assert verify(tmp_path / "ai_scheduler.db").findings == []


def test_a_value_that_is_still_wrong_is_refused_with_its_column(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, leads=[lead(7, phone="")])
    note = rejected("leads", 7)
    with pytest.raises(CorrectionRefused, match="Phone is empty") as refused:
        correct(note, staff, phone=" ")
    assert refused.value.column == "phone"
    note.refresh_from_db()
    assert note.resolved_at is None and not Lead.objects.exists()


def test_a_row_whose_id_is_taken_or_whose_parent_is_missing_is_refused(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, leads=[lead(7, phone="")], calls=[call(3, lead_id=99)])
    with pytest.raises(CorrectionRefused, match="leads 99 is not in the database"):
        correct(rejected("calls", 3), staff)
    Lead.objects.create(id=7, phone="+14155550123")
    with pytest.raises(CorrectionRefused, match="leads 7 is in the database already"):
        correct(rejected("leads", 7), staff, phone="+14155550199")


def test_a_constraint_answers_with_a_sentence_and_nothing_is_written(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, leads=[lead(1)], calls=[call(1), call(2, lead_id=99, twilio_call_sid="CA1")])
    note = rejected("calls", 2)
    with pytest.raises(CorrectionRefused, match="Another call has this twilio_call_sid") as refused:
        correct(note, staff, lead_id="1")
    assert refused.value.column == "twilio_call_sid"
    assert Call.objects.count() == 1
    assert correct(note, staff, lead_id="1", twilio_call_sid=None) == 2


def test_a_phone_that_another_lead_has_makes_the_row_its_duplicate(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, leads=[lead(1, phone="+14155550134"), lead(7, phone="")])
    correct(rejected("leads", 7), staff, phone="415-555-0134", country_code="US")
    assert Lead.objects.get(pk=7).duplicate_of_id == 1


def test_a_turn_goes_behind_the_turns_of_its_call(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, leads=[lead(1)], calls=[call(1)], conversation_history=[turn(1, role="robot"), turn(2)])
    correct(rejected("conversation_history", 1), staff, role="user")
    assert list(Turn.objects.values_list("id", "turn").order_by("turn")) == [(2, 1), (1, 2)]


def test_the_key_of_a_corrected_partner_works(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, partners=[partner(5, is_active="perhaps", api_key="the key of partner five")])
    correct(rejected("partners", 5), staff, is_active="yes")
    assert Partner.objects.get(pk=5).is_active
    assert PartnerApiKey.objects.get(partner_id=5).digest == digest_of("the key of partner five")


def test_a_row_without_an_id_gets_the_next_free_one(tmp_path: Path, staff: User) -> None:
    bring(tmp_path, settings=[setting(4, key="a"), setting(5, key="")])
    assert correct(rejected("settings", 5), staff, id=None, key="b") > 5
    assert Setting.objects.filter(key="b").exists()


def test_the_admin_imports_a_corrected_row(tmp_path: Path, staff: User, client: Client) -> None:
    bring(tmp_path, leads=[lead(7, phone="")])
    note = rejected("leads", 7)
    client.force_login(staff)
    page = f"/admin/legacy/importrownote/{note.pk}/reimport/"
    form = {column: shown(value) for column, value in (note.original or {}).items()}
    answer = client.post(page, {**form, "phone": "junk!"}, follow=True)
    assert answer.status_code == 200
    assert Lead.objects.filter(pk=7, phone="junk!", phone_valid=False).exists()
