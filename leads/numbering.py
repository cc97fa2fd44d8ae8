"""Numbering plans: whether a phone in E.164 is a real number, from phonenumbers' metadata but without its parsing."""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import NamedTuple

from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc

TYPES = (
    "fixed_line",
    "mobile",
    "toll_free",
    "premium_rate",
    "shared_cost",
    "personal_number",
    "voip",
    "pager",
    "uan",
    "voicemail",
)
LONGEST_COUNTRY_CODE = 3
DIGITS = "0123456789"


class _Country(NamedTuple):
    """All regions of a calling code of `size` digits."""

    size: int
    national_prefix: re.Pattern[str] | None
    plans: tuple[_Plan, ...]


class _Plan(NamedTuple):
    """What the library's metadata says of one region, compiled; `number` matches its numbers and no others."""

    number: re.Pattern[str]
    leading_digits: re.Pattern[str] | None


def is_plain(text: str) -> bool:
    """Tell whether a number is valid and in E.164 already, at a tenth of what parsing costs.

    False says only that the library itself must have a look.
    """
    return verdict(text) is True


def verdict(text: str) -> bool | None:
    """Tell whether a number in the form of E.164 is valid; None says that the library itself must have a look.

    The same metadata and the same steps as phonenumbers.is_valid_number. Left to the library are other forms, unknown
    calling codes, and numbers from which parsing might strip a national prefix.
    """
    if not (text.startswith("+") and text.isascii() and text[1:].isdigit()):
        return None
    country = _country(text[1 : 1 + LONGEST_COUNTRY_CODE])
    return None if country is None else _is_valid(country, text[1 + country.size :])


def calling_code(text: str) -> int | None:
    """Return the calling code that a text begins with, such as 44 of `+44 20`; None when there is none."""
    digits = "".join(character for character in text[:8] if character in DIGITS)
    if not text.startswith("+") or digits.startswith("0"):
        return None
    codes = (int(digits[:length]) for length in range(1, min(len(digits), LONGEST_COUNTRY_CODE) + 1))
    return next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)


def _is_valid(country: _Country, national: str) -> bool | None:
    if country.national_prefix is not None and country.national_prefix.match(national):
        return None
    for plan in country.plans:
        if plan.leading_digits is not None:
            if plan.leading_digits.match(national):
                return _belongs(plan, national)
        elif _belongs(plan, national):
            return True
    return False


def _belongs(plan: _Plan, national: str) -> bool:
    return plan.number.fullmatch(national) is not None


@lru_cache(maxsize=2048)
def _country(start: str) -> _Country | None:
    """Return the country of a number by its first three digits."""
    if start.startswith("0"):
        return None
    codes = (int(start[:size]) for size in range(1, len(start) + 1))
    known = next((code for code in codes if code in COUNTRY_CODE_TO_REGION_CODE), None)
    return None if known is None else _country_of(known)


@cache
def _country_of(code: int) -> _Country:
    regions = COUNTRY_CODE_TO_REGION_CODE[code]
    metadata = [_metadata(code, region) for region in regions]
    prefix = metadata[0].national_prefix_for_parsing
    return _Country(
        len(str(code)), re.compile(prefix) if prefix else None, tuple(_plan(each) for each in metadata)
    )


def _metadata(code: int, region: str) -> PhoneMetadata:
    found = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if found is None:
        raise LookupError(f"phonenumbers has no metadata for +{code} {region}")
    return found


def _plan(metadata: PhoneMetadata) -> _Plan:
    """Compile a region into one pattern: of a known length and form in general, and the same of one of its types."""
    general = metadata.general_desc or PhoneNumberDesc()
    types = [each for name in TYPES if (each := getattr(metadata, name)) and each.national_number_pattern]
    forms = "|".join(_form(each, general) for each in types) or "(?!)"
    return _Plan(
        re.compile(f"(?={_form(general, general)}\\Z)(?:{forms})"),
        re.compile(metadata.leading_digits) if metadata.leading_digits else None,
    )


def _form(description: PhoneNumberDesc, general: PhoneNumberDesc) -> str:
    lengths = [length for length in description.possible_length or general.possible_length if length > 0]
    if not lengths or not description.national_number_pattern:
        return "(?!)"
    sizes = "|".join(f"[0-9]{{{length}}}" for length in lengths)
    return f"(?:(?=(?:{sizes})\\Z)(?:{description.national_number_pattern}))"
