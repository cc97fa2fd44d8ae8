from pathlib import Path

import pytest

from legacy.tests.handmade import (
    BARE,
    KEYED,
    Note,
    bring,
    call,
    counts,
    lead,
    meeting,
    notes,
    partner,
    run,
    stored,
    turn,
    write,
)

pytestmark = pytest.mark.django_db
LAYOUTS = pytest.mark.parametrize("layout", [KEYED, BARE])


@LAYOUTS
def test_rows_whose_required_parent_is_missing_are_rejected(tmp_path: Path, layout: str) -> None:
    report = bring(
        tmp_path,
        layout,
        leads=[lead(1)],
        calls=[call(1), call(2, lead_id=17)],
        conversation_history=[turn(1), turn(2, call_id=99)],
        meetings=[meeting(1), meeting(2, lead_id=17)],
    )
    assert notes("calls") == [
        Note("rejected", None, call(2, lead_id=17), "leads 17 is not in the database"),
    ]
    (found,) = notes("conversation_history")
    assert (found.original, found.reason) == (turn(2, call_id=99), "calls 99 is not in the database")
    assert notes("meetings")[0].original == meeting(2, lead_id=17)
    for table in ("calls", "conversation_history", "meetings"):
        assert (counts(report)[table], list(stored(table))) == ((2, 1, 1), [1])


@LAYOUTS
def test_references_to_missing_optional_parents_become_null(tmp_path: Path, layout: str) -> None:
    rows = [lead(1, partner_id=5), lead(2, partner_id=1), lead(3)]
    meetings = [meeting(1, call_id=7), meeting(2, call_id=1)]
    report = bring(tmp_path, layout, partners=[partner()], leads=rows, calls=[call()], meetings=meetings)
    assert [row["partner_id"] for row in stored("leads").values()] == [None, 1, None]
    assert [row["call_id"] for row in stored("meetings").values()] == [None, 1]
    assert notes("leads") == [Note("repaired", "partner_id", 5, "partners 5 is not in the database")]
    assert notes("meetings") == [Note("repaired", "call_id", 7, "calls 7 is not in the database")]
    assert (report.tables["leads"].repaired, report.tables["meetings"].repaired) == (1, 1)


@LAYOUTS
def test_children_of_rejected_parents_are_orphans_too(tmp_path: Path, layout: str) -> None:
    report = bring(
        tmp_path,
        layout,
        partners=[partner(1, is_active="perhaps")],
        leads=[lead(1, phone=""), lead(2, partner_id=1)],
        calls=[call(1, lead_id=1), call(2, lead_id=2)],
        conversation_history=[turn(1, call_id=1), turn(2, call_id=2)],
        meetings=[meeting(1, lead_id=1), meeting(2, lead_id=2, call_id=1)],
    )
    assert {name: each[2] for name, each in counts(report).items()} == {
        "partners": 1,
        "leads": 1,
        "calls": 1,
        "conversation_history": 1,
        "meetings": 1,
    }
    assert notes("conversation_history")[0].reason == "calls 1 is not in the database"
    assert (stored("leads")[2]["partner_id"], stored("meetings")[2]["call_id"]) == (None, None)


def test_a_file_without_the_table_of_the_parents_has_orphans_only(tmp_path: Path) -> None:
    report = bring(tmp_path, calls=[call()], conversation_history=[turn()], meetings=[meeting()])
    assert counts(report) == {"calls": (1, 0, 1), "conversation_history": (1, 0, 1), "meetings": (1, 0, 1)}


@pytest.mark.parametrize("junk", [None, "", "abc", 1.5, b"\xff"])
def test_a_required_reference_that_is_no_id_rejects_the_row(tmp_path: Path, junk: object) -> None:
    report = bring(tmp_path, leads=[lead()], calls=[call(1), call(2, lead_id=junk)])
    assert counts(report)["calls"] == (2, 1, 1)
    assert notes("calls", 2)[0].reason.startswith("lead_id is ")


@pytest.mark.parametrize("junk", ["", "abc", 1.5, b"\xff"])
def test_an_optional_reference_that_is_no_id_becomes_null(tmp_path: Path, junk: object) -> None:
    report = bring(tmp_path, leads=[lead(partner_id=junk)], partners=[partner()])
    (note,) = notes("leads")
    assert (note.kind, note.column, stored("leads")[1]["partner_id"]) == ("repaired", "partner_id", None)
    assert report.tables["leads"].repaired == 1


def test_references_in_text_find_their_rows(tmp_path: Path) -> None:
    rows = {"leads": [lead(partner_id="1")], "partners": [partner()], "calls": [call(lead_id=1.0)]}
    run(write(tmp_path / "old.db", {**rows, "conversation_history": [turn(call_id=" 1 ")]}, BARE))
    assert (stored("leads")[1]["partner_id"], stored("calls")[1]["lead_id"]) == (1, 1)
    assert notes("conversation_history") == [Note("repaired", "call_id", " 1 ", "was text, not a number")]
