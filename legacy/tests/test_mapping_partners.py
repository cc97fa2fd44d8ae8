from pathlib import Path
from typing import Any

import pytest

from legacy.tests.handmade import (
    BARE,
    KEYED,
    LATER,
    NOON,
    Note,
    RawText,
    Row,
    bring,
    counts,
    everything,
    moment,
    notes,
    partner,
    run,
    setting,
    stored,
    write,
)
from partners.models import PartnerApiKey, digest_of

pytestmark = pytest.mark.django_db

KEY = "sk-live-0123456789-abcdefghijklmnopqrstuvwxyz"


def partners(*rows: Row, folder: Path, layout: str = KEYED) -> list[str]:
    bring(folder, layout, partners=list(rows))
    return [row["name"] for row in stored("partners").values()]


def test_a_partner_name_that_occurs_again_gets_a_number(tmp_path: Path) -> None:
    names = ["Acme", "Bolt", "Acme", "Acme", "acme", "Acme (2)"]
    rows = [partner(n, name=each) for n, each in enumerate(names, 1)]
    found = partners(*rows[::-1], folder=tmp_path)
    assert found == ["Acme", "Bolt", "Acme (3)", "Acme (4)", "acme", "Acme (2)"]
    assert notes("partners", 3) == [Note("repaired", "name", "Acme", "name occurs twice")]


@pytest.mark.parametrize("empty", ["", "   ", None, RawText(b"\0")])
def test_an_empty_partner_name_becomes_its_id(tmp_path: Path, empty: Any) -> None:
    assert partners(partner(7, name=empty), folder=tmp_path) == ["Partner 7"]
    assert {note.column for note in notes("partners")} == {"name"}


def test_an_empty_name_makes_way_for_a_partner_who_has_that_name(tmp_path: Path) -> None:
    rows = partner(3, name="Partner 7"), partner(7, name=""), partner(8, name="Partner 7 (2)")
    assert partners(*rows, folder=tmp_path) == ["Partner 7", "Partner 7 (3)", "Partner 7 (2)"]


@pytest.mark.parametrize("layout", [KEYED, BARE])
def test_a_useless_rate_limit_becomes_a_hundred(tmp_path: Path, layout: str) -> None:
    limits = [0, -5, None, "abc", float("inf"), 1e30, "", 1, "250", 2**40]
    bring(tmp_path, layout, partners=[partner(n, rate_limit=each) for n, each in enumerate(limits, 1)])
    held = [row["rate_limit"] for row in stored("partners").values()]
    assert held == [100] * 7 + [1, 250, 2**40]
    for row_id in range(1, 8):
        assert [note.column for note in notes("partners", row_id)] == ["rate_limit"]
    assert notes("partners", 8) == notes("partners", 10) == []


def test_an_old_key_keeps_working_and_stands_nowhere(tmp_path: Path) -> None:
    rows = [
        partner(1, api_key=KEY),
        partner(2, api_key=KEY),  # repaired
        partner(3, api_key=KEY, is_active="perhaps"),  # rejected
        partner(3, api_key=KEY, name="Twice"),
        partner(4, api_key=KEY.encode()),
        partner(5, api_key=RawText(KEY.encode() + b"\xff"), remark="unknown column"),
    ]
    rows = [{"remark": None, **row} for row in rows]
    bring(tmp_path, BARE, partners=rows)
    key = PartnerApiKey.objects.get(digest=digest_of(KEY))
    assert (key.partner_id, key.is_legacy, key.prefix) == (1, True, KEY[:8])
    assert KEY.startswith(key.prefix) and len(key.prefix) < len(KEY) / 3
    for table, lines in everything().items():
        assert not [line for line in lines if KEY[8:] in line], table
    assert list(stored("partners")) == [1, 2, 3, 4, 5]


def test_no_key_stands_in_the_notes_of_rejected_rows_in_any_spelling(tmp_path: Path) -> None:
    rows = [partner(n, api_key=key, is_active="junk") for n, key in enumerate([KEY, KEY.encode()], 1)]
    bring(tmp_path, partners=rows)
    originals = [note.original["api_key"] for note in notes("partners")]
    assert originals == [{"sha256": digest_of(KEY), "prefix": KEY[:8]}] * 2


@pytest.mark.parametrize("empty", ["", None, b""])
def test_a_partner_without_a_key_is_imported_without_one(tmp_path: Path, empty: Any) -> None:
    bring(tmp_path, partners=[partner(1, api_key=empty), partner(2)])
    assert [key.partner_id for key in PartnerApiKey.objects.all()] == [2]
    (note,) = notes("partners")
    assert (note.kind, note.column, note.reason) == ("repaired", "api_key", "empty; partner has no key")


def test_a_key_of_two_partners_stays_with_the_lowest_id(tmp_path: Path) -> None:
    bring(tmp_path, partners=[partner(2, api_key=KEY), partner(1, api_key=KEY)])
    assert [key.partner_id for key in PartnerApiKey.objects.all()] == [1]
    reason = "key of another partner; partner has no key"
    original = {"sha256": digest_of(KEY), "prefix": KEY[:8]}
    assert notes("partners", 2) == [Note("repaired", "api_key", original, reason)]


@pytest.mark.parametrize(
    "key", ["a", "\\N", "tab\tand\nline", "é" * 30, "\0nul", 12345, RawText(b"\xff\xfe")]
)
def test_a_key_of_any_characters_works(tmp_path: Path, key: Any) -> None:
    bring(tmp_path, BARE, partners=[partner(api_key=key)])
    text = key.decode("utf-8", "surrogateescape") if isinstance(key, bytes) else str(key)
    assert PartnerApiKey.objects.get().digest == digest_of(text)


def test_of_settings_with_one_key_the_newest_wins(tmp_path: Path) -> None:
    rows = [
        setting(1, key="a", value="old", updated_at=NOON),
        setting(2, key="a", value="new", updated_at="2025-11-02T14:30:00+02:00"),
        setting(3, key="a", value="middle", updated_at=LATER),
        setting(4, key="A", value="another key"),
        setting(5, key="b", value="first"),
        setting(6, key="b", value="second"),
    ]
    report = bring(tmp_path, settings=rows)
    held = {row_id: row["value"] for row_id, row in stored("settings").items()}
    assert held == {2: "new", 4: "another key", 5: "first"}
    assert notes("settings", 1) == [Note("rejected", None, rows[0], "key a has a newer row")]
    assert counts(report)["settings"] == (6, 3, 3)
    assert stored("settings")[2]["updated_at"] == moment("2025-11-02 12:30:00")


def test_a_setting_without_a_time_is_older_than_any_in_every_run(tmp_path: Path) -> None:
    rows = [setting(3, key="a", updated_at=None), setting(2, key="a"), setting(1, key="a", updated_at="junk")]
    rows += [setting(7, key="b", updated_at=None), setting(6, key="b", updated_at=None)]
    path = write(tmp_path / "old.db", {"settings": rows})
    run(path)
    assert list(stored("settings")) == [2, 6]
    again = run(path).tables["settings"]
    assert (again.unchanged, again.rejected, list(stored("settings"))) == (2, 3, [2, 6])


@pytest.mark.parametrize("empty", ["", None])
def test_a_setting_without_a_key_is_rejected(tmp_path: Path, empty: str | None) -> None:
    report = bring(tmp_path, settings=[setting(key=empty)])
    assert (counts(report)["settings"], notes("settings")[0].reason) == ((1, 0, 1), "key is empty")
