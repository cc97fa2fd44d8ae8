"""How a person is known in free text: by phones and e-mails, never by a name, which others may have.

The patterns are read alike by PostgreSQL and by `re`, without regard to case. They also match inside of JSON, where
a line break before an e-mail is the two characters backslash and n.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable

import phonenumbers

FEWEST_DIGITS = 7  # fewer would be found in times and ids
FEWEST_AT_HOME = 9  # digits without those of the country
LETTERS_OF_JSON = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4})"
# The beginning and the end of an e-mail: ann@ is not in joann@ nor in jo.ann@, and .com not in .company.
BEFORE_EMAIL = rf"(?:(?<![\w+])(?<!\w[.-])|{LETTERS_OF_JSON})"
AFTER_EMAIL = r"(?!\w|-\w)"
BEFORE_PHONE = rf"(?:(?<![0-9])|{LETTERS_OF_JSON})"
AFTER_PHONE = "(?![0-9])"
BETWEEN_DIGITS = "[ ().\N{NO-BREAK SPACE}/-]{0,3}"


def digits_of(text: str) -> str:
    return "".join(each for each in text if each in "0123456789")


def is_phone(text: str) -> bool:
    """Tell whether a text has enough digits to be nobody else's by chance."""
    return "@" not in text and len(digits_of(text)) >= FEWEST_DIGITS


def is_email(text: str) -> bool:
    name, at, domain = text.strip().partition("@")
    return bool(name and at and domain)


def patterns(phones: Iterable[str], emails: Iterable[str]) -> list[str]:
    """Return a regular expression for each phone in any spelling and for each e-mail; none for lesser texts."""
    found = {_of_phone(phone) for phone in phones if is_phone(phone)}
    for email in filter(is_email, emails):
        found |= {BEFORE_EMAIL + re.escape(each) + AFTER_EMAIL for each in spellings(email.strip())}
    return sorted(found)


def spellings(text: str) -> set[str]:
    """Return a text as it stands by itself and within JSON, where letters beyond ASCII may be numbers."""
    return {text} | {json.dumps(text, ensure_ascii=is_ascii)[1:-1] for is_ascii in (True, False)}


def _of_phone(phone: str) -> str:
    written = f"(?:00)?{_spaced(digits_of(phone))}"
    if home := _at_home(phone):
        written = f"(?:{written}|0?{BETWEEN_DIGITS}{_spaced(home)})"
    return BEFORE_PHONE + written + AFTER_PHONE


def _spaced(digits: str) -> str:
    return BETWEEN_DIGITS.join(digits)


def _at_home(phone: str) -> str:
    """Return the digits that are dialled within the country, without trunk zeros; empty when they are too few."""
    try:
        number = phonenumbers.parse(phone)
    except phonenumbers.NumberParseException:
        return ""
    digits = str(number.national_number)
    return digits if len(digits) >= FEWEST_AT_HOME else ""
