"""Passwords, whose guessing is limited by address together with that of keys and tokens."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

from django.contrib.auth.backends import ModelBackend
from django.contrib.auth.models import User
from django.core.exceptions import ValidationError
from django.http import HttpRequest

from scheduler.rest.limits import count_failed_attempt, wait_of_guesser
from scheduler.rest.problems import Problem


class LimitedSignIn(ModelBackend):
    def authenticate(
        self,
        request: HttpRequest | None,
        username: str | None = None,
        password: str | None = None,
        **kwargs: Any,
    ) -> User | None:
        """Check a password, unless the client's address failed too often.

        Raises ValidationError, which the form of the sign-in shows.
        """
        if request is not None and (seconds := wait_of_guesser(request)):
            raise ValidationError(
                f"Too many failed attempts to sign in from your address. Try again in {math.ceil(seconds)} seconds."
            )
        user = super().authenticate(request, username=username, password=password, **kwargs)
        if user is None and request is not None:
            _count(request)
        return user


def _count(request: HttpRequest) -> None:
    with suppress(Problem):  # the next attempt is the one that is refused
        count_failed_attempt(request)
