"""Traces of erased people: enough to never call them again, too little to know who they were.

Of each erased phone stands its HMAC-SHA256, keyed by SECRET_KEY. Without the key nobody can try out all phones
against the table, as one could with a plain hash. After a change of SECRET_KEY, the one before must stay in
SECRET_KEY_FALLBACKS: digests made with it are still found there, and are written anew as soon as a phone meets one.

Leads ask here whichever way they come: `Lead.save`, uploads, transfers, the import from SQLite. What raw SQL and
bulk_create bring is found by the nightly job `leads.tasks.mark_erased_leads`; so is a transfer that ran at the same
moment as the erasure.
"""

from __future__ import annotations

import hmac
from collections.abc import Collection, Iterable, Iterator
from functools import lru_cache

from django.conf import settings
from django.db import connection

PURPOSE = b"erased phone\n"
BATCH = 10_000
FIND = "SELECT digest FROM erased_phones WHERE digest = ANY(%s::bytea[])"
ANY = "SELECT EXISTS (SELECT FROM erased_phones)"
KEEP = "INSERT INTO erased_phones (digest) SELECT unnest(%s::bytea[]) ON CONFLICT (digest) DO NOTHING"
DROP = "DELETE FROM erased_phones WHERE digest = ANY(%s::bytea[])"
NEXT = "SELECT id, phone FROM leads WHERE id > %s AND NOT do_not_call ORDER BY id LIMIT %s"
STOP = """
UPDATE leads SET do_not_call = true, updated_at = now()
WHERE phone = ANY(%s::text[]) AND NOT do_not_call
"""


def digests(phone: str) -> list[bytes]:
    """Return the digests of a phone by each key, that of today first."""
    keys = (settings.SECRET_KEY, *settings.SECRET_KEY_FALLBACKS)
    return [hmac.digest(_derived(key), phone.encode(), "sha256") for key in keys]


def digest(phone: str) -> bytes:
    """Return the digest of a phone by the key of today."""
    return hmac.digest(_derived(settings.SECRET_KEY), phone.encode(), "sha256")


@lru_cache(maxsize=16)
def _derived(key: str | bytes) -> bytes:
    secret = key.encode() if isinstance(key, str) else key
    return hmac.digest(secret, PURPOSE, "sha256")


def keep(phones: Iterable[str]) -> None:
    """Leave a trace of phones whose owner is erased."""
    _execute(KEEP, [digests(phone)[0] for phone in phones])


def erased(phones: Collection[str]) -> set[str]:
    """Return those of the phones, in E.164, whose owner was erased."""
    found: set[str] = set()
    if phones and is_any():
        for batch in _batches(phones):
            found |= _erased(batch)
    return found


def is_any() -> bool:
    """Tell whether anybody was erased at all; mostly nobody was, and nothing needs to be computed."""
    with connection.cursor() as cursor:
        cursor.execute(ANY)
        return bool(cursor.fetchone()[0])


def _erased(phones: list[str]) -> set[str]:
    owners = {digest: phone for phone in phones for digest in digests(phone)}
    with connection.cursor() as cursor:
        cursor.execute(FIND, [list(owners)])
        found = [bytes(digest) for (digest,) in cursor.fetchall()]
    _renew(found, owners)
    return {owners[digest] for digest in found}


def _renew(found: list[bytes], owners: dict[bytes, str]) -> None:
    """Write digests of an older key anew: only here, where a phone meets one, is the phone known."""
    renewed = {digest: digests(owners[digest])[0] for digest in found}
    old = [digest for digest, new in renewed.items() if digest != new]
    if old:
        _execute(KEEP, [renewed[digest] for digest in old])
        _execute(DROP, old)


def stop_calls(phones: Collection[str]) -> int:
    """Mark leads that have just come with an erased phone as not to be called; return how many.

    Call it after the insert, in its transaction: an insert waits for an erasure of the same phone, and only what
    runs after it sees the trace.
    """
    with connection.cursor() as cursor:
        if not (gone := sorted(erased(phones))):
            return 0
        cursor.execute(STOP, [gone])
        return cursor.rowcount


def stop_all_calls() -> int:
    """Mark all leads with an erased phone, however they came; return how many."""
    stopped, last = 0, 0
    if not is_any():
        return 0
    with connection.cursor() as cursor:
        while True:
            cursor.execute(NEXT, [last, BATCH])
            if not (rows := cursor.fetchall()):
                return stopped
            last = rows[-1][0]
            stopped += stop_calls({phone for _, phone in rows})


def _batches(phones: Collection[str]) -> Iterator[list[str]]:
    everyone = list(phones)
    return (everyone[start : start + BATCH] for start in range(0, len(everyone), BATCH))


def _execute(statement: str, values: list[bytes]) -> None:
    with connection.cursor() as cursor:
        cursor.execute(statement, [values])
