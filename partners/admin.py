from datetime import timedelta
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import Count, Max, OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce, Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.html import format_html
from unfold.admin import TabularInline
from unfold.widgets import UnfoldAdminRadioSelectWidget

from partners import services
from partners.models import Partner, PartnerApiKey
from partners.results import Results, results_of
from scheduler.rest.totals import Total
from scheduler.staff import confirm
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.changelist import StaffChangeList
from scheduler.staff.display import NOTHING, admin_address, link, moment, written
from scheduler.staff.keys import CONSEQUENCE, KeyAdmin
from scheduler.staff.refusals import Refusal

ALIVE = Q(revoked_at__isnull=True) & (Q(expires_at__isnull=True) | Q(expires_at__gt=Now()))
KEEP = "keep"
ISSUED_MEANWHILE = (
    "A key was issued since this page was opened, perhaps by the same button. It was shown then and cannot be "
    "shown again; if nobody copied it, issue another one and revoke it."
)


FATES = {
    "24": "end in 24 hours",
    "168": "end in 7 days",
    "1": "end in 1 hour",
    "0": "are revoked at once: requests with them are refused from then on",
    KEEP: "stay as they are",
}


class IssueForm(forms.Form):
    """Ask what becomes of the other keys; `newest` is the newest key that the page showed."""

    overlap = forms.ChoiceField(
        label="The partner's other keys",
        choices=list(FATES.items()),
        initial="24",
        widget=UnfoldAdminRadioSelectWidget,
    )
    newest = forms.IntegerField(min_value=0, widget=forms.HiddenInput)

    @property
    def chosen(self) -> timedelta | None:
        value = self.cleaned_data["overlap"]
        return None if value == KEEP else timedelta(hours=int(value))

    @property
    def revokes(self) -> bool:
        return self.chosen == timedelta(0)


class ApiKeyInline(TabularInline):
    model = PartnerApiKey
    template = "partners/api_keys.html"
    ordering = ["-created_at", "-id"]
    extra = 0
    can_delete = False

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


class PartnerChangeList(StaffChangeList):
    """The list of partners, with the results of those on the page."""

    results: dict[int, Results]

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        partners = list(self.result_list)
        self.results = results_of(partner.pk for partner in partners)
        for partner in partners:
            partner.results = self.results.get(partner.pk)
        self.result_list = partners


def _figure(name: str, title: str) -> Any:
    @admin.display(description=title)
    def show(_: Any, partner: Any) -> str:
        return f"{getattr(partner.results, name):,}" if partner.results else NOTHING

    return show


