"""What staff do with chosen leads: queue, unqueue, merge, export."""

from __future__ import annotations

from functools import reduce
from operator import or_

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import CHANGE, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError
from django.db.models import Case, Count, IntegerField, Q, QuerySet, Value, When
from django.db.models.functions import Now
from django.http import HttpRequest, HttpResponse
from django.utils import timezone
from unfold.widgets import UnfoldAdminRadioSelectWidget

from leads.erasure import BeingCalled
from leads.merging import MOST_MERGED, NothingToMerge, merge
from leads.models import Lead
from leads.removal import ON_THE_TELEPHONE
from scheduler.rest.answers import moment
from scheduler.rest.exports import csv_answer
from scheduler.rest.shapes import Shape
from scheduler.rest.totals import counted
from scheduler.staff.confirm import REPEATED, Question, ask
from scheduler.staff.history import update_rows

EXPORTED = Shape(
    id="id",
    name="name",
    phone="phone",
    email="email",
    country_code="country_code",
    language="language",
    timezone="timezone",
    status="status",
    do_not_call="do_not_call",
    duplicate_of="duplicate_of_id",
    partner="partner__name",
    created_at=("created_at", moment),
)
# Why a lead is not queued; of several reasons the first is told.
NOT_QUEUED = {
    "not interested": Q(status=Lead.Status.NOT_INTERESTED),
    "with a meeting": Q(status=Lead.Status.MEETING_SCHEDULED),
    "queued or on a call already": Q(status__in=[Lead.Status.CALLING, Lead.Status.QUEUED]),
    "a duplicate": Q(duplicate_of__isnull=False),
    "marked as not to be called": Q(do_not_call=True),
    "without a valid phone number": Q(phone_valid=False),
}


def acting_user(request: HttpRequest) -> int:
    assert request.user.pk is not None  # the admin has asked who it is
    return request.user.pk


class LeadActions:
    """Actions of the list; a part of LeadAdmin."""

    def has_export_permission(self, request: HttpRequest) -> bool:
        return request.user.has_perm("leads.export_lead")

    @admin.action(description="Queue for calling", permissions=["change"])
    def queue(self, request: HttpRequest, leads: QuerySet[Lead]) -> None:
        """Queue the leads that may be dialled; a no and a booking stand until somebody changes the lead itself."""
        left = _left_by_reason(leads)
        ready = leads.exclude(reduce(or_, NOT_QUEUED.values()))
        queued = update_rows(request, ready, status=Lead.Status.QUEUED, updated_at=Now())
        messages.success(request, f"Queued {queued} leads.")
        if left:
            told = "; ".join(f"{count} {reason}" for reason, count in left.items())
            messages.warning(request, f"{sum(left.values())} leads were left: {told}.")

    @admin.action(description="Take out of the queue", permissions=["change"])
    def unqueue(self, request: HttpRequest, leads: QuerySet[Lead]) -> None:
        """Take back queued leads that no worker has claimed."""
        chosen = leads.count()
        free = Q(claimed_by=None) | Q(lease_expires_at=None) | Q(lease_expires_at__lt=timezone.now())
        waiting = leads.filter(free, status=Lead.Status.QUEUED)
        taken = update_rows(request, waiting, status=Lead.Status.PENDING, updated_at=Now())
        messages.success(request, f"Took {taken} leads out of the queue.")
        if taken < chosen:
            messages.warning(
                request, f"{chosen - taken} leads were left: not in the queue, or about to be called."
            )

    @admin.action(description="Merge duplicates", permissions=["change"])
    def merge(self, request: HttpRequest, leads: QuerySet[Lead]) -> HttpResponse | None:
        """Ask which lead is kept, and move what belongs to the others to it."""
        chosen = list(leads.order_by("created_at", "pk")[: MOST_MERGED + 1])
        if not 1 < len(chosen) <= MOST_MERGED:
            messages.error(request, f"Choose 2 to {MOST_MERGED} leads to merge.")
            return None
        answer = ask(request, self, _merge_question(request, chosen))
        if answer.page is not None:
            return answer.page
        try:
            kept, moved = merge(request, int(answer.values["keep"]), [lead.pk for lead in chosen])
        except BeingCalled:
            messages.error(request, ON_THE_TELEPHONE)
        except NothingToMerge as error:
            messages.error(request, str(error))
        except IntegrityError:
            messages.error(request, "The leads have changed meanwhile; nothing was merged. Try again.")
        else:
            messages.success(
                request, f"Merged {len(chosen)} leads into lead {kept.pk}; {moved} rows moved to it."
            )
        return None

    @admin.action(description="Export as CSV", permissions=["export"])
    def export(self, request: HttpRequest, leads: QuerySet[Lead]) -> HttpResponse:
        """Stream the chosen leads; the history of leads says who took them along."""
        total = counted(leads)[0]
        LogEntry.objects.create(
            user_id=acting_user(request),
            content_type=ContentType.objects.get_for_model(Lead),
            object_repr=f"Export of {'about ' if total.is_estimated else ''}{total.count} leads",
            action_flag=CHANGE,
            change_message="Exported as CSV",
        )
        return csv_answer(leads, EXPORTED, newest="created_at", filename="leads.csv")  # type: ignore[return-value]


def _left_by_reason(leads: QuerySet[Lead]) -> dict[str, int]:
    """Count the leads that are not to be queued, by the reason."""
    reasons = Case(
        *(When(is_so, then=Value(number)) for number, is_so in enumerate(NOT_QUEUED.values())),
        output_field=IntegerField(),
    )
    rows = leads.order_by().annotate(reason=reasons).filter(reason__isnull=False)
    counted_rows = rows.values_list("reason").annotate(Count("pk")).order_by("reason")
    return {list(NOT_QUEUED)[reason]: count for reason, count in counted_rows}


def _merge_question(request: HttpRequest, leads: list[Lead]) -> Question:
    return Question(
        sentence=f"Merge these {len(leads)} leads into one?",
        cancel=request.get_full_path(),
        button="Merge",
        consequences=(
            "Calls, meetings, campaigns and further duplicates of the others move to the lead that is kept.",
            "What the kept lead does not know is filled from the others.",
            "If one of them must not be called, the kept one must not be either.",
            "The others stay as its empty duplicates and are never called.",
        ),
        answers=_keep_form(leads),
        hidden={name: request.POST.getlist(name) for name in REPEATED if name in request.POST},
    )


def _keep_form(leads: list[Lead]) -> type[forms.Form]:
    choices = [
        (str(lead.pk), f"{lead.pk}: {lead.name}, {lead.phone}, {lead.get_status_display()}") for lead in leads
    ]

    class KeepForm(forms.Form):
        keep = forms.ChoiceField(
            label="Keep", choices=choices, initial=choices[0][0], widget=UnfoldAdminRadioSelectWidget
        )

    return KeepForm
