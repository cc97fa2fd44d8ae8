"""The short way of /api/: what pages need (sessions, messages, static files) is not paid for by programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any
from urllib.parse import unquote_to_bytes

from corsheaders.middleware import CorsMiddleware
from django.conf import settings
from django.contrib.auth.middleware import AuthenticationMiddleware
from django.contrib.sessions.middleware import SessionMiddleware
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import ResolverMatch, URLResolver, get_resolver
from django.utils.cache import patch_vary_headers

from scheduler.rest.faults import problem_of
from scheduler.rest.problems import Invalid, Problem, problem_response
from scheduler.rest.request_ids import current_request_id, id_for
from scheduler.rest.routing import RestView

PREFIX = "/api/"
NUMBER = re.compile(r"(?<=/)[0-9]+(?=/|\Z)")
FROM_ELSEWHERE = frozenset({"HTTP_ORIGIN", "HTTP_ACCESS_CONTROL_REQUEST_METHOD"})
_matches: dict[tuple[URLResolver, str], ResolverMatch] = {}

View = Callable[[HttpRequest], HttpResponseBase]


class RestMiddleware:
    """Answer requests below /api/ without the middlewares that stand behind this one.

    A request with a session cookie gets its session and user, lazily. What all requests need, such as HTTPS and
    metrics, stands before this one in MIDDLEWARE. Pages of other origins may use the API only, so CORS is here.
    """

    sync_capable = True
    async_capable = False

    def __init__(self, get_response: View) -> None:
        self.pages = get_response
        self.with_session: Any = SessionMiddleware(AuthenticationMiddleware(respond))
        self.from_elsewhere: Any = CorsMiddleware(self.serve)

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if not request.path_info.startswith(PREFIX):
            return self.pages(request)
        if not FROM_ELSEWHERE.isdisjoint(request.META):
            answer: HttpResponseBase = self.from_elsewhere(request)
            return answer
        answer = self.serve(request)
        # What CORS does without an origin: caches must not show this answer to one.
        patch_vary_headers(answer, ("origin",))
        return answer

    def serve(self, request: HttpRequest) -> HttpResponseBase:
        request_id = id_for(request.META.get("HTTP_X_REQUEST_ID"))
        request.request_id = request_id  # type: ignore[attr-defined]
        token = current_request_id.set(request_id)
        try:
            answer = self.answer(request)
        finally:
            current_request_id.reset(token)
        answer["X-Request-ID"] = request_id
        return finished(request, answer)

    def answer(self, request: HttpRequest) -> HttpResponseBase:
        try:
            refuse_unreadable(request)
            is_browser = settings.SESSION_COOKIE_NAME in request.META.get("HTTP_COOKIE", "")
            return self.with_session(request) if is_browser else respond(request)
        except Exception as error:
            return problem_response(request, problem_of(request, error))


def respond(request: HttpRequest) -> HttpResponseBase:
    """Call the view of a request as Django's handler would, without the hooks of middlewares."""
    match = match_of(request.path_info)
    request.resolver_match = match
    return match.func(request, *match.args, **match.kwargs)


def match_of(path: str) -> ResolverMatch:
    """Find the view of a path. Raises Resolver404.

    Looking through all routes takes five times as long, so matches are kept by the path with 0 for each number.
    """
    resolver = get_resolver()
    numbers = NUMBER.findall(path)
    common = NUMBER.sub("0", path) if numbers else path
    kept = _matches.get((resolver, common))
    if kept is None:
        match = resolver.resolve(path)
        # There is no end of paths that have no view, or another parameter than a number.
        if isinstance(match.func, RestView) and list(match.kwargs.values()) == numbers:
            _matches[resolver, common] = match
        return match
    if not numbers:
        return kept
    values = dict(zip(kept.kwargs, numbers, strict=True))
    return ResolverMatch(
        kept.func, (), values, kept.url_name, [*kept.app_names], [*kept.namespaces], kept.route
    )


def refuse_unreadable(request: HttpRequest) -> None:
    """Raise a Problem for a wrong host, a body of unknown length, or an address with NUL or broken UTF-8."""
    request.get_host()
    meta = request.META
    if "HTTP_TRANSFER_ENCODING" in meta and not meta.get("CONTENT_LENGTH"):
        raise Problem(411, "length_required", "Send the body with a Content-Length.")
    if "\x00" in request.path_info:
        raise Problem(404, "not_found", "Not found")
    query = meta.get("QUERY_STRING", "")
    if "%" in query or not query.isascii():
        _refuse_broken_text(query)


def _refuse_broken_text(query: str) -> None:
    raw = unquote_to_bytes(query.encode("latin-1", "replace"))
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        raise Invalid([("/query", "The query is not valid UTF-8.")]) from None
    if b"\x00" in raw:
        raise Invalid([("/query", "NUL characters are not allowed.")])


def finished(request: HttpRequest, answer: HttpResponseBase) -> HttpResponseBase:
    """Give an answer its length; one to HEAD says the length of GET's and goes without the content."""
    if isinstance(answer, HttpResponse):
        if "Content-Length" not in answer:
            answer["Content-Length"] = str(len(answer.content))
        if request.method == "HEAD":
            answer.content = b""
        return answer
    if request.method == "HEAD":
        bare = HttpResponse(status=answer.status_code, headers=dict(answer.items()))
        answer.close()
        return bare
    return answer
