"""Correcting what came of a call, with a reason."""

from __future__ import annotations

from typing import Any

from django import forms
from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.widgets import UnfoldAdminSelectWidget

from calls.corrections import CallActive, Corrected, correct_outcome
from calls.models import Call
from scheduler.staff import history
from scheduler.staff.confirm import Question, ReasonForm, ask
from scheduler.staff.display import admin_address

UNDECIDED = "Undecided"


def page(model_admin: Any, request: HttpRequest, object_id: str) -> HttpResponse:
    call = model_admin.get_object(request, object_id)
    if call is None:
        raise Http404("There is no such call.")
    if not model_admin.has_change_permission(request, call):
        return model_admin.admin_site.login(request)
    back = HttpResponseRedirect(admin_address(call))
    if call.ended_at is None:
        messages.error(request, "The call is going on; its outcome follows when it ends.")
        return back
    answer = ask(request, model_admin, _question(call))
    if answer.page is not None:
        return answer.page
    _correct(request, call, answer.values)
    return back


def _question(call: Call) -> Question:
    return Question(
        sentence=f"Correct the outcome of call {call.pk}? It is: {_label(call.outcome)}.",
        about=call,
        cancel=admin_address(call),
        button="Correct it",
        consequences=[
            "The lead's status follows if this is its newest call.",
            "A lead with a meeting, one that is not interested, and one in the queue or on a call now keep theirs.",
            "The reason goes into the history, with both outcomes.",
        ],
        answers=_form(call),
    )


def _form(call: Call) -> type[forms.Form]:
    """Make the form begin with the outcome that the call has."""

    class Form(ReasonForm):
        outcome = forms.ChoiceField(
            choices=[("", UNDECIDED), *Call.Outcome.choices],
            required=False,
            initial=call.outcome or "",
            widget=UnfoldAdminSelectWidget(),
        )
        field_order = ["outcome", "reason"]

    return Form


def _correct(request: HttpRequest, call: Call, values: dict[str, Any]) -> None:
    try:
        with transaction.atomic():
            done = correct_outcome(call, values["outcome"] or None)
            _record(request, done, values["reason"])
    except CallActive:
        messages.error(request, "The call is going on; its outcome follows when it ends.")
        return
    except Call.DoesNotExist:
        messages.error(request, "The call was deleted or given to another lead meanwhile.")
        return
    if done.outcome_before == done.call.outcome:
        messages.info(request, "The call has that outcome already.")
    else:
        messages.success(
            request,
            f"The outcome is {_label(done.call.outcome)}; the status of the lead is "
            f"{done.lead.get_status_display()}{'' if done.lead.status != done.status_before else ', as before'}.",
        )


def _record(request: HttpRequest, done: Corrected, reason: str) -> None:
    rows = [
        (done.call, history.changes_between({"outcome": done.outcome_before}, done.call)),
        (done.lead, history.changes_between({"status": done.status_before}, done.lead)),
    ]
    history.record(request, [(row, changes) for row, changes in rows if changes], reason)


def _label(outcome: str | None) -> str:
    return str(Call.Outcome(outcome).label) if outcome else UNDECIDED
