"""What the benchmarks of the async service have in common: a durable server with calls, and the service on it."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import django
import psycopg

os.environ.setdefault("DEBUG", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")
# Before the service is imported: the settings name the folder of the metrics, whose cost belongs to the measurement.
django.setup()
logging.disable(logging.WARNING)  # outages and held connections are made on purpose here

from benchmarks.import_speed import FOLDER, manage  # noqa: E402
from database.embedded import EmbeddedServer  # noqa: E402
from database.service import Configuration, DatabaseService, Limits  # noqa: E402

TABLE = "conversation_history"
CALLS = """
WITH some_leads AS (
    INSERT INTO leads (name, phone) SELECT 'Lead ' || n, '+4179' || 1000000 + n FROM generate_series(1, %s) n
    RETURNING id
)
INSERT INTO calls (lead_id) SELECT id FROM some_leads RETURNING id
"""


@contextmanager
def server_with_calls(count: int) -> Iterator[tuple[EmbeddedServer, list[int]]]:
    """Yield a durable server with so many active calls and no turns, and the ids of the calls."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    server = EmbeddedServer(Path(FOLDER) / "service-postgres", durable=True)
    server.start()
    try:
        manage(server, "migrate", "--verbosity", "0")
        with psycopg.connect(server.url) as connection:
            connection.execute("TRUNCATE leads, calls, conversation_history CASCADE")
            calls = [row[0] for row in connection.execute(CALLS, [count]).fetchall()]
        yield server, calls
    finally:
        server.stop()


def service(server: EmbeddedServer, *, size: int, **options: Any) -> DatabaseService:
    """Return the service as the settings would make it, with a pool of `size`."""

    def parameters() -> dict[str, Any]:
        return {**server.conninfo, "options": "-c statement_timeout=10000"}

    limits = Limits(min_size=size, max_size=size)
    return DatabaseService(configuration=Configuration("bench:async", parameters, limits), **options)


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


def verdict(name: str, figure: str, passed: bool, must: str) -> bool:
    print(f"{name:<34}{figure:>14}   must be {must:<22}{'PASS' if passed else 'FAIL'}")
    return passed
