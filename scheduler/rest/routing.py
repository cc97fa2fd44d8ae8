"""django-ninja's routes, served our way: both slash forms, HEAD, problems, declared access and guards."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, URLResolver, include, path, re_path
from django.urls.resolvers import RoutePattern
from ninja import NinjaAPI
from ninja.operation import Operation
from ninja.utils import normalize_path, replace_path_param_notation

from scheduler.rest.access import Access
from scheduler.rest.bodies import JsonParser
from scheduler.rest.faults import problem_of
from scheduler.rest.problems import Problem, problem_response

Perform = Callable[[], HttpResponseBase]


class Guard:
    """Something that stands before or around every endpoint, such as rate limits; each step may raise a Problem."""

    def before_access(self, request: HttpRequest) -> None:
        """Look at a request before anybody asks who sent it."""

    def refused(self, request: HttpRequest, problem: Problem) -> None:
        """Hear that the caller was not let in (401 or 403)."""

    def after_access(self, request: HttpRequest) -> None:
        """Look at a request whose caller stands in `request.auth`, before its body is read."""

    def around(self, request: HttpRequest, perform: Perform) -> HttpResponseBase:
        """Call the endpoint, or answer without it; a Problem of the endpoint goes through as an exception."""
        return perform()

    def finish(self, request: HttpRequest, answer: HttpResponseBase) -> None:
        """Add headers to the answer, whatever it is."""


class RestApi(NinjaAPI):
    """The API of all apps. `guards` are asked in this order."""

    def __init__(self, *, guards: Sequence[Guard] = (), **options: Any) -> None:
        super().__init__(openapi_url=None, docs_url=None, parser=JsonParser(), **options)
        self.guards = list(guards)

    def on_exception(self, request: HttpRequest, exc: Any) -> HttpResponse:
        return problem_response(request, problem_of(request, exc))

    def get_openapi_operation_id(self, operation: Operation) -> str:
        return operation.view_func.__name__

    def operations(self) -> Iterator[tuple[str, str, Operation]]:
        """Yield method, path below the API such as `leads/{lead_id}`, and operation of each route.

        Raises ImproperlyConfigured for a route that does not say who may call it.
        """
        for router in self._get_bound_routers():
            for below, view in router.path_operations.items():
                route = normalize_path(f"{router.prefix}/{below}").lstrip("/")
                for operation in view.operations:
                    access_of(operation)
                    for method in operation.methods:
                        yield method, route, operation

    def answer(
        self, request: HttpRequest, operation: Operation, parameters: dict[str, Any]
    ) -> HttpResponseBase:
        """Ask the guards and the access, then call the endpoint; whatever goes wrong becomes a problem."""
        try:
            for guard in self.guards:
                guard.before_access(request)
            self._let_in(request, operation)
            for guard in self.guards:
                guard.after_access(request)
            answer = self._guarded(request, lambda: self._perform(request, operation, parameters))
        except Exception as error:
            answer = self.on_exception(request, error)
        for guard in self.guards:
            guard.finish(request, answer)
        return answer

    def _let_in(self, request: HttpRequest, operation: Operation) -> None:
        try:
            request.auth = operation.auth_callbacks[0](request)  # type: ignore[attr-defined]
        except Problem as problem:
            for guard in self.guards:
                guard.refused(request, problem)
            raise

    def _guarded(self, request: HttpRequest, perform: Perform) -> HttpResponseBase:
        for guard in reversed(self.guards):
            perform = _nested(guard, request, perform)
        return perform()

    def _perform(
        self, request: HttpRequest, operation: Operation, parameters: dict[str, Any]
    ) -> HttpResponseBase:
        # What Operation.run does, except that exceptions leave it: a guard that holds a transaction must see them.
        request.endpoint = operation.view_func  # type: ignore[attr-defined]
        # The third is for endpoints that take the answer to write on; ours make their own.
        values = operation._get_values(request, parameters, None)  # type: ignore[arg-type]
        result = operation.view_func(request, **values)
        if isinstance(result, HttpResponseBase):
            return result
        return operation._result_to_response(request, result, self.create_temporal_response(request))

    def _get_urls(self) -> list[URLResolver | URLPattern]:
        views: dict[str, RestView] = {}
        for method, route, operation in self.operations():
            bare = replace_path_param_notation(route).rstrip("/")
            views.setdefault(bare, RestView(self)).operations[method] = operation
        # Fixed names before parameters: leads/upload is no id.
        ordered = sorted(views.items(), key=lambda item: (item[0].count("<"), item[0]))
        groups: dict[str, list[URLPattern]] = {}
        for route, view in ordered:
            first, slash, rest = route.partition("/")
            groups.setdefault(first, []).append(URLPattern(EitherSlash(slash + rest), view))
        return [
            path("", NowhereView(self), name="api-root"),
            # One comparison rules out all routes of another app.
            *(path(first, include(patterns)) for first, patterns in groups.items()),
            re_path("", NowhereView(self)),
        ]


def _nested(guard: Guard, request: HttpRequest, perform: Perform) -> Perform:
    return lambda: guard.around(request, perform)


def access_of(operation: Operation) -> Access:
    """Return who may call a route. Raises ImproperlyConfigured when it does not say so."""
    callbacks = operation.auth_callbacks
    if len(callbacks) != 1 or not isinstance(callbacks[0], Access):
        name = f"{operation.view_func.__module__}.{operation.view_func.__name__}"
        raise ImproperlyConfigured(f"{name} does not declare who may call it: auth=staff(...) or the like.")
    return callbacks[0]


class EitherSlash(RoutePattern):
    """A route that matches with and without a slash at its end."""

    def __init__(self, route: str) -> None:
        super().__init__(route, is_endpoint=True)

    def check(self) -> list[Any]:
        # The slash between an app's name and the rest is part of the rest, so that it may be missing.
        return []

    def match(self, path: str) -> Any:
        return super().match(path.removesuffix("/"))


class RestView:
    """All methods of one path."""

    csrf_exempt = True  # sessions are checked in `access`, tokens need no such check

    def __init__(self, api: RestApi) -> None:
        self.api = api
        self.operations: dict[str, Operation] = {}

    def __call__(self, request: HttpRequest, **parameters: Any) -> HttpResponseBase:
        method = request.method or ""
        operation = self.operations.get("GET" if method == "HEAD" else method)
        if operation is not None:
            return self.api.answer(request, operation, parameters)
        headers = {"Allow": ", ".join(self.allowed())}
        if method == "OPTIONS":
            return HttpResponse(status=204, headers=headers)
        sentence = f"This path answers {headers['Allow']} only."
        return problem_response(request, Problem(405, "method_not_allowed", sentence, headers=headers))

    def allowed(self) -> list[str]:
        return sorted({*self.operations, "OPTIONS", *(["HEAD"] if "GET" in self.operations else [])})


class NowhereView:
    """Paths below /api/ that no route knows."""

    csrf_exempt = True

    def __init__(self, api: RestApi) -> None:
        self.api = api

    def __call__(self, request: HttpRequest, **parameters: Any) -> HttpResponseBase:
        return problem_response(request, Problem(404, "not_found", "Not found"))
