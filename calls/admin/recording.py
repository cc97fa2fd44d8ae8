"""Playing the recording of a call, from wherever its address points."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

from django.template.loader import render_to_string
from django.utils.safestring import SafeString

from calls.models import Call

# What may stand in a Content-Security-Policy: no blank, semicolon or comma, which would begin another directive.
HOST = re.compile(r"[a-z0-9](?:[a-z0-9.-]*[a-z0-9])?")


def origin(address: str | None) -> str | None:
    """Return the origin of a recording that a page may play: of https addresses only, without a user."""
    if not address or not _is_plain(address):
        return None
    try:
        parts = urlsplit(address)
        host, port = (parts.hostname or "").encode("idna").decode().lower(), parts.port
    except ValueError:
        return None
    if parts.scheme.lower() != "https" or "@" in parts.netloc or not HOST.fullmatch(host):
        return None
    return f"https://{host}:{port}" if port else f"https://{host}"


def is_web_address(address: str) -> bool:
    """Tell whether an address may become a link: http and https, never javascript: or data:."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return _is_plain(address) and parts.scheme.lower() in ("http", "https") and bool(parts.hostname)


def _is_plain(address: str) -> bool:
    # Browsers strip control characters and blanks before they read a scheme, Python's parser strips some of them.
    return all(" " < letter != "\x7f" and letter != "\\" for letter in address)


def shown(call: Call) -> SafeString:
    address = call.recording_url or ""
    return render_to_string(
        "calls/recording.html",
        {"address": address, "plays": origin(address) is not None, "links": is_web_address(address)},
    )
