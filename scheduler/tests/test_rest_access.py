"""Every route against everybody who might come. The routes are read from the API, so none can be forgotten."""

from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from django.conf import settings
from django.contrib.auth.models import Group, Permission
from django.core.exceptions import ImproperlyConfigured
from django.test import Client
from django.utils import timezone
from limits import RateLimitItemPerMinute

from partners.access import PartnerAccess, StaffOrPartnerAccess
from partners.models import Partner, PartnerApiKey
from scheduler.models import StaffToken
from scheduler.rest import limits
from scheduler.rest.access import OpenToAll, StaffAccess
from scheduler.rest.routing import access_of
from scheduler.tests.rest_world import (
    MARK,
    PHONE,
    SAFE,
    World,
    ask,
    bearer,
    key_of,
    routes,
    superuser,
    token_of,
    user,
)

pytestmark = pytest.mark.django_db

# Routes that anybody may call. One more must be added here by hand, with a reason.
OPEN = {"GET /api/openapi.json", "GET /api/docs"}
STAFF = (StaffAccess, StaffOrPartnerAccess)
PARTNER = (PartnerAccess, StaffOrPartnerAccess)
LEADS = "/api/leads/"


def guarded():
    return [route for route in routes() if not isinstance(route.access, OpenToAll)]


@pytest.fixture
def world(db):
    return World.made()


def wrongly_answered(world, wanted, headers, *, among=None):
    """Ask every guarded route with these headers; list those whose status is not what `wanted(route)` says."""
    wrong = []
    for route in guarded() if among is None else among:
        answer = ask(
            world.address(route), route.method, body=None if route.method in SAFE else "{}", **headers
        )
        if answer.status_code != wanted(route):
            wrong.append(f"{route}: {answer.status_code} instead of {wanted(route)}")
    return wrong


def turned_away(world, headers, among):
    """List the routes that refuse a caller who may pass, or fail."""
    wrong = []
    for route in among:
        answer = ask(
            world.address(route), route.method, body=None if route.method in SAFE else "{}", **headers
        )
        if answer.status_code in (401, 403) or answer.status_code >= 500:
            wrong.append(f"{route}: {answer.status_code} {answer.content[:200]!r}")
    return wrong


def test_the_routes_are_found_and_each_says_who_may_call_it():
    kinds = {type(route.access) for route in routes()}

    assert len(guarded()) >= 3
    assert kinds <= {OpenToAll, StaffAccess, PartnerAccess, StaffOrPartnerAccess}
    assert {str(route) for route in routes() if isinstance(route.access, OpenToAll)} == OPEN


def test_a_route_that_does_not_say_who_may_call_it_stops_the_start():
    def view():
        """Stand for an endpoint."""

    for callbacks in ([], [lambda request: True], [StaffAccess("a.b"), StaffAccess("a.c")]):
        operation: Any = SimpleNamespace(view_func=view, auth_callbacks=callbacks)
        with pytest.raises(ImproperlyConfigured, match="does not declare who may call it"):
            access_of(operation)


def test_a_permission_that_a_route_asks_for_exists():
    known = {
        f"{p.content_type.app_label}.{p.codename}" for p in Permission.objects.select_related("content_type")
    }
    asked = {route.access.permission for route in routes() if isinstance(route.access, STAFF)}

    assert asked and asked <= known


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer("ast_never-issued"),
        bearer("nonsense"),
        {"Authorization": "Bearer"},
        {"Authorization": "Basic dXNlcjpwYXNz"},
        {"X_API_Key": "ais_never-issued"},
        {"X_API_Key": "Schlüssel"},
        {"Cookie": f"{settings.SESSION_COOKIE_NAME}=never-issued"},
    ],
    ids=str,
)
def test_nobody_gets_in(world, headers):
    assert wrongly_answered(world, lambda route: 401, headers) == []


WRONG_TOKEN, WRONG_KEY = bearer("ast_never-issued"), {"X_API_Key": "ais_never-issued"}


