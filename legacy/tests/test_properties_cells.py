import json
import math
from collections.abc import Callable
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

import phonenumbers
import pytest
from hypothesis import given
from hypothesis import strategies as st
from phonenumbers import PhoneNumberFormat, PhoneNumberType

from legacy import cells
from legacy.cells import BIGINT, Unreadable
from legacy.convert import hide_key
from legacy.originals import shown
from legacy.phones import is_plain, normalize
from legacy.tables import LEAD_STATUSES, OUTCOMES
from legacy.tests.anyfile import ANYTHING, PHONES, TIMES
from legacy.tests.test_properties import examples
from legacy.values import Undecodable, dump, from_json, load_row

READ = st.one_of(ANYTHING, st.binary(max_size=6).map(Undecodable), TIMES, PHONES)  # as SQLite's driver reads
KINDS = (
    PhoneNumberType.FIXED_LINE,
    PhoneNumberType.MOBILE,
    PhoneNumberType.TOLL_FREE,
    PhoneNumberType.PREMIUM_RATE,
    PhoneNumberType.VOIP,
    PhoneNumberType.UAN,
)


def e164(number: phonenumbers.PhoneNumber) -> str:
    return phonenumbers.format_number(number, PhoneNumberFormat.E164)


def example_numbers() -> list[str]:
    found = set()
    for region in phonenumbers.SUPPORTED_REGIONS:
        for kind in KINDS:
            if number := phonenumbers.example_number_for_type(region, kind):
                found.add(e164(number))
    return sorted(found)


EXAMPLES = example_numbers()


def is_real(text: str) -> bool:
    """Tell what the library itself says of a number in E.164."""
    try:
        number = phonenumbers.parse(text, None)
    except phonenumbers.NumberParseException:
        return False
    return phonenumbers.is_valid_number(number) and e164(number) == text


def converted(converter: Callable[[Any], tuple[Any, str | None]], value: Any) -> tuple[Any, str | None]:
    with suppress(Unreadable):
        return converter(value)
    return None, "unreadable"


@examples(300)
@given(READ)
def test_text_is_what_postgresql_can_hold_and_unchanged_unless_a_reason_is_given(value: Any) -> None:
    found, reason = cells.text(value)
    if found is not None:
        assert "\0" not in found
        found.encode()
    assert reason or found == value


@examples(300)
@given(READ)
def test_numbers_are_finite_and_unchanged_unless_a_reason_is_given(value: Any) -> None:
    for converter in (cells.real, cells.integer):
        found, reason = converted(converter, value)
        if found is not None:
            assert found >= 0 and math.isfinite(found)
        assert reason or found == value


@examples(300)
@given(READ)
def test_ids_fit_a_bigint_and_are_unchanged_unless_a_reason_is_given(value: Any) -> None:
    found, reason = converted(cells.identity, value)
    assert found is None or (type(found) is int and found in BIGINT)
    assert reason or found == value


@examples(300)
@given(READ)
def test_flags_and_choices_are_known_or_unreadable(value: Any) -> None:
    assert converted(cells.flag, value)[0] in (True, False, None)
    assert converted(lambda old: cells.outcome(old, OUTCOMES), value)[0] in (*OUTCOMES, None)
    with suppress(Unreadable):
        assert cells.choice(value, LEAD_STATUSES) in LEAD_STATUSES


@examples(600)
@given(READ)
def test_a_time_is_between_1990_and_2100_and_is_read_again_as_it_is_written(value: Any) -> None:
    with suppress(Unreadable):
        found = cells.moment(value)
        assert found.tzinfo is UTC and 1990 <= found.year <= 2100
        assert cells.read_moment(cells.write_moment(found)) == found


@examples(200)
@given(st.datetimes(datetime(1990, 1, 1), datetime(2100, 12, 31)))
def test_one_moment_is_the_same_in_every_form(time: datetime) -> None:
    whole = time.replace(microsecond=0, tzinfo=UTC)
    seconds = int(whole.timestamp())
    text = whole.strftime("%Y-%m-%d %H:%M:%S")
    forms = [
        text,
        text.replace(" ", "T"),
        f"{text}Z",
        f"{text}+00:00",
        f"{text}.000000",
        seconds,
        float(seconds),
    ]
    forms += [f"{seconds}"] if seconds >= 10**9 else []
    forms += [seconds * 1000, f"{seconds * 1000}"] if seconds * 1000 >= 10**12 else []
    assert {cells.moment(form) for form in forms} == {whole}


@examples(400)
@given(READ)
def test_every_value_is_had_back_from_a_note(value: Any) -> None:
    again = from_json(json.loads(dump(value)))
    if isinstance(value, bytes) and isinstance(value, Undecodable):
        again = again.encode() if isinstance(again, str) else again
    assert again == value
    assert "\\u0000" not in dump(value)
    assert load_row(dump({"cell": value})).keys() == {"cell"}
    shown(json.loads(dump(value))).encode()


@examples(200)
@given(st.one_of(st.text(st.characters(exclude_categories=["Cs"]), min_size=1), st.binary(min_size=1)))
def test_the_prefix_of_a_key_shows_at_most_a_third_of_it_in_plain_characters(key: str | bytes) -> None:
    hidden = hide_key(key)
    assert len(hidden.prefix) <= len(key) / 3 and hidden.prefix.isprintable() and hidden.prefix.isascii()
    assert hide_key(hidden) is hidden


@examples(500)
@given(PHONES)
def test_a_phone_that_passes_as_plain_is_a_real_number(phone: str) -> None:
    assert not is_plain(phone) or is_real(phone)


@examples(800)
@given(st.sampled_from(EXAMPLES), st.integers(1, 15), st.sampled_from([*"0123456789", "", "00"]))
def test_a_real_number_with_another_digit_passes_as_plain_only_if_real(
    phone: str, at: int, digit: str
) -> None:
    changed = phone[:at] + digit + phone[at + 1 :]
    assert not is_plain(changed) or is_real(changed)


def test_real_numbers_of_all_countries_pass_as_plain() -> None:
    wrong = [phone for phone in EXAMPLES if is_plain(phone) and not is_real(phone)]
    slow = [phone for phone in EXAMPLES if is_real(phone) and not is_plain(phone)]
    assert wrong == []
    assert len(slow) < len(EXAMPLES) / 10


@examples(300)
@given(
    st.one_of(PHONES, st.text(max_size=12)), st.sampled_from([None, "+1", "41", "CH", "us", "+999", "XX", ""])
)
def test_a_phone_that_was_normalized_stays_as_it_is(phone: str, country: str | None) -> None:
    found = normalize(phone, country)
    assert normalize(found.text, None if found.valid else country) == found
    assert found.text == found.text.strip()
    assert not found.valid or is_real(found.text)


@pytest.mark.parametrize(
    "junk", ["", "+", "+0", "+00", "14155550134", "+1415555013a", "+١٤١٥", "+1 4155550134"]
)
def test_what_is_no_number_in_e164_is_never_plain(junk: str) -> None:
    assert not is_plain(junk)
