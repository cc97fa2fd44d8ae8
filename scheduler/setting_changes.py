"""The one way in which people change a setting: with the version before it, and an entry in the history."""

from __future__ import annotations

from django.contrib.admin.models import ADDITION, CHANGE, LogEntry
from django.db import transaction

from scheduler.models import Setting, SettingVersion
from scheduler.staff.history import changed_message, changes_between, values_of


def write(key: str, value: str, user_id: int, sentence: str = "") -> Setting:
    """Write a setting and its version; with a `sentence`, also an entry of the history.

    A value that raw SQL or an import has written meanwhile becomes a version first, so that none is lost. Writing
    the value that stands there changes nothing.
    """
    with transaction.atomic():
        setting, is_new = Setting.objects.select_for_update().get_or_create(
            key=key, defaults={"value": value}
        )
        before = values_of(setting)
        if not is_new:
            keep(setting)
            if setting.value == value:
                return setting
            setting.value = value
            setting.save(update_fields=["value", "updated_at"])
        SettingVersion.objects.create(key=key, value=value, written_by_id=user_id)
        if sentence:
            message = changed_message(changes_between(before, setting), sentence)
            flag = ADDITION if is_new else CHANGE
            LogEntry.objects.log_actions(
                user_id, [setting], flag, sentence if is_new else message, single_object=True
            )
    return setting


def keep(setting: Setting, user_id: int | None = None) -> None:
    """Make a version of the stored value unless it is the latest one already, written by a user or by nobody known."""
    latest = SettingVersion.objects.filter(key=setting.key).order_by("-id").first()
    if latest is None or latest.value != setting.value:
        SettingVersion.objects.create(
            key=setting.key, value=setting.value, written_by_id=user_id, created_at=setting.updated_at
        )
