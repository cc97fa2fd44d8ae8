"""Where a page of the admin lies: its own title, and links to what lies above it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from django.db.models import Model
from django.urls import NoReverseMatch, reverse
from django.utils.text import capfirst

from scheduler.staff.display import admin_address

NAMES = {"admin.logentry": "Changes"}  # as the side bar calls what Django calls something else


@dataclass(frozen=True)
class Above:
    """A page above, such as the list of a row."""

    address: str
    title: str


@dataclass(frozen=True)
class Place:
    """The heading of a page, and the pages above it from the list downwards."""

    title: str
    above: list[Above]


def place_of(context: Any) -> Place:
    """Read the place of a page from the context of its template.

    The page of a row is called like the row; a page about a row, such as its history, has a title of its own.
    """
    opts = context.get("opts")
    row = _row(context)
    title = str(context.get("title") or context.get("site_title") or "")
    if opts is None or not hasattr(opts, "model_name"):
        return Place(title, [])
    rows = NAMES.get(opts.label_lower) or capfirst(str(opts.verbose_name_plural))
    if context.get("cl") is not None:
        return Place(rows, [])
    above = [Above(address, rows)] if (address := _list_address(context, opts)) else []
    if row is None:
        return Place(title, above)
    if context.get("adminform") is not None or title == str(row):
        return Place(str(row), above)
    return Place(_without(title, row), [*above, Above(admin_address(row), str(row))])


def _row(context: Any) -> Model | None:
    found = context.get("original") or context.get("object")
    return found if isinstance(found, Model) and found.pk is not None else None


def _without(title: str, row: Model) -> str:
    """Take the name of the row off a title of Django's, such as `Change history: Ann`: it stands before it."""
    return title.removesuffix(f": {row}")


def _list_address(context: Any, opts: Any) -> str | None:
    """Return the address of the list, with the filters and the search that led from it to this page."""
    try:
        address = reverse(f"admin:{opts.app_label}_{opts.model_name}_changelist")
    except NoReverseMatch:
        return None
    filters = dict(parse_qsl(context.get("preserved_filters") or "")).get("_changelist_filters")
    return f"{address}?{filters}" if filters else address
