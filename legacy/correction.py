"""The page on which staff correct a rejected row and import it again."""

from typing import Any

from django import forms
from django.contrib import messages
from django.contrib.admin import ModelAdmin
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.template.response import TemplateResponse
from django.views import View
from unfold.widgets import UnfoldAdminTextareaWidget, UnfoldAdminTextInputWidget

from legacy.models import ImportRowNote
from legacy.originals import shown
from legacy.reimport import CorrectionRefused, import_corrected
from legacy.sides import in_order
from legacy.stored import model_of
from scheduler.staff.display import admin_address

LONG = 80


class CorrectionForm(forms.Form):
    """One text field per column of the original row, a JSON object; an emptied field means NULL."""

    def __init__(self, original: Any, table: str, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.original: dict[str, object] = original
        for column in in_order(table, original):
            self.fields[column] = _text_field(column, shown(original[column]))

    def values(self) -> dict[str, str | None]:
        """Return the columns as texts; those left as they were keep an empty text apart from NULL."""
        return {column: self._value(column, text) for column, text in self.cleaned_data.items()}

    def _value(self, column: str, text: str) -> str | None:
        return text if text or self.original[column] == "" else None


def _text_field(column: str, text: str) -> forms.CharField:
    lines = text.count("\n") + len(text) // LONG
    widget = UnfoldAdminTextareaWidget(attrs={"rows": min(12, lines + 1), "cols": LONG, "dir": "auto"})
    short = UnfoldAdminTextInputWidget(attrs={"dir": "auto"})
    return forms.CharField(
        label=column, initial=text, required=False, strip=False, widget=widget if lines else short
    )


class CorrectionView(View):
    model_admin: ModelAdmin | None = None

    @staticmethod
    def may_correct(request: HttpRequest, note: ImportRowNote) -> bool:
        """Tell whether the note holds an open rejected row and the user may add rows to its table."""
        model = model_of(note.table_name)
        return (
            note.kind == ImportRowNote.Kind.REJECTED
            and note.resolved_at is None
            and isinstance(note.original, dict)
            and model is not None
            and request.user.has_perm("legacy.change_importrownote")
            and request.user.has_perm(f"{model._meta.app_label}.add_{model._meta.model_name}")
        )

    def get(self, request: HttpRequest, note_id: int) -> HttpResponse:
        note = self._note(request, note_id)
        return self._page(request, note, CorrectionForm(note.original, note.table_name))

    def post(self, request: HttpRequest, note_id: int) -> HttpResponse:
        note = self._note(request, note_id)
        form = CorrectionForm(note.original, note.table_name, request.POST)
        if form.is_valid() and self._import(request, note, form):
            messages.success(request, f"Row {note.row_id} of {note.table_name} is imported.")
            return HttpResponseRedirect(admin_address(note))
        return self._page(request, note, form)

    def _import(self, request: HttpRequest, note: ImportRowNote, form: CorrectionForm) -> bool:
        try:
            import_corrected(note, form.values(), request.user)
        except CorrectionRefused as refusal:
            form.add_error(refusal.column if refusal.column in form.fields else None, str(refusal))
            return False
        return True

    def _note(self, request: HttpRequest, note_id: int) -> ImportRowNote:
        note = get_object_or_404(ImportRowNote, pk=note_id)
        if not self.may_correct(request, note):
            raise PermissionDenied
        return note

    def _page(self, request: HttpRequest, note: ImportRowNote, form: CorrectionForm) -> HttpResponse:
        assert self.model_admin is not None
        context = {
            **self.model_admin.admin_site.each_context(request),
            "title": f"Import row {note.row_id} of {note.table_name} again",
            "opts": ImportRowNote._meta,
            "original": note,
            "note": note,
            "form": form,
        }
        return TemplateResponse(request, "legacy/correction.html", context)
