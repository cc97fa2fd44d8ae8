"""An upload to a real server process while PostgreSQL stops and comes back."""

from __future__ import annotations

import http.client
import json
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from database.testing import wait_until
from scheduler.tests.rest_server import served

pytestmark = pytest.mark.chaos
LINES = 80_000
SETUP = """
from django.contrib.auth.models import User
from scheduler.models import StaffToken
print("token", StaffToken.issue(User.objects.create_superuser("boss"))[1])
"""
HEAD = b'--x\r\nContent-Disposition: form-data; name="file"; filename="leads.csv"\r\n\r\nname,phone\n'


def upload(address: str, token: str) -> tuple[int, dict]:
    lines = "".join(f"Lead {n},+1{2002000000 + n}\n" for n in range(LINES)).encode()
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "multipart/form-data; boundary=x"}
    with closing(http.client.HTTPConnection(address.removeprefix("http://"), timeout=300)) as connection:
        connection.request("POST", "/api/leads/upload", HEAD + lines + b"\r\n--x--\r\n", headers)
        answer = connection.getresponse()
        return answer.status, json.loads(answer.read())


@pytest.mark.parametrize("how", ["fast", "immediate", "kill"])
def test_an_upload_goes_on_after_a_restart_of_postgresql_or_can_be_sent_again(
    how, private_server, manage, tmp_path
):
    assert manage("migrate", "-v0", DATABASE_URL=private_server.url).returncode == 0
    token = manage("shell", "-v0", "-c", SETUP, DATABASE_URL=private_server.url).stdout.split()[-1]

    def count() -> int:
        with psycopg.connect(private_server.url) as database:
            return int(database.execute("SELECT count(*) FROM leads").fetchall()[0][0])

    with served(private_server.url, tmp_path) as address, ThreadPoolExecutor(1) as threads:
        running = threads.submit(upload, address, token)
        wait_until(lambda: count() > 0, timeout=60)
        before = count()
        private_server.stop(how)
        private_server.start()
        status, body = running.result(300)

        assert 0 < before < LINES
        assert count() >= before
        if status != 200:
            # The connection went in the middle of a COMMIT: only the file, sent again, tells what became of it.
            assert (status, body["code"]) == (503, "database_unavailable")
            status, body = upload(address, token)
    assert (status, body["rows"], body["leads_created"] + body["error_count"]) == (200, LINES, LINES)
    assert count() == LINES
