"""What staff correct on a call that has ended."""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction
from django.utils import timezone

from calls.models import Call
from leads.models import Lead

STATUS_AFTER: dict[str, str] = {
    Call.Outcome.INTERESTED: Lead.Status.CONTACTED,
    Call.Outcome.BUSY: Lead.Status.CONTACTED,
    Call.Outcome.NOT_INTERESTED: Lead.Status.NOT_INTERESTED,
    Call.Outcome.NO_ANSWER: Lead.Status.NO_ANSWER,
}
# What a call has won or lost for good, and what the dialler is about to change.
KEPT = (Lead.Status.MEETING_SCHEDULED, Lead.Status.NOT_INTERESTED, Lead.Status.QUEUED)


class CallActive(Exception):
    """The call is going on; its outcome follows when it ends."""


class Corrected(NamedTuple):
    """The rows after the correction, and what they held before."""

    call: Call
    lead: Lead
    outcome_before: str | None
    status_before: str


def correct_outcome(call: Call, outcome: str | None) -> Corrected:
    """Give an ended call another outcome; the lead follows its newest call, unless its status is one to keep.

    Raises CallActive, and DoesNotExist for a call that is gone.
    """
    with transaction.atomic():
        # The lead first, as everywhere: who deletes it locks it before its calls.
        lead = Lead.objects.select_for_update(no_key=True).get(pk=call.lead_id)
        row = (
            Call.objects.select_for_update(no_key=True)
            .defer("transcript", "summary")
            .get(pk=call.pk, lead=lead)
        )
        if row.ended_at is None:
            raise CallActive
        before = Corrected(row, lead, row.outcome, lead.status)
        if row.outcome == outcome:
            return before
        row.outcome = outcome
        row.save(update_fields=["outcome"])
        newest = Call.objects.filter(lead=lead).values_list("pk", flat=True).first()
        is_kept = lead.status in KEPT or _is_called(lead)
        if outcome and newest == row.pk and not is_kept and lead.status != STATUS_AFTER[outcome]:
            lead.status = STATUS_AFTER[outcome]
            lead.save(update_fields=["status", "updated_at"])
        return before


def lead_on_the_telephone(call_id: int) -> Lead | None:
    """Lock and return the lead that is `calling` because of this call; None when the call is over."""
    active = Call.objects.filter(pk=call_id, ended_at=None)
    lead = Lead.objects.select_for_update(no_key=True).filter(pk__in=active.values("lead")).first()
    if lead is None or lead.status != Lead.Status.CALLING or not active.filter(lead=lead).exists():
        return None
    return lead


def hang_up(lead: Lead, call: Call) -> None:
    """Take `calling` off a lead whose call has got its end by hand, or belongs to another lead now."""
    outcome = call.outcome if call.lead_id == lead.pk else None
    if not lead.calls.filter(ended_at=None).exists():
        lead.status = STATUS_AFTER[outcome] if outcome else Lead.Status.PENDING
        lead.save(update_fields=["status", "updated_at"])


def _is_called(lead: Lead) -> bool:
    """Tell whether a lead that is `calling` has an active call, or a worker that is about to begin one."""
    is_claimed = lead.lease_expires_at is not None and lead.lease_expires_at > timezone.now()
    is_calling = lead.status == Lead.Status.CALLING
    return is_calling and (is_claimed or lead.calls.filter(ended_at=None).exists())
