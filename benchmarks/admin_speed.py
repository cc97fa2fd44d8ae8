"""Time of each page of the admin on 1 million leads, 3 million calls and 20 million turns, first and deep pages.

    python -m benchmarks.admin_speed [--leads 1000000] [--calls 3000000] [--turns 20000000] [--pages calls ...]

One granian worker, one client, PostgreSQL on the same machine; each page is asked for some times, and the median
counts. Queries are counted in this process, and the slowest statement of a page that fails is explained. The
database is made once for each size and kept below .local/bench; `make clean` deletes it.
"""

from __future__ import annotations

import argparse
import os
import re
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import date, timedelta
from html import unescape
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import psycopg

from benchmarks.import_speed import FOLDER, PROJECT
from benchmarks.many_rows import Size, build
from database.embedded import EmbeddedServer
from database.testing import wait_until

LIST, HOME, WORDS = 150, 300, 100  # milliseconds
MOST_QUERIES = 15
WARM_UPS, TIMES = 2, 7
SESSION = """
from django.contrib.auth import SESSION_KEY, BACKEND_SESSION_KEY, HASH_SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
user = User.objects.get(username="bench")
session = SessionStore()
session[SESSION_KEY], session[BACKEND_SESSION_KEY] = str(user.pk), "scheduler.rest.sign_in.LimitedSignIn"
session[HASH_SESSION_KEY] = user.get_session_auth_hash()
session.create()
print("session", session.session_key)
"""
USER = """
INSERT INTO auth_user (username, password, is_superuser, is_staff, is_active, first_name, last_name, email, date_joined)
VALUES ('bench', '!', true, true, true, '', '', '', now()) ON CONFLICT DO NOTHING
"""
Environment = dict[str, str]


@dataclass(frozen=True, slots=True)
class Page:
    name: str
    path: str
    limit: int = LIST


@dataclass(frozen=True, slots=True)
class Measured:
    page: Page
    median: float  # milliseconds
    slowest: float
    queries: int

    @property
    def passed(self) -> bool:
        return self.median <= self.page.limit and self.queries <= MOST_QUERIES


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--leads", type=int, default=1_000_000)
    parser.add_argument("--calls", type=int, default=3_000_000)
    parser.add_argument("--turns", type=int, default=20_000_000)
    parser.add_argument("--pages", nargs="*", default=[], help="beginnings of names; empty: all")
    chosen = parser.parse_args()
    size = Size(chosen.leads, chosen.calls, chosen.turns)
    server = EmbeddedServer(FOLDER / f"admin-{size.leads}-{size.calls}-{size.turns}", durable=False)
    server.start()
    try:
        environment = environment_of(server)
        prepare(server, environment, size)
        failed = measure(environment, chosen.pages)
    finally:
        server.stop()
    sys.exit(1 if failed else 0)


def environment_of(server: EmbeddedServer) -> Environment:
    own = {"DATABASE_URL": server.url, "DEBUG": "0", "SECRET_KEY": "benchmark" * 8}
    own |= {"ALLOWED_HOSTS": "127.0.0.1,testserver", "SECURE_SSL_REDIRECT": "0"}
    return {**os.environ, **own, "DJANGO_SETTINGS_MODULE": "scheduler.settings"}


def prepare(server: EmbeddedServer, environment: Environment, size: Size) -> None:
    """Make the database, unless a run before has finished it."""
    manage(environment, "migrate", "--verbosity", "0")
    manage(environment, "collectstatic", "--no-input", "--verbosity", "0")
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(USER)
        # The log is written after the turns, so it is there only when all the rest is.
        row = connection.execute("SELECT count(*) FROM django_admin_log").fetchone()
    if row and not row[0]:
        build(server.url, size)
    manage(environment, "shell", "-v0", "-c", "from partners.results import store_results; store_results()")


def measure(environment: Environment, names: list[str]) -> list[Measured]:
    session = manage(environment, "shell", "-v0", "-c", SESSION).split()[-1]
    count = Counter(environment)
    with served(environment) as port:
        ask = Client(port, session)
        wanted = [each for each in pages(ask) if not names or each.name.startswith(tuple(names))]
        found = [report(Measured(each, *ask.times(each.path), count.queries(each.path))) for each in wanted]
    failed = [each for each in found if not each.passed]
    for each in failed:
        print(f"\n{each.page.name}: {each.page.path}")
        count.explain_slowest(each.page.path)
    print(f"\n{len(found) - len(failed)} of {len(found)} pages pass")
    return failed


