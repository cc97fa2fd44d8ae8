"""The move against a bare COPY loop of the same rows, both in one run.

    python -m benchmarks.import_speed [--leads 50000]

The loop reads each row from SQLite and hands it to psycopg's COPY, into the same tables with their indexes and
constraints in place; it converts nothing, checks nothing and verifies nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import sqlite3
import subprocess
import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import psycopg

from database.embedded import EmbeddedServer
from legacy.synthetic.build import build

PROJECT = Path(__file__).resolve().parent.parent
FOLDER = PROJECT / ".local" / "bench"
TABLES = "partners, leads, calls, conversation_history, meetings, settings, meeting_hosts"
IMPORTS = "import_runs, import_row_notes, import_row_digests"
MUST_IMPORT, AIM_IMPORT, MUST_SECOND, MUST_MEGABYTES = 2.0, 1.2, 0.6, 300

Row = tuple[Any, ...]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--leads", type=int, default=50_000)
    leads = parser.parse_args().leads
    file = legacy_file(leads)
    server = EmbeddedServer(FOLDER / "postgres", durable=True)
    server.start()
    try:
        manage(server, "migrate", "--verbosity", "0")
        run(server, file)
    finally:
        server.stop()


def legacy_file(leads: int) -> Path:
    """Return a clean legacy file, made once."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    file = FOLDER / f"legacy-{leads}.db"
    if not file.exists():
        build(file, leads=leads)
    return file


def run(server: EmbeddedServer, file: Path) -> None:
    loop, rows = bare_loop(server, file)
    print(f"bare COPY loop          {loop:7.1f} s  {rows / loop:9,.0f} rows/s  ({rows:,} rows)")
    empty(server)
    first, megabytes = import_file(server, file)
    print(f"import with verification{first:7.1f} s  {rows / first:9,.0f} rows/s")
    second, _ = import_file(server, file)
    print(f"second run              {second:7.1f} s")
    change_rows(file, 1000)
    changed, _ = import_file(server, file, updated=1000)
    print(f"after 1,000 changes     {changed:7.1f} s  (exactly 1,000 rows updated)")
    file.unlink()
    print(f"import / loop           {first / loop:7.2f}    must be at most {MUST_IMPORT}, aim {AIM_IMPORT}")
    print(f"second run / first run  {second / first:7.2f}    must be under {MUST_SECOND}")
    print(f"memory of the command   {megabytes:7.0f} MB must be under {MUST_MEGABYTES}")


def bare_loop(server: EmbeddedServer, file: Path) -> tuple[float, int]:
    """Return seconds and rows of the loop."""
    empty(server)
    source = sqlite3.connect(f"{file.as_uri()}?mode=ro", uri=True)
    with psycopg.connect(server.url) as connection:
        connection.execute("SET timezone = 'UTC'")
        started, rows = time.monotonic(), 0
        connection.execute(
            "INSERT INTO meeting_hosts (id, name) OVERRIDING SYSTEM VALUE VALUES (0, 'Imported calendar')"
        )
        for table, columns, query, convert in LOOP:
            with connection.cursor().copy(f"COPY {table} ({columns}) FROM STDIN") as copy:
                for row in source.execute(query):
                    copy.write_row(convert(row) if convert else row)
                    rows += 1
        connection.commit()
        return time.monotonic() - started, rows


def numbered() -> Callable[[Row], Row]:
    turns: defaultdict[int, int] = defaultdict(int)

    def convert(row: Row) -> Row:
        turns[row[1]] += 1
        return (*row, turns[row[1]])

    return convert


CALL = "id, lead_id, twilio_call_sid, recording_url, transcript, summary, duration, language, voice_id, voice_name"
CALL_TIMES = "started_at, ended_at, created_at"
MEETING = (
    "id, lead_id, call_id, scheduled_time, duration, guest_email, calendar_event_id, meeting_link, notes"
)
LEAD = "id, name, phone, email, country_code, language, partner_id"
LOOP: Iterable[tuple[str, str, str, Callable[[Row], Row] | None]] = (
    (
        "partners",
        "id, name, is_active, rate_limit, created_at, updated_at",
        "SELECT id, name, is_active, rate_limit, created_at, updated_at FROM partners",
        lambda row: (*row[:2], bool(row[2]), *row[3:]),
    ),
    (
        "leads",
        f"{LEAD}, status, created_at, updated_at, phone_valid",
        f"SELECT {LEAD}, lower(status), created_at, updated_at, 'true' FROM leads",
        None,
    ),
    (
        "calls",
        f"{CALL}, outcome, {CALL_TIMES}",
        f"SELECT {CALL}, lower(outcome), {CALL_TIMES} FROM calls",
        None,
    ),
    (
        "conversation_history",
        "id, call_id, role, message, created_at, turn",
        "SELECT id, call_id, lower(role), message, created_at FROM conversation_history ORDER BY id",
        numbered(),
    ),
    (
        "meetings",
        f"{MEETING}, status, created_at, updated_at, host_id",
        f"SELECT {MEETING}, lower(status), created_at, updated_at, 0 FROM meetings",
        None,
    ),
    ("settings", "id, key, value, updated_at", "SELECT id, key, value, updated_at FROM settings", None),
)


def import_file(server: EmbeddedServer, file: Path, updated: int | None = None) -> tuple[float, float]:
    """Return seconds and peak megabytes of `migrate_from_sqlite` as a process of its own."""
    report = FOLDER / "report.json"
    started = time.monotonic()
    manage(server, "migrate_from_sqlite", str(file), "--no-input", "--report", str(report))
    seconds = time.monotonic() - started
    counts = json.loads(report.read_text())["tables"].values()
    if updated is not None and sum(table["updated"] for table in counts) != updated:
        raise SystemExit("The number of updated rows is wrong.")
    unit = 1024 if sys.platform != "darwin" else 1024 * 1024
    return seconds, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / unit


def change_rows(file: Path, number: int) -> None:
    with sqlite3.connect(file) as source:
        source.execute(
            "UPDATE conversation_history SET message = message || ' (changed)' WHERE id IN"
            " (SELECT id FROM conversation_history ORDER BY id * 7919 % 1000003 LIMIT ?)",
            (number,),
        )


def empty(server: EmbeddedServer) -> None:
    with psycopg.connect(server.url) as connection:
        connection.execute(f"TRUNCATE {TABLES}, {IMPORTS} CASCADE")


def manage(server: EmbeddedServer, *arguments: str) -> None:
    environment = {**os.environ, "DATABASE_URL": server.url, "DEBUG": "1"}
    done = subprocess.run(
        [sys.executable, str(PROJECT / "manage.py"), *arguments],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{arguments[0]} ended with {done.returncode}: {done.stderr.strip()}")


if __name__ == "__main__":
    main()
