"""A CSV file of leads into the table: a million rows in flat memory.

The rows come in parts, each a transaction of its own, so that a partner who hands over one of the same phones waits
for the end of a part only. What breaks off in the middle leaves the parts before in the table: sent again, the file
meets its own phones there, and each row is accounted for. Within the caller's transaction, as with an
Idempotency-Key, the file is one part: all rows or none, and others may wait for the end of all.

The rows of a part go by COPY into a temporary table; one statement then inserts them in the order of their phones,
as `leads.transfers` does, so that the two never deadlock.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from typing import IO

from django.db import connection, transaction
from psycopg import sql

from database.bulk.columns import chosen_fields
from database.bulk.copying import copy_blocks
from database.bulk.rows import RowWriter
from database.retry import retry_transient
from leads import tombstones
from leads.intake import NewLead, read_lead
from leads.models import Lead
from leads.sheets import Row, Sheet

ROWS_A_PART = 10_000  # so many are in memory at a time
MOST_ERRORS = 1000  # that an answer lists; it counts all of them
LONGEST_RUN = "600s"  # of one statement
WORK_MEM = "64MB"

PREPARE = """
SELECT set_config('statement_timeout', %s, true), set_config('work_mem', %s, true)
"""
CREATE = """
CREATE TEMP TABLE uploaded_leads (row_number bigint, name text, phone text COLLATE "C", phone_valid boolean,
    email text, country_code text, language text) ON COMMIT DROP;
CREATE TEMP TABLE created_leads (phone text COLLATE "C") ON COMMIT DROP
"""
INSERT = """
WITH first_rows AS (
    SELECT DISTINCT ON (phone) * FROM pg_temp.uploaded_leads ORDER BY phone, row_number
), created AS (
    INSERT INTO leads (name, phone, phone_valid, email, country_code, language)
    SELECT name, phone, phone_valid, email, country_code, language FROM first_rows ORDER BY phone
    ON CONFLICT (phone) WHERE duplicate_of_id IS NULL DO NOTHING
    RETURNING phone
)
INSERT INTO pg_temp.created_leads SELECT phone FROM created
"""
REFUSED = """
SELECT row_number, phone, first_number FROM (
    SELECT row_number, phone, min(row_number) OVER (PARTITION BY phone) AS first_number
    FROM pg_temp.uploaded_leads
) numbered
WHERE row_number <> first_number
    OR NOT EXISTS (SELECT FROM pg_temp.created_leads c WHERE c.phone = numbered.phone)
ORDER BY row_number LIMIT %s
"""
# One statement has created them, so they share the moment.
CREATED_AT = """
SELECT created_at FROM leads
WHERE phone = (SELECT phone FROM pg_temp.created_leads LIMIT 1) AND duplicate_of_id IS NULL
"""
DROP = "DROP TABLE pg_temp.uploaded_leads, pg_temp.created_leads"
STAGED = sql.Identifier("pg_temp", "uploaded_leads")
COLUMNS = ("row_number", *NewLead._fields)


@dataclass
class Uploaded:
    """What became of the rows: `rows` = `created` + `refused`; `errors` are row numbers, in order, with reasons.

    `created_at` is that of the leads of the last part.
    """

    rows: int = 0
    blank: int = 0
    created: int = 0
    refused: int = 0
    errors: list[tuple[int, str]] = field(default_factory=list)
    created_at: datetime | None = None

    def refuse(self, number: int, errors: Iterable[tuple[int, str]]) -> None:
        """Count refused rows; `errors` are the first of them."""
        self.refused += number
        self.errors = sorted([*self.errors, *errors])[:MOST_ERRORS]

    def add(self, part: Uploaded) -> None:
        self.created += part.created
        self.created_at = part.created_at or self.created_at
        self.refuse(part.refused, part.errors)

    def sentences(self) -> list[str] | None:
        """Return the errors by row, at most MOST_ERRORS; None when there is none."""
        return [f"Row {number}: {reason}" for number, reason in self.errors] or None


@dataclass(frozen=True)
class Part:
    """Some rows of a file that follow each other: the valid ones as COPY text, the others with their reasons."""

    valid: int
    blocks: list[bytes]
    refused: list[tuple[int, str]]


def upload(file: IO[bytes]) -> Uploaded:
    """Create a lead for each row that is valid and whose phone is new. Raises NoSheet with nothing created."""
    sheet = Sheet(file)
    done = Uploaded()
    try:
        if connection.in_atomic_block:
            with transaction.atomic():
                done.add(_create(_parts(sheet)))
        else:
            with closing(_read_ahead(_parts(sheet))) as parts:
                for part in parts:
                    done.add(_create_alone([part]))
    finally:
        sheet.close()
    done.rows, done.blank = sheet.rows, sheet.blank
    return done


def _parts(sheet: Sheet) -> Iterator[Part]:
    writer = RowWriter(chosen_fields(Lead, NewLead._fields), connection)
    rows = iter(sheet)
    while chunk := list(islice(rows, ROWS_A_PART)):
        numbers, leads, refused = [], [], []
        for row in chunk:
            try:
                leads.append(_read(row))
                numbers.append(row.number)
            except ValueError as error:
                refused.append((row.number, str(error)))
        yield Part(len(leads), list(writer.blocks(leads, 0, numbers)), refused)


def _read(row: Row) -> NewLead:
    if row.fault:
        raise ValueError(row.fault)
    return read_lead(row.name, row.phone, row.email)


def _read_ahead(parts: Iterator[Part]) -> Generator[Part, None, None]:
    """Yield the parts; while PostgreSQL works on one, a thread reads the next."""
    with ThreadPoolExecutor(1) as reader:
        following = reader.submit(next, parts, None)
        while part := following.result():
            following = reader.submit(next, parts, None)
            yield part


def _create(parts: Iterable[Part]) -> Uploaded:
    """Create the leads of some parts in the transaction that is open, in one statement."""
    done, staged = Uploaded(), 0
    with connection.cursor() as cursor:
        cursor.execute(PREPARE, [LONGEST_RUN, WORK_MEM])
        cursor.execute(CREATE)
        for part in parts:
            done.refuse(len(part.refused), part.refused)
            # A COPY each: it is a command of its own for the statement timeout.
            with connection.wrap_database_errors:
                copy_blocks(cursor, STAGED, COLUMNS, part.blocks)
            staged += part.valid
        cursor.execute("ANALYZE pg_temp.uploaded_leads")
        cursor.execute(INSERT)
        done.created = cursor.rowcount
        if done.created:
            cursor.execute(CREATED_AT)
            (done.created_at,) = cursor.fetchone()
        if done.created < staged:
            cursor.execute("ANALYZE pg_temp.created_leads")
            cursor.execute(REFUSED, [MOST_ERRORS])
            taken = [(number, _taken(number, *row)) for number, *row in cursor.fetchall()]
            done.refuse(staged - done.created, taken)
    _stop_erased()
    with connection.cursor() as cursor:
        cursor.execute(DROP)
    return done


_create_alone = retry_transient(_create)


def _stop_erased() -> None:
    """Mark leads of erased people; see leads.tombstones."""
    if tombstones.is_any():
        with connection.cursor() as cursor:
            cursor.execute("SELECT phone FROM pg_temp.created_leads")
            phones = [phone for (phone,) in cursor.fetchall()]
        tombstones.stop_calls(phones)


def _taken(number: int, phone: str, first_number: int) -> str:
    where = "" if number == first_number else f" in row {first_number}"
    return f"Phone {phone} already exists{where}"
