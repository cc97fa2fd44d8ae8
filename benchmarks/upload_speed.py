"""A CSV file of a million leads over HTTP to one granian worker, beside a bare COPY of the same rows.

    python -m benchmarks.upload_speed [--lines 1000000]

The file has what such files have: phones with and without separators, lines that repeat a phone, lines that are
wrong. The rows go into the leads table with all its indexes and constraints in place, on a server with durability on;
afterwards COPY brings the rows that came of it, ready made, into the same table, emptied.
"""

from __future__ import annotations

import argparse
import http.client
import json
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import psutil
import psycopg

from benchmarks.api_speed import OWN, PORT, manage, served
from benchmarks.import_speed import FOLDER
from database.embedded import EmbeddedServer

MUST_SECONDS = 60  # a million lines
MUST_MEMORY = 64  # MB above the idle worker, whatever the file's size
COLUMNS = "name, phone, phone_valid, email, country_code, language"
OUT = f"COPY (SELECT {COLUMNS} FROM leads ORDER BY id) TO STDOUT"
IN = f"COPY leads ({COLUMNS}) FROM STDIN"
BOUNDARY = "----benchmark"
HEAD = (
    f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="leads.csv"\r\n'
    "Content-Type: text/csv\r\n\r\n"
).encode()
TAIL = f"\r\n--{BOUNDARY}--\r\n".encode()


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--lines", type=int, default=1_000_000)
    lines = parser.parse_args().lines
    server = EmbeddedServer(FOLDER / "upload-postgres", durable=True)
    server.start()
    try:
        environment = {**os.environ, "DATABASE_URL": server.url, "DEBUG": "0", "SECRET_KEY": "benchmark" * 8}
        environment |= {"ALLOWED_HOSTS": "127.0.0.1", "SECURE_SSL_REDIRECT": "0"}
        manage(environment, "migrate", "--verbosity", "0")
        manage(environment, "shell", "-c", "from django.contrib.auth.models import User as U;"
               "U.objects.filter(username='bench').exists() or U.objects.create_superuser('bench')")  # fmt: skip
        token = manage(environment, "create_staff_token", "bench").split()[-1]
        with (
            tempfile.TemporaryDirectory() as folder,
            psycopg.connect(server.url, autocommit=True) as database,
        ):
            measure(environment, database, token, write_file(Path(folder) / "leads.csv", lines), lines)
    finally:
        server.stop()


def measure(
    environment: dict[str, str], database: psycopg.Connection[Any], token: str, file: Path, lines: int
) -> None:
    empty(database)
    with served(environment, OWN), watched(worker()) as memory:
        began = time.perf_counter()
        told = upload(file, token)
        seconds = time.perf_counter() - began
    account(database, told, lines)
    bare = copied(database, file.with_suffix(".copy"))
    verdict = "ok" if seconds < MUST_SECONDS * lines / 1_000_000 else "TOO SLOW"
    print(f"upload of {lines:,} lines   {seconds:8.1f} s   {lines / seconds:10,.0f} lines/s   {verdict}")
    print(f"bare COPY of its rows   {bare:8.1f} s   the upload takes {seconds / bare:.2f} x that")
    grown = (memory["peak"] - memory["idle"]) / 1_000_000
    peak, verdict = memory["peak"] / 1_000_000, "ok" if grown < MUST_MEMORY else "TOO MUCH"
    print(f"worker's memory         {peak:8.0f} MB at most, {grown:.0f} MB more than idle   {verdict}")


def write_file(path: Path, lines: int) -> Path:
    """Write a file below whose header stand `lines` lines; about one in fifty is refused."""
    with path.open("w") as file:
        file.write("Name;Email;Phone;Source\n")
        file.writelines(f"{line};web\n" for line in map(line_of, range(lines)))
    return path


def line_of(number: int) -> str:
    name, email = f"Lead Number {number}", f"lead.{number}@example.com"
    kind = number % 100
    if kind == 7:
        return f"{name};{email};not yet known"
    if kind == 57 and number > 100:
        return f"{name};{email};{phone_of(number - 40)}"  # a phone of a line above
    if kind < 15:
        plain = phone_of(number)
        return f'"{name}";;{plain[:2]} ({plain[2:5]}) {plain[5:8]}-{plain[8:]}'
    return f"{name};{email};{phone_of(number)}"


def phone_of(number: int) -> str:
    """Return phones of North America, Germany and Britain in an order that no index has."""
    mixed = number * 7_654_321 % 10_000_000
    if number % 10 == 3:
        return f"+4930{20_000_000 + mixed}"
    if number % 10 == 4:
        return f"+4420{70_000_000 + mixed}"
    return f"+1{(202, 212, 310, 415, 617)[number % 5]}{2 + number // 10_000_000}{mixed % 1_000_000:06d}"


def upload(file: Path, token: str) -> dict[str, Any]:
    headers = {
        "Authorization": f"Bearer {token}",
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(HEAD) + file.stat().st_size + len(TAIL)),
    }
    connection = http.client.HTTPConnection("127.0.0.1", PORT, timeout=1800)
    with file.open("rb") as content:
        connection.request("POST", "/api/leads/upload", pieces(content), headers)
    answer = connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise SystemExit(f"The upload was answered {answer.status}: {body[:500]!r}")
    told: dict[str, Any] = json.loads(body)
    return told


def pieces(content: IO[bytes]) -> Iterator[bytes]:
    yield HEAD
    yield from iter(lambda: content.read(1024 * 1024), b"")
    yield TAIL


def account(database: psycopg.Connection[Any], told: dict[str, Any], lines: int) -> None:
    """End the benchmark unless each line became a lead or an error."""
    (stored,) = database.execute("SELECT count(*) FROM leads").fetchone() or (None,)
    if (
        not told["rows"] == lines == told["leads_created"] + told["error_count"]
        or stored != told["leads_created"]
    ):
        raise SystemExit(f"Of {lines:,} lines {told['leads_created']:,} became leads, {told['error_count']:,} errors, "
                         f"and there are {stored:,} leads.")  # fmt: skip
    print(f"{told['leads_created']:,} leads created, {told['error_count']:,} lines refused")


def copied(database: psycopg.Connection[Any], path: Path) -> float:
    """Return the seconds that COPY takes for the rows that are there, into the table emptied."""
    with path.open("wb") as file, database.cursor().copy(OUT) as rows:
        file.writelines(rows)
    empty(database)
    began = time.perf_counter()
    with path.open("rb") as file, database.cursor().copy(IN) as copy:
        while block := file.read(256 * 1024):
            copy.write(block)
    return time.perf_counter() - began


def empty(database: psycopg.Connection[Any]) -> None:
    database.execute("TRUNCATE leads RESTART IDENTITY CASCADE")
    database.execute("CHECKPOINT")


def worker() -> psutil.Process:
    """Return granian's worker: the youngest process that serves the port's application."""
    (main,) = [each for each in psutil.Process().children() if "granian" in " ".join(each.cmdline())]
    return max(main.children(recursive=True), key=lambda each: each.memory_info().rss)


@contextmanager
def watched(process: psutil.Process) -> Iterator[dict[str, int]]:
    """Note the resident memory of a process, idle and at its peak, in bytes."""
    memory = {"idle": process.memory_info().rss, "peak": 0}
    ended = threading.Event()

    def watch() -> None:
        while not ended.wait(0.05):
            memory["peak"] = max(memory["peak"], process.memory_info().rss)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield memory
    finally:
        ended.set()
        watcher.join()


if __name__ == "__main__":
    main()
