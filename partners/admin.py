from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.core.exceptions import PermissionDenied
from django.db.models import Count, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import URLPattern, path
from django.views.decorators.http import require_POST

from partners.models import Partner, PartnerApiKey
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import admin_address, link, moment
from scheduler.staff.refusals import Refusal

ALIVE = Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))


def issue_key(request: HttpRequest, partner: Partner) -> None:
    """Issue a key and show it in a message: the one time that it can be read."""
    row, key = PartnerApiKey.issue(partner)
    _log(request, partner, f"Issued the API key {row.prefix}…")
    messages.success(
        request, f"The new API key of {partner} is {key}: copy it now, it cannot be shown again."
    )


def revoke_keys(request: HttpRequest, keys: QuerySet[PartnerApiKey]) -> int:
    """Revoke those keys that are not revoked yet; return how many."""
    revoked = 0
    for key in keys.filter(revoked_at__isnull=True).select_related("partner"):
        # The condition again: the first of two people who revoke at once is the one in the history.
        if PartnerApiKey.objects.filter(pk=key.pk, revoked_at__isnull=True).update(revoked_at=Now()):
            _log(request, key.partner, f"Revoked the API key {key.prefix}…")
            revoked += 1
    return revoked


def _log(request: HttpRequest, partner: Partner, sentence: str) -> None:
    assert request.user.pk is not None
    LogEntry.objects.log_actions(request.user.pk, [partner], CHANGE, sentence, single_object=True)


class ApiKeyInline(admin.TabularInline):
    model = PartnerApiKey
    template = "partners/api_keys.html"
    ordering = ["-created_at", "-id"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


@admin.register(Partner)
class PartnerAdmin(StaffAdmin):
    change_form_template = "partners/change_form.html"
    list_display = ["name", "is_active", "rate_limit", "live_keys", "created", "changed"]
    list_filter = ["is_active"]
    search_fields = ["name"]
    ordering = ["-created_at", "-id"]
    fields = ["name", "is_active", "rate_limit", "created", "changed"]
    readonly_fields = ["created", "changed"]
    inlines = [ApiKeyInline]
    actions = ["issue_keys"]
    refusals = {
        "partners_name_unique": Refusal("A partner with this name exists already.", "name"),
        "partners_name_not_empty": Refusal("A partner needs a name.", "name"),
        "partners_rate_limit_positive": Refusal("The rate limit must be 1 or more.", "rate_limit"),
    }

    created = moment("created_at", "Created")
    changed = moment("updated_at", "Changed")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Partner]:
        keys = PartnerApiKey.objects.filter(ALIVE, partner=OuterRef("pk")).order_by().values("partner")
        # A subquery counts for the rows of the page only; a join would count for all partners.
        count = Subquery(keys.annotate(count=Count("*")).values("count"))
        return super().get_queryset(request).annotate(live_keys=Coalesce(count, 0))

    @admin.display(description="Live API keys")
    def live_keys(self, partner: Any) -> int:
        return partner.live_keys

    @admin.action(description="Issue a new key", permissions=["change"])
    def issue_keys(self, request: HttpRequest, partners: QuerySet[Partner]) -> None:
        for partner in partners:
            issue_key(request, partner)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path(
                "<int:partner_id>/issue-key/",
                wrap(require_POST(self.issue_view)),
                name="partners_partner_issue_key",
            ),
            path(
                "<int:partner_id>/revoke-key/<int:key_id>/",
                wrap(require_POST(self.revoke_view)),
                name="partners_partner_revoke_key",
            ),
            *super().get_urls(),
        ]

    def issue_view(self, request: HttpRequest, partner_id: int) -> HttpResponse:
        partner = self._editable(request, partner_id)
        issue_key(request, partner)
        return HttpResponseRedirect(admin_address(partner))

    def revoke_view(self, request: HttpRequest, partner_id: int, key_id: int) -> HttpResponse:
        partner = self._editable(request, partner_id)
        key = get_object_or_404(PartnerApiKey, partner=partner, pk=key_id)
        if revoke_keys(request, PartnerApiKey.objects.filter(pk=key.pk)):
            messages.success(request, f"The API key {key} is revoked; requests with it are refused now.")
        else:
            messages.warning(request, f"The API key {key} was revoked before.")
        return HttpResponseRedirect(admin_address(partner))

    def _editable(self, request: HttpRequest, partner_id: int) -> Partner:
        partner = get_object_or_404(Partner, pk=partner_id)
        if not self.has_change_permission(request, partner):
            raise PermissionDenied
        return partner


@admin.register(PartnerApiKey)
class PartnerApiKeyAdmin(StaffAdmin):
    list_display = ["__str__", "partner_link", "is_legacy", "created", "last_used", "expires", "revoked"]
    list_filter = [("revoked_at", admin.EmptyFieldListFilter), "is_legacy"]
    list_select_related = ["partner"]
    search_fields = ["prefix", "partner__name"]
    ordering = ["-id"]
    fields = ["partner_link", "prefix", "is_legacy", "expires_at", "created", "last_used", "revoked"]
    readonly_fields = ["partner_link", "prefix", "is_legacy", "created", "last_used", "revoked"]
    actions = ["revoke"]

    created = moment("created_at", "Created")
    last_used = moment("last_used_at", "Last used")
    expires = moment("expires_at", "Expires")
    revoked = moment("revoked_at", "Revoked")

    def has_add_permission(self, request: HttpRequest) -> bool:
        # A key is issued on its partner's page, where it is shown once.
        return False

    @admin.display(description="Partner", ordering="partner")
    def partner_link(self, key: PartnerApiKey) -> str:
        return link(key.partner)

    @admin.action(description="Revoke selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[PartnerApiKey]) -> None:
        messages.success(request, f"Revoked {revoke_keys(request, keys)} API keys.")
