from django.contrib import admin

from scheduler.models import Setting
from scheduler.staff.admin import StaffAdmin
from scheduler.staff.display import moment
from scheduler.staff.refusals import Refusal

admin.site.site_header = "AI Scheduler"
admin.site.site_title = "AI Scheduler"
admin.site.index_title = "Overview"

SHOWN_CHARACTERS = 100


@admin.register(Setting)
class SettingAdmin(StaffAdmin):
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
