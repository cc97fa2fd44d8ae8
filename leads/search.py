"""Finding leads the way people look for them: by name, e-mail, number of the row or phone in any spelling.

Each way has its index, so a search among a million leads reads only what it finds. Words are found by their
beginning, phones by their end (as they are dialled at home) or, after a plus, by their beginning.
"""

from __future__ import annotations

import re

from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import F, Q

from leads.expressions import beginning_with, phone_beginning_with, phone_ending_with, words_of
from leads.models import Lead
from leads.phones import PUNCTUATION, searched_digits
from scheduler.staff.expressions import IsAmong

MOST_LEADS = 500
MOST_FOUND = 3_000
FEWEST_DIGITS = 4  # the last four are what people read out
HELP = "Beginnings of words in name or e-mail, a phone in any spelling or its last digits, or the id."
TRUNK_ZERO = re.compile(r"\(0\)")
DASHES = re.compile(r"[\u2010-\u2015]")


def matching(term: str) -> Q:
    """Return the condition on leads; each word must begin a word of the name or of the e-mail."""
    condition = by_id(term) | by_phone(term)
    # Digits alone are a phone or an id: another branch would only mislead the planner.
    if (words := words_of(term)) and not "".join(words).isdecimal():
        condition |= by_words(term)
    return condition


def by_words(term: str) -> Q:
    """Return the condition for words; those of an address are whole but for the last, which may go on.

    Every address ends in one of a few words, and each row that has one would be read for its beginning.
    """
    beginnings, whole, condition = [], [], Q()
    for part in term.split():
        words = words_of(part)
        if "@" in part and len(words) > 1:
            whole += words[:-1]
            condition &= Q(email__icontains=part.replace("\0", ""))
        else:
            beginnings += words
    return condition & Q(beginning_with(beginnings, whole))


def found(term: str) -> Q:
    """Return `matching` as a set that is found first and sorted afterwards; at most `MOST_FOUND` leads.

    PostgreSQL would otherwise walk all leads from the newest on when it expects more matches than there are, or,
    joined with the set, read all leads. Of an array it expects few rows.
    """
    return Q(
        IsAmong(
            F("pk"), ArraySubquery(Lead.objects.filter(matching(term)).order_by().values("pk")[:MOST_FOUND])
        )
    )


def by_phone(term: str) -> Q:
    """Return the condition for a phone in any spelling; false for text that is none."""
    text = DASHES.sub("-", TRUNK_ZERO.sub("", term)).strip()
    digits = searched_digits(text) or _last_digits(text)
    if digits is None:
        return Q(pk__in=[])
    condition = Q(phone_ending_with(digits))
    if text.startswith("+"):
        condition |= Q(phone_beginning_with(digits))
    return condition


def _last_digits(text: str) -> str | None:
    digits = PUNCTUATION.sub("", text)
    return digits if digits.isascii() and digits.isdigit() and len(digits) >= FEWEST_DIGITS else None


def row_number(term: str) -> int | None:
    """Return the id that somebody typed, None for other text and for numbers above a bigint."""
    word = term.strip()
    return int(word) if word.isascii() and word.isdigit() and len(word) < 19 else None


def by_id(term: str) -> Q:
    """Return the condition for a row's own id; false for text that is none."""
    number = row_number(term)
    return Q(pk__in=[]) if number is None else Q(pk=number)


def ids_matching(term: str) -> list[int]:
    """Return at most `MOST_LEADS` ids, so that calls and meetings are then found by their lead index."""
    return list(Lead.objects.filter(matching(term)).order_by().values_list("pk", flat=True)[:MOST_LEADS])
