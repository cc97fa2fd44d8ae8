from django.db import migrations

from scheduler.staff.groups import ADMINISTRATOR, SUPERVISOR, grant

RIGHTS = {name: ("admin.view_logentry",) for name in (SUPERVISOR, ADMINISTRATOR)}
# How the list of changes is sorted, by itself and within what each of its filters leaves.
SORTED = {
    "django_admin_log_newest": "(action_time DESC, id DESC)",
    "django_admin_log_by_user": "(user_id, action_time DESC, id DESC)",
    "django_admin_log_by_kind": "(content_type_id, action_time DESC, id DESC)",
    "django_admin_log_by_deed": "(action_flag, action_time DESC, id DESC)",
    "django_admin_log_words": "USING gin (to_tsvector('simple', object_repr))",
}


def grant_rights(apps, schema_editor):
    grant(apps, RIGHTS)


class Migration(migrations.Migration):
    dependencies = [
        ("scheduler", "0005_setting_versions"),
        ("admin", "0003_logentry_add_action_flag_choices"),
    ]

    operations = [
        # Groups may have members by the time somebody goes back, so they stay.
        migrations.RunPython(grant_rights, migrations.RunPython.noop, elidable=False),
        *(
            migrations.RunSQL(
                f"CREATE INDEX IF NOT EXISTS {name} ON django_admin_log {columns}",
                f"DROP INDEX IF EXISTS {name}",
            )
            for name, columns in SORTED.items()
        ),
    ]
