"""Rate limits of all endpoints."""

from __future__ import annotations

from django.http import HttpRequest
from django.http.response import HttpResponseBase

from scheduler.rest.access import CallerProblem, Principal, caller
from scheduler.rest.limits import (
    add_limit_headers,
    count_failed_attempt,
    count_partner_request,
    refuse_guessers,
)
from scheduler.rest.problems import Problem
from scheduler.rest.routing import Guard

# Codes of a key or token that was sent and is no good. Nothing sent is no attempt.
WRONG_CREDENTIALS = frozenset({"invalid_api_key", "invalid_token"})


class LimitGuard(Guard):
    """Counts partners' requests, and failed attempts by address; the first of all guards."""

    def before_access(self, request: HttpRequest) -> None:
        # Sessions are left alone: an office shares one address with its badly configured script.
        if "HTTP_X_API_KEY" in request.META or "HTTP_AUTHORIZATION" in request.META:
            refuse_guessers(request)

    def refused(self, request: HttpRequest, problem: Problem) -> None:
        if problem.code in WRONG_CREDENTIALS:
            count_failed_attempt(request)
        elif isinstance(problem, CallerProblem):
            self._count(request, problem.principal)

    def after_access(self, request: HttpRequest) -> None:
        self._count(request, caller(request))

    def finish(self, request: HttpRequest, answer: HttpResponseBase) -> None:
        add_limit_headers(request, answer)

    def _count(self, request: HttpRequest, principal: Principal) -> None:
        if principal.partner_id is not None and principal.rate_limit is not None:
            count_partner_request(request, principal.partner_id, principal.rate_limit)
