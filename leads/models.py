from collections.abc import Iterable
from typing import Any

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from leads import tombstones
from leads.expressions import searched_words
from partners.models import Partner


class Lead(models.Model):
    """A person to be called; `duplicate_of` is set on further rows with the same phone."""

    class Status(models.TextChoices):
        PENDING = "pending"
        QUEUED = "queued"
        CALLING = "calling"
        CONTACTED = "contacted"
        MEETING_SCHEDULED = "meeting_scheduled"
        NOT_INTERESTED = "not_interested"
        NO_ANSWER = "no_answer"
        FAILED = "failed"

    name = models.CharField()
    phone = models.CharField(
        help_text="E.164, for example +14155550134; kept as typed when it is no real number."
    )
    email = models.CharField(null=True, blank=True)
    country_code = models.CharField(null=True, blank=True)
    language = models.CharField(null=True, blank=True)
    timezone = models.CharField(null=True, blank=True, help_text="Empty: taken from the phone number.")
    partner = models.ForeignKey(
        Partner, null=True, blank=True, on_delete=models.SET_NULL, related_name="leads", db_index=False
    )
    phone_valid = models.BooleanField(
        default=False,
        db_default=False,
        help_text="The number exists in a numbering plan; others are never dialled.",
    )
    status = models.CharField(choices=Status, default=Status.PENDING, db_default=Status.PENDING)
    do_not_call = models.BooleanField(default=False, db_default=False)
    duplicate_of = models.ForeignKey(
        "self", null=True, blank=True, on_delete=models.CASCADE, related_name="duplicates", db_index=False
    )
    priority = models.IntegerField(default=0, db_default=0)
    attempts = models.IntegerField(default=0, db_default=0)
    next_attempt_at = models.DateTimeField(null=True, blank=True)
    claimed_by = models.CharField(null=True, blank=True)
    lease_expires_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "leads"
        ordering = ["-created_at", "-id"]
        permissions = [("export_lead", "Can export leads"), ("recall_lead", "Can let leads be called again")]
        constraints = [
            models.UniqueConstraint(
                fields=["phone"], condition=Q(duplicate_of__isnull=True), name="leads_phone_unique"
            ),
            models.CheckConstraint(
                condition=Q(
                    status__in=[
                        "pending",
                        "queued",
                        "calling",
                        "contacted",
                        "meeting_scheduled",
                        "not_interested",
                        "no_answer",
                        "failed",
                    ]
                ),
                name="leads_status_known",
            ),
            models.CheckConstraint(condition=~Q(phone=""), name="leads_phone_not_empty"),
            models.CheckConstraint(condition=~Q(duplicate_of=F("id")), name="leads_not_duplicate_of_itself"),
            models.CheckConstraint(condition=Q(attempts__gte=0), name="leads_attempts_not_negative"),
        ]
        indexes = [
            models.Index(F("created_at").desc(), F("id").desc(), name="leads_newest"),
            models.Index("status", F("created_at").desc(), F("id").desc(), name="leads_by_status"),
            models.Index(
                "partner",
                F("created_at").desc(),
                F("id").desc(),
                name="leads_by_partner",
                condition=Q(partner__isnull=False),
            ),
            models.Index("duplicate_of", name="leads_duplicates", condition=Q(duplicate_of__isnull=False)),
            models.Index(
                F("priority").desc(),
                F("next_attempt_at").asc(nulls_first=True),
                "id",
                name="leads_claim_order",
                condition=Q(status="queued", do_not_call=False, phone_valid=True, duplicate_of__isnull=True),
            ),
            models.Index("language", F("created_at").desc(), F("id").desc(), name="leads_by_language"),
            models.Index(
                F("created_at").desc(),
                F("id").desc(),
                name="leads_not_to_call",
                condition=Q(do_not_call=True),
            ),
            models.Index(
                F("created_at").desc(),
                F("id").desc(),
                name="leads_newest_duplicates",
                condition=Q(duplicate_of__isnull=False),
            ),
            models.Index(
                F("created_at").desc(),
                F("id").desc(),
                name="leads_without_valid_phone",
                condition=Q(phone_valid=False),
            ),
            # What leads.search asks for; no extension is needed.
            GinIndex(searched_words(), name="leads_search"),
        ]

    def __str__(self) -> str:
        return self.name or f"Lead {self.pk}"

    def save(
        self,
        *args: Any,
        force_insert: Any = False,
        force_update: bool = False,
        using: str | None = None,
        update_fields: Iterable[str] | None = None,
    ) -> None:
        """Save the lead; one that comes with the phone of an erased person is never called."""
        names = set(update_fields) if update_fields is not None else None
        brings_phone = self._state.adding or (names is not None and "phone" in names)
        if brings_phone and not self.do_not_call and tombstones.erased([self.phone]):
            self.do_not_call = True
            if names is not None:
                names.add("do_not_call")
        super().save(
            *args, force_insert=force_insert, force_update=force_update, using=using, update_fields=names
        )


