"""The queue of leads, as /metrics shows it."""

from database.figures import Figure, FigureQuery, register

# Both statuses come from the index leads_by_status; a lease is held in either.
QUEUE = """
WITH waiting AS (
    SELECT status, claimed_by, lease_expires_at, coalesce(next_attempt_at, updated_at) AS due_at,
        status = 'queued' AND phone_valid AND NOT do_not_call AND duplicate_of_id IS NULL
        AND coalesce(next_attempt_at, '-infinity') <= now()
        AND (claimed_by IS NULL OR lease_expires_at < now()) AS due
    FROM leads WHERE status IN ('queued', 'calling')
)
SELECT count(*) FILTER (WHERE status = 'queued'),
    count(*) FILTER (WHERE due),
    count(*) FILTER (WHERE claimed_by IS NOT NULL),
    count(*) FILTER (WHERE claimed_by IS NOT NULL AND lease_expires_at < now()),
    coalesce(extract(epoch FROM now() - min(due_at) FILTER (WHERE due)), 0)
FROM waiting
"""

register(
    FigureQuery(
        "queue",
        QUEUE,
        (
            Figure("scheduler_queue_leads", "Leads in the queue, due or not."),
            Figure("scheduler_queue_due", "Leads that may be called now and nobody has claimed."),
            Figure("scheduler_queue_claimed", "Leads that a worker has claimed."),
            Figure("scheduler_queue_leases_expired", "Claims whose lease has expired: their worker is gone."),
            Figure("scheduler_queue_oldest_due_seconds", "For how long the oldest due lead has been due."),
        ),
    )
)
