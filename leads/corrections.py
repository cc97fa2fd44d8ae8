"""What staff correct on a lead or delete over REST."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from django.contrib.admin.models import CHANGE, DELETION, LogEntry
from django.db import IntegrityError, transaction
from django.utils import timezone

from database.errors import constraint_of
from leads import removal, tombstones
from leads.models import Lead
from leads.phones import normalise, origin
from scheduler.rest.problems import NotFound, Problem
from scheduler.staff import history

PHONE_UNIQUE = "leads_phone_unique"


def correct(lead_id: int, changes: Mapping[str, Any], user_id: int, *, may_recall: bool) -> None:
    """Write the given columns of a lead, and who did it into its history; its origin follows another phone.

    Raises NotFound, Problem 409 when another lead has the phone or a call is going on and the status would change
    under it, and what `_require_recall` raises when the lead was not to be called.
    """
    try:
        with transaction.atomic():
            _correct(lead_id, dict(changes), user_id, may_recall)
    except IntegrityError as error:
        if constraint_of(error) != PHONE_UNIQUE:
            raise
        raise phone_taken(lead_id, changes) from None


def _correct(lead_id: int, changes: dict[str, Any], user_id: int, may_recall: bool) -> None:
    lead = Lead.objects.select_for_update().filter(pk=lead_id).first()
    if lead is None:
        raise NotFound("Lead")
    if "status" in changes and lead.status == Lead.Status.CALLING != changes["status"]:
        raise Problem(409, "call_active", "The lead is being called; its status follows from the call.")
    if {"phone", "country_code"} & set(changes):
        country = changes.get("country_code", lead.country_code)
        changes["phone"], changes["phone_valid"] = normalise(changes.get("phone", lead.phone), country)
        if changes["phone"] != lead.phone:
            changes = _told_by(changes["phone"], lead) | changes
    if lead.do_not_call and not changes.get("do_not_call", True):
        _require_recall({lead.phone, changes.get("phone", lead.phone)}, may_recall)
    for name, value in changes.items():
        setattr(lead, name, value)
    if changes:
        lead.save(update_fields=[*changes, "updated_at"])
        sentence = f"Changed {', '.join(sorted(changes))} over the API"
        LogEntry.objects.log_actions(user_id, [lead], CHANGE, sentence, single_object=True)


def _require_recall(phones: set[str], may_recall: bool) -> None:
    """Raise Problem 403 without the right to let a lead be called again, 409 for the phone of an erased person."""
    if not may_recall:
        raise Problem(403, "permission_missing", "You lack the permission leads.recall_lead.")
    if tombstones.erased(phones):
        raise Problem(409, "person_erased", "An erased person has this phone; it is never called again.")


def _told_by(phone: str, lead: Lead) -> dict[str, str]:
    """Return what is different for a lead with another phone: its calling code and the language spoken there.

    A language that the present phone does not explain was set by hand, and stays.
    """
    code, language = origin(phone)
    if code is None:
        return {}
    before = lead.phone if origin(lead.phone)[0] else lead.country_code or ""
    told = {"country_code": code, "language": language}
    if lead.language not in (None, "", origin(before)[1]):
        del told["language"]
    return {name: value for name, value in told.items() if value != getattr(lead, name)}


def phone_taken(lead_id: int, changes: Mapping[str, Any]) -> Problem:
    """Say which other lead has the phone that was to be written."""
    own = Lead.objects.filter(pk=lead_id).values_list("phone", "country_code").first() or ("", None)
    phone, _ = normalise(changes.get("phone", own[0]), changes.get("country_code", own[1]))
    other = Lead.objects.filter(phone=phone, duplicate_of=None).values_list("pk", flat=True).first()
    return Problem(409, "phone_taken", "Another lead has this phone number.", extra={"lead_id": other})


def delete(lead_id: int, user_id: int) -> None:
    """Delete a lead with its duplicates, calls, turns and meetings; the history says who did it.

    Raises NotFound, and Problem 409 while one of them is on the telephone.
    """
    with transaction.atomic():
        # A new call or meeting locks its lead at the latest when it is committed: it is either seen here, or waits
        # for our end and is then refused.
        mine = removal.with_duplicates([lead_id])
        leads = list(Lead.objects.select_for_update().filter(pk__in=mine).order_by("pk"))
        lead = next((each for each in leads if each.pk == lead_id), None)
        if lead is None:
            raise NotFound("Lead")
        if any(_is_called(each) for each in leads):
            sentence = "The lead is being called; delete it when the call has ended."
            raise Problem(409, "call_active", sentence)
        for each in leads:
            note = "Deleted over the API" if each is lead else removal.WITH_ORIGINAL
            history.record_as(user_id, [(each, history.values_written(each))], note, DELETION)
        removal.take_out(leads)


def _is_called(lead: Lead) -> bool:
    """Tell whether a call is going on or about to begin; lock the calls, as late turns may still be written to them."""
    is_claimed = lead.lease_expires_at is not None and lead.lease_expires_at > timezone.now()
    ends = list(lead.calls.select_for_update().order_by("pk").values_list("ended_at", flat=True))
    return None in ends or (is_claimed and lead.status == Lead.Status.CALLING)
