import time
from itertools import chain, repeat
from typing import Any

import pytest
from django.db import connection

from calls import search
from calls.models import Call, Turn
from calls.words import BLOCK_BITS, ERA_BITS, INDEXED_CHARACTERS, SEPARATORS, tags, words_of
from leads.models import Lead

pytestmark = pytest.mark.django_db

STARTED, ENDED = "2026-05-04T08:00Z", "2026-05-04T08:02Z"


def call(number: int = 1, *messages: str, **values: Any) -> Call:
    person, _ = Lead.objects.get_or_create(phone="+14155550134", defaults={"name": "Anna"})
    row = Call.objects.create(
        **{"id": number, "lead": person, "started_at": STARTED, "ended_at": ENDED} | values
    )
    Turn.objects.bulk_create(
        Turn(call=row, turn=turn, role="user", message=message) for turn, message in enumerate(messages, 1)
    )
    return row


def ids(asked: str, **values: Any) -> list[int]:
    return [hit.call.pk for hit in search.find(asked, **values).hits]


def text_of(parts: list[search.Part]) -> str:
    return "".join(f"[{part.text}]" if part.is_hit else part.text for part in parts)


def plan_of(sql: str, values: dict[str, Any]) -> str:
    with connection.cursor() as cursor:
        cursor.execute("SET LOCAL enable_seqscan = off")
        cursor.execute(f"EXPLAIN {sql}", values)
        return "\n".join(line for (line,) in cursor.fetchall())


def test_a_word_is_found_in_turns_and_transcripts_with_the_newest_call_first() -> None:
    call(1, "Hello", "Let us meet on Monday.", "Monday it is")
    call(2, "Tuesday")
    call(3, transcript="USER: rather MONDAY, please")

    found = search.find("monday")

    assert [(hit.call.pk, hit.turn, hit.turns) for hit in found.hits] == [(3, None, 0), (1, 2, 2)]
    assert text_of(found.hits[0].snippet) == "USER: rather [MONDAY], please"
    assert text_of(found.hits[1].snippet) == "Let us meet on [Monday]."
    assert found.older is None


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        ("monday morning", [2, 1]),
        ('"monday morning"', [1]),
        ("“monday morning”", [1]),
        ("morning -monday", [3]),
        ("tuesday or wednesday", [5, 4]),
        ("mond", []),
        ("MORNING", [3, 2, 1]),
    ],
)
def test_words_phrases_exclusions_and_choices(asked: str, expected: list[int]) -> None:
    for number, message in enumerate(
        ["On Monday morning", "The morning of Monday", "Good morning", "Tuesday", "Wednesday"], start=1
    ):
        call(number, message)

    assert ids(asked) == expected


@pytest.mark.parametrize(
    ("said", "asked"),
    [
        ("¿Tiene un momento?", "tiene"),
        ("Attendez, je regarde mon agenda…", "agenda"),
        ("שלום עולם, נדבר מחר", "עולם"),
        ("مرحبا بالعالم، كيف حالك؟", "بالعالم"),
        ("مرحبا بالعالم، كيف حالك؟", "حالك"),
        ("hello—world", "world"),
        ("call/meeting", "meeting"),
        ("ГОВОРИТЕ громче", "говорите"),
        ("“quoted”", "quoted"),
        ("שלום Anna, 10:30", "anna"),
    ],
)
def test_words_of_any_script_are_found_and_marked_whatever_stands_beside_them(said: str, asked: str) -> None:
    call(1, said)

    (hit,) = search.find(asked).hits

    assert [part.text.lower() for part in hit.snippet if part.is_hit] == [asked]
    assert "".join(part.text for part in hit.snippet) == said


@pytest.mark.parametrize(
    "asked", ["", "  ", "-monday", "!!!", "…", "\x00", "'", '"', "or", "block", "& | ! <->"]
)
def test_what_holds_no_word_is_refused_and_nothing_breaks_the_query(asked: str) -> None:
    call(1, "Monday")

    try:
        assert ids(asked) == []
    except search.BadWords as error:
        assert str(error) == "Give at least one word to look for."


@pytest.mark.parametrize("asked", ["block 0", '"block 0"', "'block 0'", "era", "'block 0' | x"])
def test_the_name_of_a_block_is_no_word(asked: str) -> None:
    call(1, "Monday")

    assert ids(asked) == []


def test_the_walk_meets_each_call_once_over_all_borders_of_blocks_and_eras() -> None:
    borders = [at + near for at in (1 << BLOCK_BITS, 1 << ERA_BITS, 5 << ERA_BITS) for near in (-1, 0, 1)]
    numbers = sorted({-3, 1, *borders})
    for number in numbers:
        call(number, "rare")

    assert ids("rare", clock=lambda: 0.0) == numbers[::-1]
    below, seen = None, []
    while True:
        found = search.find("rare", below, limit=2, clock=lambda: 0.0)
        seen += [hit.call.pk for hit in found.hits]
        if found.older is None:
            break
        below = found.older
    assert seen == numbers[::-1]


