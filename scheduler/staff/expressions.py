"""Pieces of SQL that searches of several lists are made of."""

from __future__ import annotations

from django.db.models import BooleanField, Func


class IsAmong(Func):
    """Whether a value is an element of an array."""

    template = "(%(expressions)s))"
    arg_joiner = " = ANY("
    output_field = BooleanField()
