"""Booking and moving through `meetings.services`: a refused time comes back with free ones to click."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any
from zoneinfo import ZoneInfo

from django import forms
from django.contrib import admin, messages
from django.core.exceptions import ValidationError
from django.db import transaction
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.utils import timezone
from unfold.widgets import (
    UnfoldAdminEmailInputWidget,
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
    UnfoldForeignKeyRawIdWidget,
)

from leads.models import Lead
from meetings import services
from meetings.admin import statuses
from meetings.availability import next_free
from meetings.models import DAY_MINUTES, Meeting, MeetingHost
from scheduler.staff import history
from scheduler.staff.display import admin_address


class TimeForm(forms.Form):
    """A start on the wall clock of the host, or the exact one of a button."""

    host = forms.ModelChoiceField(MeetingHost.objects.all(), widget=UnfoldAdminSelectWidget())
    day = forms.DateField(required=False, widget=UnfoldAdminTextInputWidget(attrs={"type": "date"}))
    time = forms.TimeField(
        required=False,
        widget=UnfoldAdminTextInputWidget(attrs={"type": "time"}),
        help_text="On the clock of the host.",
    )
    duration = forms.IntegerField(
        required=False,
        min_value=1,
        max_value=DAY_MINUTES,
        widget=UnfoldAdminIntegerFieldWidget(),
        help_text="Minutes; empty: as long as the host's slots.",
    )
    # A start that was clicked, with its offset: it needs no zone and no guess.
    exact = forms.DateTimeField(required=False, widget=forms.HiddenInput())

    def clean(self) -> dict[str, Any]:
        values = self.cleaned_data
        if values.get("exact"):
            values["start"] = values["exact"]
        elif values.get("host") and values.get("day") and values.get("time"):
            starts = instants(datetime.combine(values["day"], values["time"]), values["host"].timezone)
            if len(starts) == 1:
                values["start"] = starts[0]
            else:
                self.choices = starts
                self.add_error("time", _odd_hour(len(starts)))
        elif not self.errors:
            self.add_error("day" if not values.get("day") else "time", "Give the day and the time.")
        return values

    choices: list[datetime] = []


class BookingForm(TimeForm):
    lead = forms.ModelChoiceField(
        Lead.objects.all(),
        widget=UnfoldForeignKeyRawIdWidget(Meeting._meta.get_field("lead").remote_field, admin.site),
        help_text="The number of the lead.",
    )
    guest_email = forms.EmailField(required=False, widget=UnfoldAdminEmailInputWidget())
    notes = forms.CharField(
        required=False, widget=UnfoldAdminTextareaWidget(attrs={"rows": 2, "dir": "auto"})
    )
    field_order = ["lead", "host", "day", "time", "duration", "guest_email", "notes", "exact"]


def instants(local: datetime, zone: str) -> list[datetime]:
    """Return the moments at which clocks of a zone show a time: none in spring's gap, two in autumn."""
    at = local.replace(tzinfo=ZoneInfo(zone))
    found = {each.astimezone(UTC) for each in (at, at.replace(fold=1))}
    return sorted(each for each in found if each.astimezone(at.tzinfo).replace(tzinfo=None) == local)


def book(model_admin: Any, request: HttpRequest) -> HttpResponse:
    def do(values: dict[str, Any]) -> Meeting:
        with transaction.atomic():
            lead: Lead = values["lead"]
            known = set(lead.meetings.filter(scheduled_time=values["start"]).values_list("pk", flat=True))
            meeting = services.book(
                lead,
                values["host"],
                values["start"],
                values["duration"],
                guest_email=values["guest_email"],
                notes=values["notes"],
            )
            if meeting.pk not in known:
                history.record(request, [(meeting, history.values_written(meeting))], "Booked")
            if (row := statuses.follow(lead))[1]:
                history.record(request, [row])
            return meeting

    form = BookingForm(request.POST or None, initial=_initial(request))
    return _page(model_admin, request, form, do, {"title": "Book a meeting", "button": "Book"})


