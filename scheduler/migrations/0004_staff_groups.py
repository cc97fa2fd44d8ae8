from django.db import migrations

from scheduler.staff.groups import RIGHTS, grant


def make_groups(apps, schema_editor):
    grant(apps, RIGHTS)


class Migration(migrations.Migration):
    dependencies = [
        ("scheduler", "0003_rest_state"),
        ("admin", "0003_logentry_add_action_flag_choices"),
        ("auth", "0012_alter_user_first_name_max_length"),
        ("contenttypes", "0002_remove_content_type_name"),
    ]

    operations = [
        # Groups may have members by the time somebody goes back, so they stay.
        migrations.RunPython(make_groups, migrations.RunPython.noop, elidable=False),
        # The history of one row, which Django looks for among all entries of its model.
        migrations.RunSQL(
            "CREATE INDEX IF NOT EXISTS django_admin_log_by_row"
            " ON django_admin_log (content_type_id, object_id, action_time)",
            "DROP INDEX IF EXISTS django_admin_log_by_row",
        ),
    ]
