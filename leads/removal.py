"""Delete leads with all that belongs to them, and say beforehand what that is."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from django.contrib.admin.models import DELETION
from django.db import transaction
from django.db.models import Q, QuerySet

from leads.erasure import refuse_active_calls, rows_of
from leads.models import Lead
from scheduler.staff import history

MOST = 1000  # leads at once: they and their calls stay locked until all are gone


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


def consequences(lead_ids: list[int]) -> list[str]:
    """Say how many rows go with leads, one sentence for each kind."""
    everything = rows_of(with_duplicates(lead_ids))
    duplicates = len(everything.pop(Lead)) - len(lead_ids)
    counts = [("duplicate", "duplicates", duplicates)] + [
        (str(model._meta.verbose_name), str(model._meta.verbose_name_plural), len(keys))
        for model, keys in everything.items()
    ]
    them = "it" if len(lead_ids) == 1 else "them"
    goes = [
        f"1 {one} goes with {them}." if number == 1 else f"{number:,} {many} go with {them}."
        for one, many, number in counts
        if number
    ]
    return goes or [f"Nothing else goes with {them}."]


def delete(request: Any, leads: QuerySet[Lead]) -> int:
    """Delete leads; return how many were chosen. Raises TooMany, and BeingCalled with nothing deleted."""
    with transaction.atomic():
        chosen = list(leads.order_by().values_list("pk", flat=True)[: MOST + 1])
        if len(chosen) > MOST:
            raise TooMany
        locked = list(Lead.objects.select_for_update().filter(pk__in=with_duplicates(chosen)).order_by("pk"))
        refuse_active_calls(locked)
        gone = [lead for lead in locked if lead.pk in set(chosen)]
        written = ((lead, history.values_written(lead)) for lead in gone)
        history.record(request, written, flag=DELETION)
        Lead.objects.filter(Q(pk__in=[lead.pk for lead in locked])).delete()
    return len(gone)
