"""Who may call an endpoint: staff by session or token. What partners may is in `partners.access`.

Every route declares one `Access`; a route without one stops the start-up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from hmac import compare_digest
from typing import Any, ClassVar

from django.db import connection
from django.http import HttpRequest
from ninja.utils import check_csrf

from scheduler.models import TOKEN_PREFIX, token_digest
from scheduler.rest.prepared import fetch_one
from scheduler.rest.problems import Problem

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
CHALLENGE = {"WWW-Authenticate": 'Bearer realm="AI Scheduler"'}

# One statement for each request: the token, its user, and all that the user may, from the user and the groups.
TOKEN_SQL = """
SELECT t.id, t.digest, t.read_only,
       t.last_used_at IS NULL OR t.last_used_at < now() - interval '1 minute',
       u.id, u.username, u.is_superuser,
       CASE WHEN u.is_superuser THEN '{}' ELSE ARRAY(
           SELECT c.app_label || '.' || p.codename
           FROM auth_permission p JOIN django_content_type c ON c.id = p.content_type_id
           WHERE p.id IN (
               SELECT permission_id FROM auth_user_user_permissions WHERE user_id = u.id
               UNION ALL
               SELECT g.permission_id FROM auth_user_groups m
               JOIN auth_group_permissions g ON g.group_id = m.group_id WHERE m.user_id = u.id)
       ) END
FROM staff_tokens t JOIN auth_user u ON u.id = t.user_id
WHERE t.digest = %s AND t.revoked_at IS NULL AND (t.expires_at IS NULL OR t.expires_at > now())
  AND u.is_active AND u.is_staff
"""
# The condition again: of two requests in the same moment one writes.
TOKEN_USED_SQL = """
UPDATE staff_tokens SET last_used_at = now()
WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: a staff user or a partner, or nobody where an endpoint is open to all.

    `credential` tells callers apart, such as `partner:7`, `token:5`, `session:3` or `nobody`. `rate_limit` is a
    partner's requests a minute. A superuser's `permissions` are empty: ask `may`.
    """

    credential: str
    user_id: int | None = None
    username: str = ""
    partner_id: int | None = None
    rate_limit: int | None = None
    read_only: bool = False
    is_superuser: bool = False
    permissions: frozenset[str] = field(default_factory=frozenset)

    def may(self, permission: str) -> bool:
        """Tell whether a staff user has a permission such as `leads.view_lead`; a partner has none."""
        return self.is_superuser or permission in self.permissions


def caller(request: HttpRequest) -> Principal:
    """Return who calls an endpoint, which its `auth=` has let in."""
    principal: Principal = request.auth  # type: ignore[attr-defined]
    return principal


def acting_user(request: HttpRequest) -> int:
    """Return the id of the staff user who calls; only for routes that let in nobody else."""
    user_id = caller(request).user_id
    assert user_id is not None
    return user_id


class CallerProblem(Problem):
    """A refusal of one whose credential is right, such as a partner on a path for staff. It counts as a request."""

    def __init__(self, status: int, code: str, detail: str, principal: Principal) -> None:
        super().__init__(status, code, detail)
        self.principal = principal


class Access:
    """Who may call a route. Called with a request it returns the Principal or raises a Problem: 401 or 403."""

    # Names of security schemes of the published schema; any one of them is enough.
    schemes: ClassVar[tuple[str, ...]] = ()

    def __call__(self, request: HttpRequest) -> Principal:
        raise NotImplementedError


class OpenToAll(Access):
    """For the few routes that tell nothing about anybody, such as the schema."""

    def __call__(self, request: HttpRequest) -> Principal:
        return Principal("nobody")


# Tell who calls by a credential of another kind, such as a partner's key, and None when there is none; their apps
# register them. They raise Problem: 401 for a wrong credential, 403 for a right one that opens nothing.
other_callers: list[Callable[[HttpRequest], Principal | None]] = []


class StaffAccess(Access):
    schemes = ("staffToken", "staffSession")

    def __init__(self, permission: str) -> None:
        self.permission = permission

    def __call__(self, request: HttpRequest) -> Principal:
        try:
            principal = staff_principal(request)
        except Problem as problem:
            # A wrong staff token is an attempt to guess one, whatever is sent beside it.
            if problem.status == 401 and not is_staff_token(bearer(request)):
                _refuse_others(request, problem)
            raise
        return permitted(request, principal, self.permission)


def _refuse_others(request: HttpRequest, problem: Problem) -> None:
    """Raise what is to be said to those who have a credential of another kind instead of a staff member's."""
    for caller_of in other_callers:
        try:
            other = caller_of(request)
        except Problem as refusal:
            # A bearer that nobody knows was more likely meant as a token.
            raise (problem if refusal.status == 401 and bearer(request) else refusal) from None
        if other is not None:
            raise CallerProblem(403, "not_staff", "Only staff may do this.", other)


