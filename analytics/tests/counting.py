"""What the tests of the home page share: rows on chosen days, and links followed to the lists behind figures."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from html import unescape
from html.parser import HTMLParser

from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting, MeetingHost


def lead(number: int, created: datetime | None = None, **values) -> Lead:
    row = Lead.objects.create(
        **{"name": f"Lead {number}", "phone": f"+1415{number:07d}", "phone_valid": True, **values}
    )
    if created:
        Lead.objects.filter(pk=row.pk).update(created_at=created)
    return row


def call(of: Lead, started: datetime, outcome: str | None = None, **values) -> Call:
    ended = {"ended_at": started + timedelta(minutes=1), **values}
    return Call.objects.create(lead=of, started_at=started, outcome=outcome, **ended)


def meeting(of: Lead, when: datetime, status: str = "scheduled", created: datetime | None = None) -> Meeting:
    host, _ = MeetingHost.objects.get_or_create(name="Host")
    row = Meeting.objects.create(lead=of, host=host, scheduled_time=when, status=status, allow_overlap=True)
    if created:
        Meeting.objects.filter(pk=row.pk).update(created_at=created)
    return row


def utc(year: int, month: int, day: int, hour: int = 0, minute: int = 0, second: int = 0) -> datetime:
    return datetime(year, month, day, hour, minute, second, tzinfo=UTC)


class Links(HTMLParser):
    """Collects the links of a page with what they say: the label for those inside a chart, else the text."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.found: list[tuple[str, str]] = []
        self._open: tuple[str, str] | None = None
        self._text = ""
        self.feed(html)

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        if tag == "a":
            named = dict(attributes)
            self._open, self._text = (named.get("href") or "", named.get("aria-label") or ""), ""

    def handle_data(self, data: str) -> None:
        self._text += data

    def handle_endtag(self, tag: str) -> None:
        if tag == "a" and self._open:
            address, label = self._open
            self.found.append((address, label or self._text.strip()))
            self._open = None


def figures_with_lists(html: str) -> list[tuple[str, int]]:
    """Return (address, number) of each link to a list that says how many rows are there."""
    content = html.partition('id="content-main"')[2]
    found = []
    for address, text in Links(content).found:
        number = re.search(r"(?:^|: )([\d,]+)(?: calls)?$", unescape(text))
        if number and "_" not in address.partition("?")[0] and "/change/" not in address:
            found.append((address, int(number[1].replace(",", ""))))
    return found