@pytest.mark.parametrize(
    ("headers", "counted", "code"),
    [
        ({}, (), "unauthorized"),
        (WRONG_KEY, (*STAFF, PartnerAccess), "invalid_api_key"),
        (bearer("ais_never-issued"), (*STAFF, PartnerAccess), "invalid_token"),
        (WRONG_TOKEN, STAFF, "invalid_token"),
        (WRONG_KEY | WRONG_TOKEN, (*STAFF, PartnerAccess), "invalid_token"),
        ({"X_API_Key": "good"} | WRONG_TOKEN, (StaffAccess,), "invalid_token"),
        ({"X_API_Key": "good"}, (), "not_staff"),
    ],
    ids=str,
)
def test_a_wrong_key_or_token_is_a_failed_attempt_wherever_it_is_looked_at(
    world, monkeypatch, headers, counted, code
):
    """On paths for staff only the code is the same everywhere; a key that partners may use comes first elsewhere."""
    monkeypatch.setattr(limits, "FAILED_ATTEMPTS", RateLimitItemPerMinute(1_000_000))
    if headers.get("X_API_Key") == "good":
        headers = headers | {"X_API_Key": key_of(world.ids["beta"])}
    client = Client(headers={name.replace("_", "-"): value for name, value in headers.items()})
    wrong, failures = [], 0
    for route in guarded():
        answer = client.generic(route.method, world.address(route), "{}", content_type="application/json")
        failures += isinstance(route.access, counted)
        hit = limits.limiter().take("failed:127.0.0.1", limits.FAILED_ATTEMPTS, cost=0)
        if hit.limit - hit.remaining != failures:
            pytest.fail(f"{route} was counted wrongly: {answer.content!r}")
        if isinstance(route.access, StaffAccess) and answer.json()["code"] != code:
            wrong.append(f"{route}: {answer.json()['code']}")
    assert wrong == []


def test_refusals_say_how_to_sign_in_and_are_problems(world):
    for route in guarded():
        answer = ask(world.address(route), route.method)
        assert answer["WWW-Authenticate"].startswith("Bearer")
        assert answer["Content-Type"] == "application/problem+json"
        assert answer.json()["request_id"] == answer["X-Request-ID"]


@pytest.mark.parametrize("state", ["revoked", "expired", "inactive", "no staff"])
def test_a_dead_token_opens_nothing(world, state):
    owner = user(is_superuser=True)
    token = token_of(owner)
    past = timezone.now() - timedelta(seconds=1)
    if state == "revoked":
        StaffToken.objects.update(revoked_at=past)
    elif state == "expired":
        StaffToken.objects.update(expires_at=past)
    else:
        type(owner).objects.update(**{"is_active": False} if state == "inactive" else {"is_staff": False})

    assert wrongly_answered(world, lambda route: 401, bearer(token)) == []


@pytest.mark.parametrize("header", ["X_API_Key", "Authorization"])
@pytest.mark.parametrize("column", ["revoked_at", "expires_at"])
def test_a_dead_key_opens_nothing(world, column, header):
    key = key_of(Partner.objects.create(name="Gamma").pk)
    PartnerApiKey.objects.update(**{column: timezone.now() - timedelta(seconds=1)})

    headers = {header: key if header == "X_API_Key" else f"Bearer {key}"}
    assert wrongly_answered(world, lambda route: 401, headers) == []


def test_a_disabled_partner_is_told_so_where_partners_may_go(world):
    partner = Partner.objects.create(name="Gamma", is_active=False)
    key = {"X_API_Key": key_of(partner.pk)}

    assert wrongly_answered(world, lambda route: 403, key) == []
    answer = ask(LEADS, **key)
    assert answer.json()["detail"] == "Partner access has been disabled. Contact support."


def test_the_words_for_missing_and_wrong_keys_are_the_old_ones():
    only_partners = [route for route in routes() if isinstance(route.access, PartnerAccess)]

    for route in only_partners:
        address = f"/api/{route.path}"
        missing, wrong = ask(address, route.method), ask(address, route.method, X_API_Key="wrong")
        assert missing.json()["detail"] == "Missing API key. Include 'X-API-Key' header."
        assert wrong.json()["detail"] == "Invalid API key"
        # Before the body is looked at.
        assert ask(address, route.method, body="{", X_API_Key="wrong").status_code == wrong.status_code


def test_staff_without_the_permission_are_refused_by_token_and_by_session(world):
    owner = user()
    # Every permission but the wanted one would let a mix-up of permissions pass; so each route is asked with those.
    wrong = []
    for route in [route for route in guarded() if isinstance(route.access, STAFF)]:
        app, codename = route.access.permission.split(".")
        others = Permission.objects.exclude(content_type__app_label=app, codename=codename)
        owner.user_permissions.set(others)
        answer = ask(world.address(route), route.method, body="{}", **bearer(token_of(owner)))
        if (answer.status_code, answer.json()["code"]) != (403, "permission_missing"):
            wrong.append(f"{route}: {answer.status_code}")

    assert wrong == []


