import re

import phonenumbers

PUNCTUATION = re.compile(r"[\s().+/-]+")
FEWEST_DIGITS = 5


def normalise(phone: str, country_code: str | None = None) -> tuple[str, bool]:
    """Return a phone in E.164 and whether a numbering plan has it; one that has none comes back trimmed.

    `country_code` is a region (`US`) or a calling code (`+41`, `41`); it helps numbers without their own.
    """
    text = phone.strip()
    for candidate, region in ((text, None), (re.sub(r"^00", "+", text), None), (text, _region(country_code))):
        try:
            number = phonenumbers.parse(candidate, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), True
    return text, False


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
