"""Calls on the timeline of a lead, with the beginning of what was said."""

from leads.timeline import Source

CALLS = Source(
    "call",
    "calls.view_call",
    """
SELECT c.started_at AS at, 'call' AS kind, c.id, jsonb_build_object(
    'lead', c.lead_id, 'ended_at', c.ended_at, 'duration', c.duration, 'outcome', c.outcome,
    'summary', left(c.summary, 500), 'transcript', left(c.transcript, 2000),
    'has_recording', c.recording_url IS NOT NULL,
    'turns', (SELECT jsonb_agg(jsonb_build_object('role', t.role, 'message', left(t.message, 500),
            'at', t.created_at) ORDER BY t.turn)
        FROM (SELECT * FROM conversation_history h WHERE h.call_id = c.id ORDER BY h.turn LIMIT 30) t)) AS data
FROM calls c WHERE c.lead_id = ANY(%(leads)s) AND (c.started_at, c.id) < (%(at)s, %(id)s)
ORDER BY c.started_at DESC, c.id DESC LIMIT %(limit)s
""",
)
