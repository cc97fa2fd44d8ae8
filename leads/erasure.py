"""Erase a person: what is known of them goes everywhere, and a trace remains so that nobody calls them again.

`leads` knows no calls, meetings or imports. Those apps register how to find and forget their part of a person; rows
that belong to a lead by a foreign key go with it. Everything is one transaction.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from django.db.models import Model, Q
from django.utils import timezone

from leads import tombstones
from leads.models import Lead, LeadImport, LeadImportPart
from scheduler.staff import history

LONGEST_RUN = "600s"  # of one statement: notes and answers have no index by phone
FEWEST_CHARACTERS = 5
TRAITS = ("Name", "Phone", "Email")


class BeingCalled(Exception):
    """One of the person's leads is on the telephone, or about to be called; erase or merge when that has ended."""


@dataclass
class Person:
    """All leads of one person, the duplicates included, and by what else to know them.

    `rows` are the keys of all rows that go, by model: the leads, and what refers to them, down to single turns.
    """

    leads: list[Lead]
    rows: dict[type[Model], list[int]] = field(default_factory=dict)
    former: set[str] = field(default_factory=set)  # what names, phones and e-mails were before a correction

    @property
    def lead_ids(self) -> list[int]:
        return [lead.pk for lead in self.leads]

    @property
    def phones(self) -> set[str]:
        return {lead.phone for lead in self.leads}

    @property
    def emails(self) -> set[str]:
        return {lead.email for lead in self.leads if lead.email}

    @property
    def names(self) -> set[str]:
        return {lead.name for lead in self.leads if lead.name}

    def traits(self) -> list[str]:
        """Return the texts by which a free text is known to be about the person: phones and e-mails."""
        return sorted(self.phones | self.emails | self.former)


Forget = Callable[[Person], None]
_registered: list[Forget] = []


def register(forget: Forget) -> None:
    """Have an app forget its part of a person; called before the rows go, inside of the transaction."""
    if forget not in _registered:
        _registered.append(forget)


@dataclass(frozen=True)
class Erased:
    """How many rows went, by the name of their kind."""

    rows: dict[str, int]


def erase(lead_id: int) -> Erased:
    """Erase the person of a lead. Raises Lead.DoesNotExist, and BeingCalled with nothing erased."""
    with transaction.atomic():
        _execute("SELECT set_config('statement_timeout', %s, true)", [LONGEST_RUN])
        person = person_of(lead_id, lock=True)
        refuse_active_calls(person.leads)
        person.rows = rows_of(person.lead_ids)
        person.former = _former(person)
        for forget in _registered:
            forget(person)
        _forget_history(person)
        _forget_imports(person)
        _forget_answers()
        tombstones.keep(person.phones)
        counts = {str(model._meta.verbose_name): len(keys) for model, keys in person.rows.items() if keys}
        Lead.objects.filter(pk__in=person.lead_ids).delete()
    # A lead with this phone that was just being added waited for our end, and may have asked before it.
    tombstones.stop_calls(person.phones)
    return Erased(counts)


def person_of(lead_id: int, *, lock: bool = False) -> Person:
    """Find the leads of a person: those with the same phone and, in both directions, the duplicates.

    Raises Lead.DoesNotExist.
    """
    found: set[int] = set()
    wanted = {Lead.objects.only("pk").get(pk=lead_id).pk}
    while wanted - found:
        found |= wanted
        rows = Lead.objects.filter(pk__in=found).values_list("phone", "duplicate_of")
        pairs = list(rows)
        phones = {phone for phone, _ in pairs}
        firsts = {first for _, first in pairs if first is not None}
        related = Q(phone__in=phones) | Q(duplicate_of__in=found) | Q(pk__in=firsts)
        wanted = set(Lead.objects.filter(related).values_list("pk", flat=True))
    leads = Lead.objects.filter(pk__in=found).order_by("pk")
    return Person(list(leads.select_for_update() if lock else leads))


