"""Write a synthetic legacy file."""

import os
import sqlite3
from collections.abc import Iterable, Iterator
from contextlib import closing
from operator import itemgetter
from pathlib import Path
from random import Random

from legacy.schema import COLUMNS, NEWEST, REVISIONS, create_schema
from legacy.synthetic import clock
from legacy.synthetic.conversations import Ledger, Plan, Writer
from legacy.synthetic.dirt import spoil
from legacy.synthetic.people import MAX_LEADS, lead_rows, partner_rows
from legacy.synthetic.phrases import SYSTEM_PROMPT, VOICES
from legacy.synthetic.relaxed import create_relaxed_schema

Row = tuple[object, ...]
DEFAULT_LEADS = 1000
DEFAULT_SEED = 1


def build(
    path: str | os.PathLike[str],
    *,
    leads: int = DEFAULT_LEADS,
    seed: int = DEFAULT_SEED,
    dirty: bool = False,
    revision: int = NEWEST,
) -> None:
    """Write a legacy file of `leads` leads to `path`, replacing what is there.

    The same arguments give the same content. Raises ValueError for numbers out of range and OSError or
    sqlite3.Error when the file cannot be written; `path` is then as it was before.
    """
    check(leads, revision)
    target = Path(path)
    partial = target.with_name(f"{target.name}.partial")
    _remove(partial)
    try:
        with closing(sqlite3.connect(partial, isolation_level=None)) as connection:
            _fill(connection, Plan(leads, seed, revision), dirty)
        _remove_companions(target)
        os.replace(partial, target)
    finally:
        _remove(partial)


def check(leads: int, revision: int) -> None:
    """Raise ValueError, with a sentence for the user, when the numbers are out of range."""
    if not 1 <= leads <= MAX_LEADS:
        raise ValueError(f"The number of leads must be between 1 and {MAX_LEADS:,}.")
    if revision not in REVISIONS:
        raise ValueError(f"The revision must be between {REVISIONS[0]} and {REVISIONS[-1]}.")


def _remove(path: Path) -> None:
    path.unlink(missing_ok=True)
    _remove_companions(path)


def _remove_companions(path: Path) -> None:
    # SQLite would replay the write-ahead log or journal of the replaced file into the new one.
    for suffix in ("-wal", "-shm", "-journal"):
        path.with_name(f"{path.name}{suffix}").unlink(missing_ok=True)


def _fill(connection: sqlite3.Connection, plan: Plan, dirty: bool) -> None:
    # A half-written file is thrown away, so nothing needs to reach the disk before the rename.
    connection.execute("PRAGMA journal_mode = OFF")
    connection.execute("PRAGMA synchronous = OFF")
    connection.execute("BEGIN")
    create = create_relaxed_schema if dirty else create_schema
    create(connection, plan.revision)
    _write_content(connection, plan)
    if dirty:
        spoil(connection, Random(plan.seed))
    connection.execute("COMMIT")


def _write_content(connection: sqlite3.Connection, plan: Plan) -> None:
    rng = Random(plan.seed)
    ledger = Ledger.empty(plan.leads)
    _insert(connection, plan, "partners", partner_rows(plan.leads, rng))
    _insert(connection, plan, "settings", _setting_rows())
    for batch in Writer(plan, rng, ledger).batches():
        _insert(connection, plan, "calls", batch.calls)
        _insert(connection, plan, "conversation_history", batch.turns)
        _insert(connection, plan, "meetings", batch.meetings)
    _insert(connection, plan, "leads", lead_rows(plan.leads, plan.seed, ledger.of))


def _insert(connection: sqlite3.Connection, plan: Plan, table: str, rows: Iterable[Row]) -> None:
    """Insert rows given in the columns of revision 7, leaving out what the plan's revision lacks."""
    names = COLUMNS[plan.revision].get(table)
    if names is None:
        return
    listed = ", ".join(f'"{name}"' for name in names)
    marks = ", ".join("?" * len(names))
    # Table and column names come from our own constants, never from input.
    statement = f"INSERT INTO {table} ({listed}) VALUES ({marks})"
    newest = COLUMNS[NEWEST][table]
    if names != newest:
        rows = map(itemgetter(*map(newest.index, names)), rows)
    connection.executemany(statement, rows)


def _setting_rows() -> Iterator[Row]:
    values = {
        "system_prompt_en": SYSTEM_PROMPT,
        "system_prompt_he": "אתה עוזר מקצועי שמתאם פגישות. היה קצר, אדיב וברור.",
        "voice_id": VOICES[0].id,
        "voice_name": VOICES[0].name,
        "max_concurrent_calls": "5",
    }
    for number, (key, value) in enumerate(values.items(), 1):
        yield number, key, value, clock.by_database(clock.START + number * 60)
