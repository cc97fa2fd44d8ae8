"""Bringing meetings into another status, after a question, with the lead that follows in the history too."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect

from leads.models import Lead
from meetings import services
from meetings.models import Meeting
from scheduler.staff import history
from scheduler.staff.confirm import Question, ask, confirmed_action
from scheduler.staff.display import admin_address, written

Status = Meeting.Status
QUESTIONS: dict[str, str] = {
    Status.SCHEDULED: "Schedule {what} again?",
    Status.CONFIRMED: "Confirm {what}?",
    Status.COMPLETED: "Note that {what} took place?",
    Status.NO_SHOW: "Note that nobody came to {what}?",
    Status.CANCELLED: "Cancel {what}?",
}
OPEN_AGAIN = "A lead for which nothing else is booked or was kept becomes contacted."
CONSEQUENCES: dict[str, list[str]] = {
    Status.SCHEDULED: ["It keeps its time, which must be free still.", "It is no longer confirmed."],
    Status.CANCELLED: ["The slot is free for others at once.", OPEN_AGAIN],
    Status.NO_SHOW: [OPEN_AGAIN],
}
MOST_MEETINGS = 500  # changed by one action: each locks its host and its lead


def page(model_admin: Any, request: HttpRequest, meeting: Meeting, status: str) -> HttpResponse:
    question = Question(
        sentence=QUESTIONS[status].format(what=f"the meeting of {meeting.lead} with {meeting.host}"),
        about=meeting,
        cancel=admin_address(meeting),
        rows=[f"{written(meeting.scheduled_time)}, {meeting.get_status_display().lower()}"],
        consequences=CONSEQUENCES.get(status, []),
    )
    answer = ask(request, model_admin, question)
    if answer.page is not None:
        return answer.page
    try:
        changed = change(request, meeting, lambda: services.change_status(meeting, status))
    except services.BookingRefused as error:
        messages.error(request, str(error))
    else:
        messages.success(request, f"The meeting is {changed.get_status_display().lower()}.")
    return HttpResponseRedirect(admin_address(meeting))


def change(request: HttpRequest, meeting: Meeting, do: Callable[[], Meeting]) -> Meeting:
    """Let a service change a meeting, and write what became of it and its lead into the history.

    Raises what the service raises; nothing is changed then.
    """
    with leads_noted(request, [meeting.lead_id]):
        before = history.values_of(services.locked(meeting))
        after = do()
        if changes := history.changes_between(before, after):
            history.record(request, [(after, changes)])
    return after


@contextmanager
def leads_noted(request: HttpRequest, lead_ids: Collection[int]) -> Iterator[None]:
    """Write what becomes of leads' statuses in the block into their history, in one transaction with it."""
    with transaction.atomic():
        leads = list(Lead.objects.only("status", "name").filter(pk__in=lead_ids))
        yield
        rows = map(follow, leads)
        history.record(request, [(lead, changes) for lead, changes in rows if changes])


def follow(lead: Lead) -> tuple[Lead, list[history.Change]]:
    """Return a lead as it is after a booking, with what changed in its status."""
    before = {"status": lead.status}
    lead.refresh_from_db(fields=["status"])
    return lead, history.changes_between(before, lead)


def list_action(description: str, status: str) -> Any:
    """Make an action of the list; what a meeting's own status does not allow is counted and left."""

    def act(self: Any, request: HttpRequest, meetings: QuerySet[Meeting]) -> None:
        changed, refused = 0, []
        for meeting in meetings.select_related("host")[:MOST_MEETINGS]:
            if meeting.status == status:
                continue
            try:
                # Bound now: the lambda is called in this round.
                change(request, meeting, lambda row=meeting: services.change_status(row, status))  # type: ignore[misc]
                changed += 1
            except (services.BookingRefused, Meeting.DoesNotExist) as error:
                refused.append(f"{meeting}: {error}")
        messages.success(request, f"Changed {changed} meetings.")
        if refused:
            messages.warning(request, f"{len(refused)} were left. {' '.join(refused[:5])}")

    return confirmed_action(
        f"{description} selected meetings" if " " not in description else description,
        QUESTIONS[status].format(what="these {count} meetings"),
        consequences=lambda rows: CONSEQUENCES.get(status, []),
    )(act)
