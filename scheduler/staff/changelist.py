"""Lists that stay quick on tables of millions of rows."""

from typing import Any

from django.contrib.admin.views.main import ChangeList
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property

ROWS_REACHABLE = 10_000


class CappedPaginator(Paginator):
    """Page through the first rows only: counting and skipping millions would take seconds a page."""

    @cached_property
    def count(self) -> int:
        rows = self.object_list[:ROWS_REACHABLE]
        return rows.count() if isinstance(rows, QuerySet) else len(rows)


class StaffChangeList(ChangeList):
    """A list that leaves out the long texts it does not show."""

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        return rows.defer(*getattr(self.model_admin, "list_defer", ()))

    @property
    def is_capped(self) -> bool:
        return self.result_count >= ROWS_REACHABLE

    @property
    def rows_reachable(self) -> int:
        return ROWS_REACHABLE
