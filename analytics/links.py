"""Addresses of the lists behind figures: a list narrowed like this has as many rows as the figure says."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime

from django.db.models import Model
from django.urls import reverse
from django.utils.http import urlencode

from analytics.dashboard import BOOKED
from analytics.period import Period
from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting


def listed(model: type[Model], **filters: str | int | bool | datetime | Iterable[str]) -> str:
    """Return the address of a list in the admin; times are written in UTC, several values with commas."""
    written = {name: _written(value) for name, value in filters.items()}
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return f"{address}?{urlencode(written)}" if written else address


def _written(value: object) -> str:
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(sep=" ")
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, str | int):
        return str(value)
    assert isinstance(value, Iterable)
    return ",".join(map(str, value))


def calls(period: Period, *, hour: int | None = None) -> str:
    """Link to the calls that began in a period, or in one hour of the clock on any of its days."""
    within = {"started_at__gte": period.begin, "started_at__lt": period.end}
    return listed(Call, **within, **({} if hour is None else {"started_at__hour": hour}))


def calls_with(period: Period, outcome: str | None) -> str:
    """Link to the calls of a period with an outcome; None are the undecided ones."""
    state = {"outcome__isnull": "True"} if outcome is None else {"outcome__exact": outcome}
    return listed(Call, started_at__gte=period.begin, started_at__lt=period.end, **state)


def leads(period: Period | None = None, **filters: str | int | bool | datetime) -> str:
    """Link to the leads that came in during a period, or to those of all times."""
    within = {} if period is None else {"created_at__gte": period.begin, "created_at__lt": period.end}
    return listed(Lead, **within, **filters)


def meetings_made(period: Period) -> str:
    """Link to the meetings that were made in a period and are booked still."""
    return listed(Meeting, created_at__gte=period.begin, created_at__lt=period.end, status__in=BOOKED)


def meetings_between(begin: datetime, end: datetime) -> str:
    """Link to the live meetings that take place between two instants."""
    return listed(Meeting, scheduled_time__gte=begin, scheduled_time__lt=end, status__in=Meeting.LIVE)
