"""The pages of keys and tokens alike: who holds them, when they were used, and revoking after a question."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.contrib import admin, messages
from django.db.models import QuerySet
from django.http import HttpRequest

from scheduler.staff.admin import StaffAdmin
from scheduler.staff.confirm import confirmed_action
from scheduler.staff.deletion import named
from scheduler.staff.display import moment

CONSEQUENCE = "Requests that bring it are refused from then on; this cannot be undone."


class KeyAdmin(StaffAdmin):
    """A list of keys of which only digests are stored; they are made where they can be shown once, never here."""

    list_filter: Sequence[Any] = [("revoked_at", admin.EmptyFieldListFilter)]
    ordering = ["-id"]
    actions = ["revoke"]

    created = moment("created_at", "Created")
    last_used = moment("last_used_at", "Last used")
    expires = moment("expires_at", "Expires")
    revoked = moment("revoked_at", "Revoked")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def revoke_keys(self, request: HttpRequest, keys: QuerySet[Any]) -> int:
        """Revoke those that are not revoked yet, each with its entry in the history; return how many."""
        raise NotImplementedError

    @confirmed_action(
        "Revoke",
        lambda keys: f"Revoke {named(keys.model, keys.count())}?",
        consequences=lambda keys: [CONSEQUENCE],
        button="Yes, revoke them",
    )
    def revoke(self, request: HttpRequest, keys: QuerySet[Any]) -> None:
        revoked = named(keys.model, self.revoke_keys(request, keys))
        messages.success(request, f"Revoked {revoked}; requests that bring them are refused now.")
