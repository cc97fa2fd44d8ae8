"""Issue a staff token for the REST API and print it, the one time that it can be read."""

from datetime import UTC, datetime, time
from typing import Any

from django.contrib.auth import get_user_model
from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.utils.dateparse import parse_date, parse_datetime

from scheduler.models import StaffToken


class Command(BaseCommand):
    help = "Issue a token with which a program acts over the REST API as a staff user; it is printed once."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("user", help="the name of a staff user")
        parser.add_argument("--expires", help="a date or a time in ISO 8601, in UTC unless it says otherwise")
        parser.add_argument("--read-only", action="store_true", help="it may read and change nothing")

    def handle(self, *, user: str, expires: str | None, read_only: bool, **options: Any) -> None:
        found = get_user_model().objects.filter(username=user, is_active=True, is_staff=True).first()
        if found is None:
            raise CommandError(f"There is no active staff user {user!r}.")
        expires_at = expiry(expires) if expires else None
        _, token = StaffToken.issue(found, expires_at=expires_at, read_only=read_only)
        self.stderr.write(
            f"A {'read-only ' if read_only else ''}token of {user}, "
            f"{f'valid until {expires_at:%Y-%m-%d %H:%M} UTC' if expires_at else 'valid until it is revoked'}. "
            "Copy it now, it cannot be shown again:"
        )
        # Alone on standard output, so that a script can keep it.
        self.stdout.write(token)


def expiry(text: str) -> datetime:
    """Read `--expires`; a date lasts until its end. Raises CommandError."""
    try:
        day = parse_date(text)
        moment = datetime.combine(day, time.max) if day else parse_datetime(text)
    except ValueError:
        moment = None
    if moment is None:
        raise CommandError(f"--expires {text!r} is not a date or time in ISO 8601, such as 2030-12-31.")
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    if moment <= datetime.now(UTC):
        raise CommandError("--expires lies in the past.")
    return moment
