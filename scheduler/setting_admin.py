"""Settings in the admin: checked by their key, with their versions, what changed between these, and the voice."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from unfold.widgets import UnfoldAdminRadioSelectWidget

from scheduler import setting_changes, setting_rules, voice
from scheduler.models import Setting, SettingVersion
from scheduler.setting_diff import lines_between
from scheduler.staff import confirm
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import admin_address, moment, written
from scheduler.staff.refusals import Refusal, StaffForm

SHOWN_CHARACTERS = 100
VERSIONS_PER_PAGE = 20
CHANGED_MEANWHILE = (
    "Somebody else has changed this value since the page was opened. Copy your text, open the page again and look at "
    "the versions."
)


class SettingForm(StaffForm):
    def clean(self) -> dict[str, Any] | None:
        cleaned = super().clean() or {}
        key, value = cleaned.get("key") or self.instance.key, cleaned.get("value")
        if value is None or not key:
            return cleaned
        if self.instance.pk and self._was_changed_meanwhile():
            self.add_error("value", CHANGED_MEANWHILE)
            return cleaned
        try:
            cleaned["value"] = setting_rules.checked(key, value)
        except setting_rules.WrongValue as error:
            self.add_error("value", str(error))
        return cleaned

    def _was_changed_meanwhile(self) -> bool:
        shown = self.data.get(self.add_initial_prefix("value"))
        # Browsers send every end of line as CR LF.
        return shown is not None and _unix(shown) != _unix(self.initial["value"])


def _unix(text: str) -> str:
    return text.replace("\r\n", "\n")


class VoiceForm(forms.Form):
    voice_id = forms.ChoiceField(label="Voice", widget=UnfoldAdminRadioSelectWidget)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["voice_id"]
        field.choices = [(each["voice_id"], each["voice_name"]) for each in voice.voices()]


@admin.register(Setting)
class SettingAdmin(StaffAdmin):
    form = SettingForm
    change_form_template = "scheduler/setting.html"
    change_list_template = "scheduler/settings.html"
    list_display = ["key", "beginning", "changed"]
    list_display_links = ["key"]
    search_fields = ["key", "value"]
    ordering = ["key"]
    fields = ["key", "value", "changed"]
    readonly_fields = ["changed"]
    refusals = {
        "settings_key_unique": Refusal("A setting with this key exists already.", "key"),
        "settings_key_not_empty": Refusal("A setting needs a key.", "key"),
    }

    changed = moment("updated_at", "Changed")

    @admin.display(description="Value")
    def beginning(self, setting: Setting) -> str:
        text = setting.value
        return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        # The versions of a setting go by its key.
        return ["key", "changed"] if obj else ["changed"]

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form = super().get_form(request, obj, change=change, **kwargs)
        if obj and "value" in form.base_fields:
            form.base_fields["value"].help_text = setting_rules.explained(obj.key)
            form.base_fields["value"].strip = False
        return form

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        initial = super().get_changeform_initial_data(request)
        if initial.get("key") == voice.PROMPT_KEY:
            initial["value"] = voice.DEFAULT_PROMPT
        return dict(initial)

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        assert request.user.pk is not None
        if change and "value" not in form.changed_data:
            return
        if change:
            stored = setting_changes.write(obj.key, obj.value, request.user.pk)
            obj.updated_at = stored.updated_at
            return
        # By INSERT: a key that somebody else takes at this moment is refused, not overwritten.
        super().save_model(request, obj, form, change)
        setting_changes.keep(obj, request.user.pk)

    def delete_model(self, request: HttpRequest, obj: Setting) -> None:
        setting_changes.keep(obj)
        super().delete_model(request, obj)

    def delete_queryset(self, request: HttpRequest, queryset: Any) -> None:
        for setting in queryset:
            setting_changes.keep(setting)
        super().delete_queryset(request, queryset)

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("prompt/", wrap(self.prompt_view), name="scheduler_setting_prompt"),
            path("voice/", wrap(self.voice_view), name="scheduler_setting_voice"),
            path("<int:setting_id>/versions/", wrap(self.versions_view), name="scheduler_setting_versions"),
            path(
                "<int:setting_id>/versions/<int:version_id>/restore/",
                wrap(self.restore_view),
                name="scheduler_setting_restore",
            ),
            *super().get_urls(),
        ]

    def prompt_view(self, request: HttpRequest) -> HttpResponse:
        """Lead to the system prompt, or to the form that makes it from the default text."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        setting = Setting.objects.filter(key=voice.PROMPT_KEY).first()
        if setting:
            return HttpResponseRedirect(admin_address(setting))
        address = reverse("admin:scheduler_setting_add")
        return HttpResponseRedirect(f"{address}?{urlencode({'key': voice.PROMPT_KEY})}")

    def voice_view(self, request: HttpRequest) -> HttpResponse:
        if not self.has_change_permission(request):
            raise PermissionDenied
        form = VoiceForm(request.POST or None, initial=voice.voice())
        if request.method == "POST" and form.is_valid():
            assert request.user.pk is not None
            chosen = voice.choose_voice(
                form.cleaned_data["voice_id"], request.user.pk, "Chose the default voice"
            )
            if chosen:
                messages.success(request, f"{chosen['voice_name']} speaks from the next call on.")
                return HttpResponseRedirect(reverse("admin:scheduler_setting_changelist"))
        context = self._context(request, "Default voice") | {"form": form, "chosen": voice.voice()}
        return TemplateResponse(request, "scheduler/voice.html", context)

    def versions_view(self, request: HttpRequest, setting_id: int) -> HttpResponse:
        setting = get_object_or_404(Setting, pk=setting_id)
        if not self.has_view_permission(request, setting):
            raise PermissionDenied
        versions = SettingVersion.objects.filter(key=setting.key).select_related("written_by").order_by("-id")
        page = Paginator(versions, VERSIONS_PER_PAGE).get_page(request.GET.get("p"))
        after = _version(setting, request.GET.get("after")) or (
            page.object_list[0] if page.object_list else None
        )
        before = _version(setting, request.GET.get("before"))
        if before is None and after is not None:
            before = versions.filter(pk__lt=after.pk).first()
        context = self._context(request, f"Versions of {setting.key}", setting) | {
            "page": page,
            "before": before,
            "after": after,
            "lines": lines_between(before.value, after.value) if before and after else [],
            "may_restore": self.has_change_permission(request, setting),
        }
        return TemplateResponse(request, "scheduler/versions.html", context)

    def restore_view(self, request: HttpRequest, setting_id: int, version_id: int) -> HttpResponse:
        setting = get_object_or_404(Setting, pk=setting_id)
        if not self.has_change_permission(request, setting):
            raise PermissionDenied
        version = get_object_or_404(SettingVersion, pk=version_id, key=setting.key)
        back = reverse("admin:scheduler_setting_versions", args=[setting.pk])
        question = confirm.Question(
            sentence=f"Let {setting.key} be as it was on {written(version.created_at)}?",
            about=setting,
            cancel=back,
            button="Yes, restore it",
            consequences=["It holds from the next call on. The value of today stays among the versions."],
        )
        answer = confirm.ask(request, self, question)
        if answer.page is not None:
            return answer.page
        self._restore(request, setting, version)
        return HttpResponseRedirect(back)

    def _restore(self, request: HttpRequest, setting: Setting, version: SettingVersion) -> None:
        assert request.user.pk is not None
        try:
            value = setting_rules.checked(setting.key, version.value)
        except setting_rules.WrongValue as error:
            messages.error(request, f"This version is not allowed any more: {error}")
            return
        sentence = f"Restored the version of {written(version.created_at)}"
        setting_changes.write(setting.key, value, request.user.pk, sentence)
        messages.success(request, f"{setting.key} is as it was on {written(version.created_at)}.")

    def _context(self, request: HttpRequest, title: str, setting: Setting | None = None) -> dict[str, Any]:
        return {
            **self.admin_site.each_context(request),
            "title": title,
            "opts": Setting._meta,
            "original": setting,
            "back": admin_address(setting) if setting else reverse("admin:scheduler_setting_changelist"),
        }


def _version(setting: Setting, text: str | None) -> SettingVersion | None:
    """Find a version named in the address. Raises Http404 for one that is not of this setting."""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) < 19):
        raise Http404
    return get_object_or_404(SettingVersion, pk=int(text), key=setting.key)
