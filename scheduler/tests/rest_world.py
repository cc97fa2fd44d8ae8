"""What the tests of all routes share: two partners with rows of their own, callers, and the addresses of routes."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from typing import Any

from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone
from zeal import zeal_context

from calls.models import Call, Turn
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from partners.models import Partner, PartnerApiKey
from scheduler.api import api
from scheduler.models import StaffToken
from scheduler.rest.routing import access_of

SAFE = {"GET"}
MARK = "only-of-alpha"  # in every text of partner Alpha's rows; no other partner may ever read it
PHONE = "+41446681800"
addresses = count(1)


@dataclass(frozen=True)
class Route:
    method: str
    path: str
    access: Any

    def __str__(self) -> str:
        return f"{self.method} /api/{self.path}"


def routes() -> list[Route]:
    """Return all routes of the API, those that destroy most at the end."""
    order = {"GET": 0, "PUT": 1, "PATCH": 2, "POST": 3, "DELETE": 4}
    found = [Route(method, path, access_of(operation)) for method, path, operation in api.operations()]
    return sorted(found, key=lambda route: (order[route.method], route.path))


@dataclass
class World:
    """Partner Alpha has a lead, a call with a turn and a meeting; Beta has a lead of its own."""

    ids: dict[str, Any] = field(default_factory=dict)

    @classmethod
    def made(cls) -> World:
        alpha = Partner.objects.create(name=f"Alpha {MARK}", rate_limit=1_000_000)
        beta = Partner.objects.create(name="Beta", rate_limit=1_000_000)
        lead = Lead.objects.create(
            name=f"Ann {MARK}", phone=PHONE, email=f"{MARK}@example.com", partner=alpha
        )
        Lead.objects.create(name="Ben", phone="+41446681801", partner=beta)
        call = Call.objects.create(
            lead=lead, transcript=MARK, summary=MARK, recording_url=f"https://r.example.com/{MARK}",
            twilio_call_sid=MARK, ended_at=timezone.now() + timedelta(seconds=1),
        )  # fmt: skip
        Turn.objects.create(call=call, turn=1, role="ai", message=MARK)
        host = MeetingHost.objects.create(name=f"Host {MARK}", timezone="UTC")
        meeting = Meeting.objects.create(
            lead=lead, call=call, host=host, scheduled_time=timezone.now() + timedelta(days=3), notes=MARK
        )
        ids = {
            "lead_id": lead.pk,
            "call_id": call.pk,
            "meeting_id": meeting.pk,
            "partner_id": alpha.pk,
            "host_id": host.pk,
            "beta": beta.pk,
        }
        return cls(ids)

    def address(self, route: Route) -> str:
        """Fill Alpha's ids into a route; an unknown parameter fails, so that no new route slips through."""
        return "/api/" + re.sub(r"\{(?:\w+:)?(\w+)\}", lambda name: str(self.ids[name[1]]), route.path)


def ask(address: str, method: str = "GET", *, body: Any = None, **headers: str) -> Any:
    """Send a request from an address that nobody used before: failed attempts are limited by address."""
    number = next(addresses)
    client = Client(raise_request_exception=True)
    data = {} if body is None else {"data": body, "content_type": "application/json"}
    origin = f"10.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    # A query for each row of a list would pass unseen with the few rows of tests.
    with zeal_context():
        answer: Any = client.generic(method, address, **data, REMOTE_ADDR=origin, headers=named)
    return answer


def user(*, is_superuser: bool = False, **options: Any) -> User:
    name = f"user{next(addresses)}"
    return User.objects.create_user(name, is_staff=True, is_superuser=is_superuser, **options)


def token_of(owner: User, **options: Any) -> str:
    return StaffToken.issue(owner, **options)[1]


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}


def superuser() -> dict[str, str]:
    return bearer(token_of(user(is_superuser=True)))


def key_of(partner_id: int) -> str:
    return PartnerApiKey.issue(Partner.objects.get(pk=partner_id))[1]
