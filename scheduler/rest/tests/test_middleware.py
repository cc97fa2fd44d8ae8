"""The short way of /api/: routes that are kept, and what other origins may do."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import get_resolver

from scheduler.rest import middleware
from scheduler.rest.middleware import match_of
from scheduler.rest.routing import RestView

PATHS = [
    "/api/leads",
    "/api/leads/",
    "/api/leads/7",
    "/api/leads/7/",
    "/api/leads/007",
    "/api/leads/-7",
    "/api/leads/abc",
    "/api/leads/7\n",
    "/api/leads/upload",
    "/api/leads//7",
    "/api/leads/7//",
    "/api/leads/\u0667",
    "/api/calls/12/recording",
    "/api/calls/abc/recording",
    "/api/meetings/3/calendar.ics",
    "/api/meetings/hosts/4/calendar.ics",
    "/api/7",
    "/api/nope/7/8/9",
]


@pytest.mark.parametrize("path", PATHS)
def test_a_kept_route_is_what_the_resolver_finds(path):
    middleware._matches.clear()
    numbered = path.replace("7", "81").replace("12", "5").replace("3/", "64/")
    for each in (path, numbered, path, numbered):
        expected, found = get_resolver().resolve(each), match_of(each)
        assert (found.func, found.args, found.kwargs) == (expected.func, expected.args, expected.kwargs)
        assert (found.route, found.url_name) == (expected.route, expected.url_name)
        assert (found.app_names, found.namespaces) == (expected.app_names, expected.namespaces)


def test_paths_without_end_are_not_kept():
    middleware._matches.clear()
    for number in range(50):
        for path in (
            "/api/leads/{}",
            "/api/leads/x{}",
            "/api/nope/{}",
            "/api/nope{}",
            "/api/calls/{}/recording/",
        ):
            match_of(path.format(number))

    assert sorted(path for _, path in middleware._matches) == ["/api/calls/0/recording/", "/api/leads/0"]
    assert all(isinstance(match.func, RestView) for match in middleware._matches.values())


def test_routes_of_another_urlconf_are_kept_apart(settings):
    assert isinstance(match_of("/api/leads/7").func, RestView)
    settings.ROOT_URLCONF = "scheduler.rest.tests.idempotent_urls"

    assert not isinstance(match_of("/api/leads/7").func, RestView)


OURS, OTHERS = "https://dashboard.example.com", "https://evil.example.com"
ALLOWED, CREDENTIALS = "Access-Control-Allow-Origin", "Access-Control-Allow-Credentials"


@pytest.fixture
def allowed(settings) -> None:
    settings.CORS_ALLOWED_ORIGINS = [OURS]


@pytest.mark.django_db
def test_an_allowed_origin_may_read_and_another_one_may_not(allowed):
    answer = Client().get("/api/leads/", headers={"Origin": OURS})
    assert (answer[ALLOWED], answer[CREDENTIALS]) == (OURS, "true")
    assert "X-Total-Count" in answer["Access-Control-Expose-Headers"]

    assert ALLOWED not in Client().get("/api/leads/", headers={"Origin": OTHERS})
    assert ALLOWED not in Client().get("/", headers={"Origin": OURS})


@pytest.mark.django_db
@pytest.mark.parametrize("origin", [None, OURS, OTHERS])
def test_every_answer_says_that_it_depends_on_the_origin(allowed, origin):
    headers = {"Origin": origin} if origin else {}
    for path in ("/api/leads/", "/api/nope", "/api/openapi.json"):
        assert "origin" in Client().get(path, headers=headers)["Vary"]


@pytest.mark.parametrize("origin", [None, OURS])
def test_a_preflight_is_answered_before_anybody_asks_who_sent_it(allowed, origin):
    headers = {"Access-Control-Request-Method": "DELETE"} | ({"Origin": origin} if origin else {})
    answer = Client().options("/api/leads/7", headers=headers)

    assert (answer.status_code, answer["Content-Length"]) == (200, "0")
    assert (ALLOWED in answer) == (origin is not None)
