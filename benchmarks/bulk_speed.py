"""The bulk operations against Django's own and against a bare COPY, all in one run.

    python -m benchmarks.bulk_speed [--rows 100000]

Leads go into their table with all its indexes and constraints in place, on a server with durability on. Each figure is
the best of three rounds, in which both sides take turns; one `save()` each and Django's `bulk_update` run once.
Django's runs as it is called by default, one statement for all rows, and in batches, which is for information.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from database.embedded import EmbeddedServer

FOLDER = Path(__file__).resolve().parent.parent / ".local" / "bench"
ROUNDS = 3
FEW = 100
UPDATE_BATCH = 1000
PATIENCE = 180  # seconds
MUST_BARE, MUST_BULK_CREATE, MUST_SAVE, MUST_UPDATE = 0.7, 4.0, 25.0, 15.0
COLUMNS = (
    "name",
    "phone",
    "email",
    "country_code",
    "language",
    "partner_id",
    "phone_valid",
    "status",
    "priority",
)

Row = tuple[Any, ...]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=100_000)
    number = parser.parse_args().rows
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = EmbeddedServer(FOLDER / "postgres", durable=True)
    server.start()
    try:
        set_up_django(server)
        run(number)
    finally:
        server.stop()


def set_up_django(server: EmbeddedServer) -> None:
    os.environ |= {
        "DATABASE_URL": server.url,
        "DEBUG": "1",
        "DB_POOL_MIN_SIZE": "1",
        "DB_COMMAND_TIMEOUT": "0",
        "DJANGO_SETTINGS_MODULE": "scheduler.settings",
    }
    import django
    from django.conf import settings
    from django.core.management import call_command

    django.setup()
    # With DEBUG, Django would keep the text of every query, which costs its own side most.
    settings.DEBUG = False
    call_command("migrate", verbosity=0)


def run(number: int) -> None:
    rows = made_rows(number, partner())
    few = rows[:FEW]
    one_each = timed(lambda: save_each(few))
    insert_few = best(lambda: insert(few))
    report(f"{FEW} leads", "save() each", one_each, "bulk_insert", insert_few, MUST_SAVE)
    bare, bulk = in_turns(lambda: bare_copy(rows), lambda: insert(rows))
    report(f"{number:,} leads", "bare COPY", bare, "bulk_insert", bulk, MUST_BARE)
    create = timed(lambda: bulk_create(rows))
    report(f"{number:,} leads", "bulk_create", create, "bulk_insert", bulk, MUST_BULK_CREATE)
    empty()
    ids = insert(rows)
    compare_updates(ids)
    empty()


def compare_updates(ids: Any) -> None:
    """Compare with Django's bulk_update as it is called without a batch size, and in batches."""
    ours, theirs = update_in_turns(ids)
    for size, must in ((None, MUST_UPDATE), (UPDATE_BATCH, None)):
        name = f"batches of {size}" if size else "bulk_update"
        report(f"{len(ids):,} statuses", name, theirs[size], "ours", ours, must)


def partner() -> int:
    from partners.models import Partner

    return Partner.objects.get_or_create(name="Benchmark")[0].pk


def made_rows(number: int, partner_id: int) -> list[Row]:
    return [
        (
            f"Lead {i}",
            f"+1415{i:07}",
            f"lead{i}@example.com",
            "US",
            "en",
            partner_id if i % 3 else None,
            True,
            "pending",
            i % 5,
        )
        for i in range(number)
    ]


def insert(rows: list[Row]) -> Any:
    from database.bulk import bulk_insert
    from leads.models import Lead

    return bulk_insert(Lead, (dict(zip(COLUMNS, row, strict=True)) for row in rows))


def bare_copy(rows: list[Row]) -> None:
    import psycopg
    from django.db import connection

    # A connection of its own that is open before the clock starts would flatter neither side: Django's is reused.
    connection.ensure_connection()
    with connection.cursor() as cursor:
        raw: psycopg.Connection[Any] = cursor.connection
        names = ", ".join(COLUMNS)
        with raw.transaction(), raw.cursor().copy(f"COPY leads ({names}) FROM STDIN".encode()) as copy:
            for row in rows:
                copy.write_row(row)


def save_each(rows: list[Row]) -> None:
    from leads.models import Lead

    for row in rows:
        Lead(**dict(zip(COLUMNS, row, strict=True))).save()


def bulk_create(rows: list[Row]) -> None:
    from leads.models import Lead

    Lead.objects.bulk_create(
        [Lead(**dict(zip(COLUMNS, row, strict=True))) for row in rows], batch_size=UPDATE_BATCH
    )


def update_statuses(ids: Any, status: str) -> None:
    from database.bulk import bulk_update
    from leads.models import Lead

    done = bulk_update(Lead, ({"id": id, "status": status} for id in ids), ["status"])
    if done.updated != len(ids):
        raise SystemExit("The number of updated rows is wrong.")


def django_update(ids: Any, status: str, batch_size: int | None) -> None:
    """Update with Django; without a batch size it writes one statement, in which each row tries all the cases.

    That one is broken off after PATIENCE, and the time until then stands for the longer one it would have taken.
    """
    from django.db import connection

    from database.errors import StatementTimeout
    from leads.models import Lead

    leads = [Lead(id=id, status=status) for id in ids]
    with connection.cursor() as cursor:
        cursor.execute(f"SET statement_timeout = '{PATIENCE}s'")
        try:
            Lead.objects.bulk_update(leads, ["status"], batch_size=batch_size)
        except StatementTimeout:
            print(f"Django's one statement was broken off after {PATIENCE} s; its figure is a lower bound.")
        cursor.execute("RESET statement_timeout")


def empty() -> None:
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE leads CASCADE")
        cursor.execute("CHECKPOINT")  # what one side wrote must not be written out while the other works


def settle() -> None:
    """Let neither side clear up after the other."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE leads")
        cursor.execute("CHECKPOINT")


def timed(work: Callable[[], object], *, keep: bool = False) -> float:
    """Return the seconds of work on an empty table, or on what is there with `keep`."""
    settle() if keep else empty()
    started = time.monotonic()
    work()
    return time.monotonic() - started


def best(work: Callable[[], object]) -> float:
    return min(timed(work) for _ in range(ROUNDS))


def in_turns(one: Callable[[], object], other: Callable[[], object]) -> tuple[float, float]:
    rounds = [(timed(one), timed(other)) for _ in range(ROUNDS)]
    return min(seconds for seconds, _ in rounds), min(seconds for _, seconds in rounds)


def update_in_turns(ids: Any) -> tuple[float, dict[int | None, float]]:
    """Return the seconds of ours, the best of the rounds around Django's, and of Django's by its batch size."""
    ours, theirs = [], {}
    for size in (UPDATE_BATCH, None):
        ours.append(timed(lambda: update_statuses(ids, "queued"), keep=True))
        theirs[size] = timed(partial(django_update, ids, "contacted", size), keep=True)
    ours.append(timed(lambda: update_statuses(ids, "queued"), keep=True))
    return min(ours), theirs


def report(
    what: str,
    theirs: str,
    their_seconds: float,
    ours: str,
    our_seconds: float,
    must: float | None,
) -> None:
    limit = f"must be at least {must}" if must else "for information"
    print(
        f"{what:16}  {theirs:15} {their_seconds:8.3f} s  {ours:11} {our_seconds:8.3f} s"
        f"  ratio {their_seconds / our_seconds:7.2f}  {limit}",
        flush=True,
    )


if __name__ == "__main__":
    main()
