from typing import Any

from django import template
from django.contrib.admin.models import LogEntry

from scheduler.staff.history import Told, told
from scheduler.staff.place import Place, place_of
from scheduler.staff.rows import listed

register = template.Library()


@register.filter(name="told")
def told_entry(entry: LogEntry) -> Told:
    """Read an entry of the history: its sentence, why it was done, and the values before and after."""
    return told(entry)


@register.inclusion_tag("staff/results.html", takes_context=True)
def list_rows(context: Any, cl: Any) -> dict[str, Any]:
    """Show the rows of a list, or say that there are none."""
    return listed(context, cl)


@register.simple_tag(takes_context=True)
def page_place(context: Any) -> Place:
    """Return the heading of the page that is being written, and what lies above it."""
    return place_of(context)
