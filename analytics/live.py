"""The calls that go on at this moment, on a page that renews itself."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import URLPattern, path
from django.utils import timezone

from analytics.links import listed
from analytics.reading import rows
from calls.models import Call

SHOWN = 200
SHOWN_CHARACTERS = 200
EVERY = 4  # seconds
EVERY_WITHOUT_SCRIPT = 10  # seconds
LONG = timedelta(hours=1)
DAYS = timedelta(days=2)  # from here on nobody cares for seconds
CALLS, TURNS, LEADS = "calls.view_call", "calls.view_turn", "leads.view_lead"

# The calls without an end stand in an index of their own, and the last turn of each is the end of another.
ACTIVE = """
SELECT c.id, c.lead_id, l.name, c.started_at, c.language, c.voice_name, t.turn, t.role,
    left(t.message, %(characters)s) AS message
FROM (
    SELECT id, lead_id, started_at, language, voice_name FROM calls
    WHERE ended_at IS NULL ORDER BY started_at, id LIMIT %(most)s
) c
JOIN leads l ON l.id = c.lead_id
LEFT JOIN LATERAL (
    SELECT turn, role, message FROM conversation_history h WHERE h.call_id = c.id ORDER BY turn DESC LIMIT 1
) t ON true
ORDER BY c.started_at, c.id
"""
NUMBER = "SELECT count(*) AS number FROM calls WHERE ended_at IS NULL"


@dataclass(frozen=True)
class ActiveCall:
    """One call without an end, and the last turn that was recorded of it."""

    id: int
    lead_id: int
    name: str
    started_at: datetime
    language: str | None
    voice_name: str | None
    turn: int | None
    role: str | None
    message: str | None
    now: datetime

    @property
    def running(self) -> timedelta:
        # A worker's clock may be ahead of ours.
        return max(self.now - self.started_at, timedelta())

    @property
    def length(self) -> str:
        minutes, seconds = divmod(int(self.running.total_seconds()), 60)
        hours, minutes = divmod(minutes, 60)
        if self.running >= DAYS:
            return f"{self.running.days} days"
        return f"{hours}:{minutes:02}:{seconds:02}" if hours else f"{minutes}:{seconds:02}"

    @property
    def is_long(self) -> bool:
        return self.running >= LONG


def active_calls(now: datetime) -> list[ActiveCall]:
    """Return the calls that have no end, the longest first, SHOWN at most."""
    found = rows(ACTIVE, {"most": SHOWN, "characters": SHOWN_CHARACTERS})
    return [ActiveCall(**each, now=now) for each in found]


def live(request: HttpRequest) -> HttpResponse:
    """Show the active calls: a page, or with `?part=calls` only what the page's script renews."""
    if not request.user.has_perm(CALLS):
        raise PermissionDenied
    now = timezone.now()
    calls = active_calls(now)
    # Only a full page needs the number; a call may end between the two queries.
    number = len(calls) if len(calls) < SHOWN else max(SHOWN, rows(NUMBER)[0]["number"])
    context: dict[str, Any] = {
        "calls": calls,
        "number": number,
        "others": number - len(calls),
        "as_of": now,
        "shows_turns": request.user.has_perm(TURNS),
        "links_leads": request.user.has_perm(LEADS),
        "list_link": listed(Call, state="active"),
    }
    if request.GET.get("part") == "calls":
        return TemplateResponse(request, "analytics/live_calls.html", context)
    context |= {"every": EVERY, "every_without_script": EVERY_WITHOUT_SCRIPT, "title": "Live calls"}
    return TemplateResponse(request, "analytics/live.html", {**admin.site.each_context(request), **context})


def urls() -> list[URLPattern]:
    return [path("calls/live/", admin.site.admin_view(live), name="calls_live")]
