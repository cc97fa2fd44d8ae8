"""Everything that goes wrong below /api/, as RFC 9457 `application/problem+json`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any

import msgspec
from django.http import HttpRequest, HttpResponse

PROBLEM_JSON = "application/problem+json"

_encode = msgspec.json.Encoder().encode


class Problem(Exception):
    """A refusal with its status; `detail` is one sentence for the caller and holds no secret, SQL or phone.

    `code` is a stable word in snake_case that programs may compare. `extra` are further members of the body.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        extra: Mapping[str, Any] | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.status = status
        self.code = code
        self.detail = detail
        self.extra = dict(extra or {})
        self.headers = dict(headers or {})


class NotFound(Problem):
    """404: `NotFound("Lead")` says `Lead not found`; also for rows that the caller must not know of."""

    def __init__(self, what: str) -> None:
        super().__init__(404, f"{what.lower().replace(' ', '_')}_not_found", f"{what} not found")


class Invalid(Problem):
    """422: `errors` are pairs of a JSON pointer (`/phone`, `/query/page`) and a sentence."""

    def __init__(self, errors: Sequence[tuple[str, str]], *, code: str = "invalid") -> None:
        listed = [{"pointer": pointer, "detail": detail} for pointer, detail in errors]
        detail = "; ".join(f"{name_of(pointer)}: {text}" for pointer, text in errors[:3])
        super().__init__(422, code, detail or "The request is not valid.", extra={"errors": listed})


def name_of(pointer: str) -> str:
    """Name what a JSON pointer leads to, for a sentence: `phone`, or `host/1` for an item of a list."""
    *_, before, last = ("", *pointer.split("/"))
    return f"{before}/{last}" if last.isdigit() and before else last or "body"


def also_answers(*statuses: int) -> dict[str, Any]:
    """Publish problems that a route has besides those of all routes: `openapi_extra=also_answers(404)`."""
    return {"responses": {status: {"$ref": f"#/components/responses/Problem{status}"} for status in statuses}}


def problem_response(request: HttpRequest, problem: Problem) -> HttpResponse:
    """Write a problem as the answer to a request."""
    body = {
        "type": "about:blank",
        "title": HTTPStatus(problem.status).phrase,
        "status": problem.status,
        "detail": problem.detail,
        "instance": request.path,
        "code": problem.code,
        "request_id": getattr(request, "request_id", None),
        **problem.extra,
    }
    answer = HttpResponse(
        _encode(body), status=problem.status, content_type=PROBLEM_JSON, headers=problem.headers
    )
    # Django would log it once more, by its path only.
    answer._has_been_logged = True  # type: ignore[attr-defined]
    return answer
