"""What PostgreSQL refuses, told to staff as a sentence on the form."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.contrib.postgres.constraints import ExclusionConstraint
from django.core.exceptions import ValidationError
from django.db import IntegrityError


class Refusal(NamedTuple):
    """The sentence for one constraint, and the field beside which it stands (none: above the form)."""

    sentence: str
    field: str | None = None


def constraint_of(error: IntegrityError) -> str:
    """Return the name of the constraint that a row ran into, empty when PostgreSQL names none."""
    return getattr(getattr(error.__cause__, "diag", None), "constraint_name", None) or ""


class StaffForm(forms.ModelForm):
    """A form whose errors name what the database would refuse, or has just refused."""

    refusals: ClassVar[Mapping[str, Refusal]] = {}
    refused: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values() if self.instance.pk else ():
            # Changed means changed against what the page showed: a worker may have moved the row since.
            field.show_hidden_initial = True

    def validate_constraints(self) -> None:
        exclude = self._get_validation_exclusions()  # type: ignore[attr-defined]
        for model, constraints in self.instance.get_constraints():
            for constraint in constraints:
                # Only the database can judge an exclusion without a gap between looking and booking.
                if isinstance(constraint, ExclusionConstraint):
                    continue
                try:
                    constraint.validate(model, self.instance, exclude=exclude)
                except ValidationError as error:
                    self._refuse(constraint.name, error)
        if self.refused and not self.errors:
            self._refuse(self.refused, ValidationError(f"The database refused this: {self.refused}."))

    def _refuse(self, constraint: str, error: ValidationError) -> None:
        refusal = self.refusals.get(constraint)
        if refusal is None:
            self.add_error(None, error)
            return
        field = refusal.field if refusal.field in self.fields else None
        self.add_error(field, refusal.sentence)
