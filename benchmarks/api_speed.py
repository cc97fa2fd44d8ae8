"""Requests a second of the REST API, beside plain Django REST framework and plain SQLAlchemy, all in one run.

    python -m benchmarks.api_speed [--leads 50000] [--seconds 6]

Needs wrk. One granian worker, `wrk -t1 -c8`, PostgreSQL on the same machine; the old system's figures come from
the table at the end of its description of the API and were measured on another day.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median

from benchmarks.import_speed import FOLDER, PROJECT, legacy_file
from database.embedded import EmbeddedServer
from database.testing import wait_until

PORT = 8899
ADDRESS = f"http://127.0.0.1:{PORT}"
CALLS = "/api/calls/?page_size=50"
# request, old system, must, aim
GETS = (
    (CALLS, 6.1, 250, 600),
    ("/api/leads/?page_size=50", 163, 500, 1000),
    ("/api/leads/1", 542, 1200, 2000),
    ("/api/calls/1", 281, 700, 1200),
    ("/api/meetings/?page_size=50", 70, 450, 900),
    ("/api/analytics/overview", 4.5, 200, 1000),
    ("/api/partners/", 25, 400, 800),
)
TRANSFER = ("/api/leads/partner-transfer", 15, 90, 200)
DEEP_PAGE = 2900
ROUNDS = 3
TRANSFER_SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
wrk.headers["X-API-Key"] = "{key}"
local n = 0
request = function()
  local leads = {{}}
  for i = 1, 100 do
    leads[i] = string.format('{{"name":"Lead %d","phone":"+1415%07d"}}', n, {first} + n)
    n = n + 1
  end
  return wrk.format(nil, nil, nil, '{{"leads":[' .. table.concat(leads, ",") .. ']}}')
end
"""
OWN = "scheduler.wsgi:application"
DRF = "benchmarks.peers.drf_wsgi:application"
SQLALCHEMY = "benchmarks.peers.sqlalchemy_wsgi:application"
MAKE_KEY = """
from partners.models import Partner, PartnerApiKey
partner, _ = Partner.objects.get_or_create(name="Benchmark", defaults=dict(rate_limit=1000000))
print("key", PartnerApiKey.issue(partner)[1])
"""


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--leads", type=int, default=50_000)
    parser.add_argument("--seconds", type=int, default=6)
    chosen = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is missing: apt-get install wrk")
    server = EmbeddedServer(FOLDER / "api-postgres", durable=True)
    server.start()
    try:
        environment = {**os.environ, "DATABASE_URL": server.url, "DEBUG": "0", "SECRET_KEY": "benchmark" * 8}
        environment |= {"ALLOWED_HOSTS": "127.0.0.1", "SECURE_SSL_REDIRECT": "0"}
        prepare(environment, chosen.leads)
        measure(environment, chosen.seconds)
    finally:
        server.stop()


def prepare(environment: dict[str, str], leads: int) -> None:
    """Import a legacy file of `leads` leads; a second run finds everything in place."""
    manage(environment, "migrate", "--verbosity", "0")
    file = legacy_file(leads)
    manage(environment, "migrate_from_sqlite", str(file), "--no-input")
    file.unlink()
    manage(environment, "shell", "-c", "from django.contrib.auth.models import User as U;"
           "U.objects.filter(username='bench').exists() or U.objects.create_superuser('bench')")  # fmt: skip


def measure(environment: dict[str, str], seconds: int) -> None:
    token = manage(environment, "create_staff_token", "bench").split()[-1]
    key = manage(environment, "shell", "-v0", "-c", MAKE_KEY).split()[-1]
    bearer = ["-H", f"Authorization: Bearer {token}"]
    with served(environment, OWN):
        own = {path: report(path, wrk(path, seconds, bearer), *figures) for path, *figures in GETS}
        transfers(key, seconds)
        pages(token, seconds, bearer)
    for name, application in (("Django REST framework", DRF), ("SQLAlchemy", SQLALCHEMY)):
        with served(environment, application):
            rate = wrk(CALLS, seconds, [])
        need = "  must be at least 4" if application is DRF else ""
        print(f"{CALLS}: {name} {rate:,.0f}/s; ours is {own[CALLS] / rate:.1f} x that{need}")


def report(path: str, rate: float, old: float, must: float, aim: float) -> float:
    verdict = "ok" if rate >= must else "BELOW"
    print(
        f"{path:<34} {rate:8,.0f}/s  must {must:>5} aim {aim:>5}  {rate / old:6.1f} x the old one  {verdict}",
        flush=True,
    )
    return rate


def transfers(key: str, seconds: int) -> None:
    path, *figures = TRANSFER
    first = int.from_bytes(os.urandom(2)) * 100  # another run of the same database brings other phones
    with tempfile.NamedTemporaryFile("w", suffix=".lua") as script:
        script.write(TRANSFER_SCRIPT.format(key=key, first=first))
        script.flush()
        report(path, wrk(path, seconds, ["-s", script.name]), *figures)


def pages(token: str, seconds: int, bearer: list[str]) -> None:
    """Compare the first page with a page deep in the list that was reached by cursor, in turns."""
    request = urllib.request.Request(
        f"{ADDRESS}{CALLS}&page={DEEP_PAGE - 1}", headers={"Authorization": f"Bearer {token}"}
    )
    with urllib.request.urlopen(request) as answer:
        link = re.search(r'<([^>]+)>; rel="next"', answer.headers["Link"])
    if link is None:
        raise SystemExit(f"Page {DEEP_PAGE - 1} names no next page.")
    paths = (link[1].removeprefix(ADDRESS), CALLS)
    rounds = [[wrk(path, seconds, bearer) for path in paths] for _ in range(ROUNDS)]
    deep, first = (median(rates) for rates in zip(*rounds, strict=True))
    print(f"page {DEEP_PAGE} by cursor / page 1         {deep / first:8.2f}    must be at least 0.9")


@contextmanager
def served(environment: dict[str, str], application: str) -> Iterator[None]:
    """Serve with one granian worker until the block ends."""
    command = [sys.executable, "-m", "granian", "--interface", "wsgi", "--no-ws", "--workers", "1"]
    address = ["--blocking-threads", "8", "--host", "127.0.0.1", "--port", str(PORT), "--log-level", "error"]
    process = subprocess.Popen([*command, *address, application], env=environment, cwd=PROJECT)
    try:
        wait_until(answers, timeout=30)
        yield
    finally:
        process.terminate()
        process.wait(20)


def answers() -> bool:
    try:
        urllib.request.urlopen(f"{ADDRESS}/nothing-here", timeout=5).close()
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False
    return True


def wrk(path: str, seconds: int, options: list[str]) -> float:
    """Return requests a second; any answer but 2xx ends the run."""
    command = ["wrk", "-t1", "-c8", f"-d{seconds}s", *options, ADDRESS + path]
    output = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in output or "Socket errors" in output:
        raise SystemExit(f"{path}: {output}")
    rate = re.search(r"Requests/sec:\s+([\d.]+)", output)
    if rate is None:
        raise SystemExit(f"wrk printed no rate: {output}")
    return float(rate[1])


def manage(environment: dict[str, str], *arguments: str) -> str:
    command = [sys.executable, str(Path(PROJECT) / "manage.py"), *arguments]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")
    return done.stdout


if __name__ == "__main__":
    main()
