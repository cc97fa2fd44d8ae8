"""Whatever comes in, every route answers below 500 and says in a problem what is wrong."""

import json
import logging
from unittest.mock import patch
from urllib.parse import quote, urlencode

import pytest
from django.db import OperationalError
from django.test import Client
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database.errors import StatementTimeout, Unreachable
from scheduler.rest.access import OpenToAll
from scheduler.tests.rest_world import PHONE, SAFE, World, ask, key_of, routes, superuser, user

pytestmark = pytest.mark.django_db

LEADS = "/api/leads/"
PROBLEM = {"type", "title", "status", "detail", "instance", "code", "request_id"}
BODIES = [
    b"", b"{}", b"[]", b"null", b"3", b'"x"', b"{", b"\xff\xfe", b'{"a": NaN}', b"[" * 100_000,
    b'{"name": "a\\u0000b"}', b'{"name": "\\ud800"}', b'{"name": {"a": []}, "phone": [1], "leads": {"x": 1}}',
    b'{"leads": [null, 3, {"name": 5}], "lead_ids": [1e300, "x", null], "rate_limit": -1, "value": null}',
]  # fmt: skip
IDS = ["-1", "0", "99999999999", "9223372036854775807", "9223372036854775808", "1" + "0" * 300]


@pytest.fixture
def staff():
    return superuser()


def problem(answer):
    """Return the problem of an answer, which must be a whole one."""
    assert answer["Content-Type"] == "application/problem+json"
    body = answer.json()
    assert set(body) >= PROBLEM
    assert body["status"] == answer.status_code
    return body


def is_sound(answer):
    if answer.status_code >= 400:
        problem(answer)
    return answer.status_code < 500


@pytest.mark.parametrize("body", BODIES, ids=lambda body: repr(body[:30]))
def test_no_body_breaks_a_route(staff, body):
    world = World.made()
    for route in [route for route in routes() if route.method not in SAFE]:
        answer = ask(world.address(route), route.method, body=body, **staff)
        assert is_sound(answer), f"{route}: {answer.content[:300]!r}"


@pytest.mark.parametrize("row_id", IDS)
def test_ids_that_no_row_has_are_not_found(staff, row_id):
    world = World.made()
    world.ids = {name: row_id for name in world.ids}
    for route in [route for route in routes() if "_id}" in route.path and route.method in SAFE]:
        answer = ask(world.address(route), **staff)
        assert problem(answer)["status"] == 404, f"{route}: {answer.content[:300]!r}"


@pytest.mark.parametrize("row_id", ["abc", "1.5", "1e3", "%00", "\u0661", " 1", "1_000"])
def test_ids_that_are_no_numbers_are_refused(staff, row_id):
    world = World.made()
    world.ids = {name: row_id for name in world.ids}
    for route in [route for route in routes() if "_id}" in route.path and route.method in SAFE]:
        answer = ask(world.address(route), **staff)
        assert problem(answer)["status"] in (404, 422) if row_id == "%00" else answer.status_code == 422


WRONG_QUERIES = [
    "page=0", "page=-1", "page=100000000000000000000", "page=x", "page_size=0", "page_size=1001", "page=1%00",
    "fields=nope", "cursor=x", "cursor=a.b", "page=%ff", "status=NoSuch",
]  # fmt: skip


@pytest.mark.parametrize("query", WRONG_QUERIES)
def test_wrong_parameters_of_a_list_are_named(staff, query):
    answer = ask(f"{LEADS}?{query}", **staff)

    assert problem(answer)["status"] == 422
    (error,) = answer.json()["errors"]
    assert error["pointer"] == ("/query" if "%" in query else f"/query/{query.partition('=')[0]}")


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    page=st.one_of(st.integers(), st.text(max_size=20)),
    page_size=st.one_of(st.integers(), st.text(max_size=20)),
    others=st.dictionaries(st.sampled_from(["cursor", "fields", "status", "x"]), st.text(max_size=40)),
)
def test_no_paging_parameters_break_a_list(staff, page, page_size, others):
    query = urlencode({"page": page, "page_size": page_size, **others}, errors="surrogatepass")
    assert is_sound(ask(f"{LEADS}?{query}", **staff))


TIMES = ["leads/{}?created_after", "calls/{}?started_before", "meetings/{}?after"]


