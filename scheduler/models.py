from django.db import models
from django.db.models import Q
from django.db.models.functions import Now


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
