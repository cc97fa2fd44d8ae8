"""The published schema: django-ninja's, with who may call, every error answer and what lists say in headers."""

from __future__ import annotations

from typing import Any

from ninja.openapi.schema import OpenAPISchema

from scheduler.rest.access import Access
from scheduler.rest.examples import example_of
from scheduler.rest.problems import PROBLEM_JSON
from scheduler.rest.routing import RestApi, access_of

Json = dict[str, Any]

SECURITY_SCHEMES: dict[str, Json] = {
    "staffToken": {
        "type": "http",
        "scheme": "bearer",
        "description": "A staff token (ast_...), made by `manage.py create_staff_token`.",
    },
    "staffSession": {
        "type": "apiKey",
        "in": "cookie",
        "name": "sessionid",
        "description": "The session of the admin; methods that change something need `X-CSRFToken` too.",
    },
    "partnerKey": {
        "type": "apiKey",
        "in": "header",
        "name": "X-API-Key",
        "description": "A partner's API key.",
    },
    "partnerBearer": {"type": "http", "scheme": "bearer", "description": "A partner's API key as bearer."},
}
PROBLEM: Json = {
    "title": "Problem",
    "description": "What went wrong, after RFC 9457.",
    "type": "object",
    "required": ["type", "title", "status", "detail", "instance", "code", "request_id"],
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence for people."},
        "instance": {"type": "string", "description": "The path that was asked for."},
        "code": {"type": "string", "description": "A stable word for programs."},
        "request_id": {"type": ["string", "null"], "description": "Leads our staff to the log."},
        "errors": {
            "type": "array",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {"pointer": {"type": "string"}, "detail": {"type": "string"}},
            },
        },
    },
}
# Status, code, sentence. The example of each answer is made of these.
ERRORS: dict[int, tuple[str, str]] = {
    400: ("bad_request", "The request cannot be read."),
    401: ("unauthorized", "Sign in, or send a staff token as 'Authorization: Bearer <token>'."),
    403: ("permission_missing", "You lack the permission leads.view_lead."),
    404: ("not_found", "Not found"),
    409: ("conflict", "This conflicts with what is stored."),
    411: ("length_required", "Send the body with a Content-Length."),
    413: ("too_large", "The request body is too large."),
    415: ("unsupported_media_type", "Send the body as application/json in UTF-8."),
    422: ("invalid", "page: Input should be greater than or equal to 1"),
    429: ("rate_limited", "Rate limit exceeded. Maximum 100 requests per 60 seconds."),
    500: ("internal_error", "Something went wrong; the request_id leads our staff to the cause."),
    503: (
        "database_unavailable",
        "The database cannot be reached or does not answer in time; try again later.",
    ),
}
TITLES = {
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    409: "Conflict",
    411: "Length Required",
    413: "Request Entity Too Large",
    415: "Unsupported Media Type",
    422: "Unprocessable Entity",
    429: "Too Many Requests",
    500: "Internal Server Error",
    503: "Service Unavailable",
}
RETRY_AFTER = {"Retry-After": {"schema": {"type": "integer"}, "description": "Seconds to wait."}}
LIST_HEADERS = {
    "Link": {"schema": {"type": "string"}, "description": 'The next page, rel="next"; missing on the last.'},
    "X-Total-Count": {"schema": {"type": "integer"}},
    "X-Total-Count-Estimated": {
        "schema": {"type": "string", "const": "true"},
        "description": "There when the total is an estimate.",
    },
}
LIMIT_HEADERS = {
    "RateLimit": {
        "schema": {"type": "string"},
        "description": 'For partners: `"default";r=<left>;t=<seconds>`.',
    },
    "RateLimit-Policy": {
        "schema": {"type": "string"},
        "description": 'For partners: `"default";q=100;w=60`.',
    },
}
REPLAY_HEADER = {
    "Idempotent-Replayed": {
        "schema": {"type": "string", "const": "true"},
        "description": "There when this is the answer to an earlier request with the same Idempotency-Key.",
    }
}
IDEMPOTENCY_KEY: Json = {
    "in": "header",
    "name": "Idempotency-Key",
    "required": False,
    "schema": {"type": "string", "pattern": "^[\\x20-\\x7e]{1,255}$"},
    "description": "Any text that is new for each request. Sent again, the request has no second effect for 24 hours.",
}
# What routes with these ends answer instead of JSON.
FILES: dict[str, tuple[str, str]] = {
    "/export": ("text/csv", "\ufeffid,name\r\n42,Ada Lovelace\r\n"),
    ".ics": (
        "text/calendar",
        "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//AI Scheduler//EN\r\nEND:VCALENDAR\r\n",
    ),
}


