"""Whom nobody calls again, and who may be called after all: each with a reason, from the list and a lead's page."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.db.models import QuerySet
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from unfold.dataclasses import UnfoldAction
from unfold.decorators import action

from leads import tombstones
from leads.models import Lead
from scheduler.staff.confirm import Question, ReasonForm, ask, confirmed_action
from scheduler.staff.display import admin_address
from scheduler.staff.history import update_rows

NEVER, AFTER_ALL = "Never call again", "May be called again"
WHO_IS_LEFT = "A lead with the phone of an erased person is left as it is."


class CallingActions:
    """What says whether a lead may be called; a part of LeadAdmin."""

    def has_recall_permission(self: Any, request: HttpRequest, obj: Any = None) -> bool:
        return self.has_change_permission(request) and request.user.has_perm("leads.recall_lead")

    def get_actions_detail(self, request: HttpRequest, object_id: Any) -> list[UnfoldAction]:
        """Offer the one of the two that changes something."""
        offered: list[UnfoldAction] = super().get_actions_detail(request, object_id)  # type: ignore[misc]
        if not str(object_id).isdecimal():
            return offered
        is_stopped = Lead.objects.filter(pk=object_id, do_not_call=True).exists()
        idle = "leads_lead_stop_one" if is_stopped else "leads_lead_recall_one"
        return [each for each in offered if each.action_name != idle]

    @confirmed_action(NEVER, "Never call these {count} leads again?", answers=ReasonForm, button=NEVER)
    def stop_calling(self, request: HttpRequest, leads: QuerySet[Lead], answers: dict[str, Any]) -> None:
        _stop(request, leads, answers["reason"])

    @confirmed_action(
        AFTER_ALL,
        "Let these {count} leads be called again?",
        permissions=["recall"],
        consequences=lambda leads: [WHO_IS_LEFT],
        answers=ReasonForm,
        button=AFTER_ALL,
    )
    def recall(self, request: HttpRequest, leads: QuerySet[Lead], answers: dict[str, Any]) -> None:
        _recall(request, leads, answers["reason"])

    @action(description=NEVER, url_path="never-call", icon="phone_disabled", permissions=["change"])
    def stop_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, object_id, "Never call this lead again?", NEVER, _stop)

    @action(description=AFTER_ALL, url_path="recall", icon="phone_enabled", permissions=["recall"])
    def recall_one(self, request: HttpRequest, object_id: str) -> HttpResponse:
        return self._one(request, object_id, "Let this lead be called again?", AFTER_ALL, _recall)

    def _one(
        self: Any,
        request: HttpRequest,
        object_id: str,
        sentence: str,
        button: str,
        do: Callable[[HttpRequest, QuerySet[Lead], str], None],
    ) -> HttpResponse:
        lead = self._lead(request, object_id, self.has_change_permission)
        question = Question(
            sentence=sentence,
            about=lead,
            cancel=admin_address(lead),
            button=button,
            rows=[f"{lead}, {lead.phone}"],
            answers=ReasonForm,
        )
        answer = ask(request, self, question)
        if answer.page is not None:
            return answer.page
        do(request, Lead.objects.filter(pk=lead.pk), answer.values["reason"])
        return HttpResponseRedirect(admin_address(lead))


def _stop(request: HttpRequest, leads: QuerySet[Lead], reason: str) -> None:
    stopped = update_rows(request, leads, reason, do_not_call=True, updated_at=Now())
    messages.success(request, f"{stopped} leads will not be called again.")


def _recall(request: HttpRequest, leads: QuerySet[Lead], reason: str) -> None:
    """Let leads be called again, except for those with the phone of an erased person."""
    stopped = leads.filter(do_not_call=True)
    erased = tombstones.erased(set(stopped.order_by().values_list("phone", flat=True)))
    left = stopped.filter(phone__in=erased).count() if erased else 0
    recalled = update_rows(
        request, stopped.exclude(phone__in=erased), reason, do_not_call=False, updated_at=Now()
    )
    if recalled or not left:
        messages.success(request, f"{recalled} leads may be called again.")
    if left:
        messages.error(request, f"{left} leads were left: their phone is that of an erased person.")
