"""Delete leads with all that belongs to them, and say beforehand what that is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import DELETION
from django.db import transaction
from django.db.models import QuerySet

from leads.erasure import being_called, refuse_active_calls, rows_of
from leads.models import Lead
from scheduler.staff import history
from scheduler.staff.deletion import MOST, Outlook, named

TOO_MANY = f"At most {MOST:,} leads can be deleted at once."
ON_THE_TELEPHONE = "One of the leads is being called; try again when the call has ended."
WITH_ORIGINAL = "Went with the lead of which it was a duplicate"


class TooMany(ValueError):
    """More leads than are deleted in one transaction."""


def with_duplicates(lead_ids: Iterable[int]) -> list[int]:
    """Return the ids, and those of all duplicates, at any depth."""
    found: set[int] = set()
    wanted = set(lead_ids)
    while wanted:
        found |= wanted
        wanted = set(Lead.objects.filter(duplicate_of__in=wanted).values_list("pk", flat=True)) - found
    return sorted(found)


def outlook(lead_ids: list[int], most: int = MOST) -> Outlook:
    """Say how many rows go with leads, one sentence for each kind, and what forbids to delete them."""
    if len(lead_ids) > most:
        return Outlook(obstacles=[TOO_MANY])
    everything = rows_of(with_duplicates(lead_ids))
    leads = everything.pop(Lead)
    them = "it" if len(lead_ids) == 1 else "them"
    found = Outlook(goes=[model for model, keys in everything.items() if keys])
    duplicates = len(leads) - len(lead_ids)
    counts = [f"{duplicates:,} duplicate{'' if duplicates == 1 else 's'}"] if duplicates else []
    counts += [named(model, len(everything[model])) for model in found.goes]
    found.consequences = [
        f"{each} {'goes' if each.startswith('1 ') else 'go'} with {them}." for each in counts
    ]
    found.consequences = found.consequences or [f"Nothing else goes with {them}."]
    if being_called(leads):
        found.obstacles.append(ON_THE_TELEPHONE)
    return found


def lost_refusals(lead_ids: list[int]) -> list[str]:
    """Say how many of the leads nobody may call, which is forgotten with them."""
    refused = Lead.objects.filter(pk__in=with_duplicates(lead_ids), do_not_call=True).count()
    if not refused:
        return []
    if len(lead_ids) == 1:
        return ["It is never to be called; that goes too. Erase the person to keep it."]
    return [
        f"{refused:,} of them {'is' if refused == 1 else 'are'} never to be called; that goes too."
        " Erase the person to keep it."
    ]


def delete(request: Any, leads: QuerySet[Lead]) -> int:
    """Delete leads; return how many were chosen. Raises TooMany, and BeingCalled with nothing deleted."""
    with transaction.atomic():
        chosen = list(leads.order_by().values_list("pk", flat=True)[: MOST + 1])
        if len(chosen) > MOST:
            raise TooMany
        locked = list(Lead.objects.select_for_update().filter(pk__in=with_duplicates(chosen)).order_by("pk"))
        refuse_active_calls(locked)
        gone = [lead for lead in locked if lead.pk in set(chosen)]
        with_them = [lead for lead in locked if lead.pk not in set(chosen)]
        for leads_gone, note in ((gone, ""), (with_them, WITH_ORIGINAL)):
            written = ((lead, history.values_written(lead)) for lead in leads_gone)
            history.record(request, written, note, flag=DELETION)
        take_out(locked)
    return len(gone)


def take_out(locked: list[Lead]) -> None:
    """Delete locked leads with all that belongs to them.

    What the history held of their calls and meetings goes too: once these are gone, nobody could tell whose it was,
    should the person ever be erased.
    """
    rows = rows_of([lead.pk for lead in locked])
    for model in rows.keys() - {Lead}:
        history.forget(model, rows[model])
    Lead.objects.filter(pk__in=rows[Lead]).delete()
