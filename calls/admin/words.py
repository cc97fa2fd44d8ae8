"""The page that finds words in what was said."""

from __future__ import annotations

from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.utils.http import urlencode

from calls import search
from leads.search import row_number


def page(model_admin: Any, request: HttpRequest) -> HttpResponse:
    # A turn is what is shown, so the right to see turns is asked for too.
    if not request.user.has_perm("calls.view_turn"):
        raise PermissionDenied
    asked = request.GET.get("q", "")[: search.MOST_CHARACTERS]
    context: dict[str, Any] = {
        **model_admin.admin_site.each_context(request),
        "title": "Find words in conversations",
        "opts": model_admin.model._meta,
        "asked": asked,
        "most_characters": search.MOST_CHARACTERS,
    }
    if asked.strip():
        try:
            found = search.find(asked, row_number(request.GET.get("below", "")))
        except search.BadWords as error:
            context["refused"] = str(error)
        else:
            context |= {"found": found, "older": _older(asked, found)}
    return TemplateResponse(request, "calls/words.html", context)


def _older(asked: str, found: search.Found) -> str:
    return urlencode({"q": asked, "below": str(found.older)}) if found.older is not None else ""