@admin.register(Partner)
class PartnerAdmin(StaffAdmin):
    change_form_template = "partners/change_form.html"
    list_after_template = "partners/counted_at.html"
    list_display = [
        "name",
        "is_active",
        "rate_limit",
        "live_keys",
        "last_used",
        "leads",
        "calls",
        "meetings",
        "booking_rate",
        "created",
    ]
    list_filter = ["is_active"]
    search_fields = ["name"]
    sortable_by = ["name", "rate_limit", "created"]
    ordering = ["-created_at", "-id"]
    fieldsets = [
        (None, {"fields": ["name", "is_active", "rate_limit", "created", "changed"]}),
        ("Leads and results", {"fields": ["leads_link", "calls", "meetings", "booking_rate", "counted"]}),
    ]
    readonly_fields = ["created", "changed", "leads_link", "calls", "meetings", "booking_rate", "counted"]
    inlines = [ApiKeyInline]
    refusals = {
        "partners_name_unique": Refusal("A partner with this name exists already.", "name"),
        "partners_name_not_empty": Refusal("A partner needs a name.", "name"),
        "partners_rate_limit_positive": Refusal("The rate limit must be 1 or more.", "rate_limit"),
    }

    created = moment("created_at", "Created")
    changed = moment("updated_at", "Changed")
    leads = _figure("leads", "Leads")
    calls = _figure("calls", "Calls")
    meetings = _figure("meetings", "Meetings booked")

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[StaffChangeList]:
        # The search of other forms for a partner needs no results.
        return PartnerChangeList

    def get_queryset(self, request: HttpRequest) -> QuerySet[Partner]:
        keys = PartnerApiKey.objects.filter(partner=OuterRef("pk")).order_by().values("partner")
        # Subqueries look at the rows of the page only; joins would look at all partners.
        count = Subquery(keys.filter(ALIVE).annotate(count=Count("*")).values("count"))
        used = Subquery(keys.annotate(used=Max("last_used_at")).values("used"))
        return super().get_queryset(request).annotate(live_keys=Coalesce(count, 0), key_used_at=used)

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        partner = super().get_object(request, object_id, from_field)
        if partner is not None:
            partner.results = results_of([partner.pk]).get(partner.pk)
        return partner

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        return super().get_fieldsets(request, obj)[: 2 if obj else 1]

    def delete_model(self, request: HttpRequest, obj: Partner) -> None:
        self.delete_queryset(request, Partner.objects.filter(pk=obj.pk))

    def delete_queryset(self, request: HttpRequest, queryset: QuerySet[Partner]) -> None:
        assert request.user.pk is not None
        for partner in queryset.order_by("pk"):
            services.remember_origin(partner, request.user.pk)
            partner.delete()

    @admin.display(description="Live API keys")
    def live_keys(self, partner: Any) -> int:
        return partner.live_keys

    @admin.display(description="Key last used")
    def last_used(self, partner: Any) -> str:
        return written(partner.key_used_at) if partner.key_used_at else "never"

    @admin.display(description="Booking rate")
    def booking_rate(self, partner: Any) -> str:
        rate = partner.results and partner.results.booking_rate
        return f"{rate:.1f} %" if rate is not None else NOTHING

    @admin.display(description="Leads")
    def leads_link(self, partner: Any) -> str:
        address = reverse("admin:leads_lead_changelist")
        return format_html(
            '<a href="{}?partner__id__exact={}">{}</a>', address, partner.pk, self.leads(partner)
        )

    @admin.display(description="Counted")
    def counted(self, partner: Any) -> str:
        if partner.results is None:
            return "not yet; a background worker counts every 15 minutes"
        return written(partner.results.counted_at) if partner.results.counted_at else "just now"

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("<int:partner_id>/issue-key/", wrap(self.issue_view), name="partners_partner_issue_key"),
            path(
                "<int:partner_id>/revoke-key/<int:key_id>/",
                wrap(self.revoke_view),
                name="partners_partner_revoke_key",
            ),
            *super().get_urls(),
        ]

    def issue_view(self, request: HttpRequest, partner_id: int) -> HttpResponse:
        partner = self._editable(request, partner_id)
        form = IssueForm(request.POST) if request.method == "POST" else None
        if form is None or not form.is_valid():
            return self._issue_page(request, partner, form)
        if services.newest_key(partner) != form.cleaned_data["newest"]:
            return self._issue_page(request, partner, None, ISSUED_MEANWHILE, status=409)
        if form.revokes and partner.api_keys.filter(ALIVE).exists():
            answer = confirm.ask(request, self, _about_revoking(partner, form))
            if answer.page is not None:
                return answer.page
        assert request.user.pk is not None
        try:
            issued = services.rotate_key(
                partner.pk, form.chosen, request.user.pk, newest=form.cleaned_data["newest"]
            )
        except services.KeyIssuedMeanwhile:
            return self._issue_page(request, partner, None, ISSUED_MEANWHILE, status=409)
        if issued is None:
            return HttpResponseRedirect(reverse("admin:partners_partner_changelist"))
        return self._key_page(request, *issued, FATES[form.cleaned_data["overlap"]])

    def _issue_page(
        self,
        request: HttpRequest,
        partner: Partner,
        form: IssueForm | None,
        error: str = "",
        status: int = 200,
    ) -> HttpResponse:
        context = {
            **self._context(request, partner, f"Issue an API key for {partner}"),
            "form": form or IssueForm(initial={"newest": services.newest_key(partner)}),
            "keys": partner.api_keys.filter(ALIVE),
            "error": error,
        }
        return TemplateResponse(request, "partners/issue_key.html", context, status=status)

    def _key_page(self, request: HttpRequest, partner: Partner, key: str, others: str) -> HttpResponse:
        """Show the key in this answer and nowhere else: a message would lie in a cookie or a session until read."""
        context = {
            **self._context(request, partner, f"The new API key of {partner}"),
            "key": key,
            "others": others.partition(":")[0],
        }
        answer = TemplateResponse(request, "partners/key_shown.html", context)
        answer["Cache-Control"] = "no-store, private"
        return answer

    def _context(self, request: HttpRequest, partner: Partner, title: str) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": Partner._meta,
            "original": partner,
            "back": admin_address(partner),
        }

    def revoke_view(self, request: HttpRequest, partner_id: int, key_id: int) -> HttpResponse:
        partner = self._editable(request, partner_id)
        key = get_object_or_404(PartnerApiKey, partner=partner, pk=key_id)
        question = confirm.Question(
            sentence=f"Revoke the API key {key} of {partner}?",
            about=partner,
            cancel=admin_address(partner),
            button="Yes, revoke it",
            consequences=[*_about(key), CONSEQUENCE],
        )
        answer = confirm.ask(request, self, question)
        if answer.page is not None:
            return answer.page
        assert request.user.pk is not None
        if services.revoke_keys(PartnerApiKey.objects.filter(pk=key.pk), request.user.pk):
            messages.success(request, f"The API key {key} is revoked; requests with it are refused now.")
        else:
            messages.warning(request, f"The API key {key} was revoked before.")
        return HttpResponseRedirect(admin_address(partner))

    def _editable(self, request: HttpRequest, partner_id: int) -> Partner:
        partner = get_object_or_404(Partner, pk=partner_id)
        if not self.has_change_permission(request, partner):
            raise PermissionDenied
        return partner


