"""The history of rows: what staff changed, with the values before and after."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from itertools import islice, takewhile
from typing import Any, NamedTuple

from django.contrib.admin.models import ADDITION, CHANGE, DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import transaction
from django.db.models import Field, Model, QuerySet
from django.db.models.expressions import BaseExpression
from django.http import HttpRequest
from django.utils.text import capfirst

from scheduler.staff.display import NOTHING, written

SHOWN_CHARACTERS = 200
LEAD_IN = 20  # characters shown before the first that differs
BATCH = 1000  # rows locked, changed and logged together
VALUES, NOTE = "values", "note"  # beside what Django's own message holds
HIDDEN = "not shown"
SECRETS = frozenset({"password", "digest", "token", "secret"})
ERASED = "erased"


class Change(NamedTuple):
    """One column of one row, as people read it."""

    label: str
    before: str
    after: str


def values_of(row: Model) -> dict[str, Any]:
    """Return the loaded columns of a row, by attribute name."""
    return {
        field.attname: row.__dict__[field.attname]
        for field in row._meta.concrete_fields
        if field.attname in row.__dict__ and not field.generated
    }


def changes_between(before: Mapping[str, Any], row: Model) -> list[Change]:
    """Compare the columns in `before` with those that a row has; what PostgreSQL computes is left out."""
    names = Names()
    found = []
    for field in row._meta.concrete_fields:
        if field.attname not in before or getattr(field, "auto_now", False):
            continue
        old, new = before[field.attname], getattr(row, field.attname)
        if old != new and not isinstance(new, BaseExpression):
            found.append(change(field, old, new, names))
    # An empty text in place of NULL, or a time without its microseconds, is no change to anybody.
    return [each for each in found if each.before != each.after or each.after == HIDDEN]


def values_written(row: Model) -> list[Change]:
    """List what an added or deleted row holds, as changes from nothing."""
    blank = {name: None for name, value in values_of(row).items() if value not in (None, "")}
    return [each for each in changes_between(blank, row) if each.after != NOTHING]


class Names:
    """The names of related rows, each looked up once."""

    def __init__(self) -> None:
        self._known: dict[tuple[type[Model], Any], str] = {}

    def of(self, model: type[Model], key: Any) -> str:
        if (model, key) not in self._known:
            row = model._base_manager.filter(pk=key).first()
            self._known[model, key] = name_of(row, key) if row is not None else str(key)
        return self._known[model, key]


def name_of(row: object, key: object) -> str:
    """Write a row, or its name, with its key as the history does."""
    return f"{row} ({key})"


def change(field: Field[Any, Any], old: Any, new: Any, names: Names) -> Change:
    label = str(capfirst(field.verbose_name))
    if is_secret(field.name):
        return Change(label, HIDDEN, HIDDEN)
    return Change(label, *shortened(_text(field, old, names), _text(field, new, names)))


def is_secret(name: str) -> bool:
    return any(word in name for word in SECRETS)


def _text(field: Field[Any, Any], value: Any, names: Names) -> str:
    if value is None or value == "":
        return NOTHING
    if field.is_relation and field.related_model:
        return names.of(field.related_model, value)
    if isinstance(value, datetime):
        return written(value)
    if isinstance(value, bool):
        return "yes" if value else "no"
    if field.flatchoices:
        return str(dict(field.flatchoices).get(value, value))
    if isinstance(value, dict | list):
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)


def shortened(before: str, after: str) -> tuple[str, str]:
    """Cut two long texts to where they begin to differ."""
    if max(len(before), len(after)) <= SHOWN_CHARACTERS:
        return before, after
    alike = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, after, strict=False)))
    start = max(0, alike - LEAD_IN)
    return _cut(before, start), _cut(after, start)


def _cut(text: str, start: int) -> str:
    part = text[start : start + SHOWN_CHARACTERS]
    return (
        f"{'…' if start and part else ''}{part}{'…' if len(text) > start + SHOWN_CHARACTERS else ''}"
        or NOTHING
    )


def changed_message(changes: Iterable[Change], note: str = "") -> str:
    """Write a change as the history keeps it: readable by Django's own pages, with the values beside."""
    return _written(_changed(list(changes)), note)


def _deleted_message(row: Model, changes: Iterable[Change], note: str) -> str:
    deleted = {"name": str(row._meta.verbose_name), "object": str(row)[:SHOWN_CHARACTERS]}
    return _written({"deleted": deleted, VALUES: list(changes)}, note)


def _written(part: dict[str, Any], note: str) -> str:
    return json.dumps([part | ({NOTE: note} if note else {})], ensure_ascii=False)


def with_values(
    message: list[dict[str, Any]], form: Any, formsets: Iterable[Any], *, add: bool
) -> list[dict[str, Any]]:
    """Put the values before and after into the message that Django makes of a saved form and its inlines."""
    # The form that sets a password has no row, and nothing to tell.
    row = getattr(form, "instance", None)
    if row is None or (not add and not hasattr(row, "_values_before")):
        return message
    changes = _of_form(form, add=add)
    parts = [part for part in message if any("object" in body for body in part.values())]
    for part, row_changes in zip(parts, _of_inlines(formsets), strict=False):
        part[VALUES] = row_changes
    if add:
        return [{"added": {}, VALUES: changes}, *parts]
    return [_changed(changes), *parts] if changes else parts


def _changed(changes: list[Change]) -> dict[str, Any]:
    return {"changed": {"fields": [each.label for each in changes]}, VALUES: changes}


def _of_form(form: Any, *, add: bool) -> list[Change]:
    row = form.instance
    if add:
        return values_written(row)
    return [*changes_between(_touched(form, row._values_before), row), *_of_relations(form)]


