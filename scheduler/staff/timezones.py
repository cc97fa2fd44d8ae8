from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.exceptions import ValidationError


def require_timezone(name: str | None) -> None:
    """Raise ValidationError when a name is given that is no IANA time zone."""
    if not name:
        return
    try:
        ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise ValidationError(f"{name} is no time zone; give an IANA name such as Europe/Zurich.") from None
