"""Ask before doing what cannot be undone: a page between the click and the deed, which needs no JavaScript."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import wraps
from typing import Any

from django import forms
from django.contrib.admin.helpers import ACTION_CHECKBOX_NAME
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from unfold.widgets import UnfoldAdminTextareaWidget

from scheduler.rest.totals import Total, counted

CONFIRMED = "confirmed"
SHOWN_ROWS = 20
# What a list's form says about the chosen rows and the action.
REPEATED = ("select_across", "action", "index", ACTION_CHECKBOX_NAME)

Text = str | Callable[[QuerySet[Any]], str]


class ReasonForm(forms.Form):
    """Ask why; pass it as the note of the history."""

    reason = forms.CharField(max_length=500, strip=True, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2}))


@dataclass(frozen=True, slots=True)
class Question:
    """What the page in between says.

    `about` is the row in question if it is one, `consequences` are sentences on what goes with it, `obstacles` those
    that forbid it, `answers` is a form to fill in, `hidden` goes back with the form as it is, `cancel` is where
    people who say no arrive.
    """

    sentence: str
    cancel: str
    about: Model | None = None
    button: str = "Yes, do it"
    rows: Sequence[object] = ()
    total: Total = field(default_factory=lambda: Total(0))
    consequences: Iterable[str] = ()
    obstacles: Sequence[str] = ()
    answers: type[forms.Form] | None = None
    hidden: Mapping[str, Sequence[str]] = field(default_factory=dict)
    title: str = "Are you sure?"


@dataclass(frozen=True, slots=True)
class Answer:
    """`page` is to be returned until the question is confirmed; then it is None and `values` is what was filled in."""

    page: HttpResponse | None
    values: dict[str, Any] = field(default_factory=dict)


def ask(request: HttpRequest, model_admin: Any, question: Question) -> Answer:
    """Return the page that asks, or what was answered once the user has confirmed by POST."""
    is_sent = request.method == "POST" and request.POST.get(CONFIRMED) == "yes"
    is_confirmed = is_sent and not question.obstacles
    form = question.answers(request.POST if is_confirmed else None) if question.answers else None
    if is_confirmed and (form is None or form.is_valid()):
        return Answer(None, form.cleaned_data if form else {})
    return Answer(page(request, model_admin, question, form))


def page(
    request: HttpRequest, model_admin: Any, question: Question, form: forms.Form | None = None
) -> HttpResponse:
    """Return the page that asks."""
    context = {
        **model_admin.admin_site.each_context(request),
        "title": question.title,
        "opts": model_admin.model._meta,
        "original": question.about,
        "media": form.media if form else "",
        "question": question,
        "others": max(0, question.total.count - len(question.rows)),
        "form": form,
        "confirmed_name": CONFIRMED,
    }
    return TemplateResponse(request, "staff/confirm.html", context)


def confirmed_action(
    description: str,
    question: Text,
    *,
    permissions: Sequence[str] = ("change",),
    consequences: Callable[[QuerySet[Any]], Iterable[str]] | None = None,
    answers: type[forms.Form] | None = None,
    button: str = "Yes, do it",
) -> Callable[[Callable[..., HttpResponse | None]], Any]:
    """Make a method an action of a list that asks first, with the chosen rows and an optional form on the page.

    The method gets (request, queryset), and with `answers` the form's values as a third argument. `question` may
    contain {count}, or be a function of the queryset.
    """

    def decorate(do: Callable[..., HttpResponse | None]) -> Any:
        @wraps(do)
        def act(self: Any, request: HttpRequest, rows: QuerySet[Any]) -> HttpResponse | None:
            total = counted(rows)[0]
            asked = Question(
                sentence=question(rows) if callable(question) else question.format(count=_number(total)),
                cancel=request.get_full_path(),
                button=button,
                rows=list(rows[:SHOWN_ROWS]),
                total=total,
                consequences=consequences(rows) if consequences else (),
                answers=answers,
                hidden=_selection(request),
            )
            answer = ask(request, self, asked)
            if answer.page is not None:
                return answer.page
            return do(self, request, rows, answer.values) if answers else do(self, request, rows)

        act.short_description = description  # type: ignore[attr-defined]
        act.allowed_permissions = tuple(permissions)  # type: ignore[attr-defined]
        return act

    return decorate


def _number(total: Total) -> str:
    return f"{'about ' if total.is_estimated else ''}{total.count:,}"


def _selection(request: HttpRequest) -> dict[str, list[str]]:
    """Return what the list's form said about the chosen rows and the action, for the second POST."""
    return {name: request.POST.getlist(name) for name in REPEATED if name in request.POST}
