from pathlib import Path
from typing import Any

import pytest

from legacy.tests.handmade import BARE, KEYED, Note, RawText, bring, call, counts, lead, notes, stored

pytestmark = pytest.mark.django_db

ZURICH = "+41446681800"
SPELLINGS: list[tuple[str, str | int | None, str]] = [
    ("+41446681800", None, ZURICH),
    ("+41 44 668 18 00", None, ZURICH),
    (" +41446681800 ", None, ZURICH),
    ("0041 44 668 18 00", "+41", ZURICH),
    ("044 668 18 00", "CH", ZURICH),
    ("044 668 18 00", "ch ", ZURICH),
    ("044 668 18 00", "+41", ZURICH),
    ("044 668 18 00", "41", ZURICH),
    ("044 668 18 00", 41, ZURICH),
    ("tel:+41-44-668-18-00", None, ZURICH),
    ("+1 (415) 555-0134", "CH", "+14155550134"),
    ("415-555-0134", "+1", "+14155550134"),
    ("415-555-0134", "US", "+14155550134"),
]
JUNK: list[tuple[Any, Any, str]] = [
    ("415-555-0134", None, "415-555-0134"),
    ("call me!", "+1", "call me!"),
    ("  044 668 18 00 ", None, "044 668 18 00"),
    ("044 668 18 00", "XX", "044 668 18 00"),
    ("044 668 18 00", "", "044 668 18 00"),
    ("044 668 18 00", "+999", "044 668 18 00"),
    ("+1415555", None, "+1415555"),
    ("+1 415 555 0134 ext. 5", None, "+1 415 555 0134 ext. 5"),
    ("٠٤٤", None, "٠٤٤"),
]


@pytest.mark.parametrize("layout", [KEYED, BARE])
def test_a_number_valid_alone_or_with_its_country_becomes_e164(tmp_path: Path, layout: str) -> None:
    rows = [lead(i, phone=phone, country_code=code) for i, (phone, code, _) in enumerate(SPELLINGS, 1)]
    bring(tmp_path, layout, leads=rows)
    held = stored("leads")
    assert [row["phone"] for row in held.values()] == [wanted for _, _, wanted in SPELLINGS]
    assert all(row["phone_valid"] for row in held.values())


def test_a_changed_spelling_is_a_repair_and_the_right_one_is_none(tmp_path: Path) -> None:
    rows = [lead(1, phone="+41 44 668 18 00"), lead(2, phone="+14155550134"), lead(3, phone=" junk ")]
    report = bring(tmp_path, leads=rows)
    assert notes("leads") == [
        Note("repaired", "phone", "+41 44 668 18 00", "written as E.164"),
        Note("repaired", "phone", " junk ", "blanks removed"),
    ]
    assert report.tables["leads"].repaired == 2


def test_junk_stays_as_it_is_but_trimmed_and_is_not_valid(tmp_path: Path) -> None:
    bring(tmp_path, leads=[lead(i, phone=p, country_code=c) for i, (p, c, _) in enumerate(JUNK, 1)])
    held = stored("leads")
    assert [row["phone"] for row in held.values()] == [wanted for _, _, wanted in JUNK]
    assert not any(row["phone_valid"] for row in held.values())


@pytest.mark.parametrize("layout", [KEYED, BARE])
def test_leads_of_one_number_are_duplicates_of_the_lowest_id(tmp_path: Path, layout: str) -> None:
    rows = [
        lead(1, phone="+14155550199"),
        lead(4, phone="0041 44 668 18 00", country_code="CH"),
        lead(2, phone=ZURICH),
        lead(3, phone=ZURICH),
        lead(5, phone="junk"),
        lead(6, phone="junk "),
        lead(7, phone="Junk"),
    ]
    report = bring(tmp_path, layout, leads=rows, calls=[call(1, lead_id=4)])
    first = {row_id: row["duplicate_of_id"] for row_id, row in stored("leads").items()}
    assert first == {1: None, 2: None, 3: 2, 4: 2, 5: None, 6: 5, 7: None}
    assert notes("leads", 3) == [Note("repaired", "phone", ZURICH, "same phone as lead 2")]
    assert notes("leads", 4)[-1] == Note("repaired", "phone", "0041 44 668 18 00", "same phone as lead 2")
    assert report.tables["leads"].repaired == 3
    assert stored("calls")[1]["lead_id"] == 4


@pytest.mark.parametrize("empty", ["", "  ", "\t\n", None, RawText(b"\0"), b""])
def test_a_lead_with_an_empty_phone_is_rejected_whole(tmp_path: Path, empty: Any) -> None:
    report = bring(tmp_path, leads=[lead(1, phone=empty, name="Anna"), lead(2)])
    (note,) = notes("leads")
    assert (note.kind, note.column, note.reason) == ("rejected", None, "phone is empty")
    assert (note.original["name"], note.original["id"]) == ("Anna", 1)
    assert (list(stored("leads")), counts(report)["leads"]) == ([2], (2, 1, 1))


def test_a_rejected_lead_is_no_ones_original(tmp_path: Path) -> None:
    rows = [lead(1, phone=ZURICH), lead(2, phone=ZURICH)]
    rows[0]["id"] = "one"
    bring(tmp_path, BARE, leads=rows)
    assert [(row_id, row["duplicate_of_id"]) for row_id, row in stored("leads").items()] == [(2, None)]


def test_a_phone_that_is_no_text_is_read_and_noted(tmp_path: Path) -> None:
    rows = [lead(1, phone=41446681800, country_code="CH"), lead(2, phone=b"+14155550134")]
    bring(tmp_path, BARE, leads=[*rows, lead(3, phone=RawText(b"+1415\xff"))])
    assert [row["phone"] for row in stored("leads").values()] == [ZURICH, "+14155550134", "+1415�"]
    assert [note.reason for note in notes("leads", 2)] == ["was binary, not text"]
    assert notes("leads", 3) == [
        Note("repaired", "phone", {"text_hex": b"+1415\xff".hex()}, "text is not UTF-8")
    ]
    assert notes("leads", 1)[0].reason == "was a number, not text"
