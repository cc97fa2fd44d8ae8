from typing import Any

from django.contrib import admin
from django.db import transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest

import scheduler.setting_admin
import scheduler.staff.accounts  # (registers users and groups)
import scheduler.staff.changes  # noqa: F401  (registers the history of all rows)
from scheduler.models import StaffToken
from scheduler.staff import history
from scheduler.staff.keys import KeyAdmin

admin.site.index_title = "Overview"


@admin.register(StaffToken)
class StaffTokenAdmin(KeyAdmin):
    """Tokens of programs that act as staff; `manage.py create_staff_token` issues them, never in a browser."""

    list_display = ["__str__", "user", "read_only", "created", "last_used", "expires", "revoked"]
    list_filter = [*KeyAdmin.list_filter, "read_only"]
    list_select_related = ["user"]
    search_fields = ["prefix", "user__username"]
    fields = ["user", "prefix", "read_only", "expires_at", "created", "last_used", "revoked"]
    readonly_fields = ["user", "prefix", "read_only", "created", "last_used", "revoked"]

    def revoke_keys(self, request: HttpRequest, keys: QuerySet[Any]) -> int:
        revoked = 0
        for token in keys.filter(revoked_at__isnull=True).order_by("pk"):
            with transaction.atomic():
                # The condition again: the first of two people who revoke at once is the one in the history.
                if StaffToken.objects.filter(pk=token.pk, revoked_at__isnull=True).update(revoked_at=Now()):
                    history.record(request, [(token, ())], "Revoked the token")
                    revoked += 1
        return revoked
