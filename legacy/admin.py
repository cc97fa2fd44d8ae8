"""What the imports did, for staff: runs, and notes on rows that were repaired, rejected or in conflict."""

import json
from typing import Any

from django.contrib import admin
from django.core.exceptions import PermissionDenied
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.urls import URLPattern, path
from django.utils.html import format_html
from django.utils.safestring import mark_safe

import legacy.job_admin  # noqa: F401  (registers jobs)
from legacy import notes_csv
from legacy.admin_filters import ReasonFilter, TableFilter
from legacy.correction import CorrectionView
from legacy.models import ImportRowNote, ImportRun
from legacy.reasons import SHAPE, having_words
from legacy.sides import NOT_STORED, sides, stored_rows, without_key
from legacy.stored import stored_row
from legacy.tables import BY_NAME
from scheduler.staff.admin import ReadOnlyAdmin
from scheduler.staff.changelist import StaffChangeList
from scheduler.staff.display import NOTHING, label, link, list_link, moment, table

COUNTS = ("read", "inserted", "updated", "unchanged", "rejected", "repaired", "conflicts")
NOTES_OF_COUNT = {"rejected": "rejected", "repaired": "repaired", "conflicts": "conflict"}
SHOWN_CHARACTERS = 80
EMPTY = mark_safe('<em class="staff-quiet">empty text</em>')


@admin.register(ImportRun)
class ImportRunAdmin(ReadOnlyAdmin):
    list_display = ["id", "source_path", "size", "read", "rejected", "started", "took"]
    list_filter = ["started_at"]
    search_fields = ["source_path"]
    sortable_by = ["id"]
    ordering = ["-id"]
    fieldsets = [
        (None, {"fields": ["source_path", "size", "started", "took", "options_written"]}),
        ("Rows", {"fields": ["counts", "all_notes"]}),
        ("Report", {"fields": ["report_written"], "classes": ["collapse"]}),
    ]

    started = moment("started_at", "Started")

    @admin.display(description="Size")
    def size(self, run: ImportRun) -> str:
        return f"{run.source_bytes / 1e6:,.1f} MB"

    @admin.display(description="Time taken")
    def took(self, run: ImportRun) -> str:
        return f"{run.seconds:,.1f} s"

    @admin.display(description="Rows read")
    def read(self, run: ImportRun) -> int:
        return _total(run, "read")

    @admin.display(description="Rejected")
    def rejected(self, run: ImportRun) -> int:
        return _total(run, "rejected")

    @admin.display(description="Options")
    def options_written(self, run: ImportRun) -> str:
        return ", ".join(f"{name}: {value}" for name, value in run.options.items()) or NOTHING

    @admin.display(description="Rows per table")
    def counts(self, run: ImportRun) -> str:
        """Show the report's counts; those that have notes lead to them."""
        tables = _tables(run)
        rows = [[name, *(_count(run, name, key, figures) for key in COUNTS)] for name, figures in tables]
        return (
            table("Rows per table", ["Table", *(key.capitalize() for key in COUNTS)], rows)
            if rows
            else NOTHING
        )

    @admin.display(description="Notes")
    def all_notes(self, run: ImportRun) -> str:
        return list_link(ImportRowNote, "Show all notes of this run", run__id__exact=run.pk)

    @admin.display(description="Report")
    def report_written(self, run: ImportRun) -> str:
        return _pretty(run.report)


def _tables(run: ImportRun) -> list[tuple[str, dict[str, int]]]:
    """Return the report's counts in the order in which the tables are loaded."""
    tables = run.report.get("tables", {})
    names = [*(name for name in BY_NAME if name in tables), *(name for name in tables if name not in BY_NAME)]
    return [(name, tables[name]) for name in names]


def _total(run: ImportRun, key: str) -> int:
    return sum(figures.get(key, 0) for _, figures in _tables(run))


def _count(run: ImportRun, name: str, key: str, figures: dict[str, int]) -> str:
    number = f"{figures.get(key, 0):,}"
    if key not in NOTES_OF_COUNT or not figures.get(key):
        return number
    filters: dict[str, str | int] = {
        "run__id__exact": run.pk,
        "table_name__exact": name,
        "kind__exact": NOTES_OF_COUNT[key],
    }
    return list_link(ImportRowNote, number, **filters)


def _shortened(text: str) -> str:
    return text if len(text) <= SHOWN_CHARACTERS else f"{text[:SHOWN_CHARACTERS]}…"


def _text(text: str) -> str:
    if not text:
        return EMPTY
    return format_html('<span dir="auto">{}</span>', text)


