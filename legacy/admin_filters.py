from collections.abc import Iterable
from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from legacy.reasons import SHAPE, shapes
from legacy.tables import BY_NAME

REASONS_OFFERED = 60


class TableFilter(admin.SimpleListFilter):
    title = "table"
    parameter_name = "table_name__exact"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(name, name) for name in BY_NAME]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        return queryset.filter(table_name=self.value()) if self.value() else queryset


class ReasonFilter(admin.SimpleListFilter):
    """Offer the reasons by their shape: those that differ in a number only are one choice."""

    title = "reason"
    parameter_name = "reason"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Iterable[tuple[str, str]]:
        offered = shapes(REASONS_OFFERED)
        chosen = request.GET.get(self.parameter_name)
        if chosen and chosen not in offered:
            offered.append(chosen)
        return [(reason, reason) for reason in offered]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        reason = self.value()
        return queryset.alias(shape=SHAPE).filter(shape=reason) if reason else queryset