def test_a_search_that_takes_too_long_says_where_it_stopped_and_goes_on_there() -> None:
    call(1, "rare")
    call(5 << ERA_BITS, "frequent")

    stopped = search.find("rare", clock=chain([0.0], repeat(10.0)).__next__)
    assert not stopped.hits
    assert stopped.older is not None and 1 < stopped.older <= 5 << ERA_BITS

    assert [hit.call.pk for hit in search.find("rare", stopped.older, clock=lambda: 0.0).hits] == [1]


class Clock:
    """A clock on which a statement takes a time for each block that it looks into."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, seconds_a_block: float) -> None:
        self.time, self.blocks = 0.0, 0
        look = search._in_blocks

        def slow(words: str, first: int, end: int, below: int, limit: int) -> list[search.Match]:
            self.time += (end - first) * seconds_a_block
            self.blocks += end - first
            return look(words, first, end, below, limit)

        monkeypatch.setattr(search, "_in_blocks", slow)

    def __call__(self) -> float:
        return self.time


@pytest.mark.parametrize("seconds_a_block", [0.0001, 0.002, 0.011, 0.5])
def test_a_search_in_vain_ends_in_time_however_slow_a_block_is(
    monkeypatch: pytest.MonkeyPatch, seconds_a_block: float
) -> None:
    """As with two common words that never share a turn: each block costs, and nothing is found."""
    call(1, "other words")
    call(3000 << BLOCK_BITS, "other words")
    clock = Clock(monkeypatch, seconds_a_block)

    found = search.find("never said", clock=clock)

    assert not found.hits and found.older is not None
    # At least one block is looked into, whatever it costs; beyond the limit there is at most one more.
    assert clock.time <= max(search.QUICK, seconds_a_block) + seconds_a_block
    assert clock.blocks >= min(search.QUICK / seconds_a_block / 2, 256)
    below: int | None = found.older
    rounds = 0
    while below is not None and rounds < 5:
        started = clock.time
        below, rounds = search.find("never said", below, clock=clock).older, rounds + 1
        assert clock.time - started <= search.PATIENCE + seconds_a_block


def test_every_block_has_one_name() -> None:
    assert list(tags(62, 130)) == ["block 62", "block 63", "era 1", "block 128", "block 129"]
    assert list(tags(-1, 1)) == ["block -1", "block 0"]


@pytest.mark.parametrize("letter", ["𐐀", "ש", "a"])
def test_a_text_of_any_length_and_wealth_of_words_can_be_stored(letter: str) -> None:
    # Hyphenated words are indexed whole and in parts, the most that one character can cost.
    text = " ".join(f"{letter * 3}{n}-{letter * 3}{n}" for n in range(60_000))
    assert len(text) > 10 * INDEXED_CHARACTERS

    row = call(1, text, transcript=text)

    assert Turn.objects.get(call=row).message == text
    assert ids(f"{letter * 3}7") == [1]


def test_a_very_long_word_is_stored() -> None:
    row = call(1, "x" * 3_000_000)

    assert len(Turn.objects.get(call=row).message) == 3_000_000


def test_both_halves_of_the_search_are_answered_by_the_indexes() -> None:
    values: dict[str, Any] = {"words": "monday", "blocks": "'block 0'", "below": 9, "limit": 26}

    plan = plan_of(search.IN_BLOCKS, values)

    assert "Bitmap Index Scan on conversation_history_words" in plan
    assert "Bitmap Index Scan on calls_words" in plan


def test_the_index_has_the_expression_of_the_query() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT indexdef FROM pg_indexes WHERE indexname = 'conversation_history_words'")
        (definition,) = cursor.fetchone()

    assert SEPARATORS in definition and SEPARATORS in words_of('"message"', '"call_id"')


def test_a_snippet_is_cut_between_words_around_the_first_hit() -> None:
    text = f"{'before ' * 40}needle{' after' * 40}"

    shown = text_of(search.snippet(text, "needle"))

    assert shown.startswith("…before ") and shown.endswith(" after…")
    assert " [needle] " in shown and len(shown) < 2 * search.AROUND + 20


def test_marking_a_long_text_takes_no_time_to_speak_of() -> None:
    started = time.monotonic()

    parts = list(search.marked("word " * 100_000, search.pattern_of("word -word2 absent")))

    assert sum(part.is_hit for part in parts) == 100_000
    assert time.monotonic() - started < 10
