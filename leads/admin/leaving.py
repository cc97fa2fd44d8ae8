"""How leads go: deleted with what belongs to them, or erased as people, also those whom no lead tells of any more."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.contrib.admin.models import DELETION, LogEntry
from django.contrib.contenttypes.models import ContentType
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse
from unfold.decorators import action
from unfold.widgets import UnfoldAdminTextInputWidget

from leads import removal
from leads.admin.actions import acting_user
from leads.erasure import BeingCalled, erase, erase_phone, person_of, was_deleted
from leads.models import Lead
from leads.phones import normalise
from leads.removal import ON_THE_TELEPHONE
from scheduler.rest.totals import Total, counted
from scheduler.staff import confirm, deletion
from scheduler.staff.confirm import SHOWN_ROWS, Question, ask
from scheduler.staff.display import admin_address
from scheduler.staff.history import ERASED

LIST = "admin:leads_lead_changelist"
SURE = "sure"
WHAT_AN_ERASURE_DOES = (
    "Name, phone, e-mail, transcripts and notes go everywhere, from the history, imports and waiting files too.",
    "If the phone ever comes back, it is never called: only a keyed digest of it stays.",
    "Recordings at the telephone provider, backups and the old SQLite file are not reached from here.",
)


class PhoneForm(forms.Form):
    phone = forms.CharField(
        max_length=100,
        help_text="In any spelling, such as (415) 555-0134 or +14155550134.",
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr", "autocomplete": "off"}),
    )
    country = forms.CharField(
        required=False,
        max_length=10,
        help_text="For a phone without its country: US, or 1.",
        widget=UnfoldAdminTextInputWidget(attrs={"dir": "ltr"}),
    )

    def clean(self) -> dict[str, Any]:
        """Bring the phone into E.164; one that no numbering plan has is taken only when a lead has or had it."""
        cleaned = super().clean() or {}
        if "phone" in cleaned:
            phone, is_valid = normalise(cleaned["phone"], cleaned.get("country"))
            if not (is_valid or Lead.objects.filter(phone=phone).exists() or was_deleted(phone)):
                self.add_error("phone", "No numbering plan has this phone. Does it lack its country?")
            cleaned["phone"] = phone
        return cleaned


class LeavingPages:
    """Deleting and erasing; a part of LeadAdmin."""

    def outlook(self: Any, request: HttpRequest, rows: QuerySet[Any]) -> deletion.Outlook:
        keys = list(rows.order_by().values_list("pk", flat=True)[: deletion.MOST + 1])
        found = removal.outlook(keys)
        if len(keys) <= deletion.MOST:
            found.consequences += removal.lost_refusals(keys)
        found.obstacles += deletion.missing_rights(self.admin_site, request, found.goes)
        return found

    def delete_view(
        self: Any, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Ask, with what goes with the lead by number, and delete it once that is confirmed."""
        lead = self._lead(request, object_id, self.has_delete_permission)
        chosen = Lead.objects.filter(pk=lead.pk)
        question = self._about_deletion(request, chosen, f"Delete the lead {lead}?")
        answer = ask(request, self, replace(question, about=lead, cancel=admin_address(lead)))
        if answer.page is not None:
            return answer.page
        if not _delete(request, chosen):
            return HttpResponseRedirect(admin_address(lead))
        messages.success(request, "The lead was deleted with what belonged to it.")
        return HttpResponseRedirect(reverse(LIST))

    @admin.action(description="Delete", permissions=["delete"])
    def delete_selected(self: Any, request: HttpRequest, leads: QuerySet[Lead]) -> HttpResponse | None:
        """Ask with what goes with the chosen leads, and delete them once that is confirmed."""
        total = counted(leads)[0]
        question = self._about_deletion(request, leads, f"Delete these {total.count:,} leads?")
        answer = ask(request, self, replace(question, rows=list(leads[:SHOWN_ROWS]), total=total))
        if answer.page is not None:
            return answer.page
        if deleted := _delete(request, leads):
            messages.success(request, f"Deleted {deleted} leads with what belonged to them.")
        return None

    @action(description="Erase this person", url_path="erase", permissions=["delete"], icon="person_off")
    def erase_person(self: Any, request: HttpRequest, object_id: str) -> HttpResponse:
        """Ask, then erase all that is known of the person of a lead."""
        lead = self._lead(request, object_id, self.has_delete_permission)
        person = person_of(lead.pk)
        found = removal.outlook(person.lead_ids, most=len(person.leads))
        question = Question(
            sentence="Erase this person for good?",
            about=lead,
            cancel=admin_address(lead),
            button="Erase for good",
            rows=person.leads[:SHOWN_ROWS],
            total=Total(len(person.leads)),
            consequences=[*found.consequences, *WHAT_AN_ERASURE_DOES],
            obstacles=[
                *found.obstacles,
                *deletion.missing_rights(self.admin_site, request, found.goes),
            ],
        )
        answer = ask(request, self, question)
        if answer.page is not None:
            return answer.page
        try:
            erase(lead.pk)
        except BeingCalled:
            messages.error(request, ON_THE_TELEPHONE)
            return HttpResponseRedirect(admin_address(lead))
        _record_erasure(request, str(lead.pk), "Erased the person")
        messages.success(request, "The person was erased.")
        return HttpResponseRedirect(reverse(LIST))

    @action(description="Erase by phone", url_path="erase-phone", permissions=["delete"], icon="person_off")
    def erase_phone(self, request: HttpRequest) -> HttpResponse:
        """Ask for a phone, then whether what is kept of it shall go; a lead that has it has a page for that."""
        wanted = Question(
            sentence="Whose phone shall be forgotten?",
            cancel=reverse(LIST),
            button="Look for it",
            consequences=[
                "For people who were deleted, or of whom a file or an import tells though no lead does."
            ],
            answers=PhoneForm,
            title="Erase by phone",
        )
        answer = ask(request, self, wanted)
        if answer.page is not None:
            return answer.page
        phone = answer.values["phone"]
        if lead := Lead.objects.filter(phone=phone).order_by("pk").first():
            messages.info(request, "A lead has this phone; this is its page.")
            return HttpResponseRedirect(reverse("admin:leads_lead_erase_person", args=[lead.pk]))
        if request.POST.get(SURE) != phone:
            return confirm.page(request, self, _about_phone(phone))
        erase_phone(phone)
        _record_erasure(request, None, "Erased a person by phone")
        messages.success(request, "What was kept of the phone was erased.")
        return HttpResponseRedirect(reverse(LIST))


def _about_phone(phone: str) -> Question:
    return Question(
        sentence=f"Erase what is kept of {phone} for good?",
        cancel=reverse(LIST),
        button="Erase for good",
        consequences=["No lead has this phone.", *WHAT_AN_ERASURE_DOES],
        hidden={"phone": [phone], SURE: [phone]},
    )


def _delete(request: HttpRequest, leads: QuerySet[Lead]) -> int:
    """Delete leads; return how many, 0 with the reason told."""
    try:
        return removal.delete(request, leads)
    except BeingCalled:
        messages.error(request, ON_THE_TELEPHONE)
    except removal.TooMany:
        messages.error(request, removal.TOO_MANY)
    return 0


def _record_erasure(request: HttpRequest, lead_id: str | None, sentence: str) -> None:
    LogEntry.objects.create(
        user_id=acting_user(request),
        content_type=ContentType.objects.get_for_model(Lead),
        object_id=lead_id,
        object_repr=ERASED,
        action_flag=DELETION,
        change_message=sentence,
    )
