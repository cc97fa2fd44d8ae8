"""What the REST layer remembers between requests. Both tables are written by SQL, never through these classes."""

from django.contrib.postgres.fields import ArrayField
from django.db import models
from django.db.models.functions import Now


class RateLimitWindow(models.Model):
    """How often each key was counted of late. Unlogged: gone after a crash of the server, kept over a restart.

    `ticks` are numbers of 600ths of the window, `counts` how many hits each of them took. `expires_at` is
    rounded up to the hour, so that most updates change no indexed column.
    """

    key = models.CharField(primary_key=True)
    ticks = ArrayField(models.BigIntegerField())
    counts = ArrayField(models.BigIntegerField())
    expires_at = models.DateTimeField()

    class Meta:
        db_table = "rate_limit_windows"
        indexes = [models.Index(fields=["expires_at"], name="rate_limit_windows_expires")]

    def __str__(self) -> str:
        return self.key


class IdempotentAnswer(models.Model):
    """The answer to a POST that had an Idempotency-Key, committed together with the POST's effect.

    `key_digest` is the SHA-256 of principal and key; `request_digest` the SHA-256 of what was asked for;
    `sealed` the answer, encrypted because it may hold a fresh API key.
    """

    key_digest = models.BinaryField(primary_key=True)
    request_digest = models.BinaryField()
    sealed = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "idempotent_answers"
        indexes = [models.Index(fields=["created_at"], name="idempotent_answers_created")]

    def __str__(self) -> str:
        return bytes(self.key_digest).hex()[:12]
