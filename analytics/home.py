"""The home page of the admin: what happened today and during the days chosen, as far as the reader may know."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from datetime import datetime
from functools import partial
from typing import Any

from django.http import HttpRequest
from django.utils import timezone
from django.utils.timezone import localtime

from analytics import dashboard, links
from analytics.charts import Bar, Series, StackedBars, share
from analytics.dashboard import OUTCOMES, CallCounts, recent
from analytics.period import CHOICES, LAST_DAY, MOST_DAYS, USUAL_DAYS, Period, chosen
from analytics.queries import percent
from analytics.recent import Counted
from analytics.state import database_state, last_import
from calls.models import Call
from leads.models import Lead
from partners.models import Partner

CALLS, LEADS = "calls.view_call", "leads.view_lead"
MEETINGS, PARTNERS = "meetings.view_meeting", "partners.view_partner"
IMPORTS = "legacy.view_importrun"
# Who may change the settings runs the system; others have no use for hosts and pools.
DATABASE = "scheduler.change_setting"
DAILY_BARS = 92  # days; more are drawn a week a bar
WEEK = 7
SHORT = {Call.Outcome.BUSY: "Busy (follow-up)"}
SERIES = (
    *(Series(SHORT.get(each, str(each.label)), f"chart-{each.value}") for each in Call.Outcome),
    Series("Undecided", "chart-undecided"),
)  # in the order of OUTCOMES

Count = Callable[[], Any]


class Page:
    """What the home page shows to one reader; remembers which figures are not of this moment."""

    def __init__(self, may: Callable[[str], bool], wishes: Mapping[str, str]) -> None:
        self.may = may
        self.now = timezone.now()
        self.choice = chosen(wishes, timezone.localdate(self.now))
        self.period = self.choice.period
        self.today = Period.up_to(timezone.localdate(self.now), 1)
        self.as_of: datetime | None = None
        self._found: dict[Any, Any] = {}

    def context(self) -> dict[str, Any]:
        panels: dict[str, tuple[tuple[str, ...], Count]] = {
            "calls": ((CALLS,), self._calls),
            "funnel": ((LEADS,), self._funnel),
            "ahead": ((MEETINGS,), self._ahead),
            "partners": ((PARTNERS, LEADS), self._partners),
            "database": ((DATABASE,), database_state),
            "imported": ((IMPORTS,), lambda: {"run": last_import()}),
        }
        shown = {name: build() for name, (needed, build) in panels.items() if all(map(self.may, needed))}
        return {
            **shown,
            "cards": [*self._cards(), *self._moment()],
            "period": self.period,
            "choice": self.choice,
            "choices": CHOICES,
            "most_days": MOST_DAYS,
            "zone": timezone.get_current_timezone_name(),
            "as_of": self.as_of,
        }

    def _counted(self, count: Callable[[Period], Any], period: Period) -> Any:
        """Return the figures of a period; those that took long may be some seconds old, as the page then says."""
        # The time zone is part of the period's meaning, and so of what the figures are kept by.
        key = (count.__name__, period, timezone.get_current_timezone_name())
        if key in self._found:
            return self._found[key]
        counted: Counted[Any] = recent.get(key, partial(count, period))
        if counted.at < self.now:
            self.as_of = min(self.as_of or counted.at, counted.at)
        self._found[key] = counted.value
        return counted.value

    def _cards(self) -> list[dict[str, Any]]:
        cards = []
        if self.may(CALLS):
            counts = [self._counted(dashboard.calls_of, each).total for each in (self.today, self.period)]
            cards.append(self._card("Calls", "that began", counts, links.calls))
        if self.may(LEADS):
            statuses = self._counted(dashboard.leads_of, self.period)
            counts = [self._counted(dashboard.leads_came, self.today), sum(each.came for each in statuses)]
            cards.append(self._card("Leads", "that came in", counts, links.leads))
        if self.may(MEETINGS):
            counts = [self._counted(dashboard.meetings_made, each) for each in (self.today, self.period)]
            cards.append(
                self._card("Meetings booked", "made, and not cancelled since", counts, links.meetings_made)
            )
        if self.may(CALLS) and self.may(MEETINGS):
            cards.append(self._booking_rate())
        return cards

    def _card(
        self, title: str, meaning: str, counts: list[int], link: Callable[[Period], str]
    ) -> dict[str, Any]:
        today, period = (f"{count:,}" for count in counts)
        return {
            "title": title,
            "meaning": meaning,
            "today": today,
            "today_link": link(self.today),
            "period": period,
            "period_link": link(self.period),
        }

    def _booking_rate(self) -> dict[str, Any]:
        rates = []
        for period in (self.today, self.period):
            calls = self._counted(dashboard.calls_of, period).total
            meetings = self._counted(dashboard.meetings_made, period)
            rates.append(f"{percent(meetings, calls):.1f} %" if calls else "no calls")
        return {
            "title": "Booking rate",
            "meaning": "meetings booked per 100 calls",
            "today": rates[0],
            "today_link": links.meetings_made(self.today),
            "period": rates[1],
            "period_link": links.meetings_made(self.period),
        }

    def _moment(self) -> list[dict[str, Any]]:
        """Return the cards of this moment: active calls and the queue."""
        if not (self.may(CALLS) or self.may(LEADS)):
            return []
        now = dashboard.now()
        cards = []
        if self.may(CALLS):
            since = (
                f"the longest since {localtime(now.oldest):%Y-%m-%d %H:%M}" if now.oldest else "none at all"
            )
            cards.append(
                {"title": "Active calls now", "live": True, "now": f"{now.active:,}", "meaning": since}
            )
        if self.may(LEADS):
            cards.append({"title": "Queue", **_queue(now)})
        return cards

    def _calls(self) -> dict[str, Any]:
        counts: CallCounts = self._counted(dashboard.calls_of, self.period)
        return {
            "total": counts.total,
            "outcomes": [
                {
                    "series": series,
                    "count": counts.by_outcome[outcome],
                    "share": percent(counts.by_outcome[outcome], counts.total),
                    "link": links.calls_with(self.period, outcome),
                }
                for outcome, series in zip(OUTCOMES, SERIES, strict=True)
            ],
            "charts": [_by_day(counts, self.period), _by_hour(counts, self.period)],
            "newest": self._newest() if not counts.total else None,
        }

    def _newest(self) -> dict[str, Any] | None:
        """Tell when there were calls at all, for a page that would otherwise show nothing without a word."""
        newest = recent.get("newest_call", dashboard.newest_call).value
        if newest is None:
            return None
        day = timezone.localdate(newest)
        period = Period.up_to(day, USUAL_DAYS) if day < LAST_DAY else None
        return {"at": newest, "period": period}

    def _funnel(self) -> dict[str, Any]:
        statuses = self._counted(dashboard.leads_of, self.period)
        most = max(each.total for each in statuses)
        total = sum(each.total for each in statuses)
        return {
            "total": total,
            "came": sum(each.came for each in statuses),
            "link": links.leads(),
            "came_link": links.leads(self.period),
            "statuses": [
                {
                    "label": Lead.Status(each.status).label,
                    "css": f"funnel-{each.status}",
                    "total": each.total,
                    "came": each.came,
                    "share": percent(each.total, total),
                    "length": share(each.total, most),
                    "link": links.leads(status__exact=each.status),
                    "came_link": links.leads(self.period, status__exact=each.status),
                }
                for each in statuses
            ],
        }

    def _ahead(self) -> dict[str, Any]:
        days = dashboard.meetings_ahead(self.now)
        most = max(each.count for each in days)
        return {
            "total": sum(each.count for each in days),
            "link": links.meetings_between(self.now, days[-1].end),
            "days": [
                {
                    "day": each.day,
                    "count": each.count,
                    "length": share(each.count, most),
                    "link": links.meetings_between(each.begin, each.end),
                }
                for each in days
            ],
            "next": dashboard.next_meetings(self.now),
            "shows_leads": self.may(LEADS),
        }

    def _partners(self) -> dict[str, Any]:
        found = self._counted(dashboard.partners_of, self.period)
        most = max((each["came"] for each in found), default=0)
        within = partial(links.leads, self.period)
        return {
            "link": links.listed(Partner),
            "most": dashboard.PARTNERS_SHOWN,
            "rows": [
                {
                    **each,
                    "rate": percent(each["met"], each["came"]),
                    "length": share(each["came"], most),
                    "came_link": within(partner__id__exact=each["id"]),
                    "met_link": within(
                        partner__id__exact=each["id"], status__exact=Lead.Status.MEETING_SCHEDULED
                    ),
                }
                for each in found
            ],
        }


def _queue(now: dashboard.Now) -> dict[str, Any]:
    ready = now.callable - now.later
    blocked = now.queued - now.callable
    parts = [f"{ready:,} may be called now"]
    if now.later:
        parts.append(f"{now.later:,} at a later time")
    if blocked:
        parts.append(f"{blocked:,} never: no valid phone, a duplicate, or not to be called")
    link = links.leads(status__exact=Lead.Status.QUEUED)
    return {"now": f"{now.queued:,}", "now_link": link, "meaning": "; ".join(parts)}


def _by_day(counts: CallCounts, period: Period) -> StackedBars:
    days = 1 if period.days <= DAILY_BARS else WEEK
    bars = []
    for part in period.parts(days):
        found: Counter[str | None] = Counter()
        for day in part.parts(1):
            found.update(counts.by_day.get(day.first, Counter()))
        bars.append(
            Bar(f"{part.first:%-d %b}", str(part), [found[each] for each in OUTCOMES], links.calls(part))
        )
    title = "Calls by day and outcome" if days == 1 else "Calls by week and outcome"
    return StackedBars(title, "Day" if days == 1 else "Week", "calls", SERIES, bars)


def _by_hour(counts: CallCounts, period: Period) -> StackedBars:
    bars = []
    for hour in range(24):
        found = counts.by_hour.get(hour, Counter())
        title = f"{hour:02}:00 to {hour + 1:02}:00"
        bars.append(
            Bar(f"{hour:02}:00", title, [found[each] for each in OUTCOMES], links.calls(period, hour=hour))
        )
    return StackedBars("Calls by hour and outcome", "Hour", "calls", SERIES, bars)


def home(request: HttpRequest, context: dict[str, Any]) -> dict[str, Any]:
    """Add the figures to the context of the admin's index; named in the settings of unfold."""
    wishes = {name: str(value) for name, value in request.GET.items()}
    return {**context, "home": Page(request.user.has_perm, wishes).context()}