@pytest.mark.parametrize("what", ["", "export"])
@pytest.mark.parametrize("path", TIMES)
def test_a_time_may_have_any_offset_and_be_as_early_or_late_as_can_be_written(staff, path, what):
    def answered(time):
        return ask(f"/api/{path.format(what)}={quote(time)}", **staff)

    times = [f"2025-01-01T00:00:00{offset}" for offset in ("+23:59", "-16:00", "+00:00", "Z")]
    for time in (*times, "0001-01-01T00:00:00+00:01", "9999-12-31T23:59:59-00:01"):
        answer = answered(time)
        assert answer.status_code == 200, time
        assert b"broke off" not in b"".join(answer)
    assert problem(answered("10000-01-01T00:00:00Z"))["errors"][0]["pointer"].startswith("/query/")


def test_a_path_that_nobody_knows_is_a_problem():
    for path in (
        "/api/",
        "/api/nothing",
        "/api/leads/1/nothing",
        "/api/leadsx",
        "/api//leads",
        "/api/leads//",
    ):
        for method in ("GET", "POST", "HEAD", "OPTIONS"):
            assert ask(path, method).status_code == 404, path
        assert problem(ask(path))["code"] == "not_found"


def test_both_forms_of_a_slash_answer_directly(staff):
    world = World.made()
    for route in [route for route in routes() if route.method in SAFE]:
        address = world.address(route).rstrip("/")
        statuses = {ask(form, **staff).status_code for form in (address, f"{address}/")}
        assert len(statuses) == 1 and not statuses & {301, 302, 307, 308}, f"{route}: {statuses}"


def test_a_wrong_method_is_told_the_right_ones():
    world = World.made()
    methods: dict[str, set[str]] = {}
    for route in routes():
        methods.setdefault(world.address(route), {"OPTIONS"}).update(
            {route.method, "HEAD"} if route.method == "GET" else {route.method}
        )
    for address, allowed in methods.items():
        for method in ("TRACE", "CONNECT", "PUT", "DELETE", "OPTIONS", "BREW"):
            if method == "OPTIONS" or method not in allowed:
                answer = ask(address, method)
                assert set(answer["Allow"].split(", ")) == allowed
                assert answer.status_code == (204 if method == "OPTIONS" else 405)


def test_head_says_what_get_would_and_sends_nothing(staff):
    world = World.made()
    for route in [route for route in routes() if route.method in SAFE]:
        got, head = (ask(world.address(route), method, **staff) for method in ("GET", "HEAD"))
        assert head.status_code == got.status_code
        assert b"".join(head) == b""
        assert head["Content-Type"] == got["Content-Type"]
        if not got.streaming and "request_id" not in got.content.decode():
            assert head["Content-Length"] == str(len(got.content))


def test_other_content_types_are_refused(staff):
    world = World.made()
    address = f"{LEADS}{world.ids['lead_id']}"
    for kind in ("text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin-1"):
        assert problem(ask(address, "PATCH", body="{}", Content_Type=kind, **staff))["status"] == 415
    for kind in ("", "application/json; charset=UTF-8", "application/merge-patch+json"):
        assert ask(address, "PATCH", body="{}", Content_Type=kind, **staff).status_code == 200
    assert ask(address, "PATCH", body="{}", Content_Encoding="gzip", **staff).status_code == 415


@pytest.mark.parametrize("path", [LEADS, f"{LEADS}upload"])
@pytest.mark.parametrize("is_session", [True, False])
def test_a_form_in_another_encoding_cannot_be_read(staff, path, is_session):
    client = Client(enforce_csrf_checks=True, headers={} if is_session else staff)
    if is_session:
        client.force_login(user(is_superuser=True))
        client.cookies["csrftoken"] = "c" * 32
    form = "application/x-www-form-urlencoded; charset=iso-8859-1"

    answer = client.generic("POST", path, "a=b", content_type=form, headers={"X-CSRFToken": "c" * 32})

    # Staff with a token are told what is to be sent where no form is read at all.
    is_read = is_session or path != LEADS
    assert problem(answer)["status"] == (400 if is_read else 415), answer.content


def test_a_body_above_the_limit_is_refused(staff, settings):
    world = World.made()
    settings.DATA_UPLOAD_MAX_MEMORY_SIZE = 100
    body = json.dumps({"name": "a" * 100})

    assert problem(ask(f"{LEADS}{world.ids['lead_id']}", "PATCH", body=body, **staff))["status"] == 413


def test_a_body_without_length_is_refused():
    assert problem(ask(LEADS, "POST", Transfer_Encoding="chunked"))["status"] == 411


