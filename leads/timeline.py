"""All that happened with a lead, newest first: one statement, whatever the number of kinds.

Each app registers its own kind. A source yields (at, kind, id, data) of the leads named in %(leads)s that come before
the place (%(at)s, %(id)s), newest first, at most %(limit)s: so each reads its index from there on, and no more.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.core import signing
from django.db import connection
from django.utils.dateparse import parse_datetime

from leads.models import Lead
from scheduler.staff.history import Told, told

PAGE = 25
MOST_DUPLICATES = 200  # of a lead whose events are shown with its own
SALT = "leads.timeline"
Place = tuple[str, str, int]
# Later than whatever PostgreSQL holds of ours; infinity compares with all of it.
START: Place = ("infinity", "~", 2**63 - 1)

SOURCE_NAMES = {"lead": "Came in", "history": "History", "campaign": "Campaign"}


@dataclass(frozen=True, slots=True)
class Source:
    """One kind of event: shown to those who hold the permission."""

    kind: str
    permission: str
    sql: str


@dataclass(slots=True)
class Event:
    at: datetime
    kind: str
    id: int
    data: dict[str, Any]
    lead: int
    told: Told | None = None

    @property
    def is_to_come(self) -> bool:
        return self.at > datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Page:
    """`next` is the place to ask for next, empty at the end."""

    events: list[Event]
    next: str


ARRIVALS = Source(
    "lead",
    "leads.view_lead",
    """
SELECT l.created_at AS at, 'lead' AS kind, l.id, jsonb_build_object('lead', l.id, 'name', l.name, 'phone', l.phone,
    'duplicate', l.duplicate_of_id IS NOT NULL, 'partner', p.name,
    'file', (SELECT i.file_name FROM lead_imports i WHERE i.leads_created_at = l.created_at LIMIT 1)) AS data
FROM leads l LEFT JOIN partners p ON p.id = l.partner_id
WHERE l.id = ANY(%(leads)s) AND (l.created_at, l.id) < (%(at)s, %(id)s)
ORDER BY l.created_at DESC, l.id DESC LIMIT %(limit)s
""",
)
CAMPAIGNS = Source(
    "campaign",
    "leads.view_lead",
    """
SELECT c.started_at AS at, 'campaign' AS kind, c.id, jsonb_build_object('lead', m.lead_id, 'name', c.name) AS data
FROM campaign_leads m JOIN campaigns c ON c.id = m.campaign_id
WHERE m.lead_id = ANY(%(leads)s) AND (c.started_at, c.id) < (%(at)s, %(id)s)
ORDER BY c.started_at DESC, c.id DESC LIMIT %(limit)s
""",
)
HISTORY = Source(
    "history",
    "leads.view_lead",
    """
SELECT e.action_time AS at, 'history' AS kind, e.id, jsonb_build_object('lead', e.object_id::bigint,
    'flag', e.action_flag, 'message', e.change_message, 'repr', e.object_repr, 'user', u.username) AS data
FROM django_admin_log e JOIN auth_user u ON u.id = e.user_id
WHERE e.content_type_id = %(lead_type)s AND e.object_id = ANY(%(lead_texts)s)
    AND (e.action_time, e.id) < (%(at)s, %(id)s)
ORDER BY e.action_time DESC, e.id DESC LIMIT %(limit)s
""",
)
_sources: dict[str, Source] = {each.kind: each for each in (ARRIVALS, CAMPAIGNS, HISTORY)}


def register(source: Source) -> None:
    _sources[source.kind] = source


def of_lead(lead: Lead, may: Callable[[str], bool], after: str = "") -> Page:
    """Return a page of the events of a lead and its duplicates that a user `may` see.

    Raises ValueError when `after` is no place that a page named.
    """
    at, kind, last_id = _read(after, lead.pk)
    sources = [each for each in _sources.values() if may(each.permission)]
    leads = [lead.pk, *lead.duplicates.order_by().values_list("pk", flat=True)[:MOST_DUPLICATES]]
    parameters: dict[str, Any] = {
        "leads": leads,
        "lead_texts": [str(key) for key in leads],
        "lead_type": ContentType.objects.get_for_model(Lead).pk,
        "limit": PAGE + 1,
    }
    with connection.cursor() as cursor:
        cursor.execute(*_statement(sources, parameters, (at, kind, last_id)))
        rows = cursor.fetchall()
    events = [_event(*row) for row in rows[:PAGE]]
    return Page(events, _written(events[-1], lead.pk) if len(rows) > PAGE else "")


def _statement(
    sources: Sequence[Source], parameters: dict[str, Any], place: Place
) -> tuple[str, dict[str, Any]]:
    """Put the sources together; at the same moment kinds follow each other backwards by their names."""
    at, kind, last_id = place
    parts = []
    for number, source in enumerate(sources):
        # Of the kind of the last event, what follows it; of later names, nothing of that moment is left.
        bound = last_id if source.kind == kind else (2**63 - 1 if source.kind < kind else 0)
        parameters |= {f"at{number}": at, f"id{number}": bound}
        sql = source.sql.replace("%(at)s", f"%(at{number})s::timestamptz")
        parts.append(f"({sql.replace('%(id)s', f'%(id{number})s::bigint')})")
    union = " UNION ALL ".join(parts)
    statement = (
        f'SELECT * FROM ({union}) events ORDER BY at DESC, kind COLLATE "C" DESC, id DESC LIMIT %(limit)s'
    )
    return statement, parameters


def _event(at: datetime, kind: str, key: int, data: str | dict[str, Any]) -> Event:
    values = json.loads(data) if isinstance(data, str) else data
    for name in ("ended_at", "booked_at"):
        if isinstance(values.get(name), str):
            values[name] = parse_datetime(values[name])
    for turn in values.get("turns") or ():
        turn["at"] = parse_datetime(turn["at"])
    event = Event(at, kind, key, values, values["lead"])
    if kind == "history":
        event.told = told(
            LogEntry(action_flag=values["flag"], change_message=values["message"], object_repr=values["repr"])
        )
    return event


def _written(event: Event, lead_id: int) -> str:
    return signing.dumps([event.at.isoformat(), event.kind, event.id, lead_id], salt=SALT)


def _read(after: str, lead_id: int) -> Place:
    if not after:
        return START
    try:
        at, kind, key, lead = signing.loads(after, salt=SALT)
    except signing.BadSignature:
        raise ValueError("This is no place on a timeline.") from None
    if lead != lead_id:
        raise ValueError("This is a place on the timeline of another lead.")
    return at, kind, key
