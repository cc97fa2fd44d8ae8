"""The REST API: the routers of all apps, the published schema and its pages."""

from __future__ import annotations

from functools import cache
from typing import Any

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import reverse
from django.views.decorators.csrf import csrf_exempt
from django.views.defaults import page_not_found

from analytics.api import router as analytics
from calls.api import router as calls
from leads.api import router as leads
from leads.api.campaigns import router as campaigns
from leads.api.intake import router as intake
from meetings.api import router as meetings
from partners.api import router as partners
from scheduler.rest.access import PUBLIC, SAFE_METHODS
from scheduler.rest.answers import json_answer
from scheduler.rest.idempotency import IdempotencyGuard
from scheduler.rest.limit_guard import LimitGuard
from scheduler.rest.middleware import PREFIX
from scheduler.rest.openapi import schema_of
from scheduler.rest.problems import Problem, problem_response
from scheduler.rest.routing import RestApi
from scheduler.settings_api import router as settings_router

TITLE = "AI Scheduler"
VERSION = "1.0.0"

api = RestApi(
    title=TITLE,
    version=VERSION,
    description="Leads, calls and meetings of an AI call centre, for partners and staff.",
    urls_namespace="api",
    # Limits first: a request above its limit must not hold an Idempotency-Key.
    guards=[LimitGuard(), IdempotencyGuard()],
)
api.add_router("leads", leads)
api.add_router("leads", intake)
api.add_router("campaigns", campaigns)
api.add_router("calls", calls)
api.add_router("meetings", meetings)
api.add_router("partners", partners)
api.add_router("settings", settings_router)
api.add_router("analytics", analytics)


@cache
def schema() -> dict[str, Any]:
    """Return the OpenAPI document; it is built once per process, at the first request for it."""
    return schema_of(api, PREFIX)


@api.get("/openapi.json", auth=PUBLIC, include_in_schema=False)
def openapi_json(request: HttpRequest) -> HttpResponse:
    return json_answer(schema())


@api.get("/docs", auth=PUBLIC, include_in_schema=False)
def docs(request: HttpRequest) -> HttpResponse:
    """Show the schema with Swagger UI, whose files are our own static files: the page works offline."""
    viewer = {
        "url": f"{PREFIX}openapi.json",
        "layout": "BaseLayout",
        "deepLinking": True,
        "validatorUrl": None,
    }
    return render(request, "rest/docs.html", {"title": TITLE, "settings": viewer})


@csrf_exempt  # a method that changes something is refused anyway, by its right status
def root(request: HttpRequest) -> HttpResponse:
    """Tell programs that we run, as the old root did; lead people to the admin."""
    if request.method not in SAFE_METHODS:
        headers = {"Allow": "GET, HEAD, OPTIONS"}
        problem = Problem(
            405, "method_not_allowed", "This path answers GET, HEAD, OPTIONS only.", headers=headers
        )
        return problem_response(request, problem)
    if request.method == "OPTIONS":
        return HttpResponse(status=204, headers={"Allow": "GET, HEAD, OPTIONS"})
    if request.get_preferred_type(["application/json", "text/html"]) == "text/html":
        return HttpResponseRedirect(reverse("admin:index"))
    return json_answer({"message": f"{TITLE} API", "version": VERSION, "status": "running"})


def nowhere(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Answer a path that nothing is at: a page for people, a problem for programs."""
    if (
        request.get_preferred_type(["application/problem+json", "application/json", "text/html"])
        == "text/html"
    ):
        return page_not_found(request, exception)
    return problem_response(request, Problem(404, "not_found", "Not found"))
