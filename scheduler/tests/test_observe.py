"""Requests counted by a real granian with several workers, one of which is killed."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from http.client import HTTPConnection
from pathlib import Path

import pytest
from django.conf import settings
from django.test import Client, RequestFactory
from prometheus_client.parser import text_string_to_metric_families

from database.processes import alive
from database.testing import wait_until
from scheduler.metrics import REQUESTS
from scheduler.observe import route_of

WORKERS = 3
PROMTOOL = shutil.which("promtool")
START = 60.0  # seconds, on a busy machine
PHONE = "+14155550134"
# The cookie makes the admin look for a session, over the pool.
HEADERS = {"Host": "calls.example", "Cookie": "sessionid=0123456789abcdef0123456789abcdef"}

OF_THE_ROOT = ("scheduler_requests_total", "GET", "/")

Series = dict[tuple[str, ...], float]


class Granian:
    """granian with some workers on the tests' server; no table need be there, a failed query uses the pool too."""

    def __init__(self, metrics_folder: Path) -> None:
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = free.getsockname()[1]
        command = f"granian --interface wsgi --no-ws --workers {WORKERS} --blocking-threads 4 --respawn-failed-workers"
        self.process = subprocess.Popen(
            [
                str(Path(sys.executable).parent / "granian"),
                *command.split()[1:],
                *("--host", "127.0.0.1", "--port", str(self.port)),
                "scheduler.wsgi:application",
            ],
            cwd=settings.BASE_DIR,
            env={
                **os.environ,
                "PROMETHEUS_MULTIPROC_DIR": str(metrics_folder),
                "DB_POOL_MIN_SIZE": "1",
                "ALLOWED_HOSTS": "calls.example",
                "DEBUG": "0",
                "SECRET_KEY": "only-for-this-test",
                "SECURE_SSL_REDIRECT": "0",
            },
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )

    def request(self, path: str, method: str = "GET") -> tuple[int, str]:
        try:
            return self._request(path, method)
        except ConnectionError:
            # The kernel had given the connection to a worker that was killed before it took it.
            return self._request(path, method)

    def _request(self, path: str, method: str) -> tuple[int, str]:
        # A connection each, which the kernel gives to any of the workers.
        connection = HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, headers=HEADERS)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        finally:
            connection.close()

    def answers(self) -> bool:
        with suppress(OSError):
            return self.request("/health")[0] == 200
        return False

    def scrape(self) -> Series:
        status, page = self.request("/metrics")
        assert status == 200, page
        return {
            (sample.name, *(value for _, value in sorted(sample.labels.items()))): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }

    def stop(self) -> None:
        self.process.send_signal(signal.SIGTERM)
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(5)
        # A worker that was respawned while the others stopped would outlive its parent: the whole group goes.
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    return tmp_path_factory.mktemp("metrics")


@pytest.fixture(scope="module")
def granian(folder) -> Iterator[Granian]:
    server = Granian(folder)
    try:
        wait_until(server.answers, timeout=START, pause=0.1)
        yield server
    finally:
        server.stop()


def counted(series: Series) -> float:
    return sum(value for key, value in series.items() if key[0] == "scheduler_requests_total")


def timed(series: Series) -> float:
    return sum(value for key, value in series.items() if key[0] == "scheduler_request_seconds_count")


def pids_with_a_pool(series: Series) -> set[int]:
    return {int(key[2]) for key in series if key[0] == "scheduler_pool_connections"}


def send(granian: Granian, paths: list[str]) -> None:
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(granian.request, paths))


def test_all_workers_count_exactly_and_a_killed_one_leaves_its_counts_but_no_gauge(granian, folder):
    before = counted(granian.scrape())
    sent = 0

    def all_have_worked() -> bool:
        nonlocal sent
        # The last two are probes and are not counted.
        send(granian, ["/", "/no-such-page", f"/lead/{PHONE}", "/admin/"] * 10 + ["/health", "/readiness"])
        sent += 40
        return len(pids_with_a_pool(granian.scrape())) == WORKERS

    wait_until(all_have_worked, timeout=START)
    series = granian.scrape()
    assert counted(series) - before == timed(series) - before == sent
    assert sum(value for key, value in series.items() if key[:3] == OF_THE_ROOT) == sent / 4
    assert series["scheduler_requests_total", "GET", "unmatched", "404"] == sent / 2

    victim = min(pids_with_a_pool(series))
    os.kill(victim, signal.SIGKILL)
    wait_until(lambda: not alive(victim))

    series = granian.scrape()
    assert counted(series) - before == timed(series) - before == sent
    assert victim not in pids_with_a_pool(series)
    assert len(pids_with_a_pool(series)) == WORKERS - 1
    assert not list(folder.glob(f"*_{victim}.db"))
    send(granian, ["/"] * 40)
    wait_until(lambda: counted(granian.scrape()) - before == sent + 40)


def test_no_raw_path_and_no_number_is_on_the_page(granian):
    granian.request(f"/lead/{PHONE}?phone={PHONE}")
    granian.request(f"/admin/leads/lead/?q={PHONE}")
    granian.request(f"/static/{PHONE}.js")
    granian.request(f"/health/{PHONE}")

    _, page = granian.request("/metrics")

    assert PHONE.strip("+") not in page
    assert 'route="/admin/leads/lead/"' in page


def test_an_unknown_method_makes_no_series_of_its_own(granian):
    granian.request("/", "BREW")

    _, page = granian.request("/metrics")

    assert "BREW" not in page
    assert 'method="other"' in page


def test_probes_and_head_over_the_wire(granian):
    for path in ("/health", "/health/live/"):
        assert granian.request(path) == (200, '{"status": "healthy"}')
        assert granian.request(path, "HEAD") == (200, "")
    status, body = granian.request("/health/ready")
    assert (status, "unapplied_migrations" in body) == (503, True)


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_promtool_can_read_the_page(granian):
    _, page = granian.request("/metrics")

    done = subprocess.run(
        [str(PROMTOOL), "check", "metrics"],
        input=page,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert "error" not in done.stderr.lower(), done.stderr


@pytest.mark.django_db
def test_a_failing_view_is_counted_as_500(client: Client, monkeypatch):
    def fail(*arguments, **options):
        raise RuntimeError

    monkeypatch.setattr("django.contrib.auth.views.LoginView.dispatch", fail)
    series = REQUESTS.labels("GET", "/admin/login/", "500")
    before = series._value.get()
    client.raise_request_exception = False

    assert client.get("/admin/login/").status_code == 500

    assert series._value.get() == before + 1


def test_the_route_is_a_pattern_or_one_of_two_words():
    def route(path: str, status: int) -> str:
        request = RequestFactory().get(path)
        request.resolver_match = None
        return route_of(request, status)

    assert route("/static/admin/base.css", 200) == "static"
    assert route("/static/no-such-file", 404) == "unmatched"
    assert route("/anything", 404) == "unmatched"
    assert route("/anything", 301) == "unmatched"
