from django.contrib.postgres.indexes import GinIndex
from django.db import migrations
from django.db.models import F

from leads.expressions import SearchedWords


class Migration(migrations.Migration):
    dependencies = [("leads", "0004_rights_of_imports")]

    operations = [
        migrations.RunSQL(
            "DROP INDEX IF EXISTS leads_words, leads_phone_end, leads_phone_beginning",
            migrations.RunSQL.noop,
        ),
        migrations.AddIndex(
            model_name="lead",
            index=GinIndex(SearchedWords(F("name"), F("email"), F("phone")), name="leads_search"),
        ),
    ]
