from django.db import migrations

from scheduler.staff.groups import ADMINISTRATOR, SUPERVISOR, grant

RIGHTS = {name: ("leads.view_leadimport", "leads.add_leadimport") for name in (SUPERVISOR, ADMINISTRATOR)}


def grant_imports(apps, schema_editor):
    grant(apps, RIGHTS)


class Migration(migrations.Migration):
    dependencies = [
        ("leads", "0003_admin"),
        ("scheduler", "0004_staff_groups"),
    ]

    operations = [migrations.RunPython(grant_imports, migrations.RunPython.noop, elidable=False)]
