"""Phone numbers: E.164 when the number is real, otherwise as they stand."""

from __future__ import annotations

from typing import NamedTuple

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberFormat

from leads.numbering import LONGEST_COUNTRY_CODE, is_plain

__all__ = ["Phone", "is_plain", "normalize"]


class Phone(NamedTuple):
    text: str
    valid: bool


def normalize(text: str, country_code: str | None = None) -> Phone:
    """Return the E.164 form if the number is valid alone or in its country, else the trimmed text.

    `country_code` is a calling code (`+41`, `41`) or a region (`CH`), as old rows have either.
    """
    stripped = text.strip()
    attempts = [(stripped, region) for region in (None, *_regions(country_code))]
    if stripped.startswith("00"):  # how most countries dial abroad
        attempts.insert(1, (f"+{stripped[2:]}", None))
    for written, region in attempts:
        try:
            number = phonenumbers.parse(written, region)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number) and not number.extension:
            return Phone(phonenumbers.format_number(number, PhoneNumberFormat.E164), True)
    return Phone(stripped, False)


def _regions(country_code: str | None) -> tuple[str, ...]:
    if not country_code:
        return ()
    code = country_code.strip().upper()
    code = "GB" if code == "UK" else code
    digits = code.lstrip("+")
    if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_COUNTRY_CODE:
        return COUNTRY_CODE_TO_REGION_CODE.get(int(digits), ())[:1]
    return (code,) if code in phonenumbers.SUPPORTED_REGIONS else ()
