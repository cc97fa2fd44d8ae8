"""Turn exceptions into problems, and log those that nobody foresaw without what the rows held."""

from __future__ import annotations

import logging
import traceback
from collections.abc import Iterator
from typing import Any

from django.core.exceptions import BadRequest, PermissionDenied, RequestDataTooBig, SuspiciousOperation
from django.db import DatabaseError, DataError, IntegrityError, InterfaceError, OperationalError
from django.http import Http404, HttpRequest, UnreadablePostError
from django.http.multipartparser import MultiPartParserError
from ninja.errors import HttpError, ValidationError

from scheduler.rest.problems import Invalid, Problem

logger = logging.getLogger("scheduler.rest")

RETRY_SOON = {"Retry-After": "1"}
RETRY_LATER = {"Retry-After": "5"}
# Serialization failure, deadlock, and a primary that became a standby: the same request may succeed in a moment.
PASSING_STATES = {"40001", "40P01", "25006"}
UNREACHABLE = "The database cannot be reached or does not answer in time; try again later."
POINTERS = {"body": "", "query": "/query", "path": "/path", "header": "/header", "form": "", "file": ""}


def problem_of(request: HttpRequest, error: BaseException) -> Problem:
    """Find the problem that answers an exception; unforeseen ones are logged and answered by 500."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, HttpError) and isinstance(error.__cause__, Problem):
        return error.__cause__  # what the parser of bodies raised; django-ninja wraps it
    if isinstance(error, ValidationError):
        return Invalid([(pointer_of(each), sentence_of(each)) for each in error.errors])
    return _of_the_request(error) or _of_the_database(request, error) or _unforeseen(request, error)


def pointer_of(error: dict[str, Any]) -> str:
    """Write where pydantic found fault as a JSON pointer; query and path parameters stand below their place."""
    place, *rest = error["loc"]
    # A body's errors have the name of our parameter in front.
    names = rest[1:] if place == "body" else rest
    return POINTERS.get(place, "") + "".join(
        f"/{str(n).replace('~', '~0').replace('/', '~1')}" for n in names
    )


def sentence_of(error: dict[str, Any]) -> str:
    if error["type"] in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a JSON object"
    return str(error["msg"]).removeprefix("Value error, ")


def _of_the_request(error: BaseException) -> Problem | None:
    if isinstance(error, RequestDataTooBig):
        return Problem(413, "too_large", "The request body is too large.")
    if isinstance(error, Http404):
        return Problem(404, "not_found", "Not found")
    if isinstance(error, PermissionDenied):
        return Problem(403, "forbidden", "You may not do this.")
    if isinstance(error, HttpError):
        return Problem(error.status_code, "refused", error.message)
    if isinstance(error, BadRequest | SuspiciousOperation | UnreadablePostError | MultiPartParserError):
        return Problem(400, "bad_request", "The request cannot be read.")
    return None


def _of_the_database(request: HttpRequest, error: BaseException) -> Problem | None:
    if not isinstance(error, DatabaseError | InterfaceError):
        return None
    if sqlstate(error) in PASSING_STATES:
        return Problem(503, "busy", "The database is busy with the same rows; try again.", headers=RETRY_SOON)
    if isinstance(error, OperationalError | InterfaceError):
        logger.error("No database for %s %s: %s", request.method, request.path, described(error))
        return Problem(503, "database_unavailable", UNREACHABLE, headers=RETRY_LATER)
    if isinstance(error, IntegrityError):
        logger.warning("PostgreSQL refused %s %s: %s", request.method, request.path, described(error))
        return Problem(409, "conflict", "This conflicts with what is stored.")
    if isinstance(error, DataError):
        logger.warning("PostgreSQL refused %s %s: %s", request.method, request.path, described(error))
        return Problem(422, "invalid", "A value is out of range or no valid text.", extra={"errors": []})
    return None


def _unforeseen(request: HttpRequest, error: BaseException) -> Problem:
    logger.error(
        "Unforeseen fault, request %s, %s %s: %s",
        getattr(request, "request_id", "-"),
        request.method,
        request.path,
        described(error),
    )
    return Problem(
        500, "internal_error", "Something went wrong; the request_id leads our staff to the cause."
    )


def sqlstate(error: BaseException) -> str | None:
    """Return PostgreSQL's code of an error, which Django's exception has as its cause."""
    return getattr(error.__cause__, "sqlstate", None) or getattr(error, "sqlstate", None)


def described(error: BaseException) -> str:
    """Write an exception with its frames but without its texts: they quote rows, phones and keys."""
    return "\n".join(_lines(error))


def _lines(error: BaseException | None) -> Iterator[str]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        diagnosis = getattr(error, "diag", None)
        constraint = getattr(diagnosis, "constraint_name", None)
        notes = [
            f"SQLSTATE {sqlstate(error)}" if sqlstate(error) else "",
            f"{constraint}" if constraint else "",
        ]
        yield " ".join([f"{type(error).__module__}.{type(error).__qualname__}", *filter(None, notes)])
        yield "".join(traceback.format_tb(error.__traceback__)).rstrip()
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
