from django.db import migrations

from scheduler.staff.groups import ADMINISTRATOR, SUPERVISOR, grant

RIGHTS = {name: ("leads.export_lead", "leads.recall_lead") for name in (SUPERVISOR, ADMINISTRATOR)}


def grant_rights(apps, schema_editor):
    grant(apps, RIGHTS)


class Migration(migrations.Migration):
    dependencies = [("leads", "0005_search")]

    operations = [
        migrations.AlterModelOptions(
            name="lead",
            options={
                "ordering": ["-created_at", "-id"],
                "permissions": [
                    ("export_lead", "Can export leads"),
                    ("recall_lead", "Can let leads be called again"),
                ],
            },
        ),
        migrations.RunPython(grant_rights, migrations.RunPython.noop, elidable=False),
    ]
