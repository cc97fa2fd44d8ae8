"""What PostgreSQL refuses, told to staff as a sentence on the form."""

from collections.abc import Mapping
from typing import Any, ClassVar, NamedTuple

from django import forms
from django.contrib.postgres.constraints import ExclusionConstraint
from django.core.exceptions import ValidationError
from django.db import OperationalError
from psycopg.errors import ProgramLimitExceeded

TOO_LONG = "A text is too long for its index; shorten it."


class Refusal(NamedTuple):
    """The sentence for one constraint, and the field beside which it stands (none: above the form)."""

    sentence: str
    field: str | None = None


def is_too_long(error: OperationalError) -> bool:
    """Tell whether a text did not fit into an index, such as that of a unique column."""
    return isinstance(error.__cause__, ProgramLimitExceeded)


class StaffForm(forms.ModelForm):
    """A form whose errors name what the database would refuse, or has just refused."""

    refusals: ClassVar[Mapping[str, Refusal]] = {}
    refused: ClassVar[str] = ""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            # Changed means changed against what the page showed: a worker may have moved the row since.
            field.show_hidden_initial = bool(self.instance.pk)
            # Hebrew and Arabic are read from the right.
            if isinstance(field, forms.CharField):
                field.widget.attrs["dir"] = "auto"

    def _post_clean(self) -> None:
        # Django 5.2 has the model judge its constraints, which knows neither the sentences nor the refusal.
        self.instance.validate_constraints = lambda exclude=None: None
        try:
            super()._post_clean()  # type: ignore[misc]
        finally:
            del self.instance.validate_constraints
        self.validate_constraints()

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
            sentence = TOO_LONG if self.refused == TOO_LONG else f"The database refused this: {self.refused}."
            self._refuse(self.refused, ValidationError(sentence))

    def _refuse(self, constraint: str, error: ValidationError) -> None:
        refusal = self.refusals.get(constraint)
        if refusal is None:
            self.add_error(None, error)
            return
        field = refusal.field if refusal.field in self.fields else None
        self.add_error(field, refusal.sentence)
