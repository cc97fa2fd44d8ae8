"""Users and groups in the admin: nobody gives more than they have."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, Permission, User
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from scheduler.staff.admin import HistoryAdmin

ONLY_SUPERUSERS = ("is_superuser", "user_permissions")

admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class StaffUserAdmin(UserAdmin, HistoryAdmin):  # type: ignore[misc]
    """Users; who is no superuser makes none, and touches and gives nothing beyond their own rights."""

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
            missing = {*missing, "user with further rights"}
        # Their entries of the history would go with them, which nobody may delete.
        missing = set(missing) - {LogEntry._meta.verbose_name}
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
    """Tell whether a user may do nothing that the one who asks may not: a new password would give it away.

    So no group of theirs is missing among those that the form offers, and none is lost when it is saved.
    """
    if user is None or request.user.is_superuser:
        return True
    return (
        not user.is_superuser
        and not rights_of(user).exclude(pk__in=rights_of(request.user).values("pk")).exists()
    )


def rights_of(user: Any) -> QuerySet[Permission]:
    """Return the permissions of a user who is no superuser, also of one who is not active at present."""
    return Permission.objects.filter(Q(group__user=user) | Q(user=user)).order_by()


def groups_within(request: HttpRequest) -> QuerySet[Group]:
    """Return the groups that allow nothing which the user may not do."""
    beyond = Permission.objects.exclude(pk__in=rights_of(request.user).values("pk"))
    return Group.objects.exclude(permissions__in=beyond)


@admin.register(Group)
class StaffGroupAdmin(GroupAdmin, HistoryAdmin):  # type: ignore[misc]
    list_fullwidth = True
