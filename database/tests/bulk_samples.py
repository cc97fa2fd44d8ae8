"""Models for the tests of bulk operations, with every kind of column; no migration knows them."""

from typing import Any

from django.contrib.postgres.fields import ArrayField, DateTimeRangeField
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now, Upper
from django.test.utils import isolate_apps

with isolate_apps("database"):

    class Kind(models.Model):
        """What samples point to."""

        objects: models.Manager[Any] = models.Manager()

        label = models.CharField(max_length=20, unique=True)

        class Meta:
            app_label = "database"
            db_table = "bulk_kinds"

    class Sample(models.Model):
        """A row of everything."""

        class Color(models.TextChoices):
            RED = "red"
            BLUE = "blue"

        objects: models.Manager[Any] = models.Manager()

        text = models.TextField(null=True)
        short = models.CharField(max_length=10, null=True)
        flag = models.BooleanField(null=True)
        small = models.SmallIntegerField(null=True)
        number = models.IntegerField(null=True)
        big = models.BigIntegerField(null=True)
        real = models.FloatField(null=True)
        exact = models.DecimalField(max_digits=12, decimal_places=3, null=True)
        moment = models.DateTimeField(null=True)
        day = models.DateField(null=True)
        clock = models.TimeField(null=True)
        span = models.DurationField(null=True)
        token = models.UUIDField(null=True)
        data = models.JSONField(null=True)
        raw = models.BinaryField(null=True)
        words = ArrayField(models.TextField(), null=True)
        period = DateTimeRangeField(null=True)
        address = models.GenericIPAddressField(null=True)
        color = models.CharField(choices=Color, default=Color.RED, db_default=Color.BLUE)
        tags = models.JSONField(default=list)
        odd_name = models.TextField(null=True, db_column="odd 'name'; SELECT")
        kind = models.ForeignKey(Kind, null=True, on_delete=models.CASCADE)
        parent = models.ForeignKey("self", null=True, on_delete=models.CASCADE)
        code = models.CharField(null=True)
        retired = models.BooleanField(default=False, db_default=False)
        loud = models.GeneratedField(
            expression=Upper("text"), output_field=models.TextField(), db_persist=True
        )
        made = models.DateTimeField(db_default=Now())
        added = models.DateTimeField(auto_now_add=True)
        seen = models.DateTimeField(auto_now=True)

        class Meta:
            app_label = "database"
            db_table = "bulk samples"
            constraints = [
                models.UniqueConstraint(fields=["code"], condition=Q(retired=False), name="bulk_code_unique"),
                models.UniqueConstraint(fields=["token"], name="bulk_token_unique"),
                models.UniqueConstraint(
                    fields=["day"], name="bulk_day_unique", deferrable=models.Deferrable.DEFERRED
                ),
                models.CheckConstraint(condition=Q(small__gte=0), name="bulk_small_not_negative"),
                models.CheckConstraint(condition=~Q(parent=F("id")), name="bulk_not_its_own_parent"),
            ]


MODELS = (Kind, Sample)