def _touched(form: Any, before: dict[str, Any]) -> dict[str, Any]:
    """Leave out what the form has only carried along: its own spelling of a value, or one changed meanwhile."""
    row = form.instance
    carried = {
        field.attname
        for field in row._meta.concrete_fields
        if field.name in form.cleaned_data
        and field.name not in form.changed_data
        and field.name not in getattr(form, "derived", ())
        and getattr(row, field.attname) == _key(form.cleaned_data[field.name])
    }
    return {name: value for name, value in before.items() if name not in carried}


def _key(value: Any) -> Any:
    return value.pk if isinstance(value, Model) else value


def _of_relations(form: Any) -> list[Change]:
    """List changes of many-to-many fields, such as the groups of a user."""
    fields = {field.name: field for field in form.instance._meta.many_to_many}
    return [
        Change(
            str(capfirst(fields[name].verbose_name)),
            _listed(form.initial.get(name)),
            _listed(form.cleaned_data.get(name)),
        )
        for name in form.changed_data
        if name in fields
    ]


def _listed(rows: Iterable[Any] | None) -> str:
    return ", ".join(sorted(map(str, rows or ()))) or NOTHING


def _of_inlines(formsets: Iterable[Any]) -> Iterator[list[Change]]:
    """Yield the changes of the rows of inlines in the order of Django's message: added, changed, deleted."""
    for formset in formsets:
        forms = {id(form.instance): form for form in formset.forms}
        yield from (values_written(row) for row in formset.new_objects)
        for row, _ in formset.changed_objects:
            form = forms[id(row)]
            yield changes_between(_touched(form, _before_form(form)), row)
        yield from (values_written(row) for row in formset.deleted_objects)


def _before_form(form: Any) -> dict[str, Any]:
    fields = {field.name: field for field in form.instance._meta.concrete_fields}
    return {fields[name].attname: value for name, value in form.initial.items() if name in fields}


def record(
    request: HttpRequest,
    changed: Iterable[tuple[Model, Iterable[Change]]],
    note: str = "",
    flag: int = CHANGE,
) -> int:
    """Write one entry of the history for each row, many in one statement; return how many.

    `note` says why, or what was done where no column tells it: "Issued the API key ais_12345678…".
    """
    assert request.user.pk is not None
    return record_as(request.user.pk, changed, note, flag)


def record_as(user_id: int, changed: Iterable[tuple[Model, Iterable[Change]]], note: str, flag: int) -> int:
    """Write entries as `record` does, for a user who needs no request."""
    return len(LogEntry.objects.bulk_create(_entries(user_id, changed, note, flag), batch_size=BATCH))


def _entries(
    user_id: int, changed: Iterable[tuple[Model, Iterable[Change]]], note: str, flag: int
) -> Iterator[LogEntry]:
    for row, made in changed:
        changes = list(made)
        if flag == DELETION:
            message = _deleted_message(row, changes, note)
        else:
            message = changed_message(changes, note) if changes else note
        yield LogEntry(
            user_id=user_id,
            content_type_id=ContentType.objects.get_for_model(row, for_concrete_model=False).pk,
            object_id=str(row.pk),
            object_repr=str(row)[:200],
            action_flag=flag,
            change_message=message,
        )


def update_rows(request: HttpRequest, rows: QuerySet[Any], note: str = "", **values: Any) -> int:
    """Update rows, with the values before and after in the history of each; return how many were changed.

    Rows that hold the values already are left alone. Rows are locked, changed and logged a thousand at a time, each
    thousand in a transaction of its own. Expressions such as Now() are set, and kept out of the history.
    """
    rows = rows.select_related(None).order_by("pk")
    changed, last = 0, None
    while True:
        batch = rows if last is None else rows.filter(pk__gt=last)
        with transaction.atomic(using=rows.db):
            locked = list(batch.select_for_update(of=("self",))[:BATCH])
            changed += _update(request, locked, note, values)
        if len(locked) < BATCH:
            return changed
        last = locked[-1].pk


def _update(request: HttpRequest, locked: list[Any], note: str, values: dict[str, Any]) -> int:
    touched, entries = [], []
    for row in locked:
        before = values_of(row)
        for name, value in values.items():
            if not isinstance(value, BaseExpression):
                setattr(row, name, value)
        if values_of(row) != before:
            touched.append(row.pk)
            entries.append((row, changes_between(before, row)))
    if touched:
        type(locked[0])._base_manager.filter(pk__in=touched).update(**values)
        record(request, [each for each in entries if each[1]], note)
    return len(touched)


def forget(model: type[Model], keys: Iterable[Any]) -> int:
    """Take names and values out of the history of rows whose person is erased; return the number of entries."""
    kind = ContentType.objects.get_for_model(model, for_concrete_model=False)
    forgotten, texts = 0, map(str, keys)
    while batch := list(islice(texts, BATCH)):
        entries = LogEntry.objects.filter(content_type=kind, object_id__in=batch)
        forgotten += entries.update(object_repr=ERASED, change_message=ERASED)
    return forgotten


class Told(NamedTuple):
    """One entry of the history, as its page shows it."""

    sentence: str
    note: str
    changes: list[Change]


def told(entry: LogEntry) -> Told:
    """Read an entry, whoever wrote it; those without values have a sentence only."""
    try:
        parts = json.loads(entry.change_message) if entry.change_message.startswith("[") else []
    except ValueError:
        parts = []
    parts = [part for part in parts if isinstance(part, dict)]
    changes = [Change(*each) for part in parts for each in part.get(VALUES, ())]
    note = " ".join(part[NOTE] for part in parts if part.get(NOTE))
    return Told(_sentence(entry), note, changes)


def _sentence(entry: LogEntry) -> str:
    sentence = entry.get_change_message()
    return sentence or {ADDITION: "Added.", DELETION: "Deleted."}.get(entry.action_flag, "")