def report(each: Measured) -> Measured:
    print(
        f"{each.page.name:<34}{each.median:8.1f} ms  slowest {each.slowest:8.1f} ms  must be at most "
        f"{each.page.limit:>3}  {each.queries:>3} queries  {'PASS' if each.passed else 'FAIL'}",
        flush=True,
    )
    return each


class Client:
    """A browser's connection that stays open; the session is that of a superuser."""

    def __init__(self, port: int, session: str) -> None:
        self.connection = HTTPConnection("127.0.0.1", port, timeout=120)
        self.headers = {"Cookie": f"sessionid={session}"}

    def get(self, path: str) -> str:
        self.connection.request("GET", path, headers=self.headers)
        answer = self.connection.getresponse()
        body = answer.read().decode()
        if answer.status != 200:
            raise SystemExit(f"{path} answered {answer.status}")
        return body

    def times(self, path: str) -> tuple[float, float]:
        """Return the median and the slowest time of a page in milliseconds."""
        for _ in range(WARM_UPS):
            self.get(path)
        found = []
        for _ in range(TIMES):
            started = time.perf_counter()
            self.get(path)
            found.append((time.perf_counter() - started) * 1000)
        return statistics.median(found), max(found)


LISTS = {
    "leads": "leads/lead",
    "calls": "calls/call",
    "turns": "calls/turn",
    "meetings": "meetings/meeting",
    "import notes": "legacy/importrownote",
    "changes": "admin/logentry",
}
SHORT_LISTS = {
    "hosts": "meetings/meetinghost",
    "partners": "partners/partner",
    "API keys": "partners/partnerapikey",
    "import runs": "legacy/importrun",
    "settings": "scheduler/setting",
    "users": "auth/user",
    "groups": "auth/group",
    "staff tokens": "scheduler/stafftoken",
}
OTHERS = (
    Page("home", "/admin/", HOME),
    Page("home of 90 days", "/admin/?days=90", HOME),
    Page("leads by status", "/admin/leads/lead/?status__exact=contacted"),
    Page("leads by partner", "/admin/leads/lead/?partner__id__exact=7"),
    Page("leads by language", "/admin/leads/lead/?language=he"),
    Page("leads not to call", "/admin/leads/lead/?do_not_call__exact=1"),
    Page("leads by status and partner", "/admin/leads/lead/?status__exact=failed&partner__id__exact=7"),
    Page("calls by outcome", "/admin/calls/call/?outcome__exact=busy"),
    Page("calls of a state", "/admin/calls/call/?state=active"),
    Page("calls that ended", "/admin/calls/call/?state=ended"),
    Page("turns by role", "/admin/calls/turn/?role__exact=user"),
    Page("turns of a role nobody has", "/admin/calls/turn/?role__exact=system"),
    Page("meetings by status", "/admin/meetings/meeting/?status__exact=no_show"),
    Page("meetings of a host", "/admin/meetings/meeting/?host__id__exact=3"),
    Page("rejected import notes", "/admin/legacy/importrownote/?kind__exact=rejected"),
    Page("changes by user", "/admin/admin/logentry/?user__id__exact=1"),
    Page("changes of one day", f"/admin/admin/logentry/?day={date.today() - timedelta(days=300)}"),
    Page("deletions", "/admin/admin/logentry/?action_flag__exact=3"),
    Page("search changes by name", "/admin/admin/logentry/?q=olivia"),
    Page("search changes by id", "/admin/admin/logentry/?q=4711"),
    Page("live calls", "/admin/calls/live/"),
    Page("week", "/admin/meetings/meeting/week/"),
    Page("a lead", "/admin/leads/lead/1/change/"),
    Page("a call", "/admin/calls/call/1/change/"),
    Page("search a phone", "/admin/leads/lead/?q=415+200+0001"),
    Page("search last digits", "/admin/leads/lead/?q=0017"),
    Page("search a name", "/admin/leads/lead/?q=olivia+smith"),
    Page("search a common name", "/admin/leads/lead/?q=jack"),
    Page("search an e-mail", "/admin/leads/lead/?q=lead.4711%40example.com"),
    Page("search what nobody is", "/admin/leads/lead/?q=zebedee"),
    Page("search calls by phone", "/admin/calls/call/?q=%2B14152000001"),
    Page("search calls by a common name", "/admin/calls/call/?q=olivia"),
    Page("search meetings by e-mail", "/admin/meetings/meeting/?q=guest.17%40example.com"),
    Page("words said often", "/admin/calls/call/words/?q=tuesday", WORDS),
    Page("words said seldom", "/admin/calls/call/words/?q=platypus", WORDS),
    Page("words said together", "/admin/calls/call/words/?q=agenda+e-mail", WORDS),
    Page("words never said", "/admin/calls/call/words/?q=xylophone", WORDS),
)