def schema_of(api: RestApi, prefix: str) -> Json:
    """Build the OpenAPI 3.1 document of all routes below `prefix`."""
    schema: Json = dict(OpenAPISchema(api, prefix))
    components = schema["components"]
    components["schemas"]["Problem"] = PROBLEM
    components["securitySchemes"] = SECURITY_SCHEMES
    components["responses"] = {f"Problem{status}": _problem_answer(status) for status in ERRORS}
    for method, route, operation in api.operations():
        if operation.include_in_schema:
            described = schema["paths"][prefix + route][method.lower()]
            _describe_success(described, route, method, access_of(operation))
            _complete(described, method, access_of(operation))
            _add_examples(described, components["schemas"])
    return schema


def _describe_success(described: Json, route: str, method: str, access: Access) -> None:
    for status, answer in described["responses"].items():
        if "$ref" in answer:
            continue
        headers = answer.setdefault("headers", {})
        if any(parameter["name"] == "cursor" for parameter in described.get("parameters", [])):
            headers.update(LIST_HEADERS)
        if any(scheme.startswith("partner") for scheme in access.schemes):
            headers.update(LIMIT_HEADERS)
        if method == "POST":
            headers.update(REPLAY_HEADER)
        for end, (kind, example) in FILES.items():
            if route.endswith(end) and status == 200:
                answer["content"] = {kind: {"schema": {"type": "string"}, "example": example}}


def _complete(described: Json, method: str, access: Access) -> None:
    if access.schemes:
        described["security"] = [{scheme: []} for scheme in access.schemes]
    if method == "POST":
        described.setdefault("parameters", []).append(IDEMPOTENCY_KEY)
    for status in _error_statuses(described, method, access):
        described["responses"].setdefault(status, {"$ref": f"#/components/responses/Problem{status}"})
    # JSON has no numbers as keys.
    described["responses"] = {str(status): answer for status, answer in described["responses"].items()}


def _add_examples(described: Json, schemas: Json) -> None:
    for body in (described.get("requestBody", {}), *described["responses"].values()):
        for media in body.get("content", {}).values():
            if "schema" in media:
                media.setdefault("example", example_of(media["schema"], schemas))


def _error_statuses(described: Json, method: str, access: Access) -> list[int]:
    places = {parameter["in"] for parameter in described.get("parameters", [])}
    statuses = [400, 429, 500, 503]
    statuses += [401, 403] if access.schemes else []
    statuses += [404] if "path" in places else []
    # A body, a query or a path that cannot be read, and text that is no UTF-8 anywhere in the address.
    statuses += [422]
    statuses += [411, 413, 415] if "requestBody" in described else []
    statuses += [409] if method != "GET" else []
    return sorted(statuses)


def _problem_answer(status: int) -> Json:
    code, sentence = ERRORS[status]
    example: Json = {
        "type": "about:blank",
        "title": TITLES[status],
        "status": status,
        "detail": sentence,
        "instance": "/api/leads/",
        "code": code,
        "request_id": "4f1c7a0e9d5b4c3a8f2e6d1b0a9c8e7f",
    }
    if status == 422:
        example["errors"] = [
            {"pointer": "/query/page", "detail": "Input should be greater than or equal to 1"}
        ]
    answer: Json = {
        "description": TITLES[status],
        "content": {PROBLEM_JSON: {"schema": {"$ref": "#/components/schemas/Problem"}, "example": example}},
    }
    if status in (429, 503):
        answer["headers"] = RETRY_AFTER
    return answer
