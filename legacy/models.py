from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


class ImportRun(models.Model):
    """One committed run of `migrate_from_sqlite`; it exists if and only if its rows do."""

    source_path = models.CharField()
    source_bytes = models.BigIntegerField()
    options = models.JSONField(default=dict, help_text="How the command was called.")
    report = models.JSONField(default=dict, help_text="The JSON report, without its notes.")
    started_at = models.DateTimeField(db_default=Now())
    seconds = models.FloatField(default=0, db_default=0)

    class Meta:
        db_table = "import_runs"
        ordering = ["-id"]

    def __str__(self) -> str:
        return f"Import {self.pk}"


class ImportRowNote(models.Model):
    """What the import did to one row: a repaired value, a rejected row, or a conflict."""

    class Kind(models.TextChoices):
        REJECTED = "rejected"
        REPAIRED = "repaired"
        CONFLICT = "conflict"
        SPELLING = "spelling", "Other spelling"  # the same value; kept for export_to_sqlite, no repair

    run = models.ForeignKey(ImportRun, on_delete=models.CASCADE, related_name="row_notes")
    table_name = models.CharField()
    row_id = models.BigIntegerField(null=True, blank=True, help_text="Empty when the old id was no number.")
    kind = models.CharField(choices=Kind)
    column = models.CharField(null=True, blank=True)
    original = models.JSONField(
        null=True,
        blank=True,
        help_text="The old value, or the whole old row of a rejected one; text that is not UTF-8 in hex.",
    )
    reason = models.CharField()
    resolved_at = models.DateTimeField(null=True, blank=True, editable=False)
    resolved_by = models.ForeignKey(
        settings.AUTH_USER_MODEL,
        null=True,
        blank=True,
        on_delete=models.SET_NULL,
        related_name="+",
        editable=False,
    )

    class Meta:
        db_table = "import_row_notes"
        ordering = ["id"]
        constraints = [
            models.CheckConstraint(
                condition=Q(kind__in=["rejected", "repaired", "conflict", "spelling"]),
                name="import_row_notes_kind_known",
            ),
        ]
        indexes = [
            models.Index("table_name", "row_id", name="import_row_notes_by_row"),
            models.Index("run", "kind", "table_name", name="import_row_notes_by_kind"),
        ]

    def __str__(self) -> str:
        return f"{self.table_name} {self.row_id}: {self.reason}"


class ImportRowDigest(models.Model):
    """Digests of rows as the last import left them, many rows a record.

    They tell a row that was changed in PostgreSQL from one that was changed in SQLite.
    """

    table_name = models.CharField()
    bucket = models.BigIntegerField()
    row_ids = ArrayField(models.BigIntegerField())
    digests = ArrayField(models.BigIntegerField())

    class Meta:
        db_table = "import_row_digests"
        constraints = [
            models.UniqueConstraint(fields=["table_name", "bucket"], name="import_row_digests_bucket"),
        ]

    def __str__(self) -> str:
        return f"{self.table_name} {self.bucket}"
