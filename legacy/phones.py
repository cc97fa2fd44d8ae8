"""Phone numbers: E.164 when the number is real, otherwise as they stand."""

from __future__ import annotations

import re
from functools import cache
from typing import NamedTuple

import phonenumbers
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneMetadata, PhoneNumberDesc, PhoneNumberFormat

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


class Phone(NamedTuple):
    text: str
    valid: bool


class _Plan(NamedTuple):
    """What the library's metadata says of one region, compiled."""

    general: re.Pattern[str]
    lengths: frozenset[int]
    leading_digits: re.Pattern[str] | None
    types: tuple[tuple[re.Pattern[str], frozenset[int]], ...]


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


def is_plain(text: str) -> bool:
    """Tell whether a number is valid and in E.164 already, at a tenth of what parsing costs.

    False says only that `normalize` must have a look. The same metadata and the same steps as
    phonenumbers.is_valid_number; numbers from which parsing might strip a national prefix are left to it.
    """
    if not (text.startswith("+") and text.isascii() and text[1:].isdigit()):
        return False
    for length in range(1, LONGEST_COUNTRY_CODE + 1):
        code = int(text[1 : 1 + length] or "0")
        if code in COUNTRY_CODE_TO_REGION_CODE:
            return _is_valid(code, text[1 + length :]) and text[1] != "0"
    return False


def _is_valid(code: int, national: str) -> bool:
    national_prefix, plans = _plans(code)
    if national_prefix is not None and national_prefix.match(national):
        return False
    for plan in plans:
        if plan.leading_digits is not None:
            if plan.leading_digits.match(national):
                return _belongs(plan, national)
        elif _belongs(plan, national):
            return True
    return False


def _belongs(plan: _Plan, national: str) -> bool:
    size = len(national)
    if size not in plan.lengths or not plan.general.fullmatch(national):
        return False
    return any(size in lengths and pattern.fullmatch(national) for pattern, lengths in plan.types)


@cache
def _plans(code: int) -> tuple[re.Pattern[str] | None, tuple[_Plan, ...]]:
    regions = COUNTRY_CODE_TO_REGION_CODE[code]
    metadata = [_metadata(code, region) for region in regions]
    prefix = metadata[0].national_prefix_for_parsing
    return re.compile(prefix) if prefix else None, tuple(_plan(each) for each in metadata)


def _metadata(code: int, region: str) -> PhoneMetadata:
    found = PhoneMetadata.metadata_for_region_or_calling_code(code, region)
    if found is None:
        raise LookupError(f"phonenumbers has no metadata for +{code} {region}")
    return found


def _plan(metadata: PhoneMetadata) -> _Plan:
    general = metadata.general_desc or PhoneNumberDesc()
    descriptions = [getattr(metadata, name) for name in TYPES]
    return _Plan(
        re.compile(general.national_number_pattern or "(?!)"),
        _lengths(general, general),
        re.compile(metadata.leading_digits) if metadata.leading_digits else None,
        tuple(
            (re.compile(each.national_number_pattern), _lengths(each, general))
            for each in descriptions
            if each is not None and each.national_number_pattern
        ),
    )


def _lengths(description: PhoneNumberDesc, general: PhoneNumberDesc) -> frozenset[int]:
    return frozenset(description.possible_length or general.possible_length)


def _regions(country_code: str | None) -> tuple[str, ...]:
    if not country_code:
        return ()
    code = country_code.strip().upper()
    code = "GB" if code == "UK" else code
    digits = code.lstrip("+")
    if digits.isascii() and digits.isdigit() and len(digits) <= LONGEST_COUNTRY_CODE:
        return COUNTRY_CODE_TO_REGION_CODE.get(int(digits), ())[:1]
    return (code,) if code in phonenumbers.SUPPORTED_REGIONS else ()