def test_a_wrong_host_is_a_problem(settings):
    settings.ALLOWED_HOSTS = ["calls.example.com"]

    assert problem(ask(LEADS))["status"] == 400


@pytest.mark.parametrize("sent", ["abc-123", "A.b_9", "x" * 64])
def test_a_sane_request_id_is_kept(sent):
    answer = ask(LEADS, X_Request_ID=sent)

    assert answer["X-Request-ID"] == answer.json()["request_id"] == sent


@pytest.mark.parametrize("sent", ["", "x" * 65, "a b", "a\tb", "<script>", "ä", "-leading"])
def test_another_request_id_is_replaced(sent):
    answer = ask(LEADS, X_Request_ID=sent)

    assert answer["X-Request-ID"] != sent
    assert len(answer["X-Request-ID"]) == 32


def test_an_unforeseen_fault_tells_its_id_only_and_the_log_knows_no_values(staff, caplog):
    secret = f"Key (phone)=({PHONE}) already exists"
    with patch("leads.api.page_of", side_effect=RuntimeError(secret)), caplog.at_level(logging.ERROR):
        answer = ask(LEADS, X_Request_ID="the-id", **staff)

    assert problem(answer)["code"] == "internal_error"
    assert set(answer.json()) == PROBLEM
    (record,) = [record for record in caplog.records if record.name == "scheduler.rest"]
    text = record.getMessage()
    assert "the-id" in text and "RuntimeError" in text and "list_leads" in text
    assert PHONE not in caplog.text and PHONE not in answer.content.decode()


@pytest.mark.parametrize("error", [Unreachable("x"), StatementTimeout("x"), OperationalError(PHONE)])
def test_trouble_of_the_database_is_503(staff, error, caplog):
    with patch("leads.api.page_of", side_effect=error):
        answer = ask(LEADS, **staff)

    assert problem(answer)["code"] == "database_unavailable"
    assert answer.status_code == 503 and int(answer["Retry-After"]) > 0
    assert PHONE not in caplog.text


def test_pages_of_other_origins_may_ask_when_they_are_named(settings):
    settings.CORS_ALLOWED_ORIGINS = ["https://dashboard.example.com"]
    ours = ask(LEADS, Origin="https://dashboard.example.com")
    preflight = ask(
        LEADS, "OPTIONS", Origin="https://dashboard.example.com", Access_Control_Request_Method="GET",
        Access_Control_Request_Headers="X-API-Key, Idempotency-Key",
    )  # fmt: skip

    assert ours["Access-Control-Allow-Origin"] == "https://dashboard.example.com"
    assert ours["Access-Control-Allow-Credentials"] == "true"
    assert "X-Total-Count" in ours["Access-Control-Expose-Headers"]
    assert {"x-api-key", "idempotency-key"} <= set(preflight["Access-Control-Allow-Headers"].split(", "))
    assert "Access-Control-Allow-Origin" not in ask(LEADS, Origin="https://evil.example.com")


def test_no_partner_s_input_breaks_what_partners_may_call():
    world = World.made()
    key = {"X_API_Key": key_of(world.ids["beta"])}
    for route in [route for route in routes() if not isinstance(route.access, OpenToAll)]:
        for body in BODIES[:8]:
            answer = ask(
                world.address(route), route.method, body=None if route.method in SAFE else body, **key
            )
            assert is_sound(answer), f"{route}: {answer.content[:300]!r}"


@pytest.mark.parametrize("path", ["/nothing", "/health/nothing", "/metrics.json"])
def test_programs_get_a_problem_for_unknown_paths_outside_the_api_and_people_a_page(path):
    assert problem(Client().get(path))["code"] == "not_found"
    page = Client().get(path, headers={"Accept": "text/html,application/xhtml+xml,*/*;q=0.8"})
    assert (page.status_code, page["Content-Type"].partition(";")[0]) == (404, "text/html")


@pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE", "TRACE"])
def test_the_root_names_the_methods_that_it_answers(method):
    answer = Client(enforce_csrf_checks=True).generic(method, "/")
    assert problem(answer)["status"] == 405
    assert answer["Allow"] == "GET, HEAD, OPTIONS"


def test_an_item_of_a_list_is_named_with_the_list(staff):
    answer = ask("/api/campaigns/start", "POST", body='{"name": "Spring", "lead_ids": [1, "x"]}', **staff)
    assert problem(answer)["detail"].startswith("lead_ids/1: ")
    assert answer.json()["errors"][0]["pointer"] == "/lead_ids/1"
