"""What goes when rows are deleted, counted before anybody says yes: a list of ten thousand turns would tell nobody."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from django.db.models import CASCADE, PROTECT, RESTRICT, SET_NULL, Model, QuerySet

MOST = 1000  # rows deleted at once: they stay locked until all are gone
COUNTED_UP_TO = 100_000


@dataclass
class Outlook:
    """What a deletion would do: `consequences` are told, and with any `obstacles` nothing is deleted."""

    consequences: list[str] = field(default_factory=list)
    obstacles: list[str] = field(default_factory=list)
    goes: list[type[Model]] = field(default_factory=list)  # other models of which rows go


def outlook(rows: QuerySet[Any]) -> Outlook:
    """Count what refers to rows and would go, stay without them, or forbid it."""
    keys = list(rows.order_by().values_list("pk", flat=True)[: MOST + 1])
    if len(keys) > MOST:
        return Outlook(obstacles=[f"At most {MOST:,} can be deleted at once."])
    found = Outlook()
    them = "it" if len(keys) == 1 else "them"
    for relation in rows.model._meta.related_objects:
        model: Any = relation.related_model
        referring = model._base_manager.filter(**{f"{relation.field.name}__in": keys}).order_by()
        number = referring.values("pk")[: COUNTED_UP_TO + 1].count()
        if number:
            _tell(found, relation, model, number, them)
    if not found.consequences and not found.obstacles:
        found.consequences.append(f"Nothing else goes with {them}.")
    return found


def _tell(found: Outlook, relation: Any, model: type[Model], number: int, them: str) -> None:
    rows = named(model, number)
    one = number == 1
    if relation.on_delete is CASCADE:
        found.goes.append(model)
        found.consequences.append(f"{rows} {'goes' if one else 'go'} with {them}.")
    elif relation.on_delete in (PROTECT, RESTRICT):
        found.obstacles.append(f"{rows} {'refers' if one else 'refer'} to {them}, so nothing can be deleted.")
    elif relation.on_delete is SET_NULL:
        name = relation.field.verbose_name
        found.consequences.append(f"{rows} {'stays' if one else 'stay'}, with no {name} any more.")


def named(model: type[Model], number: int) -> str:
    """Write a number of rows with the name of their kind, such as `1 turn`."""
    meta = model._meta
    if number > COUNTED_UP_TO:
        return f"Over {COUNTED_UP_TO:,} {meta.verbose_name_plural}"
    return f"{number:,} {meta.verbose_name if number == 1 else meta.verbose_name_plural}"


def missing_rights(site: Any, request: Any, models: Iterable[type[Model]]) -> Sequence[str]:
    """Name the models of which the user may delete no row."""
    return [
        f"You have no right to delete {model._meta.verbose_name_plural}."
        for model in models
        if model in site._registry and not site._registry[model].has_delete_permission(request)
    ]
