"""Reading of JSON bodies: what is no JSON, no UTF-8 or holds NUL is refused before anything looks at it."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import msgspec
from django.http import HttpRequest
from ninja.parser import Parser

from scheduler.rest.problems import Invalid, Problem

SURROGATE = re.compile("[\ud800-\udfff]")
Endpoint = TypeVar("Endpoint", bound=Callable[..., Any])

_decode = msgspec.json.Decoder().decode
# Endpoints that look at every text themselves.
_judges: set[Callable[..., Any]] = set()


def judges_texts(endpoint: Endpoint) -> Endpoint:
    """Mark an endpoint whose body may hold texts that cannot be stored: it refuses them one by one."""
    _judges.add(endpoint)
    return endpoint


class JsonParser(Parser):
    def parse_body(self, request: HttpRequest) -> Any:
        """Return what the body says. Raises Problem: 415 for another content type, 422 for bad JSON."""
        refuse_other_types(request)
        is_judged = getattr(request, "endpoint", None) in _judges
        try:
            value = _decoded(request.body, with_halves=is_judged)
        except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError, ValueError):
            # Without the decoder's words: they quote the body.
            raise Invalid([("", "The body is not valid JSON in UTF-8.")], code="bad_json") from None
        # A NUL in JSON is always written as an escape, so most bodies need no further look.
        if b"\\u0000" in request.body and not is_judged:
            refuse_nul(value, "")
        return value


def _decoded(body: bytes, *, with_halves: bool) -> Any:
    """Decode JSON; `with_halves` also with escapes of single surrogates, which are JSON but no text."""
    try:
        return _decode(body)
    except msgspec.MsgspecError:
        if with_halves and b"\\ud" in body.lower():
            return json.loads(body.decode(), parse_constant=_no_constant)
        raise


def _no_constant(name: str) -> NoReturn:
    raise ValueError("NaN and Infinity are no JSON.")


def is_storable(text: str) -> bool:
    """Tell whether PostgreSQL can store a text: it knows no NUL and no half of a surrogate pair."""
    return "\0" not in text and (text.isascii() or not SURROGATE.search(text))


def refuse_other_types(request: HttpRequest) -> None:
    kind = request.content_type or "application/json"
    is_json = kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json"))
    charset = request.content_params.get("charset", "utf-8") if request.content_params else "utf-8"
    is_plain = request.META.get("HTTP_CONTENT_ENCODING", "identity") == "identity"
    if not (is_json and is_plain and charset.lower() in ("utf-8", "utf8", "us-ascii")):
        raise Problem(415, "unsupported_media_type", "Send the body as application/json in UTF-8.")


def refuse_nul(value: Any, pointer: str) -> None:
    """Raise a Problem that points at a text with a NUL: PostgreSQL can store none."""
    if isinstance(value, str) and "\x00" in value:
        raise Invalid([(pointer, "NUL characters are not allowed.")])
    if isinstance(value, list):
        for position, item in enumerate(value):
            refuse_nul(item, f"{pointer}/{position}")
    elif isinstance(value, dict):
        for name, item in value.items():
            refuse_nul(name, pointer)
            refuse_nul(item, f"{pointer}/{name}")
