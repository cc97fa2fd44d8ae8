"""The calendar of a host's week."""

from __future__ import annotations

from datetime import date, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils import timezone
from django.utils.html import format_html
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from leads.search import row_number
from meetings.availability import HostUnusable, calendars_of, free_slots, moment, seconds
from meetings.models import DAY_MINUTES, DEFAULT_MINUTES, Meeting, MeetingHost, MeetingHostException
from meetings.slots import MINUTE, Hours
from meetings.week import Column, Entry, Week

MOST_MEETINGS = 400
SHOWN = [*Meeting.LIVE, Meeting.Status.COMPLETED, Meeting.Status.NO_SHOW]
FIRST, LAST = date(1990, 1, 1), date(2100, 12, 1)


def week_link(host: int, text: str = "Week") -> SafeString:
    return format_html('<a href="{}?host={}">{}</a>', reverse("admin:meetings_meeting_week"), host, text)


def page(model_admin: Any, request: HttpRequest) -> HttpResponse:
    hosts = list(MeetingHost.objects.order_by("name", "pk"))
    chosen = row_number(request.GET.get("host", ""))
    host = next((each for each in hosts if each.pk == chosen), hosts[0] if hosts else None)
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": "Week",
        "opts": model_admin.model._meta,
        "hosts": hosts,
        "host": host,
        "viewer_zone": timezone.get_current_timezone_name(),
        "may_book": model_admin.has_add_permission(request),
    }
    if host is not None:
        context |= _filled(host, request.GET.get("day", ""), may_book=context["may_book"])
    return TemplateResponse(request, "meetings/week.html", context)


def _filled(host: MeetingHost, asked: str, *, may_book: bool) -> dict[str, Any]:
    problem = ""
    try:
        zone = ZoneInfo(host.timezone)
    except (KeyError, ValueError, OSError):
        zone, problem = ZoneInfo("UTC"), f"{host} has no known time zone; the times below are those of UTC."
    today = timezone.now().astimezone(zone).date()
    monday = _monday(asked, today)
    week = Week(monday, zone)
    meetings = _meetings(host, week)
    items: list[tuple[int, int, Any]] = [(*_span(each), each) for each in meetings[:MOST_MEETINGS]]
    free: list[tuple[int, int, datetime]] = []
    try:
        (calendar,) = calendars_of([host.pk], moment(week.start), moment(week.end))
        week.work(calendar.hours)
        if may_book:
            free = _free(host, week)
    except HostUnusable as error:
        problem = problem or str(error)
        week.work(Hours(zone, ((),) * 7))
    week.put([*items, *free])
    first, end = week.visible()
    within = {"first_day__lte": week.days[-1], "last_day__gte": week.days[0]}
    exceptions = list(host.exceptions.filter(**within))
    return {
        "problem": problem,
        "cut": len(meetings) > MOST_MEETINGS,
        "most": MOST_MEETINGS,
        "days": [_day(column, host, today, zone, exceptions) for column in week.columns],
        "hours": week.hours(first, end),
        "first": first,
        "length": end - first,
        "monday": monday,
        "sunday": monday + timedelta(days=6),
        "number": monday.isocalendar().week,
        "previous": _query(host, monday - timedelta(days=7)),
        "next": _query(host, monday + timedelta(days=7)),
        "now": _query(host, today),
        "zone": zone.key,
        "count": len(items),
    }


def _monday(asked: str, today: date) -> date:
    try:
        day = min(max(date.fromisoformat(asked), FIRST), LAST)
    except ValueError:
        day = today
    return day - timedelta(days=day.weekday())


def _meetings(host: MeetingHost, week: Week) -> list[Meeting]:
    # By the index on host and time; what is booked here lasts a day at most.
    since = moment(week.start) - timedelta(minutes=DAY_MINUTES)
    rows = host.meetings.filter(
        scheduled_time__gte=since, scheduled_time__lt=moment(week.end), status__in=SHOWN
    )
    return list(
        rows.select_related("lead").defer("notes").order_by("scheduled_time", "pk")[: MOST_MEETINGS + 1]
    )


def _span(meeting: Meeting) -> tuple[int, int]:
    start = seconds(meeting.scheduled_time)
    return start, start + (meeting.duration or DEFAULT_MINUTES) * MINUTE


def _free(host: MeetingHost, week: Week) -> list[tuple[int, int, datetime]]:
    found = free_slots([host.pk], moment(week.start), moment(week.end), now=timezone.now())
    return [(at, at + each.minutes * MINUTE, moment(at)) for each in found for at in each.starts]


def _day(
    column: Column, host: MeetingHost, today: date, zone: ZoneInfo, exceptions: list[MeetingHostException]
) -> dict[str, Any]:
    notes = [column.note] if column.note else []
    for each in exceptions:
        if each.first_day <= column.day <= each.last_day:
            notes.append(
                f"{'Other hours' if each.hours else 'Off'}{f': {each.reason}' if each.reason else ''}."
            )
    return {
        "day": column.day,
        "is_today": column.day == today,
        "notes": notes,
        "open": column.open,
        "skipped": column.skipped,
        "entries": [
            _entry(entry, host, zone)
            for entry in column.entries
            if entry.begins_here or isinstance(entry.what, Meeting)
        ],
    }


def _entry(entry: Entry, host: MeetingHost, zone: ZoneInfo) -> dict[str, Any]:
    if isinstance(entry.what, datetime):
        local = entry.what.astimezone(zone)
        return {"entry": entry, "from": f"{local:%H:%M}", "book": booking_query(host, entry.what)}
    meeting: Meeting = entry.what
    start, end = _span(meeting)
    local, until = (moment(at).astimezone(zone) for at in (start, end))
    own = timezone.localtime(meeting.scheduled_time)
    return {
        "entry": entry,
        "meeting": meeting,
        "from": f"{local:%H:%M}",
        "to": f"{until:%H:%M}",
        "own": "" if own.utcoffset() == local.utcoffset() else f"{own:%a %H:%M %Z}",
        "overlaps": meeting.status in Meeting.LIVE and entry.lanes > 1,
        "goes_on": not entry.begins_here,
    }


def _query(host: MeetingHost, day: date) -> str:
    return urlencode({"host": str(host.pk), "day": day.isoformat()})


def booking_query(host: MeetingHost, start: datetime) -> str:
    return urlencode({"host": str(host.pk), "start": start.isoformat()})
