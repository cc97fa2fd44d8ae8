"""Calls in progress, as /metrics shows them."""

from database.figures import Figure, FigureQuery, register

# Answered from the partial index calls_one_active_per_lead.
ACTIVE = """
SELECT count(*), coalesce(extract(epoch FROM now() - min(started_at)), 0) FROM calls WHERE ended_at IS NULL
"""

register(
    FigureQuery(
        "calls",
        ACTIVE,
        (
            Figure("scheduler_calls_active", "Calls that have no end yet."),
            Figure("scheduler_calls_oldest_active_seconds", "Age of the oldest call without an end."),
        ),
    )
)
