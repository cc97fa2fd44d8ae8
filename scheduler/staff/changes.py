"""The history of all rows as one list: also of those that are gone, and of exports, which belong to no row."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime, time, timedelta
from operator import itemgetter
from typing import Any

from django.contrib import admin
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.contrib.postgres.expressions import ArraySubquery
from django.db.models import BooleanField, F, Func, Q, QuerySet, Value
from django.http import HttpRequest
from django.utils import timezone
from django.utils.dateparse import parse_date
from django.utils.html import format_html
from django.utils.text import capfirst

from scheduler.staff import display
from scheduler.staff.admin import ReadOnlyAdmin
from scheduler.staff.display import NOTHING
from scheduler.staff.expressions import IsAmong
from scheduler.staff.history import told

MOST_FOUND = 5000
MOST_WORDS = 10
LONGEST_ID = LONGEST_WORD = 255
UNQUOTED = dict.fromkeys(map(ord, "'\\\0"), " ")


class Named(Func):
    """Whether a row's name has words with these beginnings; as the index django_admin_log_words writes it."""

    template = "(to_tsvector('simple', %(expressions)s))"
    arg_joiner = ") @@ to_tsquery('simple', "
    output_field = BooleanField()


def matching(term: str) -> Q:
    """Return the condition for entries about rows of a name or an id."""
    # The index of rows begins with their kind.
    kinds = [kind.pk for kind in ContentType.objects.get_for_models(*admin.site._registry).values()]
    condition = Q(content_type__in=kinds, object_id=term.strip().replace("\0", "")[:LONGEST_ID])
    # Cut at blanks only, the rest is left to the parser that cut the names: it takes ann@example.com as one word.
    if words := term.translate(UNQUOTED).split()[:MOST_WORDS]:
        condition |= Q(
            Named(F("object_repr"), Value(" & ".join(f"'{word[:LONGEST_WORD]}':*" for word in words)))
        )
    return condition


def found(term: str) -> Q:
    """Return `matching` as an array that is found first: PostgreSQL expects too many matches and would walk all."""
    keys = LogEntry.objects.filter(matching(term)).order_by().values("pk")[:MOST_FOUND]
    return Q(IsAmong(F("pk"), ArraySubquery(keys)))


def seen_kinds(request: HttpRequest) -> list[tuple[int, str]]:
    """Return the kinds of rows that the user may see: the key of each, and its name."""
    models = [model for model, pages in admin.site._registry.items() if pages.has_view_permission(request)]
    kinds = ContentType.objects.get_for_models(*models)
    named = [(kind.pk, str(capfirst(model._meta.verbose_name_plural))) for model, kind in kinds.items()]
    return sorted(named, key=itemgetter(1))


class KindFilter(admin.SimpleListFilter):
    title = "kind of row"
    parameter_name = "kind"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        own = ContentType.objects.get_for_model(LogEntry).pk
        return [(str(kind), name) for kind, name in seen_kinds(request) if kind != own]

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        kind = self.value()
        if kind is None or kind not in {key for key, _ in self.lookup_choices}:
            return queryset
        return queryset.filter(content_type=int(kind))


class DayFilter(admin.SimpleListFilter):
    """A day that somebody types, as the days of years would be a long list."""

    title = "day"
    parameter_name = "day"
    template = "staff/day_filter.html"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        return [("", "")]

    def choices(self, changelist: Any) -> Iterator[Any]:
        others = {name: text for name, text in changelist.params.items() if name != self.parameter_name}
        cleared = changelist.get_query_string(remove=[self.parameter_name])
        yield {"day": self._day(), "others": others, "cleared": cleared}

    def queryset(self, request: HttpRequest, queryset: QuerySet[LogEntry]) -> QuerySet[LogEntry]:
        if (day := self._day()) is None:
            return queryset
        first, following = (
            timezone.make_aware(datetime.combine(each, time())) for each in (day, _after(day))
        )
        return queryset.filter(action_time__gte=first, action_time__lt=following)

    def _day(self) -> date | None:
        try:
            day = parse_date(self.value() or "")
        except ValueError:
            return None
        return day if day is not None and date.min < day < date.max else None


def _after(day: date) -> date:
    return day + timedelta(days=1)


@admin.register(LogEntry)
class ChangeAdmin(ReadOnlyAdmin):
    list_display = ["time", "user", "kind", "row", "sentence"]
    list_display_links = ["time", "row"]
    list_filter = [DayFilter, "user", "action_flag", KindFilter]
    list_select_related = ["user"]
    sortable_by = ["time"]
    search_fields = ["object_repr"]
    search_help_text = "Beginnings of words in the name of a row, or its id."
    ordering = ["-action_time", "-id"]
    fields = ["time", "who", "kind", "row_link", "sentence", "note", "values"]
    readonly_fields = ["time", "who", "kind", "row_link", "sentence", "note", "values"]

    time = display.moment("action_time", "Time")

    def get_queryset(self, request: HttpRequest) -> QuerySet[LogEntry]:
        entries: QuerySet[LogEntry] = super().get_queryset(request)
        if request.user.is_superuser:
            return entries
        return entries.filter(content_type__in=[kind for kind, _ in seen_kinds(request)])

    def get_search_results(
        self, request: HttpRequest, queryset: QuerySet[LogEntry], search_term: str
    ) -> tuple[QuerySet[LogEntry], bool]:
        if not search_term.strip():
            return queryset, False
        return queryset.filter(found(search_term)), False

    @admin.display(description="User")
    def who(self, entry: LogEntry) -> str:
        return entry.user.get_username()

    @admin.display(description="Kind")
    def kind(self, entry: LogEntry) -> str:
        if entry.content_type_id is None:
            return NOTHING
        return str(capfirst(ContentType.objects.get_for_id(entry.content_type_id).name))

    @admin.display(description="Row")
    def row(self, entry: LogEntry) -> str:
        return f"{entry.object_repr} ({entry.object_id})" if entry.object_id else entry.object_repr

    @admin.display(description="Row")
    def row_link(self, entry: LogEntry) -> str:
        address = None if entry.action_flag == DELETION or not entry.object_id else entry.get_admin_url()
        return format_html('<a href="{}">{}</a>', address, self.row(entry)) if address else self.row(entry)

    @admin.display(description="What was done")
    def sentence(self, entry: LogEntry) -> str:
        return told(entry).sentence

    @admin.display(description="Why")
    def note(self, entry: LogEntry) -> str:
        return told(entry).note or NOTHING

    @admin.display(description="Values")
    def values(self, entry: LogEntry) -> str:
        changes = told(entry).changes
        if not changes:
            return NOTHING
        return display.table("Values before and after", ("Field", "Before", "After"), changes)
