"""Pure converters of single values, each after a line of the mapping table in LEGACY.md.

A converter returns the new value and the reason why it differs from the old one (None when it does not),
or raises `Unreadable` with the reason.
"""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta, tzinfo
from typing import Any

from legacy.values import Undecodable

BIGINT = range(-(2**63), 2**63)
FIRST_YEAR, LAST_YEAR = 1990, 2100
MILLISECONDS_FROM = 10**11  # as seconds that would be the year 5138, as milliseconds it is 1973

OLD_OUTCOMES = {
    "completed": "busy",
    "in_progress": "busy",
    "meeting_scheduled": "interested",
    "failed": "no_answer",
    "voicemail": "no_answer",
    "declined": "not_interested",
}
FLAGS = {"1": True, "true": True, "t": True, "yes": True, "0": False, "false": False, "f": False, "no": False}
EPOCH_IN_TEXT = re.compile(r"[0-9]{9,}(\.[0-9]*)?")  # fromisoformat would read 1762092191250 as a day of 1762
WHOLE_NUMBER = re.compile(r"[+-]?[0-9]{1,20}")
OFFSET_WITHOUT_COLON = re.compile(r"([+-]\d\d)(\d\d)?$")

Converted = tuple[Any, str | None]


class Unreadable(ValueError):
    """The value means nothing in its column; the text is the reason for a note."""


def text(value: Any) -> Converted:
    """Return text without NUL and with U+FFFD for what is not UTF-8; None stays None."""
    if value is None:
        return None, None
    if isinstance(value, str):
        return (value, None) if "\0" not in value else (value.replace("\0", ""), "NUL removed")
    if isinstance(value, bytes):
        what = "text is not UTF-8" if isinstance(value, Undecodable) else "was binary, not text"
        return value.decode("utf-8", "replace").replace("\0", ""), what
    return str(value), "was a number, not text"


def number(value: Any) -> Converted:
    """Return a finite number that is not negative; text that is a number is converted."""
    if value is None:
        return None, None
    if not isinstance(value, (int, float)):
        return _number_in_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable("not a finite number")
    if value < 0:
        raise Unreadable("negative")
    return value, None


def real(value: Any) -> Converted:
    """Return a float."""
    found, reason = number(value)
    if found is not None and found != float(found):
        reason = reason or "more digits than a float holds"
    return (None if found is None else float(found) + 0.0), reason  # adding 0.0 turns -0.0 into 0.0


def integer(value: Any) -> Converted:
    """Return an int; a fraction is rounded."""
    found, reason = number(value)
    if isinstance(found, float) and found != int(found):
        reason = "not a whole number, rounded"
    return (None if found is None else round(found)), reason


def identity(value: Any) -> Converted:
    """Return an id that fits a bigint."""
    if value is None:
        return None, None
    reason = None
    if isinstance(value, (str, bytes)):
        value, reason = _signed_number(value), "was text, not a number"
    if isinstance(value, float) and not (math.isfinite(value) and value == int(value)):
        raise Unreadable("not a whole number")
    if int(value) not in BIGINT:
        raise Unreadable("out of range")
    return int(value), reason


def flag(value: Any) -> Converted:
    """Return a bool; None stays None."""
    if value is None:
        return None, None
    if isinstance(value, float) and value in (0.0, 1.0):
        return bool(value), None
    found = FLAGS.get(str(value).strip().lower()) if isinstance(value, (int, str)) else None
    if found is None:
        raise Unreadable("not a yes or no")
    return found, None


def choice(value: Any, choices: tuple[str, ...]) -> str:
    """Return the member whose name or value this is, in any case."""
    found, _ = text(value)
    name = (found or "").strip().lower()
    if name not in choices:
        raise Unreadable(f"not one of {', '.join(choices)}" if name else "empty")
    return name


def outcome(value: Any, choices: tuple[str, ...]) -> Converted:
    """Return an outcome, one of the first eight mapped to today's four; None stays None."""
    if value is None:
        return None, None
    found, _ = text(value)
    old = (found or "").strip().lower()
    if old in OLD_OUTCOMES:
        return OLD_OUTCOMES[old], "outcome of the old system"
    return choice(value, choices), None


def moment(value: Any, zone: tzinfo = UTC) -> datetime:
    """Return a time in UTC from text or a Unix epoch number; `zone` is that of text without one.

    Raises Unreadable, also for None and for years outside 1990 to 2100.
    """
    if isinstance(value, (int, float)):
        found = _from_epoch(value)
    elif isinstance(value, str):
        found = _from_text(value.strip(), zone)
    else:
        raise Unreadable("empty" if value is None else "not a time")
    try:
        found = found.astimezone(UTC)
    except (OverflowError, ValueError):
        raise Unreadable("not a time between 1990 and 2100") from None
    if not FIRST_YEAR <= found.year <= LAST_YEAR:
        raise Unreadable("not a time between 1990 and 2100")
    return found


def write_moment(value: datetime) -> str:
    """Return a UTC time as PostgreSQL prints a `timestamp`: no zone, no trailing zeros in the fraction."""
    written = value.strftime("%Y-%m-%d %H:%M:%S")
    return f"{written}.{value.microsecond:06d}".rstrip("0") if value.microsecond else written


def read_moment(written: str) -> datetime:
    """Return the time that `write_moment` wrote."""
    return _from_text(written, UTC)


def _from_epoch(value: float) -> datetime:
    if isinstance(value, float) and not math.isfinite(value):
        raise Unreadable("not a time")
    milliseconds = abs(value) >= MILLISECONDS_FROM
    try:
        span = timedelta(milliseconds=value) if milliseconds else timedelta(seconds=value)
        return datetime(1970, 1, 1, tzinfo=UTC) + span
    except OverflowError:
        raise Unreadable("not a time between 1990 and 2100") from None


def _from_text(written: str, zone: tzinfo) -> datetime:
    if EPOCH_IN_TEXT.fullmatch(written):
        return _from_epoch(float(written))
    if "\0" in written:  # which fromisoformat takes for the end
        raise Unreadable("not a time")
    try:
        found = datetime.fromisoformat(written)
    except ValueError:
        return _from_odd_text(written, zone)
    return found if found.tzinfo else found.replace(tzinfo=zone)


def _from_odd_text(written: str, zone: tzinfo) -> datetime:
    try:
        return _from_epoch(_float(written))
    except ValueError:
        pass
    spelled = OFFSET_WITHOUT_COLON.sub(lambda m: f"{m[1]}:{m[2] or '00'}", written.replace(" +", "+"))
    try:
        found = datetime.fromisoformat(spelled)
    except ValueError:
        raise Unreadable("not a time") from None
    return found if found.tzinfo else found.replace(tzinfo=zone)


def _number_in_text(value: str | bytes) -> Converted:
    found, _ = text(value)
    try:
        parsed = _float((found or "").strip())
    except ValueError:
        raise Unreadable("not a number" if found else "empty") from None
    return number(int(parsed) if parsed.is_integer() else parsed)[0], "was text, not a number"


def _signed_number(value: str | bytes) -> int | float:
    found, _ = text(value)
    written = (found or "").strip()
    try:
        return int(written) if WHOLE_NUMBER.fullmatch(written) else _float(written)
    except ValueError:
        raise Unreadable("not a number" if written else "empty") from None


def _float(written: str) -> float:
    """Return the number; Python would also read `1_000` and digits of other scripts."""
    if "_" in written or not written.isascii():
        raise ValueError(written)
    return float(written)
