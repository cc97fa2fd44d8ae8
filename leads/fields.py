"""What the fields of a lead must be when they come from outside; each refusal is one sentence."""

from __future__ import annotations

import re
from typing import Annotated

from django.core.exceptions import ValidationError
from django.core.validators import EmailValidator
from pydantic import AfterValidator, Field

FEWEST_DIGITS = 7
MOST_DIGITS = 15  # E.164
LONGEST = 500  # characters of a name
LONGEST_PHONE = 40
LONGEST_EMAIL = 320
# What most values look like; only others are looked at closely, which costs several times as much.
E164 = re.compile(rf"\+[0-9]{{{FEWEST_DIGITS},{MOST_DIGITS}}}")
EMAIL = re.compile(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*@([A-Za-z0-9]{1,63}\.)+[A-Za-z]{2,63}")
PHONE = re.compile(r"\+?[0-9\s().\-/\u2010-\u2015]+")

check_email = EmailValidator()


def checked_name(value: str) -> str:
    """Return the name trimmed. Raises ValueError when nothing is left."""
    if not (name := value.strip()):
        raise ValueError("must not be empty")
    return name


def checked_phone(value: str) -> str:
    """Return the phone trimmed, as typed. Raises ValueError for letters and for too few or too many digits."""
    phone = value.strip()
    if E164.fullmatch(phone):
        return phone
    if not phone:
        raise ValueError("must not be empty")
    digits = sum(character.isdigit() for character in phone)
    if not PHONE.fullmatch(phone) or not FEWEST_DIGITS <= digits <= MOST_DIGITS:
        raise ValueError(f"must be a phone number of {FEWEST_DIGITS} to {MOST_DIGITS} digits")
    return phone


def checked_email(value: str) -> str | None:
    """Return the address trimmed, None for an empty one. Raises ValueError for what is no address."""
    if not (email := value.strip()):
        return None
    if EMAIL.fullmatch(email):
        return email
    try:
        check_email(email)
    except ValidationError:
        raise ValueError("must be an e-mail address") from None
    return email


LeadName = Annotated[str, Field(max_length=LONGEST), AfterValidator(checked_name)]
LeadPhone = Annotated[str, Field(max_length=LONGEST_PHONE), AfterValidator(checked_phone)]
LeadEmail = Annotated[str, Field(max_length=LONGEST_EMAIL), AfterValidator(checked_email)]
