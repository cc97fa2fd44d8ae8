"""Erase a person: what is known of them goes everywhere, and a trace remains so that nobody calls them again.

`leads` knows no calls, meetings or imports. Those apps register how to find and forget their part of a person; rows
that belong to a lead by a foreign key go with it. Everything is one transaction.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import reduce
from operator import or_
from typing import Any

from django.apps import apps
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import connection, models, transaction
from django.db.models import Model, Q, QuerySet
from django.utils import timezone

from leads import file_imports, tombstones, traits
from leads.models import Lead
from scheduler.staff import history

LONGEST_RUN = "600s"  # of one statement: notes and answers have no index by phone


class BeingCalled(Exception):
    """One of the person's leads is on the telephone, or about to be called; erase or merge when that has ended."""


@dataclass
class Person:
    """All leads of one person, the duplicates included, and by what else to know them.

    `rows` are the keys of all rows that go, by model: the leads, and what refers to them, down to single turns; with
    them leads of the same phone that were deleted before and have left a history.
    """

    leads: list[Lead]
    rows: dict[type[Model], list[int]] = field(default_factory=dict)
    phones: set[str] = field(default_factory=set)
    emails: set[str] = field(default_factory=set)
    names: dict[int, set[str]] = field(default_factory=dict)  # by lead, those before a correction as well
    former: set[str] = field(default_factory=set)  # phones and e-mails before a correction

    def __post_init__(self) -> None:
        self.phones |= {lead.phone for lead in self.leads}
        self.emails |= {lead.email for lead in self.leads if lead.email}
        self.names |= {lead.pk: {lead.name} for lead in self.leads}

    @property
    def lead_ids(self) -> list[int]:
        return [lead.pk for lead in self.leads]

    def known(self) -> traits.Known:
        """Return by what a free text is known to be about the person."""
        return traits.known_by(self.phones | self.former, self.emails | self.former)


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
        person = person_of(lead_id, lock=True)
        refuse_active_calls(person.leads)
        person.rows = rows_of(person.lead_ids)
        counts = {str(model._meta.verbose_name): len(keys) for model, keys in person.rows.items() if keys}
        _forget(person)
        Lead.objects.filter(pk__in=person.lead_ids).delete()
    # A lead with this phone that was just being added waited for our end, and may have asked before it.
    tombstones.stop_calls(person.phones)
    return Erased(counts)


def erase_phone(phone: str) -> None:
    """Erase what is kept of a phone, in E.164, that no lead has any more or never had; leave its trace."""
    with transaction.atomic():
        _forget(Person([], phones={phone}))
    tombstones.stop_calls([phone])


def _forget(person: Person) -> None:
    _execute("SELECT set_config('statement_timeout', %s, true)", [LONGEST_RUN])
    _remember_deleted(person)
    _remember_former(person)
    for forget in _registered:
        forget(person)
    _forget_history(person)
    _forget_imports(person)
    _forget_answers()
    tombstones.keep(person.phones)


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
    """Raise BeingCalled when one of the locked leads is; a call that begins later waits for their locks."""
    if being_called([lead.pk for lead in leads]):
        raise BeingCalled


def being_called(lead_ids: list[int]) -> bool:
    """Tell whether a lead is on the telephone, or a worker holds it to call it."""
    is_claimed = Q(lease_expires_at__gt=timezone.now())
    has_active_call = Q(calls__isnull=False, calls__ended_at=None)
    return Lead.objects.filter(is_claimed | has_active_call, pk__in=lead_ids).exists()


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


def was_deleted(phone: str) -> bool:
    """Tell whether the history may know of a deleted lead with a phone."""
    return _deletions({phone}).exists()


def _remember_deleted(person: Person) -> None:
    """Count leads in that had a phone of the person when they were deleted."""
    for entry in _deletions(person.phones):
        values = {each.label: each.after for each in history.told(entry).changes}
        if values.get("Phone") in person.phones:
            person.rows.setdefault(Lead, []).append(int(entry.object_id or 0))
            person.emails |= set(filter(traits.is_email, [values.get("Email", "")]))


def _deletions(phones: set[str]) -> QuerySet[LogEntry]:
    """Return the entries of deleted leads in which one of the phones stands as a whole value."""
    kind = ContentType.objects.get_for_model(Lead)
    # A text that is no phone, such as "unknown", others may have had as well.
    spellings = {each for phone in filter(traits.is_phone, phones) for each in traits.spellings(phone)}
    return LogEntry.objects.filter(
        reduce(or_, (Q(change_message__contains=f'"{each}"') for each in spellings), Q(pk__in=[])),
        content_type=kind,
        action_flag=DELETION,
    )


def _remember_former(person: Person) -> None:
    """Read from the history what staff have corrected."""
    kind = ContentType.objects.get_for_model(Lead)
    keys = map(str, person.rows.get(Lead, ()))
    for entry in LogEntry.objects.filter(content_type=kind, object_id__in=list(keys)):
        names = person.names.setdefault(int(entry.object_id or 0), set())
        names.add(entry.object_repr)
        for each in history.told(entry).changes:
            values = {each.before, each.after}
            if each.label == "Name":
                names |= values
            elif each.label == "Phone":
                person.former |= set(filter(traits.is_phone, values))
            elif each.label == "Email":
                person.former |= set(filter(traits.is_email, values))


def _forget_history(person: Person) -> None:
    for model, keys in person.rows.items():
        history.forget(model, keys)
    # Entries of other rows, such as a call that was moved to another lead: there a lead is "Ann (17)", a whole value.
    named = [history.name_of(name, key) for key, names in person.names.items() for name in names]
    cut = [history.shortened(history.NOTHING, name)[1] for name in named]
    written = {spelling for name in cut for spelling in traits.spellings(name)}
    known = person.known()
    about = " OR ".join(known.condition(text) for text in ("change_message", "object_repr"))
    values = [f'%"{traits.literal(text)}"%' for text in sorted(written)]
    _execute(
        f"{FORGET_ENTRIES} WHERE change_message ILIKE ANY(%(values)s::text[]) OR {about}",
        {"erased": history.ERASED, "values": values, **known.parameters()},
    )


FORGET_ENTRIES = "UPDATE django_admin_log SET change_message = %(erased)s, object_repr = %(erased)s"
# Errors of uploaded files name phones.
FORGET_ERRORS = """
UPDATE lead_imports SET errors = (
    SELECT coalesce(jsonb_agg(CASE WHEN {each} THEN jsonb_build_array(e -> 0, 'erased') ELSE e END
        ORDER BY place), '[]')
    FROM jsonb_array_elements(errors) WITH ORDINALITY AS each (e, place))
WHERE {whole}
"""
# They are encrypted, so nobody can tell whose name is inside which. The digests stay: a POST that is sent again still
# has no second effect, it is only told that its answer can no longer be read.
FORGET_ANSWERS = "UPDATE idempotent_answers SET sealed = decode(repeat('00', 28), 'hex')"


def _forget_imports(person: Person) -> None:
    # A file that a worker has already may hold the person as well; the trace marks the lead that comes of it.
    known = person.known()
    file_imports.forget(known)
    statement = FORGET_ERRORS.format(each=known.condition("e::text"), whole=known.condition("errors::text"))
    _execute(statement, known.parameters())


def _forget_answers() -> None:
    _execute(FORGET_ANSWERS, None)


def _execute(statement: str, parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
