"""Imports that staff start from a file on the server: the form, the progress, the outcome."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse
from django.utils.decorators import method_decorator
from django.views.decorators.http import require_POST
from unfold.widgets import UnfoldAdminRadioSelectWidget

from legacy import import_folder, jobs
from legacy.errors import UnusableSource
from legacy.models import ImportJob
from legacy.tables import BY_NAME
from scheduler.staff import confirm, history
from scheduler.staff.admin import ReadOnlyAdmin
from scheduler.staff.display import admin_address, moment

DRY, REAL = "dry", "real"
SHOWN_NOTES = 20


class StartForm(forms.Form):
    file_name = forms.ChoiceField(label="File", widget=UnfoldAdminRadioSelectWidget)
    kind = forms.ChoiceField(
        label="What to do",
        choices=[
            (DRY, "dry run: do all of it, show what would come in, and roll it back"),
            (REAL, "import: the rows stay"),
        ],
        initial=DRY,
        widget=UnfoldAdminRadioSelectWidget,
    )

    def __init__(self, files: list[import_folder.Offered], *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field: Any = self.fields["file_name"]
        field.choices = [
            (each.name, f"{each.name} ({each.size / 1e6:,.1f} MB, {each.changed:%Y-%m-%d %H:%M} UTC)")
            for each in files
        ]


@admin.register(ImportJob)
class ImportJobAdmin(ReadOnlyAdmin):
    change_list_template = "legacy/jobs.html"
    list_display = [
        "id",
        "file_name",
        "dry_run",
        "state",
        "progress",
        "outcome",
        "started_by",
        "created",
        "ended",
    ]
    list_display_links = ["id", "file_name"]
    list_filter = ["state", "dry_run"]
    list_select_related = ["started_by"]
    sortable_by = ["id"]
    ordering = ["-id"]

    created = moment("created_at", "Started")
    ended = moment("ended_at", "Ended")

    @admin.display(description="Progress")
    def progress(self, job: ImportJob) -> str:
        return f"{job.step} {job.percent} %" if job.state == ImportJob.State.RUNNING else "-"

    def may_start(self, request: HttpRequest) -> bool:
        return request.user.has_perm("legacy.add_importjob")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("start/", wrap(self.start_view), name="legacy_importjob_start"),
            path("<int:job_id>/progress/", wrap(self.progress_view), name="legacy_importjob_progress"),
            path("<int:job_id>/cancel/", wrap(self.cancel_view), name="legacy_importjob_cancel"),
            *super().get_urls(),
        ]

    def changelist_view(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        if self.has_view_permission(request):
            jobs.bury_lost()
        context = {"may_start": self.may_start(request), **(extra_context or {})}
        return super().changelist_view(request, context)

    def start_view(self, request: HttpRequest) -> HttpResponse:
        if not self.may_start(request):
            raise PermissionDenied
        jobs.bury_lost()
        form = StartForm(import_folder.offered(), request.POST or None, initial={"kind": DRY})
        if request.method != "POST" or not form.is_valid():
            return self._start_page(request, form)
        name, dry_run = form.cleaned_data["file_name"], form.cleaned_data["kind"] == DRY
        if not dry_run:
            answer = confirm.ask(request, self, _question(name))
            if answer.page is not None:
                return answer.page
        return self._start(request, form, name, dry_run)

    def _start(self, request: HttpRequest, form: StartForm, name: str, dry_run: bool) -> HttpResponse:
        assert request.user.pk is not None
        try:
            job = jobs.start(name, dry_run=dry_run, user_id=request.user.pk)
        except (UnusableSource, jobs.AnotherRuns) as refusal:
            form.add_error(None, str(refusal))
            return self._start_page(request, form)
        history.record(request, [(job, ())], f"Started: {job}")
        return HttpResponseRedirect(admin_address(job))

    def _start_page(self, request: HttpRequest, form: StartForm) -> HttpResponse:
        context = {
            **self._context(request, "Import from a file on the server"),
            "form": form,
            "folder": import_folder.folder(),
            "has_files": bool(form.fields["file_name"].choices),  # type: ignore[attr-defined]
            "open_job": ImportJob.objects.filter(ended_at=None).first(),
            "worker_is_running": jobs.worker_is_running(),
            "command": jobs.WORKER_COMMAND,
        }
        return TemplateResponse(request, "legacy/start.html", context)

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        if not self.has_view_permission(request) or request.method not in ("GET", "HEAD"):
            raise PermissionDenied
        job = self.get_object(request, object_id)
        if job is None:
            return super().change_view(request, object_id, form_url, extra_context)
        job = self._looked_at(job)
        context = {**self._context(request, str(job)), "original": job, **self._of_job(request, job)}
        return TemplateResponse(request, "legacy/job.html", context)

    def progress_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        """Answer the part of the page that changes; scripts ask for it every second or two."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        job = self._looked_at(get_object_or_404(ImportJob, pk=job_id))
        answer = TemplateResponse(request, "legacy/job_state.html", self._of_job(request, job))
        answer["Cache-Control"] = "no-store"
        return answer

    @method_decorator(require_POST)
    def cancel_view(self, request: HttpRequest, job_id: int) -> HttpResponse:
        if not self.may_start(request):
            raise PermissionDenied
        job = get_object_or_404(ImportJob, pk=job_id)
        if jobs.cancel(job):
            history.record(request, [(job, ())], "Cancelled")
            messages.success(request, "The import is cancelled.")
        else:
            messages.warning(request, "It is too late to cancel: a worker has begun it or it has ended.")
        return HttpResponseRedirect(admin_address(job))

    def _looked_at(self, job: ImportJob) -> ImportJob:
        if job.is_open:
            jobs.bury_lost()
            job.refresh_from_db()
        return job

    def _of_job(self, request: HttpRequest, job: ImportJob) -> dict[str, Any]:
        counts = job.report.get("tables", {})
        notes = job.report.get("notes", [])
        return {
            "job": job,
            "tables": [(name, counts[name]) for name in BY_NAME if name in counts],
            "notes": notes[:SHOWN_NOTES],
            "worker_is_missing": job.is_open and not jobs.worker_is_running(),
            "command": jobs.WORKER_COMMAND,
            "may_cancel": job.state == ImportJob.State.WAITING and self.may_start(request),
        }

    def _context(self, request: HttpRequest, title: str) -> dict[str, Any]:
        return {**self.admin_site.each_context(request), "title": title, "opts": ImportJob._meta}


def _question(name: str) -> confirm.Question:
    return confirm.Question(
        sentence=f"Import {name} into the database?",
        cancel=reverse("admin:legacy_importjob_start"),
        button="Yes, import it",
        consequences=[
            "All of it comes in or, when anything fails, none of it.",
            "Meanwhile everybody can read; what staff, workers and partners write to these tables waits.",
        ],
        hidden={"file_name": [name], "kind": [REAL]},
    )
