"""The figures of the call centre. Each says in a sentence what it counts; docs/analytics.md repeats it for users.

Days are those of the setting TIME_ZONE. A meeting counts as booked while it is scheduled, confirmed or completed.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from django.utils import timezone

from analytics.reading import figures, rows
from scheduler.rest.answers import moment

OVERVIEW = """
SELECT
    (SELECT count(*) FROM leads) AS total_leads,
    (SELECT count(*) FROM calls) AS total_calls,
    (SELECT count(*) FROM meetings WHERE status = 'scheduled') AS total_meetings,
    (SELECT count(*) FROM meetings WHERE status IN ('scheduled', 'confirmed', 'completed')) AS meetings_booked,
    (SELECT count(*) FROM meetings WHERE created_at >= %(today)s AND created_at < %(tomorrow)s
        AND status IN ('scheduled', 'confirmed', 'completed')) AS meetings_scheduled_today,
    (SELECT count(*) FROM calls WHERE started_at >= %(today)s AND started_at < %(tomorrow)s) AS calls_today,
    (SELECT avg(duration) FROM calls) AS average_call_duration
"""
CALL_OUTCOMES = """
SELECT coalesce(outcome, 'unknown') AS outcome, count(*) AS count
FROM calls GROUP BY 1 ORDER BY 2 DESC, 1
"""
LANGUAGES = """
SELECT coalesce(nullif(language, ''), 'unknown') AS language, count(*) AS count
FROM calls GROUP BY 1 ORDER BY 2 DESC, 1
"""
LEAD_STATUSES = "SELECT status, count(*) AS count FROM leads GROUP BY 1 ORDER BY 2 DESC, 1"
# A call counts once, however many meetings it led to.
VOICES = """
SELECT c.voice_id, max(c.voice_name) AS voice_name, count(*) AS total_calls,
       count(*) FILTER (WHERE m.call_id IS NOT NULL) AS meetings_booked, avg(c.duration) AS avg_duration
FROM calls c
LEFT JOIN (SELECT DISTINCT call_id FROM meetings WHERE status IN ('scheduled', 'confirmed', 'completed')) m
    ON m.call_id = c.id
WHERE c.voice_id IS NOT NULL
GROUP BY c.voice_id ORDER BY 3 DESC, 1
"""
# A lead belongs to the campaign that queued it last. Listed are campaigns with leads to call, and the latest others.
CAMPAIGNS = """
WITH waiting AS (
    SELECT (SELECT max(m.campaign_id) FROM campaign_leads m WHERE m.lead_id = l.id) AS campaign_id, l.status
    FROM leads l WHERE l.status IN ('queued', 'calling')
), counted AS (
    SELECT campaign_id, count(*) FILTER (WHERE status = 'queued') AS queued,
           count(*) FILTER (WHERE status = 'calling') AS calling
    FROM waiting WHERE campaign_id IS NOT NULL GROUP BY campaign_id
)
SELECT c.name, n.campaign_id IS NOT NULL AS is_active, coalesce(n.queued, 0) AS queued,
       coalesce(n.calling, 0) AS calling,
       (SELECT count(*) FROM campaign_leads m WHERE m.campaign_id = c.id) AS total
FROM campaigns c LEFT JOIN counted n ON n.campaign_id = c.id
WHERE n.campaign_id IS NOT NULL
   OR c.id IN (SELECT id FROM campaigns ORDER BY started_at DESC, id DESC LIMIT 10)
ORDER BY c.started_at DESC, c.id DESC
"""
# The newest of each kind first, so that three index scans stop after a few rows.
RECENT = """
(SELECT 'call' AS type, c.id, l.name, coalesce(c.outcome, CASE WHEN c.ended_at IS NULL THEN 'active' END) AS state,
        c.started_at AS at
 FROM calls c JOIN leads l ON l.id = c.lead_id ORDER BY c.started_at DESC, c.id DESC LIMIT %(limit)s)
UNION ALL
(SELECT 'meeting', m.id, l.name, m.status, m.created_at
 FROM meetings m JOIN leads l ON l.id = m.lead_id ORDER BY m.created_at DESC, m.id DESC LIMIT %(limit)s)
