import re
from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import Count, F, Func, QuerySet, Value
from django.http import HttpRequest

from legacy.models import ImportRowNote
from legacy.tables import BY_NAME

REASONS_OFFERED = 20
NOTES_LOOKED_AT = 10_000
NUMBER = "N"


class TableFilter(admin.SimpleListFilter):
    title = "table"
    parameter_name = "table_name__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in BY_NAME]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(table_name=self.value()) if self.value() else queryset


class ReasonFilter(admin.SimpleListFilter):
    """Offer the reasons that occur most among the newest notes; grouping all of them would take long.

    Reasons that differ in a number only, such as the id of a missing parent, are one choice.
    """

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        newest = ImportRowNote.objects.order_by("-pk").values("pk")[:NOTES_LOOKED_AT]
        without_numbers = Func(
            F("reason"), Value("[0-9]+"), Value(NUMBER), Value("g"), function="regexp_replace"
        )
        notes = ImportRowNote.objects.filter(pk__in=newest).order_by()
        reasons = notes.annotate(shown=without_numbers).values("shown")
        common = reasons.annotate(count=Count("*")).order_by("-count", "shown")[:REASONS_OFFERED]
        offered = [row["shown"] for row in common]
        chosen = request.GET.get(self.parameter_name)
        if chosen and chosen not in offered:
            offered.append(chosen)
        return [(reason, reason) for reason in offered]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        reason = self.value()
        if not reason:
            return queryset
        pattern = re.escape(reason).replace(NUMBER, f"([0-9]+|{NUMBER})")
        return queryset.filter(reason__regex=f"^{pattern}$")
