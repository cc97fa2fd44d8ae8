"""What operators do between runs, and what files do to them."""

from datetime import UTC
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from django.utils import timezone

from calls.models import Call
from leads.models import Lead
from legacy.errors import UnusableSource
from legacy.snapshot import take_snapshot
from legacy.tests.handmade import bring, call, lead, meeting, notes, partner, run, turn, write
from legacy.tests.moves import change, verify
from meetings.models import Meeting
from partners.models import Partner, PartnerApiKey

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.mark.parametrize("cut", [1, 5, 60, 4095, 4096, 8192])
def test_a_file_without_its_last_bytes_is_refused(tmp_path: Path, cut: int) -> None:
    path = write(tmp_path / "ai_scheduler.db", {"leads": [lead(n, name="x" * 200) for n in range(1, 200)]})
    path.write_bytes(path.read_bytes()[:-cut])
    with pytest.raises(UnusableSource, match=r"truncated|damaged"):
        take_snapshot(path)


def test_children_of_a_row_that_is_gone_from_the_file_but_kept_stay_unchanged(tmp_path: Path) -> None:
    bring(
        tmp_path,
        leads=[lead(1), lead(7)],
        calls=[call(7, lead_id=7)],
        conversation_history=[turn(7, call_id=7)],
    )
    path = tmp_path / "ai_scheduler.db"
    change(path, "DELETE FROM leads WHERE id = 7", "UPDATE calls SET summary = 'new'")
    report = run(path)
    assert (report.rejected, report.tables["calls"].updated) == (0, 1)
    assert report.missing == [{"table": "leads", "id": 7, "deleted": False}]
    assert Call.objects.get(pk=7).summary == "new"
    assert not run(path, delete_missing=True).missing[0]["deleted"]


def test_a_partner_with_a_key_made_by_staff_is_not_deleted_as_missing(tmp_path: Path) -> None:
    bring(tmp_path, partners=[partner(1), partner(2)])
    PartnerApiKey.issue(Partner.objects.get(pk=2))
    path = tmp_path / "ai_scheduler.db"
    change(path, "DELETE FROM partners WHERE id = 2")
    assert run(path, delete_missing=True).missing == [{"table": "partners", "id": 2, "deleted": False}]


def test_what_is_taken_from_sqlite_is_verified_at_once(tmp_path: Path) -> None:
    path = write(tmp_path / "ai_scheduler.db", {"leads": [lead(100), lead(101, phone="+14155550177")]})
    Lead.objects.create(id=100, name="native", phone="+14155550177", phone_valid=True)
    run(path)
    assert Lead.objects.get(pk=101).duplicate_of_id == 100
    run(path, on_conflict="take")
    assert Lead.objects.get(pk=101).duplicate_of_id is None
    assert verify(path).findings == []


def test_the_end_of_a_legacy_key_is_a_difference(tmp_path: Path) -> None:
    bring(tmp_path, partners=[partner(1)])
    assert verify(tmp_path / "ai_scheduler.db").findings == []
    PartnerApiKey.objects.update(revoked_at=timezone.now())
    assert [each.column for each in verify(tmp_path / "ai_scheduler.db").findings] == ["key_ends"]


def test_a_further_run_takes_the_zone_of_the_one_before(tmp_path: Path) -> None:
    bring(tmp_path, zone=ZoneInfo("Europe/Berlin"), leads=[lead(1)])
    path = tmp_path / "ai_scheduler.db"
    assert run(path).tables["leads"].unchanged == 1
    assert run(path, zone=UTC).tables["leads"].updated == 1


def test_a_time_that_was_made_up_ends_no_call(tmp_path: Path) -> None:
    calls = [call(1, ended_at=None), call(2, ended_at=None, started_at="2025-11-03 09:00:00")]
    turns = [turn(1, created_at=None), turn(2, created_at="2025-11-02 12:04:00")]
    bring(tmp_path, leads=[lead(1)], calls=calls, conversation_history=turns)
    ended = Call.objects.get(pk=1).ended_at
    assert ended is not None and ended.isoformat() == "2025-11-02T12:04:00+00:00"


def test_an_end_is_a_better_start_than_the_time_of_the_snapshot(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead(1)], calls=[call(1, started_at=None, created_at=None)])
    stored = Call.objects.get(pk=1)
    assert stored.started_at == stored.ended_at == stored.created_at
    assert {note.column for note in notes("calls", 1)} == {"started_at", "created_at"}


def test_meetings_of_no_minutes_block_their_slot_too(tmp_path: Path) -> None:
    same = {"duration": 0, "scheduled_time": "2025-12-01 10:00:00.000000", "status": "SCHEDULED"}
    bring(tmp_path, leads=[lead(1)], meetings=[meeting(1, **same), meeting(2, **same)])
    assert dict(Meeting.objects.values_list("id", "allow_overlap")) == {1: False, 2: True}


@pytest.mark.parametrize(("typed", "country"), [("0041 44 668 18 00", None), ("0049 30 901820", "US")])
def test_a_number_dialled_with_two_zeros_is_understood(
    tmp_path: Path, typed: str, country: str | None
) -> None:
    bring(tmp_path, leads=[lead(1, phone=typed, country_code=country)])
    stored = Lead.objects.get(pk=1)
    assert (stored.phone[:3], stored.phone_valid) == (f"+{typed[2:4]}", True)
