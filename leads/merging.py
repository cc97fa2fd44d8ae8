"""Bring leads of one person together: calls, meetings and whatever else refers to them go to the one that is kept.

The others stay as its emptied duplicates: what partners and imports know by their ids is still there, and so is the
way back. Duplicates are never dialled.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib.admin.models import CHANGE
from django.contrib.contenttypes.models import ContentType
from django.db import connection, transaction
from django.db.models import Field, Model
from django.utils import timezone
from django.utils.text import capfirst
from psycopg import sql

from leads.erasure import refuse_active_calls
from leads.models import CampaignLead, Lead
from scheduler.staff import history

MOST_MERGED = 50
FILLED = ("email", "country_code", "language", "timezone", "partner_id")
Status = Lead.Status
# What a merge may not take back: a booking, then a no.
RANKS = {Status.MEETING_SCHEDULED: 3, Status.NOT_INTERESTED: 2, Status.CONTACTED: 1}

MOVE_CAMPAIGNS = """
WITH gone AS (DELETE FROM campaign_leads WHERE lead_id = ANY(%(ids)s) RETURNING campaign_id)
INSERT INTO campaign_leads (lead_id, campaign_id) SELECT DISTINCT %(kept)s::bigint, campaign_id FROM gone
ON CONFLICT (lead_id, campaign_id) DO NOTHING
"""
# One statement for all rows of a kind, which moves them and writes the history of each.
MOVE = """
WITH moved AS (
    UPDATE {table} row SET {column} = %(kept)s FROM unnest(%(ids)s::bigint[], %(messages)s::text[]) old (id, message)
    WHERE row.{column} = old.id AND row.id IS DISTINCT FROM %(but)s::bigint RETURNING row.id, old.message
)
INSERT INTO django_admin_log
    (action_time, user_id, content_type_id, object_id, object_repr, action_flag, change_message)
SELECT now(), %(user)s, %(kind)s, id::text, %(name)s || ' ' || id, %(flag)s, message FROM moved ORDER BY id
"""


class NothingToMerge(ValueError):
    """The leads cannot be merged; the text says why."""


def merge(request: Any, kept_id: int, lead_ids: Sequence[int]) -> tuple[Lead, int]:
    """Merge leads into one of them; return that one, and how many rows have moved to it.

    Leads are locked in the order of their ids, so two merges wait for each other instead of deadlocking; a call that
    begins meanwhile waits as well. Raises NothingToMerge, and leads.erasure.BeingCalled while one is on the telephone.
    """
    with transaction.atomic():
        leads = list(Lead.objects.select_for_update().filter(pk__in={kept_id, *lead_ids}).order_by("pk"))
        kept = next((lead for lead in leads if lead.pk == kept_id), None)
        others = [lead for lead in leads if lead.pk != kept_id]
        if kept is None or not others:
            raise NothingToMerge("At least two leads that still exist are needed.")
        if kept.duplicate_of_id not in {None, *(lead.pk for lead in others)}:
            raise NothingToMerge(
                f"Lead {kept.pk} is itself a duplicate of lead {kept.duplicate_of_id}; keep that one."
            )
        refuse_active_calls(leads)
        before = {lead.pk: history.values_of(lead) for lead in leads}
        moved = _move(request, kept, others)
        _take_over(kept, others)
        # First they let go of their phone, then the kept one may stand without being a duplicate itself.
        for lead in others:
            lead.duplicate_of = kept
            lead.claimed_by, lead.lease_expires_at, lead.next_attempt_at = None, None, None
            if lead.status in (Status.QUEUED, Status.CALLING):
                lead.status = Status.PENDING
            lead.save()
        kept.save()
        _record(request, kept, others, before)
    return kept, moved


def _move(request: Any, kept: Lead, others: list[Lead]) -> int:
    """Let all rows that refer to the others refer to the kept lead, with an entry in the history of each."""
    with connection.cursor() as cursor:
        cursor.execute(MOVE_CAMPAIGNS, {"ids": [lead.pk for lead in others], "kept": kept.pk})
        moved = cursor.rowcount
        for relation in Lead._meta.related_objects:
            model: type[Model] = relation.related_model
            if model is not CampaignLead and relation.field.concrete and not relation.many_to_many:
                cursor.execute(*_moving(request, relation.field, kept, others))
                moved += cursor.rowcount
    return moved


def _moving(
    request: Any, field: Field[Any, Any], kept: Lead, others: list[Lead]
) -> tuple[sql.Composed, dict[str, Any]]:
    """Return the statement for one kind of row, and its parameters."""
    label, after = str(capfirst(field.verbose_name)), history.name_of(kept, kept.pk)
    moves = [
        history.Change(label, *history.shortened(history.name_of(lead, lead.pk), after)) for lead in others
    ]
    meta = field.model._meta
    table, column = sql.Identifier(meta.db_table), sql.Identifier(str(field.column))
    return sql.SQL(MOVE).format(table=table, column=column), {
        "ids": [lead.pk for lead in others],
        "messages": [history.changed_message([each], f"Merged into lead {kept.pk}") for each in moves],
        "kept": kept.pk,
        "but": kept.pk if field.model is Lead else None,
        "user": request.user.pk,
        "kind": ContentType.objects.get_for_model(field.model).pk,
        "name": str(capfirst(meta.verbose_name)),
        "flag": CHANGE,
    }


def _take_over(kept: Lead, others: list[Lead]) -> None:
    """Fill what the kept lead does not know; keep the strictest: a no, a booking, never call again."""
    for lead in others:
        for name in FILLED:
            if getattr(kept, name) in (None, ""):
                setattr(kept, name, getattr(lead, name))
        if RANKS.get(Status(lead.status), 0) > RANKS.get(Status(kept.status), 0):
            kept.status = lead.status
        if lead.created_at < kept.created_at:
            kept.created_at = lead.created_at
    kept.do_not_call = kept.do_not_call or any(lead.do_not_call for lead in others)
    kept.attempts += sum(lead.attempts for lead in others)
    kept.priority = max(kept.priority, *(lead.priority for lead in others))
    kept.duplicate_of = None
    kept.updated_at = timezone.now()


def _record(request: Any, kept: Lead, others: list[Lead], before: dict[int, dict[str, Any]]) -> None:
    names = ", ".join(str(lead.pk) for lead in others)
    history.record(
        request, [(kept, history.changes_between(before[kept.pk], kept))], f"Merged leads {names} into it"
    )
    merged = [(lead, history.changes_between(before[lead.pk], lead)) for lead in others]
    history.record(request, merged, f"Merged into lead {kept.pk}")
