"""Campaigns: leads that are queued together, and how far each has come."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.db import connection

from leads.models import Lead
from scheduler.rest.problems import Problem

# Locked in the order of their ids, so that two campaigns with the same leads wait for each other and never
# deadlock; the one that waited then sees the other's status, and queues nobody a second time.
START = """
WITH wanted AS (
    SELECT id, phone_valid AND NOT do_not_call AND duplicate_of_id IS NULL
        AND status IN ('pending', 'no_answer') AS is_eligible
    FROM leads WHERE id = ANY(%(ids)s::bigint[]) ORDER BY id FOR UPDATE
), queued AS (
    UPDATE leads SET status = 'queued', updated_at = now()
    FROM wanted WHERE leads.id = wanted.id AND wanted.is_eligible
    RETURNING leads.id
), campaign AS (
    INSERT INTO campaigns (name, started_by_id)
    SELECT %(name)s, %(user)s::integer WHERE EXISTS (SELECT FROM queued) RETURNING id
), members AS (
    INSERT INTO campaign_leads (campaign_id, lead_id) SELECT campaign.id, queued.id FROM campaign, queued
)
SELECT (SELECT count(*) FROM wanted), (SELECT count(*) FROM queued)
"""
COUNT = "SELECT status, count(*) FROM leads GROUP BY status"


def start(name: str, lead_ids: Sequence[int], user_id: int) -> int:
    """Queue the leads that may be called, as a campaign; return how many they are.

    Raises Problem 404 when there is none of the leads, 400 when none of them may be queued.
    """
    parameters: dict[str, Any] = {"name": name, "ids": list(lead_ids), "user": user_id}
    with connection.cursor() as cursor:
        cursor.execute(START, parameters)
        found, queued = cursor.fetchone()
    if not found:
        raise Problem(404, "lead_not_found", "No valid leads found")
    if not queued:
        sentence = "No eligible leads (must be pending or no_answer status)"
        raise Problem(400, "no_eligible_leads", sentence)
    return int(queued)


def status_counts() -> dict[str, int]:
    """Count all leads by status; one that no lead has counts 0."""
    with connection.cursor() as cursor:
        cursor.execute(COUNT)
        return dict.fromkeys(Lead.Status.values, 0) | dict(cursor.fetchall())
