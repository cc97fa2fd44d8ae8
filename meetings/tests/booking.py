"""What the tests of booking share: hosts, leads, and a moment that is now."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from leads.models import Lead
from meetings.models import MeetingHost

# A Monday; 10:00 in Zurich.
NOW = datetime.fromisoformat("2026-05-04T08:00+00:00")
OFFICE = {day: [["09:00", "17:00"]] for day in ("mon", "tue", "wed", "thu", "fri")}


def at(text: str) -> datetime:
    """Read a time in UTC such as `05-04 09:30`, of 2026 unless it names the year."""
    return datetime.fromisoformat(f"{text if len(text) > 11 else '2026-' + text}+00:00")


def written(times: list[datetime]) -> list[str]:
    return [f"{time:%m-%d %H:%M}" for time in times]


def host(name: str = "Ruth", **values: Any) -> MeetingHost:
    return MeetingHost.objects.create(
        **{"name": name, "timezone": "Europe/Zurich", "working_hours": OFFICE} | values
    )


def lead(number: int = 1, **values: Any) -> Lead:
    return Lead.objects.create(**{"name": f"Lead {number}", "phone": f"+1415555{number:04}"} | values)
