"""Meetings on the timeline of a lead, at the time for which they are booked."""

from leads.timeline import Source

MEETINGS = Source(
    "meeting",
    "meetings.view_meeting",
    """
SELECT m.scheduled_time AS at, 'meeting' AS kind, m.id, jsonb_build_object('lead', m.lead_id, 'host', h.name,
    'status', m.status, 'duration', m.duration, 'notes', left(m.notes, 500), 'guest', m.guest_email,
    'booked_at', m.created_at) AS data
FROM meetings m JOIN meeting_hosts h ON h.id = m.host_id
WHERE m.lead_id = ANY(%(leads)s) AND (m.scheduled_time, m.id) < (%(at)s, %(id)s)
ORDER BY m.scheduled_time DESC, m.id DESC LIMIT %(limit)s
""",
)
