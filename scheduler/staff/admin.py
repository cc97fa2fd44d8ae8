"""What the admin pages of all apps have in common."""

from collections.abc import Mapping
from typing import Any, ClassVar

from django.contrib import admin
from django.contrib.admin import ShowFacets
from django.db import IntegrityError, OperationalError
from django.db.models import Model
from django.http import HttpRequest, HttpResponse

from scheduler.staff.changelist import CappedPaginator, StaffChangeList
from scheduler.staff.refusals import TOO_LONG, Refusal, StaffForm, constraint_of, is_too_long


class StaffAdmin(admin.ModelAdmin):
    """An admin for large, busy tables whose rows the database itself guards."""

    form = StaffForm
    change_list_template = "staff/change_list.html"
    list_per_page = 50
    list_max_show_all = 200
    show_full_result_count = False
    show_facets = ShowFacets.NEVER
    paginator = CappedPaginator
    save_on_top = False
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