def move(model_admin: Any, request: HttpRequest, meeting: Meeting) -> HttpResponse:
    def do(values: dict[str, Any]) -> Meeting:
        return statuses.change(
            request,
            meeting,
            lambda: services.move(meeting, values["start"], values["host"], values["duration"]),
        )

    local = meeting.scheduled_time.astimezone(ZoneInfo(meeting.host.timezone))
    initial = {
        "host": meeting.host_id,
        "day": local.date(),
        "time": f"{local:%H:%M}",
        "duration": meeting.duration,
    }
    form = TimeForm(request.POST or None, initial=initial)
    texts = {"title": "Move", "button": "Move", "meeting": meeting, "original": meeting}
    return _page(model_admin, request, form, do, texts)


def _page(
    model_admin: Any,
    request: HttpRequest,
    form: TimeForm,
    do: Callable[[dict[str, Any]], Meeting],
    context: dict[str, Any],
) -> HttpResponse:
    refused, free = "", list[datetime]()
    if request.method == "POST":
        if form.is_valid():
            try:
                meeting = do(form.cleaned_data)
            except services.SlotTaken as error:
                refused, free = str(error), error.alternatives
            except services.BookingRefused as error:
                refused, free = str(error), _alternatives(form.cleaned_data, context.get("meeting"))
            except ValidationError as error:
                refused = " ".join(error.messages)
            else:
                messages.success(
                    request, f"Done: {', '.join(filter(None, _told(meeting.scheduled_time, meeting.host)))}."
                )
                return HttpResponseRedirect(admin_address(meeting))
        else:
            free = form.choices
    host = form.cleaned_data.get("host") if form.is_bound else None
    host = host or MeetingHost.objects.filter(pk=form.initial.get("host") or 0).first()
    context |= {
        **model_admin.admin_site.each_context(request),
        "opts": model_admin.model._meta,
        "form": form,
        "media": model_admin.media + form.media,
        "refused": refused,
        "host": host,
        "free": [(f"{each.isoformat()}", *_told(each, host)) for each in free] if host else [],
        "viewer_zone": timezone.get_current_timezone_name(),
    }
    return TemplateResponse(request, "meetings/booking.html", context)


def _alternatives(values: dict[str, Any], moved: Meeting | None) -> list[datetime]:
    now, minutes = timezone.now(), values["duration"] or (moved.duration if moved else None)
    after = max(now, values["start"])
    return next_free(values["host"], after, now=now, minutes=minutes, without=moved.pk if moved else None)


def _told(at: datetime, host: MeetingHost) -> tuple[str, str]:
    """Write a time as the host reads it, and as the viewer does where that differs."""
    local, own = at.astimezone(ZoneInfo(host.timezone)), timezone.localtime(at)
    shown = f"{local:%a %Y-%m-%d %H:%M %Z} ({host.timezone})"
    return shown, "" if local.utcoffset() == own.utcoffset() else f"{own:%a %Y-%m-%d %H:%M %Z} for you"


def _odd_hour(times: int) -> str:
    if times:
        return "The clocks are put back that night, so this time comes twice; choose one below."
    return "The clocks are put forward over this time, so it does not come; choose another one."


def _initial(request: HttpRequest) -> dict[str, Any]:
    """Read host, lead and start from the address, as the week links them."""
    given = {name: request.GET[name] for name in ("host", "lead") if request.GET.get(name, "").isdecimal()}
    host = (
        MeetingHost.objects.filter(pk=given["host"]).first()
        if len(given.get("host", "")) in range(1, 19)
        else None
    )
    try:
        start = datetime.fromisoformat(request.GET.get("start", ""))
        local = start.astimezone(ZoneInfo(host.timezone)) if host and start.tzinfo else None
    except (ValueError, OverflowError, OSError):
        local = None
    return given | ({"day": local.date(), "time": f"{local:%H:%M}"} if local else {})
