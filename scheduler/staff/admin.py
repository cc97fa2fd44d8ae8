"""What the admin pages of all apps have in common."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import ShowFacets
from django.contrib.admin.models import DELETION
from django.contrib.admin.options import IS_POPUP_VAR
from django.contrib.admin.utils import unquote
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, OperationalError, transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from unfold.admin import ModelAdmin

from database.errors import constraint_of
from scheduler.rest.totals import counted
from scheduler.staff import deletion, history
from scheduler.staff.changelist import ListPaginator, StaffChangeList
from scheduler.staff.confirm import REPEATED, SHOWN_ROWS, Question, ask
from scheduler.staff.display import admin_address
from scheduler.staff.refusals import TOO_LONG, Refusal, StaffForm, is_too_long


class HistoryAdmin(ModelAdmin):
    """An admin whose history tells the values before and after."""

    object_history_template = "staff/history.html"

    def get_object(self, request: HttpRequest, object_id: str, from_field: str | None = None) -> Any:
        row = super().get_object(request, object_id, from_field)
        if row is not None:
            # Before the form writes into the row; mypy knows no such attribute.
            row._values_before = history.values_of(row)
        return row

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> list[dict[str, Any]]:
        message = super().construct_change_message(request, form, formsets, add)
        return history.with_values(message, form, formsets or (), add=add)

    def log_deletions(self, request: HttpRequest, queryset: Any) -> Any:
        rows = ((row, history.values_written(row)) for row in queryset)
        return history.record(request, rows, flag=DELETION)


class StaffAdmin(HistoryAdmin):
    """An admin for large, busy tables whose rows the database itself guards."""

    form = StaffForm
    change_list_template = "staff/change_list.html"
    list_per_page = 50
    list_max_show_all = 200
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = ListPaginator
    save_on_top = False
    list_fullwidth = True
    list_filter_sheet = True
    warn_unsaved_form = True
    list_defer: ClassVar[tuple[str, ...]] = ()
    refusals: ClassVar[Mapping[str, Refusal]] = {}

    def get_changelist(self, request: HttpRequest, **kwargs: Any) -> type[StaffChangeList]:
        return StaffChangeList

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:
        form: Any = super().get_form(request, obj, change=change, **kwargs)
        form.refusals = self.refusals
        form.refused = getattr(request, "refused_constraint", "")
        return form

    def changeform_view(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        """Show the form again, with a sentence, when PostgreSQL refuses what the form let pass.

        Between the form's check and the save somebody else may take the number or the slot.
        """
        try:
            return super().changeform_view(request, *args, **kwargs)
        except IntegrityError as error:
            # mypy knows no such attribute; it lives for this request only.
            request.refused_constraint = constraint_of(error) or "unnamed"  # type: ignore[attr-defined]
        except OperationalError as error:
            if not is_too_long(error):
                raise
            request.refused_constraint = TOO_LONG  # type: ignore[attr-defined]
        return super().changeform_view(request, *args, **kwargs)

    def save_model(self, request: HttpRequest, obj: Model, form: Any, change: bool) -> None:
        """Write the edited columns only, so that what a worker wrote meanwhile stays."""
        if not change:
            return super().save_model(request, obj, form, change)
        names = _edited_columns(obj, form)
        if names:
            obj.save(update_fields=names)

    def get_actions(self, request: HttpRequest) -> Any:
        actions = super().get_actions(request)
        if "delete_selected" in actions:
            # Django's own, which stands for all sites, would list every row that goes.
            actions["delete_selected"] = self.get_action("delete_selected")
        return actions

    def refuse_deletion(self, rows: QuerySet[Any]) -> str:
        """Say why rows must not be deleted at this moment; empty when they may."""
        return ""

    def outlook(self, request: HttpRequest, rows: QuerySet[Any]) -> deletion.Outlook:
        """Return what deleting rows would do, and what forbids it."""
        found = deletion.outlook(rows)
        found.obstacles += deletion.missing_rights(self.admin_site, request, found.goes)
        found.obstacles += filter(None, [self.refuse_deletion(rows)])
        return found

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask with what goes with the row, and delete it once that is confirmed."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)
        if not self.has_delete_permission(request, row):
            raise PermissionDenied
        rows = self.model._base_manager.filter(pk=row.pk)
        question = self._about_deletion(request, rows, f"Delete the {self.opts.verbose_name} {row}?")
        answer = ask(request, self, replace(question, about=row, cancel=admin_address(row)))
        if answer.page is not None:
            return answer.page
        name = str(row)
        with transaction.atomic():
            self.log_deletions(request, rows)
            self.delete_model(request, row)
        return self.response_delete(request, name, object_id)

    def _about_deletion(self, request: HttpRequest, rows: QuerySet[Any], sentence: str) -> Question:
        found = self.outlook(request, rows)
        hidden = {name: request.POST.getlist(name) for name in REPEATED if name in request.POST}
        if IS_POPUP_VAR in request.GET:
            hidden[IS_POPUP_VAR] = ["1"]
        return Question(
            sentence=sentence,
            cancel=request.get_full_path(),
            button="Delete",
            consequences=found.consequences,
            obstacles=found.obstacles,
            hidden=hidden,
        )

    @admin.action(description="Delete", permissions=["delete"])
    def delete_selected(self, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
        """Ask with what goes with the chosen rows, and delete them once that is confirmed."""
        total = counted(rows)[0]
        question = self._about_deletion(request, rows, f"Delete {deletion.named(self.model, total.count)}?")
        answer = ask(request, self, replace(question, rows=list(rows[:SHOWN_ROWS]), total=total))
        if answer.page is not None:
            return answer.page
        chosen = self.model._base_manager.filter(pk__in=list(rows.order_by().values_list("pk", flat=True)))
        with transaction.atomic():
            deleted = self.log_deletions(request, chosen)
            self.delete_queryset(request, chosen)
        messages.success(request, f"Deleted {deletion.named(self.model, deleted)}.")
        return None


class ReadOnlyAdmin(StaffAdmin):
    """Pages to look at, not to edit."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return False


def _edited_columns(obj: Model, form: Any) -> list[str]:
    edited = {*form.changed_data, *getattr(form, "derived", ())}
    names = [field.name for field in obj._meta.concrete_fields if field.name in edited]
    if not names:
        return []
    return names + [field.name for field in obj._meta.concrete_fields if getattr(field, "auto_now", False)]
