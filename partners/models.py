from __future__ import annotations

import hashlib
import secrets

from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

KEY_PREFIX = "ais_"
SHOWN_CHARACTERS = 8


def digest_of(key: str) -> str:
    """Return the SHA-256 of an API key as 64 hex digits: the only form in which a key is stored."""
    return hashlib.sha256(key.encode("utf-8", "surrogateescape")).hexdigest()


class Partner(models.Model):
    """A company that sends leads over the API."""

    name = models.CharField()
    is_active = models.BooleanField(default=True, db_default=True)
    rate_limit = models.BigIntegerField(default=100, db_default=100, help_text="Requests a minute.")
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "partners"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["name"], name="partners_name_unique"),
            models.CheckConstraint(condition=~Q(name=""), name="partners_name_not_empty"),
            models.CheckConstraint(condition=Q(rate_limit__gte=1), name="partners_rate_limit_positive"),
        ]
        indexes = [models.Index(F("created_at").desc(), F("id").desc(), name="partners_newest")]

    def __str__(self) -> str:
        return self.name


class PartnerApiKey(models.Model):
    """One key of a partner; several may be alive, so that keys rotate without downtime."""

    partner = models.ForeignKey(Partner, on_delete=models.CASCADE, related_name="api_keys")
    prefix = models.CharField(help_text="The first characters, to tell keys apart.")
    digest = models.CharField(help_text="SHA-256 of the key; the key itself is not kept.")
    is_legacy = models.BooleanField(
        default=False, db_default=False, help_text="The key that came with the move from SQLite."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "partner_api_keys"
        ordering = ["-created_at", "-id"]
        verbose_name = "API key"
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="partner_api_keys_digest_unique"),
            models.UniqueConstraint(
                fields=["partner"], condition=Q(is_legacy=True), name="partner_api_keys_one_legacy_key"
            ),
            models.CheckConstraint(
                condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="partner_api_keys_digest"
            ),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @classmethod
    def issue(cls, partner: Partner) -> tuple[PartnerApiKey, str]:
        """Make a key for a partner; the returned text is the only time that it can be seen."""
        key = KEY_PREFIX + secrets.token_urlsafe(45)
        row = cls.objects.create(
            partner=partner, prefix=key[: len(KEY_PREFIX) + SHOWN_CHARACTERS], digest=digest_of(key)
        )
        return row, key


class PartnerResult(models.Model):
    """What came of a partner's leads when it was last counted; `partners.results` writes and reads it.

    No foreign key: the move from SQLite takes those off and puts them back, and a count needs no such care.
    """

    partner_id = models.BigIntegerField(primary_key=True)
    leads = models.BigIntegerField()
    calls = models.BigIntegerField()
    meetings = models.BigIntegerField(help_text="Scheduled, confirmed and completed ones.")
    counted_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "partner_results"

    def __str__(self) -> str:
        return f"Results of partner {self.pk}"
