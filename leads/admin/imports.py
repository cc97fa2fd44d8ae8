"""The pages of files of leads: upload, a look at the rows with what is wrong with each, progress, refused rows."""

from __future__ import annotations

import csv
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import ADDITION, CHANGE
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import path
from django.utils import timezone
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminFileFieldWidget

from leads import file_imports
from leads.file_imports import SILENT, State, UnreadableFile
from leads.models import LeadImport
from scheduler.rest.exports import safe
from scheduler.staff import history
from scheduler.staff.admin import ReadOnlyAdmin
from scheduler.staff.display import admin_address, moment

REFRESH = 2  # seconds
ENDINGS = (".csv", ".txt", ".tsv", ".xlsx")
SHOWN_ERRORS = 100
SHOWN_ROWS = 50


class FileForm(forms.Form):
    file = forms.FileField(
        label="File",
        help_text="CSV or XLSX. The first line names the columns: name and phone; email may follow.",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ",".join(ENDINGS)}),
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if not file.name.lower().endswith(ENDINGS):
            raise forms.ValidationError("Choose a CSV or XLSX file.")
        return file


@admin.register(LeadImport)
class LeadImportAdmin(ReadOnlyAdmin):
    list_display = ["id", "file_name", "state", "rows", "created", "refused", "owner", "uploaded"]
    list_display_links = ["id", "file_name"]
    list_filter = ["state"]
    list_select_related = ["owner"]
    list_defer = ("errors",)
    sortable_by = ["id"]
    ordering = ["-id"]

    uploaded = moment("created_at", "Uploaded")

    def has_add_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("leads.add_lead") and request.user.has_perm("leads.add_leadimport")

    def get_urls(self) -> list[Any]:
        view = self.admin_site.admin_view
        return [
            path("<path:object_id>/start/", view(require_POST(self.start)), name="leads_leadimport_start"),
            path("<path:object_id>/errors.csv", view(self.errors_csv), name="leads_leadimport_errors"),
            *super().get_urls(),
        ]

    def add_view(
        self, request: HttpRequest, form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        if not self.has_add_permission(request):
            raise PermissionDenied
        is_sent = request.method == "POST"
        form = FileForm(request.POST, request.FILES) if is_sent else FileForm()
        if is_sent and form.is_valid():
            file = form.cleaned_data["file"]
            try:
                kept = file_imports.keep(file, file.name, request.user)
            except UnreadableFile as error:
                form.add_error("file", str(error))
            else:
                history.record(request, [(kept, ())], "Uploaded the file", ADDITION)
                return HttpResponseRedirect(admin_address(kept))
        return self._page(request, "leads/import_upload.html", {"title": "Import leads", "form": form})

    def change_view(
        self,
        request: HttpRequest,
        object_id: str,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        row = self._row(request, object_id)
        context: dict[str, Any] = {
            "title": str(row),
            "row": row,
            "may_start": self.has_add_permission(request),
        }
        if row.state == State.PREVIEW:
            preview = file_imports.preview(row)
            wrong = [each for each in preview.rows if each.problem]
            context |= {"preview": preview, "wrong": wrong[:SHOWN_ERRORS], "rows": preview.rows[:SHOWN_ROWS]}
        context |= _progress(row)
        return self._page(request, "leads/import.html", context)

    def start(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Hand the file to the workers, for the first time or again after a failure."""
        row = self._row(request, object_id)
        if not self.has_add_permission(request):
            raise PermissionDenied
        if file_imports.start(row.pk):
            history.record(request, [(row, ())], "Started the import", CHANGE)
        else:
            messages.warning(request, "This file is being imported already, or is no longer kept.")
        return HttpResponseRedirect(admin_address(row))

    def errors_csv(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Send the refused rows by number and reason."""
        row = self._row(request, object_id)
        answer = HttpResponse(content_type="text/csv; charset=utf-8")
        answer["Content-Disposition"] = f'attachment; filename="refused-rows-{row.pk}.csv"'
        answer.write("\ufeff")
        writer = csv.writer(answer)
        writer.writerow(["row", "reason"])
        writer.writerows([number, safe(reason)] for number, reason in file_imports.error_lines(row))
        return answer

    def _row(self, request: HttpRequest, object_id: str) -> LeadImport:
        key = unquote(object_id)
        if not key.isascii() or not key.isdigit() or len(key) > 18:
            raise Http404("There is no such import.")
        row = get_object_or_404(LeadImport.objects.select_related("owner"), pk=int(key))
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        return row

    def _page(self, request: HttpRequest, template: str, context: dict[str, Any]) -> HttpResponse:
        common = {**self.admin_site.each_context(request), "opts": self.opts}
        return TemplateResponse(request, template, {**common, **context})


def _progress(row: LeadImport) -> dict[str, Any]:
    is_going_on = row.state in (State.WAITING, State.RUNNING)
    last = row.seen_at if row.state == State.RUNNING else None
    return {
        "refresh": REFRESH if is_going_on else None,
        "percent": min(100, 100 * row.bytes_read // row.bytes_total) if row.bytes_total else 0,
        "is_silent": last is not None and timezone.now() - last > SILENT,
        "errors": row.errors[:SHOWN_ERRORS],
        "unlisted": max(0, row.refused - min(SHOWN_ERRORS, len(row.errors))),
    }
