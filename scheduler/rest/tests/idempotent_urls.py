"""An API of its own for the tests of Idempotency-Key: each POST that has its effect leaves one setting."""

import sys
import uuid
from typing import Any

from django.db import connection
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.urls import path
from ninja import File, UploadedFile

from scheduler.models import Setting
from scheduler.rest.access import Access, Principal
from scheduler.rest.answers import json_answer
from scheduler.rest.idempotency import IdempotencyGuard
from scheduler.rest.problems import Problem
from scheduler.rest.routing import RestApi


class ByHeader(Access):
    """Believe the caller: `X-Caller: user:1`, `partner:1`, or nobody."""

    def __call__(self, request: HttpRequest) -> Principal:
        kind, _, number = request.headers.get("X-Caller", "user:1").partition(":")
        return Principal(
            f"test:{kind}{number}",
            user_id=int(number) if kind == "user" else None,
            partner_id=int(number) if kind == "partner" else None,
        )


api = RestApi(title="test", urls_namespace="idempotent", guards=[IdempotencyGuard()])
caller = ByHeader()


def act(value: str) -> Setting:
    return Setting.objects.create(key=str(uuid.uuid4()), value=value)


@api.post("things/", auth=caller)
def create(request: HttpRequest) -> HttpResponse:
    return json_answer({"id": act("thing").key}, status=201, headers={"Location": "/things/1"})


@api.post("others/", auth=caller)
def create_other(request: HttpRequest) -> HttpResponse:
    return json_answer({"id": act("other").key})


@api.post("refusals/", auth=caller)
def refuse(request: HttpRequest) -> HttpResponse:
    """Refuse after the effect, by what the body says: raising, answering, or breaking; `ok` is no refusal."""
    act("refused")
    how = request.body.decode()
    if how == "raise":
        raise Problem(409, "taken", "Taken")
    if how == "break":
        raise RuntimeError("broken")
    if how == "integrity":
        Setting.objects.create(key="", value="")
    return json_answer({}, status=422 if how == "answer" else 200)


@api.post("secrets/", auth=caller)
def tell_secret(request: HttpRequest) -> HttpResponse:
    act("secret")
    return json_answer({"api_key": "ais_fresh-key-hunter2", "phone": "+41446681800"})


@api.post("uploads/", auth=caller)
def upload(request: HttpRequest, file: UploadedFile = File(...)) -> HttpResponse:  # noqa: B008
    return json_answer({"id": act("upload").key, "bytes": sum(map(len, file.chunks()))})


@api.post("streams/", auth=caller)
def stream(request: HttpRequest) -> Any:
    act("stream")
    return StreamingHttpResponse([b"a", b"b"])


@api.post("waits/", auth=caller)
def wait(request: HttpRequest) -> HttpResponse:
    """Say on stdout that the effect is there, then wait for a line on stdin."""
    setting = act("waited")
    print("acted", flush=True)
    sys.stdin.readline()
    return json_answer({"id": setting.key})


@api.post("conflicts/", auth=caller)
def conflict_once(request: HttpRequest) -> HttpResponse:
    """Fail in the first try as a serialization failure does."""
    act("conflict")
    tries.append(1)
    if len(tries) == 1:
        with connection.cursor() as cursor:
            cursor.execute("DO $$ BEGIN RAISE 'again' USING ERRCODE = '40001'; END $$")
    return json_answer({"tries": len(tries)})


tries: list[int] = []

urlpatterns = [path("api/", api.urls)]
