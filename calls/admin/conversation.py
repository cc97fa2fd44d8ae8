"""The turns of a call as a chat, a part of a very long one at a time."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.template.loader import render_to_string
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from calls import search
from calls.models import Call, Turn
from leads.search import row_number
from scheduler.staff.display import list_link

MOST_TURNS = 500
MOST_INT = 2**31 - 1  # the column of turn numbers
BEFORE = 5  # turns shown ahead of the one that was asked for


def asked(request: HttpRequest) -> tuple[int | None, str]:
    """Return the turn and the words that the address names."""
    turn = row_number(request.GET.get("turn", ""))
    return (min(turn, MOST_INT) if turn is not None else None), request.GET.get("words", "")


def shown(call: Call, turn: int | None, words: str) -> SafeString:
    """Show turns from shortly before `turn` on, the words marked."""
    first = max(1, (turn or 1) - BEFORE)
    turns = list(Turn.objects.filter(call=call, turn__gte=first).order_by("turn")[: MOST_TURNS + 1])
    pattern = search.pattern_of(words) if words else None
    context: dict[str, Any] = {
        "turns": [(each, list(search.marked(each.message, pattern))) for each in turns[:MOST_TURNS]],
        "sought": turn,
    }
    if first > 1:
        context["earlier"] = _query(max(1, first - MOST_TURNS) + BEFORE if first > MOST_TURNS else 1, words)
    if len(turns) > MOST_TURNS:
        context["later"] = _query(turns[MOST_TURNS].turn + BEFORE, words)
    if first > 1 or len(turns) > MOST_TURNS:
        context["every"] = list_link(Turn, "List of all turns", call__id__exact=call.pk)
    return render_to_string("calls/conversation.html", context)


def _query(turn: int, words: str) -> str:
    return urlencode({"turn": turn} | ({"words": words} if words else {}))