UNION ALL
(SELECT 'lead', id, name, status, created_at FROM leads ORDER BY created_at DESC, id DESC LIMIT %(limit)s)
ORDER BY at DESC, type, id DESC LIMIT %(limit)s
"""
TITLES = {"call": "Call with {}", "meeting": "Meeting with {}", "lead": "New lead {}"}
BAD = {"no_answer", "not_interested", "failed", "cancelled", "no_show"}
GOOD = {"interested", "meeting_scheduled", "scheduled", "confirmed", "completed"}


def overview() -> dict[str, Any]:
    """Count everything, and what happened today."""
    today = timezone.localtime().replace(hour=0, minute=0, second=0, microsecond=0)
    return figures(("overview", today), lambda: _overview(today))


def _overview(today: datetime) -> dict[str, Any]:
    # By the clock on the wall, so a day of 23 or 25 hours ends where the next one begins.
    tomorrow = today + timedelta(days=1)
    (found,) = rows(OVERVIEW, {"today": today, "tomorrow": tomorrow})
    calls = found["total_calls"]
    # What the old API had, in its order, before what it had not.
    old = ("total_leads", "total_calls", "total_meetings", "meetings_scheduled_today", "calls_today")
    return {
        **{name: found[name] for name in old},
        "conversion_rate": percent(found["total_meetings"], calls),
        "average_call_duration": rounded(found["average_call_duration"]),
        "meetings_booked": found["meetings_booked"],
        "booking_rate": percent(found["meetings_booked"], calls),
    }


def call_outcomes() -> list[dict[str, Any]]:
    """Count calls by outcome; one that is not decided counts as unknown."""
    return figures("call_outcomes", lambda: rows(CALL_OUTCOMES))


def languages() -> list[dict[str, Any]]:
    """Count calls by the language that was spoken."""
    return figures("languages", lambda: rows(LANGUAGES))


def lead_statuses() -> list[dict[str, Any]]:
    """Count leads by status, with their share in percent."""
    return figures("lead_statuses", _lead_statuses)


def _lead_statuses() -> list[dict[str, Any]]:
    found = rows(LEAD_STATUSES)
    total = sum(each["count"] for each in found)
    return [{**each, "percentage": percent(each["count"], total)} for each in found]


def voices() -> list[dict[str, Any]]:
    """Count the calls of each voice, and those that led to a booked meeting."""
    return figures("voices", _voices)


def _voices() -> list[dict[str, Any]]:
    return [
        {
            "voice_id": each["voice_id"],
            "voice_name": each["voice_name"] or each["voice_id"],
            "total_calls": each["total_calls"],
            "meetings_booked": each["meetings_booked"],
            "conversion_rate": percent(each["meetings_booked"], each["total_calls"]),
            "avg_duration": rounded(each["avg_duration"]),
        }
        for each in rows(VOICES)
    ]


def campaigns() -> list[dict[str, Any]]:
    """Count the leads of each campaign that still wait, that are being called, and that are done with."""
    return figures("campaigns", _campaigns)


def _campaigns() -> list[dict[str, Any]]:
    return [_progress(each) for each in rows(CAMPAIGNS)]


def _progress(row: dict[str, Any]) -> dict[str, Any]:
    total = row.pop("total")
    completed = total - row["queued"] - row["calling"]
    return {**row, "completed": completed, "total": total, "progress": percent(completed, total)}


def recent_activity(limit: int) -> list[dict[str, Any]]:
    """List what happened last: calls begun, meetings booked and leads received, newest first."""
    return figures(("recent_activity", limit), lambda: _recent_activity(limit))


def _recent_activity(limit: int) -> list[dict[str, Any]]:
    found = rows(RECENT, {"limit": limit})
    return [_activity(each) for each in found]


def _activity(row: dict[str, Any]) -> dict[str, Any]:
    state = row["state"] or "unknown"
    status = "error" if state in BAD else "success" if state in GOOD else "info"
    return {
        "id": f"{row['type']}-{row['id']}",
        "type": row["type"],
        "title": TITLES[row["type"]].format(row["name"] or "an unnamed lead"),
        "description": state.replace("_", " ").capitalize(),
        "time": moment(row["at"]),
        "status": status,
    }


def percent(part: int, whole: int) -> float:
    """Return a share in percent with two decimals; of nothing it is 0."""
    return round(100 * part / whole, 2) if whole else 0.0


def rounded(value: float | None) -> float:
    return round(value, 2) if value is not None else 0.0
