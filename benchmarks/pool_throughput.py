"""Requests that run one indexed query: from the pool against a new connection for each, both in one run.

    python -m benchmarks.pool_throughput [--seconds 3] [--threads 8] [--rounds 3]

A request is what Django makes of one, without HTTP: signal of the start, one lead by its id through the ORM, signal of
the end, at which the connection goes back or is closed. PostgreSQL listens on 127.0.0.1 and asks for a password,
TLS is off. The two sides take turns, and the best round of each counts, so that a busy machine favours neither.
"""

from __future__ import annotations

import argparse
import os
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg

from database.embedded import EmbeddedServer
from database.testing import free_port, template_data, throw_away_server

MUST = 5.0
LEADS = 10_000
PASSWORD = "only-for-this-run"
POOLED, FRESH = "default", "fresh"


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seconds", type=float, default=3)
    parser.add_argument("--threads", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=3)
    arguments = parser.parse_args()
    with project(arguments.threads):
        best = {POOLED: 0.0, FRESH: 0.0}
        for _ in range(arguments.rounds):
            for alias in best:
                rate = requests_per_second(alias, arguments.seconds, arguments.threads)
                best[alias] = max(best[alias], rate)
    ratio = best[POOLED] / best[FRESH]
    print(f"new connection for each request {best[FRESH]:9,.0f} requests/s")
    print(f"pool                            {best[POOLED]:9,.0f} requests/s")
    print(f"ratio                           {ratio:9.1f} (must be {MUST:g} or more)")
    sys.exit(ratio < MUST)


@contextmanager
def project(threads: int) -> Iterator[None]:
    """Set Django up on a server of this run, with rows in it and both kinds of connections."""
    with template_data() as template, throw_away_server(template, tcp_port=free_port()) as server:
        prepare_environment(server, threads)
        import django
        from django.core.management import call_command
        from django.db import connections

        django.setup()
        call_command("migrate", verbosity=0)
        with connections[POOLED].cursor() as cursor:
            cursor.execute(
                "INSERT INTO leads (id, name, phone) OVERRIDING SYSTEM VALUE "
                "SELECT n, 'Lead ' || n, '+1555' || lpad(n::text, 7, '0') FROM generate_series(1, %s) n",
                [LEADS],
            )
            cursor.execute("ANALYZE leads")
        add_fresh(connections)
        try:
            yield
        finally:
            pooled: Any = connections[POOLED]
            pooled.close()
            pooled.close_pool()


def prepare_environment(server: EmbeddedServer, threads: int) -> None:
    with psycopg.connect(**server.conninfo, autocommit=True) as admin:
        admin.execute(f"ALTER ROLE postgres PASSWORD '{PASSWORD}'")
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "scheduler.settings",
        "DEBUG": "0",  # with DEBUG on Django keeps a list of all queries
        "SECRET_KEY": "only-for-this-run",
        "DATABASE_URL": f"postgresql://postgres:{PASSWORD}@127.0.0.1:{server.tcp_port}/ai_scheduler?sslmode=disable",
        "DB_POOL_MODE": "pool",
        "DB_POOL_MIN_SIZE": str(threads),
        "DB_POOL_MAX_SIZE": str(threads),
    }


def add_fresh(connections: Any) -> None:
    """Add the same database under another alias, as Django uses it without any pool."""
    configured = connections.settings[POOLED]
    options = {name: value for name, value in configured["OPTIONS"].items() if name != "pool"}
    connections.settings[FRESH] = {
        **configured,
        "OPTIONS": options,
        "ENGINE": "django.db.backends.postgresql",
        "CONN_HEALTH_CHECKS": False,
    }


def requests_per_second(alias: str, seconds: float, threads: int) -> float:
    counts = [0] * threads
    start = threading.Barrier(threads + 1)
    end = [0.0]

    def work(number: int) -> None:
        request(alias, 1)
        start.wait()
        done = 0
        while time.monotonic() < end[0]:
            request(alias, 1 + (number + done * 7919) % LEADS)
            done += 1
        counts[number] = done

    workers = [threading.Thread(target=work, args=(number,)) for number in range(threads)]
    for worker in workers:
        worker.start()
    end[0] = float("inf")  # until all are warm
    start.wait()
    started = time.monotonic()
    end[0] = started + seconds
    for worker in workers:
        worker.join()
    return sum(counts) / (time.monotonic() - started)


def request(alias: str, lead: int) -> None:
    from django.core.signals import request_finished, request_started

    from leads.models import Lead

    request_started.send(sender=None)
    if Lead.objects.using(alias).filter(pk=lead).values_list("id", "name", "phone").get()[0] != lead:
        raise AssertionError("another lead came back")
    request_finished.send(sender=None)


if __name__ == "__main__":
    main()
