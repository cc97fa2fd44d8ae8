from __future__ import annotations

import hashlib
import secrets
from datetime import datetime

from django.conf import settings
from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

import scheduler.rest.models  # noqa: F401  (Django looks for models here)

TOKEN_PREFIX = "ast_"  # tells a staff token from a partner's key, which begins with ais_
SHOWN_CHARACTERS = 8


def token_digest(token: str) -> str:
    """Return the SHA-256 of a staff token as 64 hex digits: the only form in which it is stored."""
    return hashlib.sha256(token.encode("utf-8", "surrogateescape")).hexdigest()


class Setting(models.Model):
    """A value that staff may change while the system runs, such as the system prompt."""

    key = models.CharField()
    value = models.TextField()
    updated_at = models.DateTimeField(auto_now=True, db_default=Now())

    class Meta:
        db_table = "settings"
        ordering = ["key"]
        constraints = [
            models.UniqueConstraint(fields=["key"], name="settings_key_unique"),
            models.CheckConstraint(condition=~Q(key=""), name="settings_key_not_empty"),
        ]

    def __str__(self) -> str:
        return self.key


class StaffToken(models.Model):
    """A bearer token with which a program acts as a staff user; only its digest is kept."""

    user = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="staff_tokens")
    prefix = models.CharField(help_text="The first characters, to tell tokens apart.")
    digest = models.CharField(help_text="SHA-256 of the token; the token itself is not kept.")
    read_only = models.BooleanField(
        default=False, db_default=False, help_text="It may read what the user may read, and change nothing."
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    last_used_at = models.DateTimeField(null=True, blank=True, editable=False)
    expires_at = models.DateTimeField(null=True, blank=True)
    revoked_at = models.DateTimeField(null=True, blank=True)

    class Meta:
        db_table = "staff_tokens"
        ordering = ["-created_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["digest"], name="staff_tokens_digest_unique"),
            models.CheckConstraint(condition=Q(digest__regex=r"^[0-9a-f]{64}$"), name="staff_tokens_digest"),
        ]

    def __str__(self) -> str:
        return f"{self.prefix}…"

    @classmethod
    def issue(
        cls, user: AbstractBaseUser, *, expires_at: datetime | None = None, read_only: bool = False
    ) -> tuple[StaffToken, str]:
        """Make a token for a user; the returned text is the only time that it can be seen."""
        token = TOKEN_PREFIX + secrets.token_urlsafe(45)
        row = cls.objects.create(
            user=user,
            prefix=token[: len(TOKEN_PREFIX) + SHOWN_CHARACTERS],
            digest=token_digest(token),
            expires_at=expires_at,
            read_only=read_only,
        )
        return row, token


class SettingVersion(models.Model):
    """A value that a setting once had; versions go by key, so that they outlive a setting that is deleted."""

    key = models.CharField()
    value = models.TextField()
    written_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, null=True, on_delete=models.SET_NULL, related_name="+", editable=False
    )
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "setting_versions"
        ordering = ["-id"]
        indexes = [models.Index(F("key"), F("id").desc(), name="setting_versions_by_key")]

    def __str__(self) -> str:
        return f"{self.key}, version {self.pk}"
