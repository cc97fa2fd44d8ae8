"""What leads are searched by, as the index and the queries write it: both must say the same."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from django.contrib.postgres.search import SearchVectorField
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import BooleanField, F, Func, TextField, Value
from django.db.models.sql.compiler import SQLCompiler

# Characters that separate words; anything else belongs to one, in whatever script.
SEPARATORS = (
    " @._+'\"(),/&:;|!#*?<>=\\[]{}~`^$-\t\n\v\f\r\x1c\x1d\x1e\x1f\x85\xa0"
    "\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u2028\u2029\u202f\u205f\u3000"
    "\xab\xb7\xbb\u2010\u2011\u2012\u2013\u2014\u2018\u2019\u201c\u201d\u2026"
    "\u05be\u05f3\u05f4\u060c\u061b\u061f\u3001\u3002\u30fb"  # Hebrew, Arabic, Japanese
)
# Each is a separator, so no word of a name can be taken for a phone.
LAST_DIGITS, FIRST_DIGITS = "<", ">"
# A text above a megabyte has no tsvector, and a word above 2,046 bytes no place in one: the row would be refused.
LONGEST_NAME = 500
LONGEST_EMAIL = 320


class SearchedWords(Func):
    """The words of a name and an e-mail in small letters, and the digits of a phone from its end and its beginning.

    One index of them all, because each index costs every write of a lead. PostgreSQL's parser of texts would find
    URLs and numbers in names, and `translate` compares each character with each separator, for a multiple of the time.
    """

    output_field = SearchVectorField()
    template = (
        "array_to_tsvector(array_remove(string_to_array("
        "lower(regexp_replace(left({name}, {longest_name}) || ' ' || coalesce(left({email}, {longest_email}), ''),"
        " '{separator}', ' ', 'g'))"
        " || ' {last}' || reverse({digits}) || ' {first}' || {digits}, ' '), ''))"
    )

    def as_sql(  # type: ignore[override]
        self, compiler: SQLCompiler, connection: BaseDatabaseWrapper, **_: Any
    ) -> tuple[str, tuple[Any, ...]]:
        """Write the expression of the three texts, in which nothing may be a parameter."""
        name, email, phone = (compiler.compile(each)[0] for each in self.get_source_expressions())
        return self.template.format(
            name=name,
            email=email,
            longest_name=LONGEST_NAME,
            longest_email=LONGEST_EMAIL,
            digits=rf"regexp_replace({phone}, '\D', '', 'g')",
            separator="[" + re.sub(r"[][\\^-]", r"\\\g<0>", SEPARATORS).replace("'", "''") + "]",
            last=LAST_DIGITS,
            first=FIRST_DIGITS,
        ), ()


class Matches(Func):
    """Whether words match a text search query."""

    template = "(%(expressions)s)"
    arg_joiner = " @@ "
    output_field = BooleanField()


class Query(Func):
    """A text search query as its text says it: nothing parses the words in it, as nothing does in SearchedWords."""

    template = "lower(%(expressions)s)::tsquery"
    # Only its place in Matches gives it a meaning.
    output_field = TextField()


def searched_words() -> SearchedWords:
    return SearchedWords(F("name"), F("email"), F("phone"))


def words_of(text: str) -> list[str]:
    """Split a text as the index does."""
    words = text.translate(_SEPARATED).split(" ")
    return [word[:LONGEST_NAME] for word in words if word]


_SEPARATED = dict.fromkeys(map(ord, SEPARATORS + "\0"), " ")


def beginning_with(words: Iterable[str], whole: Iterable[str] = ()) -> Any:
    """Return the condition that each of the words is the beginning of one of a lead's words, or one as a whole."""
    asked = [f"'{word}':*" for word in words] + [f"'{word}'" for word in whole]
    return Matches(searched_words(), Query(Value(" & ".join(asked))))


def phone_beginning_with(digits: str) -> Any:
    return beginning_with([FIRST_DIGITS + digits])


def phone_ending_with(digits: str) -> Any:
    return beginning_with([LAST_DIGITS + digits[::-1]])
