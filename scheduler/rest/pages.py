"""Lists: by page number as old clients do, or by a cursor that is as fast on page 10,000 as on page 1."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

from django.core.signing import BadSignature, Signer
from django.http import HttpRequest
from pydantic import BaseModel, Field

from scheduler.rest.access import caller
from scheduler.rest.answers import moment
from scheduler.rest.listings import Conditions, Listing, Place, Window
from scheduler.rest.problems import Invalid
from scheduler.rest.totals import Total, totals

MOST_ROWS = 1000
LAST_PAGE = 10**12  # its offset still fits into a bigint
OURS = frozenset({"page", "page_size", "cursor", "fields"})  # parameters that filter nothing
CURSOR_REFUSED = "does not belong to this list with these filters; start again without it"


class PageQuery(BaseModel):
    """The query parameters of every list. Take it as `page: Query[PageQuery]`."""

    page: int = Field(default=1, ge=1, le=LAST_PAGE, description="Counts from 1.")
    page_size: int = Field(default=50, ge=1, le=MOST_ROWS)
    cursor: str = Field(default="", description='From the `Link` header with rel="next"; wins over `page`.')
    fields: str = Field(
        default="", description="Names of the wanted fields, separated by commas. Default: all."
    )


@dataclass(frozen=True, slots=True)
class Slice:
    """One page: its objects, and what the answer says about the whole list."""

    rows: list[Any]  # structs with the wanted members
    total: int
    page: int
    page_size: int
    headers: dict[str, str]


@dataclass(frozen=True, slots=True)
class _Cursor:
    """Where a page begins: behind a row."""

    page: int
    behind: Place


def page_of(request: HttpRequest, listing: Listing, query: PageQuery, conditions: Conditions) -> Slice:
    """Read one page of what the caller may know of, with one statement and an index scan.

    The conditions come from the query string alone: cursors and totals are bound to that and to the caller's
    partner. Raises Problem 422 for a wrong cursor or field.
    """
    names = listing.shape.chosen(query.fields)
    partner_id = caller(request).partner_id
    scope = scope_of(request)
    cursor = opened(query.cursor, scope) if query.cursor else None
    offset = 0 if cursor else (query.page - 1) * query.page_size
    # One row more than asked for tells whether there is a next page.
    window = Window(query.page_size + 1, offset, cursor.behind if cursor else None)
    part = listing.read(names, partner_id, conditions, window)
    shown = part.rows[: query.page_size]
    page = cursor.page if cursor else query.page
    headers = {}
    if len(part.rows) > query.page_size:
        following = sealed(page + 1, shown[-1][part.newest], shown[-1][part.id], scope)
        headers["Link"] = link_to_next(request, following)
    if len(part.rows) <= query.page_size and not cursor and (shown or not offset):
        total = Total(offset + len(shown))
    else:
        total = totals.of(
            lambda: listing.narrowed(partner_id, conditions), listing.using, scope, part.snapshot
        )
    headers["X-Total-Count"] = str(total.count)
    if total.is_estimated:
        headers["X-Total-Count-Estimated"] = "true"
    return Slice(listing.shape.objects(shown, names), total.count, page, query.page_size, headers)


def scope_of(request: HttpRequest) -> tuple[str, ...]:
    """Name what a list shows: its path, its filters, and whose rows."""
    filters = [
        f"{name}={value}" for name, values in request.GET.lists() if name not in OURS for value in values
    ]
    return (request.path_info.rstrip("/"), f"{caller(request).partner_id}", *sorted(filters))


def sealed(page: int, newest: str, row_id: int, scope: tuple[str, ...]) -> str:
    """Write a cursor that begins a page behind a row: signed, so that it can only be one of ours, for this list.

    `newest` is the row's time as PostgreSQL wrote it.
    """
    text = f"{page} {moment(newest)} {row_id}"
    return _signer(scope).sign(base64.urlsafe_b64encode(text.encode()).decode().rstrip("="))


def opened(cursor: str, scope: tuple[str, ...]) -> _Cursor:
    """Read a cursor. Raises Problem 422 when it was changed or belongs to another list."""
    try:
        packed = _signer(scope).unsign(cursor)
        text = base64.urlsafe_b64decode(packed + "=" * (-len(packed) % 4)).decode()
        page, newest, row_id = text.split(" ")
        return _Cursor(int(page), Place(datetime.fromisoformat(newest), int(row_id)))
    except (BadSignature, binascii.Error, ValueError):
        raise Invalid([("/query/cursor", CURSOR_REFUSED)], code="invalid_cursor") from None


def _signer(scope: tuple[str, ...]) -> Signer:
    return Signer(sep=".", salt="scheduler.rest.pages" + "\n".join(scope))


def link_to_next(request: HttpRequest, cursor: str) -> str:
    """Write the `Link` header that leads to the next page."""
    query = {name: values for name, values in request.GET.lists() if name != "page"} | {"cursor": [cursor]}
    return f'<{request.build_absolute_uri(request.path)}?{urlencode(query, doseq=True)}>; rel="next"'
