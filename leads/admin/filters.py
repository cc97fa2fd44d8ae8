"""Filters of the list of leads; each has its index, so none reads more than it shows."""

from typing import Any

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest

from leads.languages import LANGUAGES
from leads.models import Lead


class LanguageFilter(admin.SimpleListFilter):
    """Offers the languages that numbers may have: asking a million leads for theirs would take a second."""

    title = "language"
    parameter_name = "language"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [(code, code) for code in sorted({*LANGUAGES.values(), "en"})]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        return queryset.filter(language=self.value()) if self.value() else queryset


class DuplicateFilter(admin.SimpleListFilter):
    title = "duplicates"
    parameter_name = "duplicates"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("no", "No duplicates"), ("only", "Only duplicates")]

    def queryset(self, request: HttpRequest, queryset: QuerySet[Lead]) -> QuerySet[Lead]:
        if self.value() not in ("no", "only"):
            return queryset
        return queryset.filter(duplicate_of__isnull=self.value() == "no")
