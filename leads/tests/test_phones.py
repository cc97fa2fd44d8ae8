"""Phones: the quick way says what the library says, and a number tells where it comes from."""

import re

import phonenumbers
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from phonenumbers import COUNTRY_CODE_TO_REGION_CODE, PhoneNumberFormat

from leads.fields import checked_email, checked_phone
from leads.numbering import verdict
from leads.phones import normalise, origin


def by_the_library(text):
    text = text.strip()
    for candidate in (text, re.sub("^00", "+", text)):
        try:
            number = phonenumbers.parse(candidate, None)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, PhoneNumberFormat.E164), True
    return text, False


EXAMPLES = [
    phonenumbers.format_number(number, PhoneNumberFormat.E164)
    for region in sorted(phonenumbers.SUPPORTED_REGIONS)
    if (number := phonenumbers.example_number(region))
]
NATIONAL = st.text("0123456789", min_size=1, max_size=13)
CODES = st.sampled_from(sorted(COUNTRY_CODE_TO_REGION_CODE))


def spread(digits, separators):
    return "".join(digit + separator for digit, separator in zip(digits, separators, strict=False))


@settings(max_examples=1500, deadline=None)
@given(st.builds(lambda code, national: f"+{code}{national}", CODES, NATIONAL))
def test_any_number_comes_out_as_the_library_says(text):
    assert normalise(text) == by_the_library(text)


@settings(max_examples=800, deadline=None)
@given(
    st.sampled_from(EXAMPLES),
    st.lists(st.sampled_from(["", "", " ", "-", ".", " (", ") "]), min_size=16, max_size=16),
    st.integers(0, 9),
    st.integers(1, 14),
)
def test_any_spelling_of_a_number_comes_out_as_the_library_says(phone, separators, digit, place):
    changed = phone[:place] + str(digit) + phone[place + 1 :]
    for text in (spread(phone, ["", *separators]), spread(changed, ["", *separators]), f"00{phone[1:]}"):
        assert normalise(text) == by_the_library(text)


def test_most_numbers_need_no_parsing():
    assert len([phone for phone in EXAMPLES if verdict(phone) is True]) > 0.9 * len(EXAMPLES)
    assert verdict("+14150000000") is False


@pytest.mark.parametrize(
    ("phone", "code", "language"),
    [
        ("+972541234567", "+972", "he"), ("+14155552671", "+1", "en"), ("+442079460000", "+44", "en"),
        ("+61291234567", "+61", "en"), ("+919876543210", "+91", "en"), ("+33142345678", "+33", "fr"),
        ("+4930123456", "+49", "de"), ("+34911234567", "+34", "es"), ("+390612345678", "+39", "it"),
        ("+97141234567", "+971", "ar"), ("+48221234567", "+48", "pl"), ("+1234567890", "+1", "en"),
        ("+1 (0", "+1", "en"), ("+999123456", None, "en"), ("4155552671", None, "en"), ("+0123456", None, "en"),
        ("", None, "en"), ("+", None, "en"), ("+\u0664\u0664", None, "en"),
    ],
)  # fmt: skip
def test_calling_code_and_language_come_from_the_number(phone, code, language):
    assert origin(phone) == (code, language)


@settings(max_examples=500)
@given(st.from_regex(r"[A-Za-z0-9_.@+ -]{1,30}@?[a-z0-9.-]{0,20}", fullmatch=True))
def test_the_quick_look_at_an_address_lets_in_nothing_that_the_close_one_refuses(text):
    from django.core.exceptions import ValidationError
    from django.core.validators import validate_email

    try:
        checked_email(text)
    except ValueError:
        return
    try:
        validate_email(text.strip()) if text.strip() else None
    except ValidationError:
        pytest.fail(text)


@pytest.mark.parametrize(
    "phone", ["+123456", "+1234567890123456", "+\u06641234567", "1-800-FLOWERS", "+", "  "]
)
def test_what_is_no_number_is_refused(phone):
    with pytest.raises(ValueError, match="must"):
        checked_phone(phone)
