"""Lists that stay quick on tables of millions of rows.

The first pages have numbers. Deeper ones begin behind a row that the address names, so that PostgreSQL finds them by
index; skipping a million rows by number would take a second a page.
"""

from __future__ import annotations

import json
from typing import Any

from django.contrib.admin.options import IncorrectLookupParameters
from django.contrib.admin.views.main import PAGE_VAR
from django.core.exceptions import EmptyResultSet
from django.core.paginator import Paginator
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.functional import cached_property
from unfold.views import ChangeList

from scheduler.rest import totals
from scheduler.rest.totals import Total
from scheduler.staff import seek

NUMBERED_ROWS = 10_000  # rows on the pages that have numbers


# Of the planner's costs, as in EXPLAIN: an index alone counts 100,000 rows for less; what has to look into as many
# rows, because two filters share no index, costs four times as much and takes 200 ms among a million leads.
MOST_COST = 6_000


class ListPaginator(Paginator):
    """Count rows exactly where that is cheap, and estimate them elsewhere; give numbers to the first pages only.

    What fits the first page is counted by reading it.
    """

    template_name = "staff/pagination.html"

    @cached_property
    def total(self) -> Total:
        rows = self.object_list
        if not isinstance(rows, QuerySet):
            return Total(len(rows))
        if len(self.first_rows) <= self.per_page:
            return Total(len(self.first_rows))
        expected, cost = planned(rows)
        # The planner may be wrong by far on stale statistics: only a clear excess saves the count.
        if cost <= MOST_COST and expected <= 2 * totals.EXACT_UP_TO:
            number = rows.order_by().values_list("pk")[: totals.EXACT_UP_TO + 1].count()
            if number <= totals.EXACT_UP_TO:
                return Total(number)
            expected = max(expected, number)
        return Total(max(expected, self.per_page + 1), is_estimated=True)

    @cached_property
    def first_rows(self) -> list[Any]:
        """Return the rows of the first page, and one more if there is one."""
        return list(self.object_list[: self.per_page + 1])

    @cached_property
    def count(self) -> int:
        return self.total.count

    @property
    def num_pages(self) -> int:
        rows = max(1, min(self.count, NUMBERED_ROWS))
        return -(-rows // self.per_page)

    def page(self, number: Any) -> Any:
        page = super().page(number)
        if not isinstance(self.object_list, QuerySet):
            return page
        if page.number > 1:
            page.object_list = self._looked_up_late(self.object_list, (page.number - 1) * self.per_page)
        else:
            page.object_list = self.first_rows[: self.per_page]
        return page

    def _looked_up_late(self, rows: QuerySet[Any], offset: int) -> QuerySet[Any]:
        """Skip rows in the index alone; whole rows and their joins are read for one page."""
        keys = list(rows.values_list("pk", flat=True)[offset : offset + self.per_page])
        return rows.filter(pk__in=keys)


def planned(rows: QuerySet[Any]) -> tuple[int, float]:
    """Return how many rows the planner expects, and what reading all of them would cost."""
    try:
        text = rows.order_by().values_list("pk").explain(format="json")
    except EmptyResultSet:
        return 0, 0.0
    # Django plans nothing for a queryset that is known to be empty.
    plan = json.loads(text)[0]["Plan"] if text else {"Plan Rows": 0, "Total Cost": 0.0}
    return int(plan["Plan Rows"]), float(plan["Total Cost"])


class StaffChangeList(ChangeList):
    """A list that leaves out the long texts it does not show, and has links to the rows before and after.

    `previous`, `next` and `last` are query strings, empty where there is nothing more.
    """

    next = previous = last = ""
    is_beyond_numbers = False

    def __init__(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        self.sought = {name: request.GET[name] for name in seek.PARAMETERS if name in request.GET}
        if not self.sought.get(seek.AFTER, "-"):
            del self.sought[seek.AFTER]  # after nothing is the first page
        super().__init__(request, *args, **kwargs)

    def get_filters(self, request: HttpRequest) -> Any:
        # They say where a page begins, and filter nothing; links to other filters begin at the first page.
        for name in seek.PARAMETERS:
            self.params.pop(name, None)
            self.filter_params.pop(name, None)
        return super().get_filters(request)

    def get_queryset(self, request: HttpRequest, exclude_parameters: Any = None) -> QuerySet[Any]:
        rows = super().get_queryset(request, exclude_parameters)
        return rows.defer(*getattr(self.model_admin, "list_defer", ()))

    def get_results(self, request: HttpRequest) -> None:
        self.seekable = seek.columns_of(self.model, self.queryset.query.order_by)
        if self.sought and self.seekable:
            # The rest is set as for a first page; its rows are read below, lazily.
            self.page_num = 1
        super().get_results(request)
        self.total: Total = self.paginator.total
        if self.sought and self.seekable:
            self.is_beyond_numbers = True
            self._seek(self.seekable)
        elif self.multi_page and not self.show_all:
            self._link_numbered_page()

    def _seek(self, columns: list[seek.Column]) -> None:
        back = seek.BEFORE in self.sought
        text = self.sought.get(seek.BEFORE, self.sought.get(seek.AFTER, ""))
        rows = seek.ordered(self.queryset, columns, back=back)
        if text:
            try:
                rows = seek.beyond(rows, columns, seek.place(text, columns), back=back)
            except ValueError as error:
                raise IncorrectLookupParameters(error) from error
        found = list(rows[: self.list_per_page + 1])
        has_more = len(found) > self.list_per_page
        page = found[: self.list_per_page]
        if back:
            page.reverse()
        self.result_list = page
        self._link(
            columns, page, has_next=bool(text) if back else has_more, has_previous=has_more if back else True
        )

    def _link_numbered_page(self) -> None:
        self.result_list = list(self.result_list)
        if not self.result_list and self.page_num > 1:
            raise IncorrectLookupParameters("The estimate was too high: there is no such page.")
        if self.page_num * self.list_per_page < min(self.result_count, NUMBERED_ROWS):
            self.next = self.get_query_string({PAGE_VAR: self.page_num + 1})
            if self.seekable:
                self.last = self.get_query_string({seek.BEFORE: ""})
        elif self.seekable and (self.result_count > NUMBERED_ROWS or self.total.is_estimated):
            # An estimate may be too low; a full page may be the last one, which the next one then says.
            is_full = len(self.result_list) == self.list_per_page
            self._link(self.seekable, self.result_list, has_next=is_full, has_previous=False)
        if self.page_num > 1:
            self.previous = self.get_query_string({PAGE_VAR: self.page_num - 1})

    def _link(
        self, columns: list[seek.Column], page: list[Any], *, has_next: bool, has_previous: bool
    ) -> None:
        if page and has_next:
            self.next = self.get_query_string({seek.AFTER: seek.written(page[-1], columns)})
            self.last = self.get_query_string({seek.BEFORE: ""})
        if page and has_previous:
            self.previous = self.get_query_string({seek.BEFORE: seek.written(page[0], columns)})

    @property
    def ends_early(self) -> bool:
        """Tell whether rows are out of reach: beyond the numbered pages, in an order that has no places."""
        return self.seekable is None and self.result_count > NUMBERED_ROWS

    @property
    def rows_reachable(self) -> int:
        return NUMBERED_ROWS
