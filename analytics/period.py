"""The days that the home page looks at: whole days by the clock on the wall, of 23, 24 or 25 hours."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

from django.utils import timezone

CHOICES = (1, 7, 30, 90)  # days
USUAL_DAYS = 30
MOST_DAYS = 366
FIRST_DAY, LAST_DAY = date(1990, 1, 1), date(2100, 1, 1)


def begin_of(day: date) -> datetime:
    """Return the instant at which a day begins in the current time zone."""
    # In UTC: Python subtracts and compares two times of one zone by the clock on the wall.
    return timezone.make_aware(datetime.combine(day, time.min)).astimezone(UTC)


@dataclass(frozen=True)
class Period:
    """The days from `first` to `last`, both included; it covers the instants from `begin` to before `end`."""

    first: date
    last: date

    @classmethod
    def up_to(cls, last: date, days: int) -> Period:
        return cls(last - timedelta(days=days - 1), last)

    @property
    def begin(self) -> datetime:
        return begin_of(self.first)

    @property
    def end(self) -> datetime:
        return begin_of(self.last + timedelta(days=1))

    @property
    def days(self) -> int:
        return (self.last - self.first).days + 1

    def parts(self, days: int) -> Iterator[Period]:
        """Cut into stretches of so many days; the last one may be shorter."""
        first = self.first
        while first <= self.last:
            yield Period(first, min(first + timedelta(days=days - 1), self.last))
            first += timedelta(days=days)

    def __str__(self) -> str:
        if self.first == self.last:
            return f"{self.first:%a} {self.first}"
        return f"{self.first} to {self.last}"


@dataclass(frozen=True)
class Choice:
    """What somebody asked for; `error` is a sentence about a wish that could not be met."""

    period: Period
    days: int | None = None
    error: str = ""


def chosen(wishes: Mapping[str, str], today: date) -> Choice:
    """Read `days`, or `from` and `to`, of an address; anything wrong gives the usual days and a sentence."""
    if "from" in wishes or "to" in wishes:
        return _between(wishes.get("from", ""), wishes.get("to", ""), today)
    text = wishes.get("days", str(USUAL_DAYS))
    if text in map(str, CHOICES):
        return Choice(Period.up_to(today, int(text)), int(text))
    *others, last = CHOICES
    return _usual(today, f"Choose {', '.join(map(str, others))} or {last} days.")


def _between(first: str, last: str, today: date) -> Choice:
    try:
        period = Period(date.fromisoformat(first), date.fromisoformat(last))
    except ValueError:
        return _usual(today, "Give both days, the first and the last, each like 2026-03-29.")
    if period.first > period.last:
        return _usual(today, f"The first day, {first}, comes after the last, {last}.")
    if not FIRST_DAY <= period.first <= period.last < LAST_DAY:
        return _usual(today, "Give days between 1990 and 2099.")
    if period.days > MOST_DAYS:
        return _usual(
            today, f"These are {period.days:,} days; {MOST_DAYS} at most can be looked at together."
        )
    return Choice(period)


def _usual(today: date, error: str) -> Choice:
    return Choice(Period.up_to(today, USUAL_DAYS), USUAL_DAYS, error)
