"""What load balancers, orchestrators and Prometheus ask: /health, /health/ready and /metrics."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from ipaddress import ip_address

from django.conf import settings
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, JsonResponse
from django.utils.crypto import constant_time_compare
from django.utils.module_loading import autodiscover_modules
from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4, generate_latest

from database.figures import FiguresCollector
from database.health import readiness
from database.metric_files import FolderBusy, MetricsFolder

# Each of them says that a proxy passed the request on, so that its peer address is the proxy's.
FORWARDED = (
    "HTTP_X_FORWARDED_FOR",
    "HTTP_X_FORWARDED_PROTO",
    "HTTP_X_FORWARDED_HOST",
    "HTTP_X_REAL_IP",
    "HTTP_FORWARDED",
    "HTTP_VIA",
)


def live(request: HttpRequest) -> HttpResponse:
    """Say that the process answers; touch nothing else, as a dead database must not restart the process."""
    return JsonResponse({"status": "healthy"})


def ready(request: HttpRequest) -> HttpResponse:
    """Say within 2 s whether requests can be served: 200 or 503."""
    answer = readiness()
    return JsonResponse(answer.as_json(), status=200 if answer.ready else 503)


def metrics(request: HttpRequest) -> HttpResponse:
    """Return what Prometheus scrapes, to those who may read it."""
    if refusal := _refusal(request):
        return refusal
    try:
        page = generate_latest(registry())
    except FolderBusy as error:
        return HttpResponse(f"{error}\n", status=503, content_type="text/plain")
    return HttpResponse(page, content_type=CONTENT_TYPE_PLAIN_0_0_4)


PROBES: dict[str, Callable[[HttpRequest], HttpResponse]] = {
    "/health": live,
    "/health/live": live,
    "/health/ready": ready,
    "/readiness": ready,
    "/metrics": metrics,
}


def answer_probe(request: HttpRequest) -> HttpResponse | None:
    """Answer a probe; None when the request is something else.

    The name in the Host header is not looked at: probes call by address, which ALLOWED_HOSTS does not list. That
    is safe as long as no answer is made of it.
    """
    probe = PROBES.get(request.path_info.rstrip("/"))
    if probe is None:
        return None
    if request.method not in ("GET", "HEAD"):
        return HttpResponseNotAllowed(["GET", "HEAD"])
    response = probe(request)
    response.headers["Cache-Control"] = "no-store"
    return response


def _refusal(request: HttpRequest) -> HttpResponse | None:
    if settings.METRICS_TOKEN:
        scheme, _, token = request.headers.get("Authorization", "").partition(" ")
        if scheme.lower() == "bearer" and constant_time_compare(token.strip(), settings.METRICS_TOKEN):
            return None
        return HttpResponse(
            "The bearer token METRICS_TOKEN is required.\n",
            status=401,
            content_type="text/plain",
            headers={"WWW-Authenticate": "Bearer"},
        )
    if _is_loopback(request.META.get("REMOTE_ADDR", "")) and not any(map(request.META.get, FORWARDED)):
        return None
    return HttpResponse(
        "Only this machine may read the metrics, unless METRICS_TOKEN is set.\n",
        status=403,
        content_type="text/plain",
    )


def _is_loopback(peer: str) -> bool:
    try:
        address = ip_address(peer)
    except ValueError:
        return False
    return (getattr(address, "ipv4_mapped", None) or address).is_loopback


@cache
def registry() -> CollectorRegistry:
    """Return all that /metrics shows; the figures of an app stand in its `metrics` module."""
    autodiscover_modules("metrics")
    collectors = CollectorRegistry()
    collectors.register(MetricsFolder(settings.METRICS_DIR))
    collectors.register(FiguresCollector())
    return collectors
