from django.contrib.postgres.indexes import GinIndex
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from calls.words import Words
from leads.models import Lead


class Call(models.Model):
    """One phone call; it is active while `ended_at` is empty."""

    class Outcome(models.TextChoices):
        INTERESTED = "interested"
        NOT_INTERESTED = "not_interested"
        NO_ANSWER = "no_answer"
        BUSY = "busy", "Busy (talked, wants a follow-up)"

    lead = models.ForeignKey(Lead, on_delete=models.CASCADE, related_name="calls", db_index=False)
    twilio_call_sid = models.CharField(null=True, blank=True)
    recording_url = models.CharField(null=True, blank=True)
    transcript = models.TextField(null=True, blank=True)
    summary = models.TextField(null=True, blank=True)
    duration = models.FloatField(null=True, blank=True, help_text="Seconds.")
    language = models.CharField(null=True, blank=True)
    voice_id = models.CharField(null=True, blank=True)
    voice_name = models.CharField(null=True, blank=True)
    outcome = models.CharField(choices=Outcome, null=True, blank=True, help_text="Empty while undecided.")
    started_at = models.DateTimeField(db_default=Now())
    ended_at = models.DateTimeField(null=True, blank=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        db_table = "calls"
        ordering = ["-started_at", "-id"]
        constraints = [
            models.UniqueConstraint(fields=["twilio_call_sid"], name="calls_twilio_call_sid_unique"),
            models.UniqueConstraint(
                fields=["lead"], condition=Q(ended_at__isnull=True), name="calls_one_active_per_lead"
            ),
            models.CheckConstraint(
                condition=Q(outcome__isnull=True)
                | Q(outcome__in=["interested", "not_interested", "no_answer", "busy"]),
                name="calls_outcome_known",
            ),
            models.CheckConstraint(condition=Q(ended_at__gte=F("started_at")), name="calls_end_after_start"),
            models.CheckConstraint(
                condition=Q(duration__gte=0, duration__lt=float("inf")), name="calls_duration_not_negative"
            ),
        ]
        indexes = [
            models.Index(F("started_at").desc(), F("id").desc(), name="calls_newest"),
            models.Index("lead", F("started_at").desc(), F("id").desc(), name="calls_by_lead"),
            models.Index("outcome", F("started_at").desc(), F("id").desc(), name="calls_by_outcome"),
            GinIndex(Words("transcript", "id"), name="calls_words", condition=Q(transcript__isnull=False)),
        ]

    def __str__(self) -> str:
        return f"Call {self.pk}"


class Turn(models.Model):
    """One utterance of a call's conversation; `turn` counts 1, 2, 3 within the call."""

    class Role(models.TextChoices):
        AI = "ai", "AI"
        USER = "user"
        SYSTEM = "system"

    call = models.ForeignKey(Call, on_delete=models.CASCADE, related_name="turns", db_index=False)
    turn = models.IntegerField()
    role = models.CharField(choices=Role)
    message = models.TextField()
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        db_table = "conversation_history"
        ordering = ["call_id", "turn"]
        constraints = [
            models.UniqueConstraint(fields=["call", "turn"], name="conversation_history_call_turn"),
            models.CheckConstraint(
                condition=Q(role__in=["ai", "user", "system"]), name="conversation_history_role_known"
            ),
            models.CheckConstraint(condition=Q(turn__gte=1), name="conversation_history_turn_positive"),
        ]
        indexes = [
            GinIndex(Words("message", "call_id"), name="conversation_history_words"),
            # The role that few turns have: without it, whoever filters by it would read them all.
            models.Index(F("id").desc(), name="conversation_history_system", condition=Q(role="system")),
        ]

    def __str__(self) -> str:
        return f"Turn {self.turn} of call {self.call_id}"
