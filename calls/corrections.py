"""What staff correct on a call that has ended."""

from __future__ import annotations

from typing import NamedTuple

from django.db import transaction

from calls.models import Call
from leads.models import Lead

STATUS_AFTER: dict[str, str] = {
    Call.Outcome.INTERESTED: Lead.Status.CONTACTED,
    Call.Outcome.BUSY: Lead.Status.CONTACTED,
    Call.Outcome.NOT_INTERESTED: Lead.Status.NOT_INTERESTED,
    Call.Outcome.NO_ANSWER: Lead.Status.NO_ANSWER,
}
# What a call has won or lost for good, and what the dialler is about to change.
KEPT = (
    Lead.Status.MEETING_SCHEDULED,
    Lead.Status.NOT_INTERESTED,
    Lead.Status.QUEUED,
    Lead.Status.CALLING,
)


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
        if outcome and newest == row.pk and lead.status not in KEPT and lead.status != STATUS_AFTER[outcome]:
            lead.status = STATUS_AFTER[outcome]
            lead.save(update_fields=["status", "updated_at"])
        return before
