"""How a person is known in free text: by phones and e-mails, never by a name, which others may have.

The patterns are read alike by PostgreSQL and by `re`, without regard to case. They also match inside of JSON, where
a line break before an e-mail is the two characters backslash and n.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass

import phonenumbers

FEWEST_DIGITS = 7  # fewer would be found in times and ids
FEWEST_AT_HOME = 9  # digits without those of the country
LETTERS_OF_JSON = r"(?<=\\[bfnrt])|(?<=\\u[0-9a-f]{4})"
# The beginning and the end of an e-mail: ann@ is not in joann@ nor in jo.ann@, .com neither in .company nor .com.au.
BEFORE_EMAIL = rf"(?:(?<![\w+])(?<!\w[.-])|{LETTERS_OF_JSON})"
AFTER_EMAIL = r"(?!\w|[.-]\w)"
BEFORE_PHONE = rf"(?:(?<![0-9])|{LETTERS_OF_JSON})"
AFTER_PHONE = "(?![0-9])"
BETWEEN = " ().\N{NO-BREAK SPACE}/-"
BETWEEN_DIGITS = f"[{BETWEEN}]{{0,3}}"
_JOINED = dict.fromkeys(map(ord, BETWEEN))


def digits_of(text: str) -> str:
    return "".join(each for each in text if each in "0123456789")


def is_phone(text: str) -> bool:
    """Tell whether a text has enough digits to be nobody else's by chance."""
    return "@" not in text and len(digits_of(text)) >= FEWEST_DIGITS


def is_email(text: str) -> bool:
    name, at, domain = text.strip().partition("@")
    return bool(name and at and domain)


@dataclass(frozen=True)
class Known:
    """What a person is known by.

    The patterns decide, but with what they look at before and behind they are slow: a hundred times slower than to
    look for the e-mails and the digits themselves, which is done first.
    """

    emails: list[str]
    digits: list[str]
    patterns: list[str]

    def condition(self, text: str) -> str:
        """Write the condition on an SQL expression; `parameters` are its values."""
        # Of an AND, PostgreSQL may look at the patterns first.
        return (
            f"CASE WHEN {text} ILIKE ANY(%(known_emails)s::text[])"
            f" OR translate({text}, '{BETWEEN}', '') LIKE ANY(%(known_digits)s::text[])"
            f" THEN {text} ~* ANY(%(known)s::text[]) ELSE false END"
        )

    def parameters(self) -> dict[str, list[str]]:
        return {
            "known_emails": [f"%{literal(email)}%" for email in self.emails],
            "known_digits": [f"%{digits}%" for digits in self.digits],
            "known": self.patterns,
        }

    def is_in(self, text: str) -> bool:
        lowered, joined = text.lower(), text.translate(_JOINED)
        is_near = any(email.lower() in lowered for email in self.emails)
        is_near = is_near or any(digits in joined for digits in self.digits)
        return is_near and any(re.search(each, text, re.IGNORECASE) for each in self.patterns)


def known_by(phones: Iterable[str], emails: Iterable[str]) -> Known:
    """Know a person by phones in any spelling and by e-mails; lesser texts are left out."""
    real = sorted(filter(is_phone, phones))
    written = sorted({each for email in emails if is_email(email) for each in spellings(email.strip())})
    return Known(
        emails=written,
        digits=[_at_home(phone) or digits_of(phone) for phone in real],
        patterns=[*map(_of_phone, real), *(BEFORE_EMAIL + re.escape(each) + AFTER_EMAIL for each in written)],
    )


def literal(text: str) -> str:
    """Write a text so that LIKE finds it as it is."""
    return text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")


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
