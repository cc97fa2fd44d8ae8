"""Pieces of HTML that several admin pages show."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from django.contrib import admin
from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.http import urlencode
from django.utils.safestring import SafeString
from django.utils.timezone import localtime

NOTHING = "-"


def written(value: object) -> str:
    """Write a time to the second with the name of its zone."""
    return f"{localtime(value):%Y-%m-%d %H:%M:%S %Z}" if isinstance(value, datetime) else NOTHING


def moment(field: str, title: str) -> Callable[[Any, Any], str]:
    """Make a method of an admin class: a column that shows a time with its zone and sorts by it."""

    @admin.display(description=title, ordering=field)
    def show(_: Any, row: Any) -> str:
        # Date and time may stand below each other; the zone stays beside its time.
        return "\N{NO-BREAK SPACE}".join(written(getattr(row, field)).rsplit(" ", 1))

    return show


def label(field: str, title: str, kinds: Mapping[str, str]) -> Callable[[Any, Any], str]:
    """Make a column that shows a choice as a coloured label; `kinds` are good, bad, warning or busy, by value."""

    @admin.display(description=title)
    def show(_: Any, row: Any) -> str:
        value = getattr(row, field)
        if not value:
            return NOTHING
        text = getattr(row, f"get_{field}_display")()
        return format_html('<span class="staff-label staff-{}">{}</span>', kinds.get(value, "plain"), text)

    return show


def mark(field: str, title: str, text: str) -> Callable[[Any, Any], str]:
    """Make a column that shows a label for the rows of which something is true, and nothing for all others."""
    marked = format_html('<span class="staff-label staff-bad">{}</span>', text)

    @admin.display(description=title)
    def show(_: Any, row: Any) -> str:
        return marked if getattr(row, field) else NOTHING

    return show


def admin_address(row: Model) -> str:
    meta = row._meta
    return reverse(f"admin:{meta.app_label}_{meta.model_name}_change", args=[row.pk])


def link(row: Model | None, text: object = None) -> str:
    """Link to the page of a row; a dash when there is none."""
    if row is None:
        return NOTHING
    return format_html('<a href="{}">{}</a>', admin_address(row), row if text is None else text)


def list_link(model: type[Model], text: object, **filters: str | int) -> SafeString:
    """Link to the list of a model, narrowed by filters."""
    address = reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")
    return format_html('<a href="{}?{}">{}</a>', address, urlencode(filters), text)


def table(name: str, headers: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """Write a table; cells are escaped unless they are marked safe. `name` is read to those who do not see it."""
    head = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in headers))
    body = format_html_join("", "<tr>{}</tr>", ((_cells(row),) for row in rows))
    # Wide tables scroll in a box of their own, which keys can reach.
    whole = format_html(
        '<table class="staff-table"><thead><tr>{}</tr></thead><tbody>{}</tbody></table>', head, body
    )
    return format_html(
        '<div class="staff-scroll" tabindex="0" role="group" aria-label="{}">{}</div>', name, whole
    )


def _cells(row: Sequence[object]) -> SafeString:
    return format_html_join("", "<td>{}</td>", ((cell,) for cell in row))