def _pretty(value: object) -> str:
    text = json.dumps(value, indent=2, ensure_ascii=False)
    return format_html('<pre dir="auto" style="white-space: pre-wrap; margin: 0">{}</pre>', text)


class NoteChangeList(StaffChangeList):
    """The list of notes, with the rows that those on the page are about."""

    def get_results(self, request: HttpRequest) -> None:
        super().get_results(request)
        notes = list(self.result_list)
        rows = stored_rows(notes)
        for note in notes:
            note.stored_row = rows.get((note.table_name, note.row_id))
        self.result_list = notes


@admin.register(ImportRowNote)
class ImportRowNoteAdmin(ReadOnlyAdmin):
    change_list_template = "legacy/notes.html"
    change_form_template = "legacy/note.html"
    list_display = [
        "id",
        "table_name",
        "row_id",
        "sort",
        "column",
        "beginning",
        "stored_value",
        "reason",
        "resolved",
    ]
    list_display_links = ["id", "row_id"]
    list_filter = ["kind", TableFilter, "run", ReasonFilter, ("resolved_at", admin.EmptyFieldListFilter)]
    search_fields = ["reason"]
    search_help_text = "Words of the reason, or the number of a row."
    sortable_by = ["id"]
    ordering = ["id"]
    fields = [
        "run_link",
        "table_name",
        "row_id",
        "stored",
        "kind",
        "column",
        "reason",
        "both_sides",
        "resolved",
        "resolved_by",
    ]
    list_select_related = ["run"]
    actions = ["download"]

    sort = label("kind", "Kind", {"rejected": "bad", "repaired": "warning", "conflict": "busy"})
    resolved = moment("resolved_at", "Resolved")

    @admin.display(description="Original")
    def beginning(self, note: ImportRowNote) -> str:
        return _shortened(json.dumps(without_key(note), ensure_ascii=False))

    @admin.display(description="Run")
    def run_link(self, note: ImportRowNote) -> str:
        return link(note.run)

    @admin.display(description="Stored row")
    def stored(self, note: ImportRowNote) -> str:
        row = stored_row(note)
        return link(row) if row else "not in the database"

    @admin.display(description="Stored")
    def stored_value(self, note: Any) -> str:
        """Show the value beside the original one; of a whole row, whether it is there at all."""
        if note.column is None and isinstance(note.original, dict):
            return link(note.stored_row, "imported") if note.stored_row else NOT_STORED
        return _shortened(sides(note, note.stored_row)[0].stored)

    @admin.display(description="Original and stored")
    def both_sides(self, note: ImportRowNote) -> str:
        compared = sides(note, stored_row(note))
        rows = [
            (each.column, _text(each.original), _text(each.stored), "differs" if each.differs else "")
            for each in compared
        ]
        return table("Original and stored", ["Column", "Original", "Stored", "Difference"], rows)

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[StaffChangeList]:
        return NoteChangeList

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[ImportRowNote], search_term: str
    ) -> tuple[QuerySet[ImportRowNote], bool]:
        word = search_term.strip()
        if word.isascii() and word.isdigit() and len(word) < 19:
            return queryset.filter(row_id=int(word)), False
        return (queryset.alias(shape=SHAPE).filter(having_words(word)) if word else queryset), False

    @admin.action(description="Download as CSV", permissions=["view"])
    def download(self, request: HttpRequest, notes: QuerySet[ImportRowNote]) -> HttpResponseBase:
        return notes_csv.response(notes, "import-notes.csv")

    def get_urls(self) -> list[URLPattern]:
        wrap = self.admin_site.admin_view
        return [
            path("csv/", wrap(self.csv_view), name="legacy_importrownote_csv"),
            path(
                "<int:note_id>/reimport/",
                wrap(CorrectionView.as_view(model_admin=self)),
                name="legacy_importrownote_reimport",
            ),
            *super().get_urls(),
        ]

    def csv_view(self, request: HttpRequest) -> HttpResponseBase:
        """Stream every note that the list's filters leave, past the end of the list too."""
        if not self.has_view_permission(request):
            raise PermissionDenied
        notes = self.get_changelist_instance(request).get_queryset(request)
        return notes_csv.response(notes, "import-notes.csv")

    def change_view(
        self, request: HttpRequest, object_id: str, form_url: str = "", extra_context: Any = None
    ) -> HttpResponse:
        note = self.get_object(request, object_id)
        may_correct = note is not None and CorrectionView.may_correct(request, note)
        context = {"may_correct": may_correct, **(extra_context or {})}
        return super().change_view(request, object_id, form_url, context)
