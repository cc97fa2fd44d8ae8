"""Finding what was said: the newest calls in which words occur, a block of calls after the other."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from django.db import connection
from django.db.models.functions import Left

from calls.models import Call, Turn
from calls.words import BLOCK_BITS, INDEXED_CHARACTERS, SEPARATORS, tags, words_of

HITS = 25
MOST_CHARACTERS = 200  # of what is searched for
QUICK = 0.06  # seconds after which a search shows what it has, though there may be older calls
PATIENCE = 2.0  # seconds for somebody who has nothing yet and asks to look further
MOST_BLOCKS = 1024  # searched in one statement
GROWTH = 4  # of the number of blocks from one statement to the next
AROUND = 80  # characters shown on both sides of a word found

BLANKS = str.maketrans(dict.fromkeys(SEPARATORS, " ") | dict.fromkeys("“”„«»", '"'))
NO_WORDS = "Give at least one word to look for."

# MATERIALIZED: sorted by call at once, PostgreSQL would walk all turns in the order of their calls instead.
IN_BLOCKS = f"""
WITH asked AS (SELECT websearch_to_tsquery('simple', %(words)s) && %(blocks)s::tsquery AS query),
found AS MATERIALIZED (
    SELECT call_id, turn FROM conversation_history, asked
    WHERE {words_of('"message"', '"call_id"')} @@ query
    UNION ALL
    SELECT calls.id, NULL FROM calls, asked
    WHERE transcript IS NOT NULL AND {words_of('"transcript"', 'calls."id"')} @@ query
)
SELECT call_id, min(turn), count(turn) FROM found WHERE call_id < %(below)s
GROUP BY call_id ORDER BY call_id DESC LIMIT %(limit)s
"""
# Of a query that only excludes words, or has none, nothing is left that an index could look up.
USABLE = "SELECT querytree(websearch_to_tsquery('simple', %s)) NOT IN ('', 'T')"
TEXTS = """
SELECT call_id, turn, role, left(message, %s) FROM conversation_history
JOIN unnest(%s::bigint[], %s::int[]) AS wanted (call_id, turn) USING (call_id, turn)
"""


class BadWords(ValueError):
    """Nothing that can be looked for; the text is a sentence."""


class Part(NamedTuple):
    text: str
    is_hit: bool


class Match(NamedTuple):
    """A call with the first of its turns that matches (None: only the transcript does) and how many do."""

    call_id: int
    turn: int | None
    turns: int


@dataclass(frozen=True, slots=True)
class Hit:
    """A call in which the words occur, with a piece of what was said."""

    call: Call
    turn: int | None
    turns: int
    role: str
    snippet: list[Part]


@dataclass(slots=True)
class Found:
    """Calls from the newest id down; those with an id below `older` were not looked at (None: all were)."""

    hits: list[Hit] = field(default_factory=list)
    older: int | None = None


def find(
    asked: str, below: int | None = None, *, clock: Callable[[], float] = time.monotonic, limit: int = HITS
) -> Found:
    """Find the newest calls with an id below `below`, in a turn or the transcript of which all words occur.

    Words are whole, whatever their case; "in quotes" they follow each other, a minus excludes one, `or` stands
    between choices. Calls are looked at from the newest on, for QUICK seconds; `below` goes on where that ended.
    Raises BadWords.
    """
    words = _readable(asked)
    with connection.cursor() as cursor:
        cursor.execute(USABLE, [words])
        if not cursor.fetchone()[0]:
            raise BadWords(NO_WORDS)
    matches, older = _walk(words, below, clock, limit)
    return Found(_hits(matches, asked), older)


def _readable(asked: str) -> str:
    return asked.replace("\x00", " ")[:MOST_CHARACTERS].translate(BLANKS)


def _walk(
    words: str, below: int | None, clock: Callable[[], float], limit: int
) -> tuple[list[Match], int | None]:
    """Look into one block, then four, sixteen, …, until there are enough calls, no more blocks or no more time."""
    matches: list[Match] = []
    patience = QUICK if below is None else PATIENCE
    started, size = clock(), 1
    newest = Call.objects.order_by("-pk").values_list("pk", flat=True).first()
    if newest is None:
        return matches, None
    below = min(below or newest + 1, newest + 1)
    # A negative id, which an old file may have, lies in a block below 0.
    oldest = Call.objects.order_by("pk").values_list("pk", flat=True).first() or 0
    end = ((below - 1) >> BLOCK_BITS) + 1
    while below > oldest:
        first = max(end - size, oldest >> BLOCK_BITS)
        wanted = limit + 1 - len(matches)
        begun = clock()
        matches += _in_blocks(words, first, end, below, wanted)
        now = clock()
        if len(matches) > limit:
            return matches[:limit], matches[limit - 1].call_id
        end, below = first, first << BLOCK_BITS
        left = started + (QUICK if matches else patience) - now
        if below > oldest and left <= 0:
            return matches, below
        size = _next_size(size, now - begun, left)
    return matches, None


def _next_size(size: int, took: float, left: float) -> int:
    """Return how many blocks to look into next: GROWTH times as many, but no more than the time left allows."""
    more = min(size * GROWTH, MOST_BLOCKS)
    return max(1, min(more, int(size * left / took))) if took > 0 else more


def _in_blocks(words: str, first: int, end: int, below: int, limit: int) -> list[Match]:
    blocks = " | ".join(f"'{tag}'" for tag in tags(first, end))
    with connection.cursor() as cursor:
        cursor.execute(IN_BLOCKS, {"words": words, "blocks": blocks, "below": below, "limit": limit})
        return [Match(*row) for row in cursor.fetchall()]


def _hits(matches: Sequence[Match], asked: str) -> list[Hit]:
    if not matches:
        return []
    ids = [match.call_id for match in matches]
    calls = Call.objects.select_related("lead").defer("transcript", "summary").in_bulk(ids)
    texts = _texts(matches)
    # A call may be deleted between two queries.
    return [
        Hit(calls[match.call_id], match.turn, match.turns, role, snippet(text, asked))
        for match in matches
        if match.call_id in calls and (said := texts.get((match.call_id, match.turn)))
        for role, text in [said]
    ]


def _texts(matches: Sequence[Match]) -> dict[tuple[int, int | None], tuple[str, str]]:
    """Return role and text of what was found, by call and turn."""
    found: dict[tuple[int, int | None], tuple[str, str]] = {}
    turns = [(match.call_id, match.turn) for match in matches if match.turn is not None]
    labels = dict(Turn.Role.choices)
    if turns:
        with connection.cursor() as cursor:
            cursor.execute(TEXTS, [INDEXED_CHARACTERS, *map(list, zip(*turns, strict=True))])
            for call, turn, role, text in cursor.fetchall():
                found[call, turn] = labels[role], text
    if rest := [match.call_id for match in matches if match.turn is None]:
        texts = Call.objects.filter(pk__in=rest).order_by()
        for call, text in texts.values_list("pk", Left("transcript", INDEXED_CHARACTERS)):
            found[call, None] = "Transcript", text
    return found


def pattern_of(asked: str) -> re.Pattern[str] | None:
    """Return what to mark in a text: the words asked for, but for those that are excluded."""
    words = re.findall(r"(?<!\S)-\"[^\"]*\"|(?<!\S)-\S+|(\w+)", _readable(asked))
    wanted = {word for word in words if word and word.lower() != "or"}
    if not wanted:
        return None
    longest_first = sorted(map(re.escape, wanted), key=len, reverse=True)
    return re.compile(rf"(?<!\w)(?:{'|'.join(longest_first)})(?!\w)", re.IGNORECASE)


def marked(text: str, pattern: re.Pattern[str] | None) -> Iterator[Part]:
    """Cut a text into what matches and what lies between."""
    at = 0
    for match in pattern.finditer(text) if pattern else ():
        if match.start() > at:
            yield Part(text[at : match.start()], False)
        yield Part(match[0], True)
        at = match.end()
    if at < len(text):
        yield Part(text[at:], False)


def snippet(text: str, asked: str) -> list[Part]:
    """Return the piece of a text around the first word found, cut between words."""
    pattern = pattern_of(asked)
    match = pattern.search(text) if pattern else None
    at = match.span() if match else (0, 0)
    start, end = max(0, at[0] - AROUND), min(len(text), at[1] + AROUND)
    piece = text[start:end]
    if start and " " in text[start : at[0]]:
        piece = piece.partition(" ")[2]
    if end < len(text) and " " in text[at[1] : end]:
        piece = piece.rpartition(" ")[0]
    before, after = ("…" if start else ""), ("…" if end < len(text) else "")
    return [
        *([Part(before, False)] if before else []),
        *marked(piece, pattern),
        *([Part(after, False)] if after else []),
    ]
