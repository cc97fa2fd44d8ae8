"""A POST with Idempotency-Key has one effect, whatever is sent again, at the same time or killed."""

import os
import subprocess
import sys
import tracemalloc
from concurrent.futures import ThreadPoolExecutor

import pytest
import stamina
from django.core.files.uploadedfile import SimpleUploadedFile
from django.db import connection
from django.test import Client, RequestFactory
from django.test.client import encode_multipart

from database.testing import wait_until
from scheduler.models import Setting
from scheduler.rest.idempotency import request_digest
from scheduler.rest.tests import idempotent_urls
from scheduler.rest.tests.processes import database_url

pytestmark = [
    pytest.mark.django_db(transaction=True),
    pytest.mark.urls("scheduler.rest.tests.idempotent_urls"),
]


def post(path="things/", body=b"{}", key: str | None = "k", caller="user:1", **options):
    headers = {"X-Caller": caller} | ({} if key is None else {"Idempotency-Key": key})
    options = {"content_type": "application/json"} | options
    return Client(raise_request_exception=False).post(f"/api/{path}", body, headers=headers, **options)


def effects() -> int:
    return Setting.objects.count()


def stored() -> int:
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM idempotent_answers")
        return cursor.fetchone()[0]


def code_of(answer) -> tuple[int, str]:
    assert answer["Content-Type"] == "application/problem+json"
    return answer.status_code, answer.json()["code"]


def test_the_same_request_again_gets_the_same_answer_and_no_second_effect():
    first, second = post(), post()

    assert effects() == 1
    assert (second.status_code, second.content) == (first.status_code, first.content) == (201, first.content)
    for name in ("Content-Type", "Location", "Content-Length"):
        assert second[name] == first[name]
    assert second["Idempotent-Replayed"] == "true"
    assert "Idempotent-Replayed" not in first


def test_a_request_without_the_header_just_runs():
    assert post(key=None).content != post(key=None).content
    assert (effects(), stored()) == (2, 0)


def test_another_key_is_another_request():
    post(key="one")
    post(key="two")
    assert effects() == 2


@pytest.mark.parametrize(
    "other",
    [
        {"body": b'{"a": 1}'},
        {"path": "others/"},
        {"path": "things/?page=2"},
        {"content_type": "text/plain"},
    ],
)
def test_the_same_key_for_another_request_is_refused(other):
    post()

    assert code_of(post(**other)) == (422, "idempotency_key_reused")
    assert effects() == 1
    assert post()["Idempotent-Replayed"] == "true"


def test_both_slash_forms_are_one_request():
    post("things/")
    assert post("things")["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize("other", ["user:2", "partner:1"])
def test_callers_do_not_share_keys(other):
    mine = post(caller="user:1")
    theirs = post(caller=other)

    assert theirs.content != mine.content
    assert effects() == 2


def test_a_caller_without_a_name_has_no_keys():
    """Strangers would be shown each other's answers."""
    post(caller="nobody:0")
    post(caller="nobody:0")
    assert (effects(), stored()) == (2, 0)


@pytest.mark.parametrize("key", ["", "x" * 256, "schlüssel", "a\tb", "a\x7f"])
def test_a_key_that_is_no_key_is_refused(key):
    answer = post(key=key)

    assert code_of(answer) == (422, "invalid")
    assert answer.json()["errors"][0]["pointer"] == "/header/Idempotency-Key"
    assert effects() == 0


@pytest.mark.parametrize("key", ["x", "x" * 255, '"8e03978e-40d5"', "a b ~!"])
def test_a_key_of_1_to_255_printable_characters_is_good(key):
    post(key=key)
    assert post(key=key)["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    ("how", "status"), [(b"raise", 409), (b"answer", 422), (b"break", 500), (b"integrity", 409)]
)
def test_a_refusal_has_no_effect_and_leaves_the_key_free(how, status):
    assert post("refusals/", how).status_code == status
    assert (effects(), stored()) == (0, 0)

    again = post("refusals/", how)
    corrected = post("refusals/", b"ok")

    assert again.status_code == status
    assert "Idempotent-Replayed" not in again
    assert (corrected.status_code, effects()) == (200, 1)


def test_a_transaction_that_lost_a_race_is_tried_again_as_a_whole():
    idempotent_urls.tries.clear()
    with stamina.set_testing(True, attempts=3):
        answer = post("conflicts/")

    assert answer.json() == {"tries": 2}
    assert effects() == 1
    assert post("conflicts/").content == answer.content


def test_200_parallel_retries_have_one_effect():
    def one(_: int):
        try:
            return post()
        finally:
            connection.close()

    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(one, range(200)))

    assert effects() == 1
    carried_out = [answer for answer in answers if answer.status_code == 201]
    running = [answer for answer in answers if answer.status_code == 409]
    assert len(carried_out) + len(running) == 200
    assert len({answer.content for answer in carried_out}) == 1
    assert sum("Idempotent-Replayed" not in answer for answer in carried_out) == 1
    assert all(answer["Retry-After"] == "1" for answer in running)
    assert post()["Idempotent-Replayed"] == "true"


