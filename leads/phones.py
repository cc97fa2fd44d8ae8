import re
from functools import lru_cache

import phonenumbers

from leads.languages import DEFAULT, LANGUAGES
from leads.numbering import calling_code, verdict

PUNCTUATION = re.compile(r"[\s().+/-]+")
FEWEST_DIGITS = 5
WITHOUT_SEPARATORS = str.maketrans("", "", " ().-")


def normalise(phone: str, country_code: str | None = None) -> tuple[str, bool]:
    """Return a phone in E.164 and whether a numbering plan has it; one that has none comes back trimmed.

    `country_code` is a region (`US`) or a calling code (`+41`, `41`); it helps numbers without their own.
    """
    text = phone.strip()
    # Most numbers need no parsing, which costs ten times as much.
    if text.startswith("+"):
        plain = text if text[1:].isdigit() else text.translate(WITHOUT_SEPARATORS)
        if (is_valid := verdict(plain)) is not None:
            return (plain, True) if is_valid else (text, False)
    for candidate, region in _readings(text, country_code):
        try:
            number = phonenumbers.parse(candidate, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), True
    return text, False


def _readings(text: str, country_code: str | None) -> dict[tuple[str, str | None], None]:
    """Return what a phone may mean, each reading once and in order: abroad, dialled with 00, at home."""
    readings = ((text, None), (re.sub(r"^00", "+", text), None), (text, _region(country_code)))
    return dict.fromkeys(readings)


def origin(phone: str) -> tuple[str | None, str]:
    """Return the calling code of a phone, such as `+44`, and the language spoken there; unknown: None and `en`."""
    return _origin(phone[:4] if phone[1:4].isdigit() else phone[:8])


@lru_cache(maxsize=4096)
def _origin(start: str) -> tuple[str | None, str]:
    code = calling_code(start)
    return (None, DEFAULT) if code is None else (f"+{code}", LANGUAGES.get(code, DEFAULT))


def _region(country_code: str | None) -> str | None:
    code = (country_code or "").strip().lstrip("+")
    if code.isascii() and code.isdigit() and len(code) <= 3:
        return phonenumbers.region_code_for_country_code(int(code))
    return code.upper() or None


def searched_digits(text: str) -> str | None:
    """Return the digits of a phone as somebody types it, without trunk zeros; None for other text."""
    digits = PUNCTUATION.sub("", text)
    if not (digits.isascii() and digits.isdigit() and len(digits) >= FEWEST_DIGITS):
        return None
    return digits.lstrip("0") or None
