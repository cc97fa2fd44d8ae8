from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now
from django.db.models.lookups import IsNull

from legacy.reasons import SHAPE


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
            models.Index(SHAPE, "id", name="import_row_notes_by_reason"),
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


class ImportJob(models.Model):
    """A run of the import that staff started on a page; a background worker does it and writes here how far it is.

    The row is written outside of the import's transaction, so that it shows progress and outlives a failure.
    """

    class State(models.TextChoices):
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"
        LOST = "lost"

    file_name = models.CharField(help_text="Below the import folder.")
    dry_run = models.BooleanField(default=True, db_default=True)
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    state = models.CharField(choices=State, default=State.WAITING, db_default=State.WAITING)
    step = models.CharField(default="", db_default="")
    rows_done = models.BigIntegerField(default=0, db_default=0)
    rows_total = models.BigIntegerField(default=0, db_default=0)
    report = models.JSONField(default=dict, help_text="Counts and the first notes.")
    outcome = models.CharField(default="", db_default="", help_text="Why it failed, as a sentence.")
    run = models.ForeignKey(ImportRun, null=True, on_delete=models.SET_NULL, related_name="+", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    heartbeat_at = models.DateTimeField(null=True, editable=False)
    ended_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        db_table = "import_jobs"
        ordering = ["-id"]
        constraints = [
            # These states and no other.
            models.CheckConstraint(
                condition=Q(state__in=["waiting", "running"], ended_at=None)
                | Q(state__in=["done", "failed", "lost"], ended_at__isnull=False),
                name="import_jobs_ended",
            ),
            # One at a time: of two people who start at once the second is refused.
            models.UniqueConstraint(
                IsNull(F("ended_at"), True), condition=Q(ended_at=None), name="import_jobs_one_open"
            ),
        ]

    def __str__(self) -> str:
        return f"{'Dry run' if self.dry_run else 'Import'} of {self.file_name}"

    @property
    def is_open(self) -> bool:
        return self.ended_at is None

    @property
    def percent(self) -> int:
        return min(100, 100 * self.rows_done // self.rows_total) if self.rows_total else 0