@pytest.fixture
def waiting_request():
    """A process in the middle of `POST /api/waits/`: its effect is made and not committed."""
    process = subprocess.Popen(
        [sys.executable, "-m", "scheduler.rest.tests.waiting_request"],
        env={**os.environ, "DATABASE_URL": database_url(), "DB_POOL_MAX_SIZE": "2"},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stdout and process.stdout.readline() == "acted\n"
        yield process
    finally:
        process.kill()
        process.communicate()


def test_a_key_whose_request_still_runs_is_refused_at_once(waiting_request):
    answer = post("waits/")
    assert code_of(answer) == (409, "idempotency_key_in_use")
    assert answer["Retry-After"] == "1"

    told, _ = waiting_request.communicate("go on\n")

    assert told == "200\n"
    assert (effects(), stored()) == (1, 1)


def test_a_process_that_is_killed_in_the_middle_leaves_nothing(waiting_request, monkeypatch):
    assert post("waits/").status_code == 409
    waiting_request.kill()
    waiting_request.wait(10)
    monkeypatch.setattr(sys, "stdin", open(os.devnull))  # noqa: SIM115

    # PostgreSQL notices the end of the connection, and lets the lock go, a moment later.
    wait_until(lambda: post("waits/").status_code == 200)

    assert (effects(), stored()) == (1, 1)
    sys.stdin.close()


def age(interval: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute("UPDATE idempotent_answers SET created_at = created_at - %s::interval", [interval])


def test_an_answer_is_kept_for_24_hours():
    first = post()
    age("23 hours 59 minutes")
    assert post().content == first.content

    age("2 minutes")
    third = post()

    assert third.content != first.content
    assert (effects(), stored()) == (2, 1)
    assert post().content == third.content


def test_an_old_key_may_be_used_for_another_request():
    post()
    age("25 hours")
    assert post(body=b"[]").status_code == 201
    assert post(body=b"[]")["Idempotent-Replayed"] == "true"


def test_answers_that_are_too_old_are_taken_away_by_those_that_come():
    for number in range(6):
        post(key=f"old{number}")
    age("25 hours")

    for number in range(3):
        post(key=f"new{number}")

    assert stored() == 3


def test_a_stored_answer_cannot_be_read_in_the_database():
    answer = post("secrets/", key="my-very-own-key")

    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT string_agg(a::text, '') || string_agg(encode(sealed, 'escape'), '') FROM idempotent_answers a"
        )
        row = cursor.fetchone()[0]
    for secret in ("ais_fresh", "hunter2", "41446681800", "api_key", "my-very-own-key"):
        assert secret not in row
        assert secret.encode().hex() not in row
    assert post("secrets/", key="my-very-own-key").content == answer.content


def test_after_a_change_of_secret_key_a_retry_still_has_no_second_effect(settings):
    post()
    settings.SECRET_KEY = "another key, as long as it must be"

    assert code_of(post()) == (409, "idempotent_answer_unreadable")
    assert effects() == 1


def test_an_answer_that_was_tampered_with_is_not_given():
    post()
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE idempotent_answers SET sealed = set_byte(sealed, 20, get_byte(sealed, 20) # 1)"
        )

    assert code_of(post()) == (409, "idempotent_answer_unreadable")


def form(content: bytes, boundary: str, name: str) -> bytes:
    return encode_multipart(boundary, {"file": SimpleUploadedFile(name, content, "text/csv"), "note": "x"})


def upload(content: bytes, boundary: str, name: str = "leads.csv"):
    body = form(content, boundary, name)
    return post("uploads/", body, content_type=f"multipart/form-data; boundary={boundary}")


def test_an_upload_is_the_same_with_another_boundary_and_another_with_another_content():
    first = upload(b"a" * 100, "one")
    assert first.json()["bytes"] == 100

    assert upload(b"a" * 100, "two").content == first.content
    assert code_of(upload(b"b" * 100, "one")) == (422, "idempotency_key_reused")
    assert code_of(upload(b"a" * 100, "one", "other.csv")) == (422, "idempotency_key_reused")
    assert effects() == 1


def test_a_large_upload_is_read_whole_by_the_endpoint_after_its_digest_was_taken():
    first = upload(b"x" * 5_000_000, "one")

    assert first.json()["bytes"] == 5_000_000
    assert upload(b"x" * 5_000_000, "two").content == first.content


def test_the_digest_of_a_large_upload_is_taken_in_flat_memory():
    type_, body = "multipart/form-data; boundary=one", form(b"x" * 20_000_000, "one", "leads.csv")
    request = RequestFactory().post("/api/uploads/", body, content_type=type_)

    tracemalloc.start()
    try:
        request_digest(request)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
        request.close()

    assert peak < 4_000_000


def test_an_answer_that_streams_is_a_fault_and_has_no_effect():
    assert code_of(post("streams/")) == (500, "internal_error")
    assert (effects(), stored()) == (0, 0)
