"""The words of turns and transcripts, as PostgreSQL's full text search keeps and finds them.

A word may stand in millions of turns, and an index of words knows no order: to find its newest call PostgreSQL would
read them all. So each text is also indexed under the block of calls that it belongs to, as if the block were a word
of it; a search for "agenda" in one block reads only what the two have in common.
"""

from __future__ import annotations

from collections.abc import Iterator

from django.db import models
from django.db.models import F

BLOCK_BITS = 10  # a block holds the calls whose ids agree but for these bits: 1,024
ERA_BITS = 16  # an era holds 64 blocks
BLOCKS_OF_AN_ERA = 1 << (ERA_BITS - BLOCK_BITS)

# PostgreSQL refuses a row whose words take more than 1 MiB. No text of this length can reach that, whatever it holds.
INDEXED_CHARACTERS = 50_000

# Under the locale C every character beyond ASCII counts as a letter of the word beside it, and a slash makes a path.
SEPARATORS = "/¿¡…—–·«»‹›“”„‘’‚،؛؟۔׳״־。、，！？：；"  # noqa: RUF001

# Not `translate`: it compares each character with each separator, and took half of the time of writing a turn.
# The space keeps block and era apart from what somebody said: no word has one in it.
TAGGED = (
    "(to_tsvector('simple', regexp_replace(left({text}, {most}), '[{separators}]', ' ', 'g'))"
    " || array_to_tsvector(ARRAY['block ' || ({call} >> {block}), 'era ' || ({call} >> {era})]))"
)


def words_of(text: str, call: str) -> str:
    """Write the indexed expression; `text` and `call` are column names of ours, quoted where they need it.

    A query has to repeat it to the letter, or PostgreSQL does not see that the index answers it.
    """
    return TAGGED.format(
        text=text,
        call=call,
        most=INDEXED_CHARACTERS,
        separators=SEPARATORS,
        block=BLOCK_BITS,
        era=ERA_BITS,
    )


class Words(models.Func):
    """The words of a text column with the block and era of its call, for an index."""

    def __init__(self, text: str, call: str) -> None:
        super().__init__(F(text), F(call))
        self.columns = text, call
        self.extra["template"] = words_of(f'"{text}"', f'"{call}"')

    def deconstruct(self) -> tuple[str, tuple[str, str], dict[str, object]]:
        return "calls.words.Words", self.columns, {}


def tags(first: int, end: int) -> Iterator[str]:
    """Name the blocks from `first` on and before `end`, whole eras by one name."""
    while first < end:
        if first % BLOCKS_OF_AN_ERA == 0 and first + BLOCKS_OF_AN_ERA <= end:
            yield f"era {first // BLOCKS_OF_AN_ERA}"
            first += BLOCKS_OF_AN_ERA
        else:
            yield f"block {first}"
            first += 1
