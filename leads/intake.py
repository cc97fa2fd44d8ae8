"""New leads, whoever brings them: what they must be, and what is known of them from the number alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from django.contrib.admin.models import ADDITION, LogEntry
from django.db import IntegrityError, transaction

from database.errors import constraint_of
from leads.corrections import PHONE_UNIQUE
from leads.fields import (
    E164,
    EMAIL,
    LONGEST,
    LONGEST_EMAIL,
    LONGEST_PHONE,
    checked_email,
    checked_name,
    checked_phone,
)
from leads.models import Lead
from leads.phones import normalise, origin
from scheduler.rest.bodies import is_storable
from scheduler.rest.problems import Problem

TRIES = 3


class NewLead(NamedTuple):
    """The columns of a lead that has just come in; the database fills the others."""

    name: str
    phone: str
    phone_valid: bool
    email: str | None
    country_code: str | None
    language: str


def new_lead(name: str, phone: str, email: str | None) -> NewLead:
    """Make a lead of checked values; the phone becomes E.164 when a numbering plan has it."""
    number, is_valid = normalise(phone)
    return NewLead(name, number, is_valid, email, *origin(number))


def read_lead(name: Any, phone: Any, email: Any = None) -> NewLead:
    """Check what somebody sent and make a lead of it. Raises ValueError with a sentence."""
    name = _checked("Name", name, LONGEST, checked_name)
    # What most phones and addresses look like at once; uploads and transfers come here a million times.
    if not (isinstance(phone, str) and E164.fullmatch(phone)):
        phone = _checked("Phone", phone, LONGEST_PHONE, checked_phone)
    if email is not None and not (
        isinstance(email, str) and len(email) <= LONGEST_EMAIL and EMAIL.fullmatch(email)
    ):
        email = _checked("Email", email, LONGEST_EMAIL, checked_email)
    return new_lead(name, phone, email)


def _checked(what: str, value: Any, longest: int, check: Callable[[str], Any]) -> Any:
    if value is None:
        raise ValueError(f"{what} is missing")
    if not isinstance(value, str):
        raise ValueError(f"{what} must be a text")
    if len(value) > longest:
        raise ValueError(f"{what} must not be longer than {longest} characters")
    if not is_storable(value):
        raise ValueError(f"{what} holds a character that cannot be stored")
    try:
        return check(value)
    except ValueError as error:
        raise ValueError(f"{what} {error}") from None


def create(new: NewLead, user_id: int) -> int:
    """Add a lead and note in its history who did it; return its id.

    Raises Problem 409, with `lead_id`, when a lead has this phone already.
    """
    for _ in range(TRIES):
        try:
            with transaction.atomic():
                return _insert(new, user_id)
        except IntegrityError as error:
            if constraint_of(error) != PHONE_UNIQUE:
                raise
        other = Lead.objects.filter(phone=new.phone, duplicate_of=None).values_list("pk", flat=True).first()
        if other is not None:
            sentence = "A lead with this phone number exists already."
            raise Problem(409, "phone_taken", sentence, extra={"lead_id": other})
        # The lead that was in the way has been deleted in between.
    raise Problem(409, "phone_taken", "A lead with this phone number comes and goes; try again.")


def _insert(new: NewLead, user_id: int) -> int:
    lead = Lead.objects.create(**new._asdict())
    LogEntry.objects.log_actions(user_id, [lead], ADDITION, "Added over the API", single_object=True)
    return lead.pk
