"""Index the words again where an earlier 0002 wrote the expression otherwise: a search would find no index."""

from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.operations import AddIndexConcurrently, RemoveIndexConcurrently
from django.db import migrations, models

from calls.words import Words

SPOKEN = models.Q(transcript__isnull=False)


class Migration(migrations.Migration):
    atomic = False

    dependencies = [("calls", "0002_words")]

    operations = [
        RemoveIndexConcurrently("call", "calls_words"),
        AddIndexConcurrently("call", GinIndex(Words("transcript", "id"), name="calls_words", condition=SPOKEN)),
        RemoveIndexConcurrently("turn", "conversation_history_words"),
        AddIndexConcurrently("turn", GinIndex(Words("message", "call_id"), name="conversation_history_words")),
    ]
