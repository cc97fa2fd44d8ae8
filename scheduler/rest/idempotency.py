"""Idempotency-Key: a POST that is sent again has one effect, and the same answer for 24 hours.

The answer is stored in the transaction of the effect, so there is never one without the other, whatever dies in
between. Stored are answers below 400 only: a refusal had no effect (what its endpoint wrote is rolled back), and
the same key may be sent again, corrected or not.

An advisory lock, tried and never waited for, holds a key while its request runs: a second one is answered 409 at
once instead of keeping a connection of the pool busy with waiting.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
from collections.abc import Iterator

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from django.conf import settings
from django.core.files.uploadedfile import UploadedFile
from django.db import connection, transaction
from django.http import HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from prometheus_client import Counter

from database.retry import retry_transient
from scheduler.rest.access import Principal
from scheduler.rest.problems import Invalid, Problem
from scheduler.rest.routing import Guard, Perform

REPLAYED = "Idempotent-Replayed"
KEY = re.compile(r"[\x20-\x7e]{1,255}")
NONCE = 12  # bytes, what AES-GCM wants
RETRY_SOON = {"Retry-After": "1"}

REQUESTS = Counter(
    "scheduler_idempotent_requests",
    "Requests with an Idempotency-Key, by what came of it: stored, refused, replayed, running, other_request.",
    ["result"],
)

LOCK = "SELECT pg_try_advisory_xact_lock(%s)"
FIND = """
SELECT request_digest, sealed FROM idempotent_answers
WHERE key_digest = %s AND created_at > now() - interval '24 hours'
"""
# Each answer that comes takes two away that are too old, so the table holds a day's answers and no sweeper is
# needed. SKIP LOCKED: two requests that take the same away do not wait for each other.
STORE = """
WITH gone AS (
    DELETE FROM idempotent_answers WHERE key_digest IN (
        SELECT key_digest FROM idempotent_answers
        WHERE created_at < now() - interval '24 hours' AND key_digest <> %(key)s
        ORDER BY created_at LIMIT 2 FOR UPDATE SKIP LOCKED)
)
INSERT INTO idempotent_answers (key_digest, request_digest, sealed) VALUES (%(key)s, %(request)s, %(sealed)s)
ON CONFLICT (key_digest) DO UPDATE
SET request_digest = excluded.request_digest, sealed = excluded.sealed, created_at = now()
"""


class IdempotencyGuard(Guard):
    """Stands around every POST; without the header, or without a caller, the endpoint just runs."""

    def around(self, request: HttpRequest, perform: Perform) -> HttpResponseBase:
        owner = owner_of(request)
        if request.method != "POST" or owner is None or "Idempotency-Key" not in request.headers:
            return perform()
        slot = Slot(owner, valid_key(request.headers["Idempotency-Key"]))
        asked = request_digest(request)
        return _answer_once(request, slot, asked, perform)


@retry_transient
def _answer_once(request: HttpRequest, slot: Slot, asked: bytes, perform: Perform) -> HttpResponseBase:
    with connection.cursor() as cursor:
        cursor.execute(LOCK, [slot.lock])
        (is_ours,) = cursor.fetchone()
        if not is_ours:
            REQUESTS.labels("running").inc()
            sentence = "A request with this Idempotency-Key is still running; send it again in a moment."
            raise Problem(409, "idempotency_key_in_use", sentence, headers=RETRY_SOON)
        cursor.execute(FIND, [slot.digest])
        if stored := cursor.fetchone():
            return _replayed(slot, asked, *map(bytes, stored))
        for file in _files(request):
            file.seek(0)  # read for the digest, or by a try that failed
        answer = perform()
        if answer.status_code >= 400:
            REQUESTS.labels("refused").inc()
            transaction.set_rollback(True)
            return answer
        cursor.execute(STORE, {"key": slot.digest, "request": asked, "sealed": slot.seal(answer)})
    transaction.on_commit(REQUESTS.labels("stored").inc)
    return answer


def _replayed(slot: Slot, asked: bytes, request: bytes, sealed: bytes) -> HttpResponse:
    if not hmac.compare_digest(asked, request):
        REQUESTS.labels("other_request").inc()
        sentence = "This Idempotency-Key was used for another request; take a new key for each request."
        raise Problem(422, "idempotency_key_reused", sentence)
    REQUESTS.labels("replayed").inc()
    return slot.open(sealed)


class Slot:
    """The place of one key of one caller. The key itself is stored nowhere.

    Answers may hold a fresh API key, of which otherwise only a digest is kept. So they are encrypted with what only
    SECRET_KEY and the Idempotency-Key give together: neither the database nor its backups are enough to read them.
    """

    def __init__(self, owner: str, key: str) -> None:
        name = f"{owner}\n{key}".encode()
        # Independent of SECRET_KEY: when that is changed, a retry must not have its effect again.
        self.digest = hashlib.sha256(name).digest()
        self.lock = int.from_bytes(self.digest[:8], signed=True)
        secret = hmac.digest(settings.SECRET_KEY.encode(), b"idempotent answer\n" + name, "sha256")
        self._cipher = AESGCM(secret)

    def seal(self, answer: HttpResponseBase) -> bytes:
        """Encrypt an answer. Raises TypeError for one that streams: it has no content that could be kept."""
        if not isinstance(answer, HttpResponse):
            raise TypeError("The answer to a POST must not stream: it is kept for retries.")
        nonce = os.urandom(NONCE)
        packed = msgspec.msgpack.encode((answer.status_code, list(answer.items()), answer.content))
        return nonce + self._cipher.encrypt(nonce, packed, self.digest)

    def open(self, sealed: bytes) -> HttpResponse:
        """Return the answer. Raises Problem 409 when SECRET_KEY has been changed since."""
        try:
            packed = self._cipher.decrypt(sealed[:NONCE], sealed[NONCE:], self.digest)
        except InvalidTag:
            sentence = "This request has been carried out, but its answer can no longer be read."
            raise Problem(409, "idempotent_answer_unreadable", sentence) from None
        status, headers, content = msgspec.msgpack.decode(packed)
        return HttpResponse(content, status=status, headers={**dict(headers), REPLAYED: "true"})


def owner_of(request: HttpRequest) -> str | None:
    """Name whose keys count: a user's, over all its sessions and tokens, or a partner's."""
    principal: Principal | None = getattr(request, "auth", None)
    if principal is None:
        return None
    if principal.partner_id is not None:
        return f"partner:{principal.partner_id}"
    return None if principal.user_id is None else f"user:{principal.user_id}"


def valid_key(key: str) -> str:
    """Return the key. Raises Invalid unless it is 1 to 255 printable ASCII characters."""
    if not KEY.fullmatch(key):
        raise Invalid([("/header/Idempotency-Key", "Send 1 to 255 printable ASCII characters.")])
    return key


def request_digest(request: HttpRequest) -> bytes:
    """Return the SHA-256 of what was asked for: method, path, query, type and body.

    Of a form with files it is the names and contents of its parts, because the boundary between them is another one
    at each try. Files are read in pieces; large ones lie on disk.
    """
    digest = hashlib.sha256()
    for piece in _pieces(request):
        # Lengths keep pieces apart that would look the same when joined.
        digest.update(len(piece).to_bytes(8))
        digest.update(piece)
    return digest.digest()


def _pieces(request: HttpRequest) -> Iterator[bytes | memoryview]:
    target = (request.method, request.path_info.rstrip("/"), request.META.get("QUERY_STRING", ""))
    yield "\n".join(map(str, target)).encode()
    yield (request.content_type or "").encode()
    if request.content_type != "multipart/form-data":
        yield request.body
        return
    for name, values in sorted(request.POST.lists()):
        yield msgspec.msgpack.encode((name, [str(value) for value in values]))
    for name, files in sorted(request.FILES.lists(), key=lambda item: item[0]):
        for file in files:
            yield msgspec.msgpack.encode((name, file.name, file.content_type))
            yield _content_digest(file)


def _content_digest(file: UploadedFile) -> bytes:
    digest = hashlib.sha256()
    file.seek(0)
    for chunk in file.chunks():
        digest.update(chunk)
    file.seek(0)
    return digest.digest()


def _files(request: HttpRequest) -> Iterator[UploadedFile]:
    if request.content_type == "multipart/form-data":
        for _, files in request.FILES.lists():
            yield from files
