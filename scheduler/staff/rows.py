"""The rows of a list as HTML.

Unfold works out the headings anew for each row, renders a template for each box and repeats thirty classes in each
cell: a page of fifty rows took 130 ms and had 430 kB. Here each column is looked up once and a cell has two classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.contrib.admin.templatetags.admin_list import result_hidden_fields
from django.contrib.admin.templatetags.admin_urls import add_preserved_filters
from django.core.exceptions import FieldDoesNotExist
from django.db.models import BooleanField, Field, Model
from django.utils.html import conditional_escape, format_html
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from unfold.templatetags.unfold_list import result_headers
from unfold.utils import display_for_field, display_for_value

from scheduler.staff.display import NOTHING

CHECKBOX = "action_checkbox"
YES = mark_safe('<span class="staff-label staff-good">Yes</span>')
NO = mark_safe('<span class="staff-label staff-plain">No</span>')
TICK = (
    '<td class="action-checkbox staff-cell" data-label="Select"><input type="checkbox" name="{}" value="{}"'
    ' class="action-select staff-tick" aria-label="Select {}"></td>'
)
ROW = '<tbody class="staff-rows"><tr class="data-row staff-row">{}</tr></tbody>'


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a list: how to read its cell from a row, and whether the cell links to the row."""

    name: str
    label: str
    read: Callable[[Any], Any]
    is_link: bool


def listed(context: Any, cl: Any) -> dict[str, Any]:
    """Return what the template staff/results.html shows of a list."""
    headers = list(result_headers(cl))
    return {
        "cl": cl,
        "result_hidden_fields": list(result_hidden_fields(cl)),
        "result_headers": headers,
        "num_sorted_fields": sum(1 for each in headers if each["sortable"] and each["sorted"]),
        "rows": list(rows_of(cl, headers)),
        "has_add_permission": cl.model_admin.has_add_permission(context["request"]),
    }


def rows_of(cl: Any, headers: list[dict[str, Any]]) -> Iterator[SafeString]:
    """Write each row of the page."""
    columns = columns_of(cl, headers)
    suffix = None
    for row in cl.result_list:
        address = cl.url_for_result(row)
        if suffix is None:
            # What leads back to this list is the same for all rows, and costs two resolutions of addresses.
            place = {"preserved_filters": cl.preserved_filters, "opts": cl.opts}
            suffix = add_preserved_filters(place, address).removeprefix(address)
        yield format_html(ROW, mark_safe("".join(_cells(columns, row, address + suffix, cl))))


def columns_of(cl: Any, headers: list[dict[str, Any]]) -> list[Column]:
    """Look up the columns of a list; the one of boxes is left to the rows."""
    links = cl.list_display_links
    names = [name for name in cl.list_display if name != CHECKBOX]
    first = names[0] if names else None
    labels = dict(zip(cl.list_display, (each["text"] for each in headers), strict=True))
    return [
        Column(
            name,
            capfirst(str(labels[name])),
            _reader(name, cl.model, cl.model_admin),
            name in links if links else links is not None and name == first,
        )
        for name in names
    ]


def _reader(name: str, model: type[Model], model_admin: Any) -> Callable[[Any], object]:
    try:
        field: Any = model._meta.get_field(name)
    except FieldDoesNotExist:
        field = None
    # What refers to the row has a name too, such as the leads of a partner.
    if field is None or not field.concrete:
        return _method(name, model, model_admin)
    if isinstance(field, BooleanField):
        return lambda row: YES if getattr(row, name) else NO
    if field.is_relation:
        return lambda row: _or_nothing(getattr(row, name))
    return _of_field(name, field)


def _of_field(name: str, field: Field[Any, Any]) -> Callable[[Any], object]:
    return lambda row: display_for_field(getattr(row, name), field, NOTHING)


def _method(name: str, model: type[Model], model_admin: Any) -> Callable[[Any], object]:
    method = None if name == "__str__" else getattr(model_admin, name, None)
    if method is None:
        return str if name == "__str__" else lambda row: _or_nothing(getattr(row, name)())
    return lambda row: _written(method(row))


def _written(value: object) -> object:
    return value if isinstance(value, str) else display_for_value(value, NOTHING)


def _or_nothing(value: object) -> object:
    return NOTHING if value is None else value


def _cells(columns: list[Column], row: Any, address: str, cl: Any) -> Iterator[str]:
    if CHECKBOX in cl.list_display:
        yield format_html(TICK, ACTION_CHECKBOX_NAME, row.pk, str(row))
    has_head = False
    for column in columns:
        text = conditional_escape(column.read(row))
        tag = "td"
        if column.is_link:
            opener = format_html(' data-popup-opener="{}"', row.pk) if cl.is_popup else ""
            text = format_html('<a href="{}"{}>{}</a>', address, opener, text)
            if not has_head:
                tag, has_head = "th", True
        scope = ' scope="row"' if tag == "th" else ""
        label = conditional_escape(column.label)
        yield f'<{tag}{scope} class="field-{column.name} staff-cell" data-label="{label}">{text}</{tag}>'