PUBLIC = OpenToAll()


def staff(permission: str) -> StaffAccess:
    """Let in staff with a model permission such as `leads.view_lead`, by session with CSRF or by token."""
    return StaffAccess(permission)


def unauthorized(detail: str, code: str = "unauthorized") -> Problem:
    return Problem(401, code, detail, headers=CHALLENGE)


def bearer(request: HttpRequest) -> str | None:
    """Return the token of `Authorization: Bearer <token>`; None when the header is missing or of another kind."""
    kind, _, token = request.META.get("HTTP_AUTHORIZATION", "").partition(" ")
    return token.strip() or None if kind.lower() == "bearer" else None


def is_staff_token(text: str | None) -> bool:
    return text is not None and text.startswith(TOKEN_PREFIX)


def staff_principal(request: HttpRequest) -> Principal:
    """Return the staff user of a request. Raises Problem 401, or 403 for a session without CSRF token."""
    if token := bearer(request):
        return token_principal(token)
    if user := _session_user(request):
        return _of_session(request, user)
    raise unauthorized("Sign in, or send a staff token as 'Authorization: Bearer <token>'.")


def permitted(request: HttpRequest, principal: Principal, permission: str) -> Principal:
    """Return the principal. Raises Problem 403 when it may not do this."""
    if principal.read_only and request.method not in SAFE_METHODS:
        raise Problem(403, "read_only_token", "This token may only read.")
    if not principal.may(permission):
        raise Problem(403, "permission_missing", f"You lack the permission {permission}.")
    return principal


def token_principal(token: str) -> Principal:
    """Find who a staff token stands for, with one statement. Raises Problem 401."""
    digest = token_digest(token)
    row = fetch_one(TOKEN_SQL, [digest]) if is_staff_token(token) else None
    if row is None or not compare_digest(row[1], digest):
        raise unauthorized("The token is unknown, expired or revoked.", "invalid_token")
    token_id, _, read_only, is_use_due, user_id, username, is_superuser, permissions = row
    if is_use_due:
        execute(TOKEN_USED_SQL, [token_id])
    return Principal(
        f"token:{token_id}",
        user_id=user_id,
        username=username,
        read_only=read_only,
        is_superuser=is_superuser,
        permissions=frozenset(permissions),
    )


def execute(sql: str, parameters: list[Any]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql, parameters)


def _session_user(request: HttpRequest) -> Any:
    # The middleware loads sessions only for requests with a session cookie.
    user = getattr(request, "user", None)
    return user if user is not None and user.is_authenticated else None


def _of_session(request: HttpRequest, user: Any) -> Principal:
    if request.method not in SAFE_METHODS and check_csrf(request) is not None:
        raise Problem(403, "csrf_failed", "The CSRF token is missing or wrong; send it as X-CSRFToken.")
    if not user.is_staff:
        raise Problem(403, "not_staff", "Only staff may do this.")
    return Principal(
        f"session:{user.pk}",
        user_id=user.pk,
        username=user.get_username(),
        is_superuser=user.is_superuser,
        permissions=frozenset() if user.is_superuser else frozenset(user.get_all_permissions()),
    )