def _about_revoking(partner: Partner, form: IssueForm) -> confirm.Question:
    keys = partner.api_keys.filter(ALIVE)
    return confirm.Question(
        sentence=f"Revoke the other API keys of {partner} and issue a new one?",
        about=partner,
        cancel=reverse("admin:partners_partner_issue_key", args=[partner.pk]),
        button="Revoke them and issue the key",
        rows=list(keys[: confirm.SHOWN_ROWS]),
        total=Total(keys.count()),
        consequences=[CONSEQUENCE],
        hidden={name: [str(form.cleaned_data[name])] for name in ("overlap", "newest")},
    )


def _about(key: PartnerApiKey) -> list[str]:
    used = f"last used {written(key.last_used_at)}" if key.last_used_at else "never used"
    return [f"It was issued {written(key.created_at)} and {used}."]


@admin.register(PartnerApiKey)
class PartnerApiKeyAdmin(KeyAdmin):
    """Keys of all partners; one is issued on its partner's page."""

    list_display = ["__str__", "partner_link", "is_legacy", "created", "last_used", "expires", "revoked"]
    list_filter = [*KeyAdmin.list_filter, "is_legacy"]
    list_select_related = ["partner"]
    search_fields = ["prefix", "partner__name"]
    fields = ["partner_link", "prefix", "is_legacy", "expires_at", "created", "last_used", "revoked"]
    readonly_fields = ["partner_link", "prefix", "is_legacy", "created", "last_used", "revoked"]

    @admin.display(description="Partner", ordering="partner")
    def partner_link(self, key: PartnerApiKey) -> str:
        return link(key.partner)

    def revoke_keys(self, request: HttpRequest, keys: QuerySet[PartnerApiKey]) -> int:
        assert request.user.pk is not None
        return services.revoke_keys(keys, request.user.pk)
