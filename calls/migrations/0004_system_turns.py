"""Index the few turns of the system, so that the list of turns finds them by their role."""

from django.contrib.postgres.operations import AddIndexConcurrently
from django.db import migrations, models


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("calls", "0003_words_by_pattern")]

    operations = [
        AddIndexConcurrently(
            "turn",
            models.Index(
                models.F("id").desc(),
                name="conversation_history_system",
                condition=models.Q(role="system"),
            ),
        ),
    ]
