from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

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
        ]

    def __str__(self) -> str:
        return self.name or f"Lead {self.pk}"