def refuse_active_calls(leads: list[Lead]) -> None:
    """Raise BeingCalled when a locked lead is on the telephone, or a worker holds it to call it.

    A call that begins later waits for the locks of the leads.
    """
    moment = timezone.now()
    for lead in leads:
        is_claimed = lead.lease_expires_at is not None and lead.lease_expires_at > moment
        if is_claimed or lead.calls.filter(ended_at=None).exists():
            raise BeingCalled(f"{lead.pk}")


def rows_of(lead_ids: list[int]) -> dict[type[Model], list[int]]:
    """Return the keys of the leads and of all rows that refer to them, at any depth."""
    rows: dict[type[Model], list[int]] = {Lead: list(lead_ids)}
    waiting: list[type[Model]] = [Lead]
    while waiting:
        parent = waiting.pop(0)
        for relation in _children(parent):
            child = relation.model
            keys = child._base_manager.filter(**{f"{relation.name}__in": rows[parent]})
            known = rows.setdefault(child, [])
            new = set(keys.values_list("pk", flat=True)) - set(known)
            if new:
                known.extend(sorted(new))
                waiting.append(child)
    return rows


def _children(parent: type[Model]) -> Iterator[models.ForeignKey[Model, Model]]:
    """Yield the foreign keys whose rows go with a row; those that are only set to NULL stay."""
    for model in apps.get_models():
        for column in model._meta.concrete_fields:
            if (
                isinstance(column, models.ForeignKey)
                and column.remote_field.model is parent
                and column.remote_field.on_delete is models.CASCADE
                and model is not parent
            ):
                yield column


def _former(person: Person) -> set[str]:
    """Read from the history what staff have corrected; short texts would match too much."""
    kind = ContentType.objects.get_for_model(Lead)
    entries = LogEntry.objects.filter(content_type=kind, object_id__in=map(str, person.lead_ids))
    changes = [each for entry in entries for each in history.told(entry).changes if each.label in TRAITS]
    values = {value for each in changes for value in (each.before, each.after)}
    return {value for value in values if len(value) >= FEWEST_CHARACTERS}


def _forget_history(person: Person) -> None:
    for model, keys in person.rows.items():
        history.forget(model, keys)
    # Entries of other rows, such as a call that was moved to another lead: there a lead is "Ann (17)".
    named = [f"{name} ({lead.pk})" for lead in person.leads for name in (lead.name, *person.former)]
    for trait in (*person.traits(), *named):
        written = json.dumps(trait, ensure_ascii=False)[1:-1]
        _execute(FORGET_ENTRIES, {"erased": history.ERASED, "trait": _like(trait), "written": _like(written)})


FORGET_ENTRIES = """
UPDATE django_admin_log SET change_message = %(erased)s, object_repr = %(erased)s
WHERE change_message ILIKE %(written)s OR change_message ILIKE %(trait)s OR object_repr ILIKE %(trait)s
"""
# Errors of uploaded files name phones.
FORGET_ERRORS = """
UPDATE lead_imports SET errors = (
    SELECT coalesce(jsonb_agg(CASE WHEN e::text ILIKE ANY(%(traits)s) THEN jsonb_build_array(e -> 0, 'erased')
        ELSE e END ORDER BY place), '[]')
    FROM jsonb_array_elements(errors) WITH ORDINALITY AS each (e, place))
WHERE errors::text ILIKE ANY(%(traits)s)
"""
# They are encrypted, so nobody can tell whose name is inside which. The digests stay: a POST that is sent again still
# has no second effect, it is only told that its answer can no longer be read.
FORGET_ANSWERS = "UPDATE idempotent_answers SET sealed = decode(repeat('00', 28), 'hex')"


def _forget_imports(person: Person) -> None:
    # A file that waits may hold the person as well; the trace marks the lead that comes of it.
    LeadImportPart.objects.filter(lead_import__state=LeadImport.State.FAILED).delete()
    traits = [_like(trait) for trait in person.traits()]
    if traits:
        _execute(FORGET_ERRORS, {"traits": traits})


def _forget_answers() -> None:
    _execute(FORGET_ANSWERS, None)


def _like(text: str) -> str:
    escaped = text.replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"


def _execute(statement: str, parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
