"""The outermost middleware: answers probes before anything else looks at them, and counts all other requests."""

import time
from collections.abc import Callable

from django.conf import settings
from django.http import HttpRequest, HttpResponseBase

from scheduler.metrics import REQUEST_SECONDS, REQUESTS
from scheduler.probes import answer_probe

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
STATIC = "static"
UNMATCHED = "unmatched"


class Observe:
    """Count each request under the pattern of its URL, never under its path: a path may hold a phone number."""

    def __init__(self, get_response: Callable[[HttpRequest], HttpResponseBase]) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponseBase:
        if probe := answer_probe(request):
            return probe
        started = time.perf_counter()
        # Django turns every exception below into a response, so nothing passes by the counter.
        response = self.get_response(request)
        route = route_of(request, response.status_code)
        # Anybody may send any word as the method; each would be a time series of its own.
        method = request.method if request.method in METHODS else "other"
        REQUESTS.labels(method, route, str(response.status_code)).inc()
        REQUEST_SECONDS.labels(route).observe(time.perf_counter() - started)
        return response


def route_of(request: HttpRequest, status: int) -> str:
    """Return the URL's pattern with a leading slash; a word for files and for what matches no pattern."""
    if match := request.resolver_match:
        return f"/{match.route}"
    if status < 400 and request.path_info.startswith(f"/{settings.STATIC_URL.strip('/')}/"):
        return STATIC
    return UNMATCHED