def pages(ask: Client) -> Iterator[Page]:
    """Yield all pages; a deep one begins where a link of another page leads."""
    for name, path in LISTS.items():
        address = f"/admin/{path}/"
        yield Page(name, address)
        yield Page(f"{name}, page 2", f"{address}?p=2")
        html = ask.get(f"{address}?p=2")
        yield Page(f"{name}, last page", f"{address}?before=")
        last_number = max((int(number) for number in re.findall(r"[?&;]p=(\d+)", html)), default=2)
        yield Page(f"{name}, page {last_number}", f"{address}?p={last_number}")
        before_last = re.search(r'href="(\?[^"]*)" rel="prev"', ask.get(f"{address}?before="))
        if before_last:
            yield Page(f"{name}, last page but one", address + unescape(before_last[1]))
    for name, path in SHORT_LISTS.items():
        yield Page(name, f"/admin/{path}/")
    yield from OTHERS


class Counter:
    """The same pages in this process, where queries can be counted and explained."""

    def __init__(self, environment: Environment) -> None:
        os.environ.update(environment)
        import django

        django.setup()
        import logging

        from django.contrib.auth.models import User
        from django.test import Client as InProcess

        logging.disable(logging.INFO)
        self.client = InProcess()
        self.client.force_login(User.objects.get(username="bench"))
        self.client.get("/admin/auth/group/")  # fills the cache of content types

    def captured(self, path: str) -> list[dict[str, str]]:
        from django.db import connection
        from django.test.utils import CaptureQueriesContext

        with CaptureQueriesContext(connection) as queries:
            self.client.get(path)
        return list(queries.captured_queries)

    def queries(self, path: str) -> int:
        return len(self.captured(path))

    def explain_slowest(self, path: str) -> None:
        from django.db import connection

        found = self.captured(path)
        slowest = max(found, key=lambda each: float(each["time"]))
        for each in found:
            print(f"  {float(each['time']) * 1000:8.0f} ms  {each['sql'][:160]}")
        if not slowest["sql"].lstrip().upper().startswith(("SELECT", "WITH")):
            return
        with connection.cursor() as cursor:
            # The text is Django's own, with its parameters written in.
            cursor.execute("EXPLAIN (ANALYZE, BUFFERS) " + slowest["sql"].replace("%", "%%"), ())
            for (line,) in cursor.fetchall():
                print(f"    {line}")


@contextmanager
def served(environment: Environment) -> Iterator[int]:
    """Serve with one granian worker until the block ends; yields the port."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--workers", "1"]
    address = ["--blocking-threads", "4", "--host", "127.0.0.1", "--port", str(port), "--log-level", "error"]
    with tempfile.TemporaryDirectory() as metrics:
        process = subprocess.Popen(
            [*command, *address, "scheduler.wsgi:application"],
            env={**environment, "PROMETHEUS_MULTIPROC_DIR": metrics},
            cwd=PROJECT,
            stdout=subprocess.DEVNULL,
        )
        try:
            wait_until(lambda: is_up(port), timeout=60, pause=0.1)
            yield port
        finally:
            process.terminate()
            with suppress(subprocess.TimeoutExpired):
                process.wait(20)
            process.kill()


def is_up(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True
    return False


def manage(environment: Environment, *arguments: str) -> str:
    command = [sys.executable, str(Path(PROJECT) / "manage.py"), *arguments]
    done: Any = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return str(done.stdout)


if __name__ == "__main__":
    main()
