"""Leads that a partner hands over, many at a time.

One statement inserts them all, in the order of their phones: two batches with the same phones wait for each other
at the first phone that both have, so neither can hold one that the other waits for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from django.conf import settings

from leads import tombstones
from leads.intake import NewLead, read_lead
from scheduler.rest.prepared import fetch_all

EXISTS = "Phone number already exists"
TRIES = 3

# COLLATE "C", as in leads.uploads: the order must not depend on who sorts.
INSERT = """
INSERT INTO leads (partner_id, name, phone, phone_valid, email, country_code, language, do_not_call)
SELECT %s::bigint, name, phone, phone_valid, email, country_code, language,
    EXISTS (SELECT FROM erased_phones e WHERE e.digest = given.digest)
FROM unnest(%s::text[], %s::text[], %s::boolean[], %s::text[], %s::text[], %s::text[], %s::bytea[])
    AS given (name, phone, phone_valid, email, country_code, language, digest)
ORDER BY phone COLLATE "C"
ON CONFLICT (phone) WHERE duplicate_of_id IS NULL DO NOTHING
RETURNING phone, id
"""
# A statement of its own: the inserting one does not see what others committed while it waited for them.
FIND = """
SELECT phone, CASE WHEN partner_id = %s::bigint THEN id END FROM leads
WHERE phone = ANY(%s::text[]) AND duplicate_of_id IS NULL
"""


@dataclass
class Transferred:
    """What became of each item: created, skipped because the phone is there, or failed; the latter two with reasons."""

    submitted: int
    created: int = 0
    skipped: int = 0
    failed: int = 0
    errors: list[dict[str, Any]] = field(default_factory=list)

    def skip(self, index: int, phone: str, reason: str) -> None:
        self.skipped += 1
        self.errors.append({"index": index, "phone": phone, "reason": reason})

    def fail(self, index: int, phone: str, reason: str) -> None:
        self.failed += 1
        self.errors.append({"index": index, "phone": phone, "reason": reason})


def transfer(items: Sequence[Any], partner_id: int) -> Transferred:
    """Create the leads that are valid and new; say of each other item why it was not."""
    done = Transferred(len(items))
    given = _read(items, done)
    firsts: dict[str, NewLead] = {}
    for _, lead in given:
        firsts.setdefault(lead.phone, lead)
    created, existing = _store(firsts, partner_id)
    for index, lead in given:
        # The first item of a phone that was created; later ones are told of the lead that it became.
        if created.get(lead.phone) and firsts.pop(lead.phone, None):
            done.created += 1
        else:
            lead_id = created.get(lead.phone) or existing.get(lead.phone)
            reason = f"{EXISTS} (Lead ID: {lead_id})" if lead_id else EXISTS
            done.skip(index, _sent_phone(items[index]), reason)
    done.errors.sort(key=lambda error: error["index"])
    return done


def _read(items: Sequence[Any], done: Transferred) -> list[tuple[int, NewLead]]:
    given = []
    for index, item in enumerate(items):
        try:
            if not isinstance(item, dict):
                raise ValueError("A lead must be a JSON object")
            given.append((index, read_lead(item.get("name"), item.get("phone"), item.get("email"))))
        except ValueError as error:
            done.fail(index, _sent_phone(item), str(error))
    return given


def _sent_phone(item: Any) -> str:
    phone = item.get("phone") if isinstance(item, dict) else None
    # Half a surrogate pair cannot be written into the answer.
    return phone.encode(errors="replace").decode() if isinstance(phone, str) else ""


def _store(leads: dict[str, NewLead], partner_id: int) -> tuple[dict[str, int], dict[str, int | None]]:
    """Insert the leads; return the ids of new ones and, for phones that were there, the ids of the partner's own."""
    created: dict[str, int] = {}
    existing: dict[str, int | None] = {}
    missing = list(leads.values())
    for _ in range(TRIES):
        if not missing:
            break
        columns = [list(column) for column in zip(*missing, strict=True)]
        digests = [tombstones.digest(lead.phone) for lead in missing]
        created.update(fetch_all(INSERT, [partner_id, *columns, digests]))
        if phones := [lead.phone for lead in missing if lead.phone not in created]:
            existing.update(fetch_all(FIND, [partner_id, phones]))
        # Neither new nor there: deleted between the two statements, so nothing is in the way any more.
        missing = [lead for lead in missing if lead.phone not in created and lead.phone not in existing]
    if settings.SECRET_KEY_FALLBACKS:
        tombstones.stop_calls(created)  # the statement asks by the key of today only
    return created, existing
