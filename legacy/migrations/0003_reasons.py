"""Index the notes by their reason with the numbers left out."""

from django.db import migrations, models

from legacy.reasons import SHAPE


class Migration(migrations.Migration):
    dependencies = [("legacy", "0002_jobs")]

    operations = [
        migrations.AddIndex("importrownote", models.Index(SHAPE, "id", name="import_row_notes_by_reason")),
    ]
