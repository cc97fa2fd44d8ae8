"""Who may call an endpoint: partners by their API keys, alone or beside staff."""

from __future__ import annotations

from hmac import compare_digest

from django.http import HttpRequest

from partners.models import digest_of
from scheduler.rest.access import (
    Access,
    CallerProblem,
    Principal,
    bearer,
    execute,
    is_staff_token,
    permitted,
    staff_principal,
    unauthorized,
)
from scheduler.rest.prepared import fetch_one

MISSING = "Missing API key. Include 'X-API-Key' header."
INVALID = "Invalid API key"
DISABLED = "Partner access has been disabled. Contact support."

KEY_SQL = """
SELECT k.id, k.digest, k.last_used_at IS NULL OR k.last_used_at < now() - interval '1 minute',
       p.id, p.is_active, p.rate_limit
FROM partner_api_keys k JOIN partners p ON p.id = k.partner_id
WHERE k.digest = %s AND k.revoked_at IS NULL AND (k.expires_at IS NULL OR k.expires_at > now())
"""
KEY_USED_SQL = """
UPDATE partner_api_keys SET last_used_at = now()
WHERE id = %s AND (last_used_at IS NULL OR last_used_at < now() - interval '1 minute')
"""


class PartnerAccess(Access):
    schemes = ("partnerKey", "partnerBearer")

    def __call__(self, request: HttpRequest) -> Principal:
        if key := key_of(request):
            return partner_principal(key)
        raise unauthorized(MISSING, "missing_api_key")


class StaffOrPartnerAccess(Access):
    schemes = ("staffToken", "staffSession", "partnerKey", "partnerBearer")

    def __init__(self, permission: str) -> None:
        self.permission = permission

    def __call__(self, request: HttpRequest) -> Principal:
        if key := key_of(request):
            return partner_principal(key)
        return permitted(request, staff_principal(request), self.permission)


partner_key = PartnerAccess()


def staff_or_partner(permission: str) -> StaffOrPartnerAccess:
    """Let in partners, who must then be shown their own rows only, and staff with a model permission."""
    return StaffOrPartnerAccess(permission)


def key_of(request: HttpRequest) -> str | None:
    """Return a partner's key from X-API-Key or as bearer; a bearer that is a staff token is none."""
    if key := request.META.get("HTTP_X_API_KEY", "").strip():
        return key
    token = bearer(request)
    return None if is_staff_token(token) else token


def partner_principal(key: str) -> Principal:
    """Find whose key it is, with one statement. Raises Problem 401, or 403 for a disabled partner."""
    digest = digest_of(key)
    row = fetch_one(KEY_SQL, [digest])
    if row is None or not compare_digest(row[1], digest):
        raise unauthorized(INVALID, "invalid_api_key")
    key_id, _, is_use_due, partner_id, is_active, rate_limit = row
    principal = Principal(f"partner:{partner_id}", partner_id=partner_id, rate_limit=rate_limit)
    if not is_active:
        raise CallerProblem(403, "partner_disabled", DISABLED, principal)
    if is_use_due:
        execute(KEY_USED_SQL, [key_id])
    return principal


def partner_of(request: HttpRequest) -> Principal | None:
    """Find the partner whose key a request has, None when it has none. Raises as `partner_principal`."""
    key = key_of(request)
    return partner_principal(key) if key else None