def test_staff_with_just_the_permission_get_in_also_by_a_group(world):
    owner, group = user(), Group.objects.create(name="readers")
    owner.groups.add(group)
    for route in [route for route in guarded() if isinstance(route.access, STAFF) and route.method in SAFE]:
        app, codename = route.access.permission.split(".")
        group.permissions.set(Permission.objects.filter(content_type__app_label=app, codename=codename))
        assert turned_away(world, bearer(token_of(owner)), [route]) == []


def test_a_read_only_token_reads_and_changes_nothing(world):
    token = bearer(token_of(user(is_superuser=True), read_only=True))
    for_staff = [route for route in guarded() if isinstance(route.access, STAFF)]

    assert turned_away(world, token, [route for route in for_staff if route.method in SAFE]) == []
    unsafe = [route for route in for_staff if route.method not in SAFE]
    assert unsafe and wrongly_answered(world, lambda route: 403, token, among=unsafe) == []


def test_a_superuser_gets_in_everywhere_that_staff_may_go(world):
    assert (
        turned_away(world, superuser(), [route for route in guarded() if isinstance(route.access, STAFF)])
        == []
    )


def test_a_partner_gets_in_where_partners_may_go_and_nowhere_else(world):
    key = {"X_API_Key": key_of(Partner.objects.create(name="Gamma", rate_limit=1_000_000).pk)}
    for_staff = [route for route in guarded() if not isinstance(route.access, PARTNER)]

    assert turned_away(world, key, [route for route in guarded() if isinstance(route.access, PARTNER)]) == []
    assert wrongly_answered(world, lambda route: 403, key, among=for_staff) == []


def test_another_partner_never_reads_what_is_not_its_own(world):
    key = {"X_API_Key": key_of(world.ids["beta"])}
    leaks, found = [], []
    for route in [route for route in guarded() if isinstance(route.access, PARTNER)]:
        address = world.address(route)
        lead_id = world.ids["lead_id"]
        for query in (
            "",
            f"?lead_id={lead_id}",
            f"?search={MARK}",
            "?page=2&page_size=1",
            "?fields=id,lead_id",
        ):
            answer = ask(address + query, route.method, body=None if route.method in SAFE else "{}", **key)
            content = b"".join(answer) if answer.streaming else answer.content
            if MARK.encode() in content or PHONE[1:].encode() in content:
                leaks.append(f"{route}{query}")
        # 404, not 403: that the row exists is nobody's business.
        if "{" in route.path and answer.status_code != 404:
            found.append(f"{route}: {answer.status_code}")

    assert (leaks, found) == ([], [])


@pytest.mark.parametrize("is_csrf_sent", [True, False])
def test_a_session_needs_its_csrf_token_to_change_something(world, is_csrf_sent):
    client = Client(enforce_csrf_checks=True)
    client.force_login(user(is_superuser=True))
    client.cookies["csrftoken"] = "c" * 32
    headers = {"X-CSRFToken": "c" * 32} if is_csrf_sent else {}
    for route in [route for route in guarded() if isinstance(route.access, STAFF)]:
        answer = client.generic(
            route.method, world.address(route), "{}", content_type="application/json", headers=headers
        )
        is_refused = route.method not in SAFE and not is_csrf_sent
        code = answer.json().get("code") if answer.status_code == 403 else None
        assert (code == "csrf_failed") is is_refused, f"{route}: {answer.status_code}"


def test_a_session_of_somebody_who_is_no_staff_is_refused():
    owner = user(is_superuser=True)
    type(owner).objects.update(is_staff=False)
    client = Client()
    client.force_login(owner)

    assert client.get(LEADS).json()["code"] == "not_staff"


def test_the_use_of_a_token_is_noted_once_a_minute():
    token = token_of(user(is_superuser=True))
    assert ask(LEADS, **bearer(token)).status_code == 200
    first = StaffToken.objects.get().last_used_at
    assert first is not None

    assert ask(LEADS, **bearer(token)).status_code == 200
    assert StaffToken.objects.get().last_used_at == first

    StaffToken.objects.update(last_used_at=first - timedelta(minutes=2))
    assert ask(LEADS, **bearer(token)).status_code == 200
    second = StaffToken.objects.get().last_used_at
    assert second is not None and second > first - timedelta(minutes=1)
