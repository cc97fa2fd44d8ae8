"""What pages may load and run: Content-Security-Policy on every page of HTML."""

from __future__ import annotations

from collections.abc import Callable

from django.http import HttpRequest
from django.http.response import HttpResponseBase

HEADER = "Content-Security-Policy"

# Styles may stand in the page: unfold writes its colours there, and Alpine sets `style`. Scripts may not.
# Recordings are played on the page of their call, which names where they are.
POLICY = (
    "default-src 'self'; script-src 'self'{eval}; style-src 'self' 'unsafe-inline'; img-src 'self' data:; "
    "media-src 'self'{media}; font-src 'self'; connect-src 'self'; object-src 'none'; base-uri 'none'; "
    "form-action 'self'; frame-ancestors 'none'"
)
PLAIN = POLICY.format(eval="", media="")
# Alpine, with which unfold opens menus and filters, compiles the expressions that stand in attributes.
WITH_EVAL = POLICY.format(eval=" 'unsafe-eval'", media="")


def playing_from(origin: str) -> str:
    """Return the policy of an admin page that plays sound from one origin, such as https://media.example.com."""
    return POLICY.format(eval=" 'unsafe-eval'", media=f" {origin}")


class ContentPolicy:
    """Add the policy to answers that a browser shows as a page, unless a view has set its own."""

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        answer = self.get_response(request)
        if answer.get("Content-Type", "").startswith("text/html") and HEADER not in answer:
            match = request.resolver_match
            answer[HEADER] = WITH_EVAL if match and "admin" in match.app_names else PLAIN
        return answer
