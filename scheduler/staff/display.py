"""Pieces of HTML that several admin pages show."""

from collections.abc import Callable, Iterable, Sequence
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
        return written(getattr(row, field))

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


def table(headers: Sequence[str], rows: Iterable[Sequence[object]]) -> SafeString:
    """Write a table; cells are escaped unless they are marked safe."""
    head = format_html_join("", '<th scope="col">{}</th>', ((name,) for name in headers))
    body = format_html_join("", "<tr>{}</tr>", ((_cells(row),) for row in rows))
    return format_html("<table><thead><tr>{}</tr></thead><tbody>{}</tbody></table>", head, body)


def _cells(row: Sequence[object]) -> SafeString:
    return format_html_join("", "<td>{}</td>", ((cell,) for cell in row))
