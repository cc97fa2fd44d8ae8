"""Users and groups in the admin: nobody gives more than they have."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from scheduler.staff.admin import HistoryAdmin

ONLY_SUPERUSERS = ("is_superuser", "user_permissions")

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class StaffUserAdmin(UserAdmin, HistoryAdmin):  # type: ignore[misc]
    """Users; who is no superuser makes none, touches none, and passes on only groups within their own rights."""

    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm
    list_display = ["username", "email", "first_name", "last_name", "is_active", "is_staff", "is_superuser"]
    list_fullwidth = True

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        fields = super().get_readonly_fields(request, obj)
        return fields if request.user.is_superuser else (*fields, *ONLY_SUPERUSERS)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_change_permission(request, obj) and _is_within_reach(request, obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return super().has_delete_permission(request, obj) and _is_within_reach(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        deleted, counts, missing, protected = super().get_deleted_objects(objs, request)
        if not all(_is_within_reach(request, user) for user in objs):
            missing = {*missing, "superuser"}
        # Their entries of the history would go with them.
        acted = LogEntry.objects.filter(user__in=objs).values_list("user__username", flat=True).distinct()
        protected = [
            *protected,
            *(f"History of what {name} did: make the user inactive instead" for name in acted),
        ]
        return deleted, counts, missing, protected

    def formfield_for_manytomany(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        if db_field.name == "groups" and not request.user.is_superuser:
            kwargs["queryset"] = groups_within(request)
        return super().formfield_for_manytomany(db_field, request, **kwargs)


def _is_within_reach(request: HttpRequest, user: User | None) -> bool:
    return user is None or not user.is_superuser or request.user.is_superuser


def groups_within(request: HttpRequest) -> QuerySet[Group]:
    """Return the groups that allow nothing which the user may not do."""
    assert isinstance(request.user, User)
    own = Permission.objects.filter(group__user=request.user) | request.user.user_permissions.all()
    beyond = Permission.objects.exclude(pk__in=own.values("pk"))
    return Group.objects.exclude(permissions__in=beyond)


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, HistoryAdmin):  # type: ignore[misc]
    list_fullwidth = True