class Campaign(models.Model):
    """Leads that somebody queued together."""

    name = models.CharField()
    started_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    started_at = models.DateTimeField(db_default=Now(), editable=False)
    leads = models.ManyToManyField(Lead, through="CampaignLead", related_name="campaigns")

    class Meta:
        db_table = "campaigns"
        ordering = ["-started_at", "-id"]
        indexes = [models.Index(F("started_at").desc(), F("id").desc(), name="campaigns_newest")]

    def __str__(self) -> str:
        return self.name


class CampaignLead(models.Model):
    """A lead that a campaign has queued."""

    campaign = models.ForeignKey(Campaign, on_delete=models.CASCADE)
    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, db_index=False)

    class Meta:
        db_table = "campaign_leads"
        constraints = [
            # Its index also finds the campaigns of a lead.
            models.UniqueConstraint(fields=["lead", "campaign"], name="campaign_leads_once"),
        ]

    def __str__(self) -> str:
        return f"Lead {self.lead_id} of campaign {self.campaign_id}"


class ErasedPhone(models.Model):
    """The trace of an erased person: nobody can read a phone out of it, see `leads.tombstones`."""

    digest = models.BinaryField(unique=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "erased_phones"

    def __str__(self) -> str:
        return f"Erased phone {self.pk}"


class LeadImport(models.Model):
    """A file of leads that a background job brings in, and how far it is."""

    class State(models.TextChoices):
        PREVIEW = "preview"
        WAITING = "waiting"
        RUNNING = "running"
        DONE = "done"
        FAILED = "failed"

    file_name = models.CharField()
    bytes_total = models.BigIntegerField()
    bytes_read = models.BigIntegerField(default=0, db_default=0)
    state = models.CharField(choices=State, default=State.PREVIEW, db_default=State.PREVIEW)
    rows = models.BigIntegerField(default=0, db_default=0)
    blank = models.BigIntegerField(default=0, db_default=0)
    created = models.BigIntegerField(default=0, db_default=0)
    refused = models.BigIntegerField(default=0, db_default=0)
    errors = models.JSONField(default=list, db_default=[], help_text="Pairs of row number and reason.")
    failure = models.CharField(null=True, blank=True)
    owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, blank=True, on_delete=models.SET_NULL, related_name="+"
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    started_at = models.DateTimeField(null=True, blank=True)
    seen_at = models.DateTimeField(null=True, blank=True, help_text="When its job last said that it lives.")
    ended_at = models.DateTimeField(null=True, blank=True)
    leads_created_at = models.DateTimeField(
        null=True, blank=True, editable=False, help_text="The moment that all leads of the file share."
    )

    class Meta:
        db_table = "lead_imports"
        verbose_name = "import of leads"
        verbose_name_plural = "imports of leads"
        ordering = ["-id"]
        indexes = [models.Index("leads_created_at", name="lead_imports_by_leads")]
        constraints = [
            models.CheckConstraint(
                condition=Q(state__in=["preview", "waiting", "running", "done", "failed"]),
                name="lead_imports_state_known",
            ),
        ]

    def __str__(self) -> str:
        return f"Import of {self.file_name}"


class LeadImportPart(models.Model):
    """A piece of a file that waits to be imported: any worker on any machine can read it."""

    lead_import = models.ForeignKey(
        LeadImport, on_delete=models.CASCADE, related_name="parts", db_index=False
    )
    number = models.IntegerField()
    content = models.BinaryField()

    class Meta:
        db_table = "lead_import_parts"
        constraints = [
            models.UniqueConstraint(fields=["lead_import", "number"], name="lead_import_parts_once"),
        ]

    def __str__(self) -> str:
        return f"Part {self.number} of import {self.lead_import_id}"
