"""Files of leads that staff bring: kept in pieces, looked at first, then imported by a background job.

The pieces are rows of PostgreSQL, so that any worker on any machine can read them; they go when the leads are in.
"""

from __future__ import annotations

import csv
import io
import zipfile
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import islice
from time import monotonic
from typing import IO, Any

from django.db import connection, transaction
from django.db.models import F, Q
from django.db.models.functions import Greatest, Now
from django.utils import timezone

from leads.intake import read_lead
from leads.models import Lead, LeadImport, LeadImportPart
from leads.sheets import NoSheet, Row, Sheet, encoding_of
from leads.traits import Known
from leads.uploads import upload

PART = 1024 * 1024  # bytes
PREVIEWED = 1000  # rows that are checked, one by one, before anything is imported
MOST_UNPACKED = 2 * 1024**3  # bytes of an XLSX file without its compression
EVERY = 0.5  # seconds between two reports of progress
SILENT = timedelta(minutes=2)  # after which a running job counts as dead
KEPT = timedelta(days=2)  # a file that nobody confirmed
LONGEST_FOUND = 1000  # characters of what is looked for in a file
State = LeadImport.State


class UnreadableFile(ValueError):
    """The file is no table of leads; the text says why."""


@dataclass
class Checked:
    """One row of a preview: what it would become, or why it would be refused."""

    number: int
    name: str
    phone: str
    email: str
    problem: str = ""


@dataclass
class Preview:
    """The first rows of a file, checked; `is_whole` when these are all."""

    rows: list[Checked] = field(default_factory=list)
    is_whole: bool = True

    @property
    def problems(self) -> int:
        return sum(1 for row in self.rows if row.problem)


class KeptFile(io.RawIOBase):
    """The pieces of a file as one that can be read; `seen` hears how many bytes were read."""

    def __init__(self, lead_import: LeadImport, seen: Callable[[int], None] = lambda _: None) -> None:
        super().__init__()
        self._import, self._seen = lead_import, seen
        self._place = 0
        self._part = -1
        self._content = b""

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._place, io.SEEK_END: self._import.bytes_total}[whence]
        self._place = start + offset
        return self._place

    def tell(self) -> int:
        return self._place

    def readinto(self, buffer: Any) -> int:
        number, start = divmod(self._place, PART)
        if number != self._part:
            found = self._import.parts.filter(number=number).values_list("content", flat=True).first()
            self._part, self._content = number, bytes(found or b"")
        piece = self._content[start : start + len(buffer)]
        buffer[: len(piece)] = piece
        self._place += len(piece)
        self._seen(self._place)
        return len(piece)


def keep(file: IO[bytes], name: str, owner: Any) -> LeadImport:
    """Keep a CSV or XLSX file to be looked at. Raises UnreadableFile with nothing kept."""
    content = _as_csv(file) if name.lower().endswith(".xlsx") else file
    content.seek(0)
    with transaction.atomic():
        kept = LeadImport.objects.create(file_name=name[:200], bytes_total=0, owner=owner)
        size = 0
        for number, piece in enumerate(iter(lambda: content.read(PART), b"")):
            LeadImportPart.objects.create(lead_import=kept, number=number, content=piece)
            size += len(piece)
        LeadImport.objects.filter(pk=kept.pk).update(bytes_total=size)
        kept.bytes_total = size
        try:
            _sheet(kept).close()
        except NoSheet as error:
            raise UnreadableFile(f"{error}.") from None
    return kept


def _as_csv(file: IO[bytes]) -> IO[bytes]:
    """Write the first sheet of an XLSX file as CSV. Formulas become the values that were last computed."""
    # Here and not above: it takes half a second to import, which every process would pay at its start.
    from openpyxl import load_workbook
    from openpyxl.utils.exceptions import InvalidFileException

    try:
        with zipfile.ZipFile(file) as archive:
            if sum(each.file_size for each in archive.infolist()) > MOST_UNPACKED:
                raise UnreadableFile("The file is too large; save it as CSV.")
        file.seek(0)
        book = load_workbook(file, read_only=True, data_only=True, keep_links=False)
        return _written(book.worksheets[0].iter_rows(values_only=True))
    except (zipfile.BadZipFile, InvalidFileException, KeyError, IndexError, OSError, ValueError) as error:
        if isinstance(error, UnreadableFile):
            raise
        raise UnreadableFile("This is no XLSX file that can be read.") from None


def _written(rows: Iterable[Iterable[Any]]) -> IO[bytes]:
    content = io.BytesIO()
    text = io.TextIOWrapper(content, encoding="utf-8", newline="", write_through=True)
    writer = csv.writer(text)
    writer.writerows([_cell(value) for value in row] for row in rows)
    text.detach()
    return content


def _cell(value: object) -> str:
    """Write a cell as text; a phone that Excel took for a number has no decimals."""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value)


def _sheet(lead_import: LeadImport, seen: Callable[[int], None] = lambda _: None) -> Sheet:
    return Sheet(io.BufferedReader(KeptFile(lead_import, seen)))


def preview(lead_import: LeadImport) -> Preview:
    """Check the first rows as the import itself will."""
    sheet = _sheet(lead_import)
    rows = iter(sheet)
    shown = Preview([_checked(row) for row in islice(rows, PREVIEWED)])
    shown.is_whole = next(rows, None) is None
    sheet.close()
    _name_taken(shown.rows)
    return shown


def _checked(row: Row) -> Checked:
    checked = Checked(row.number, row.name, row.phone, row.email)
    try:
        if row.fault:
            raise ValueError(row.fault)
        lead = read_lead(row.name, row.phone, row.email)
    except ValueError as error:
        checked.problem = str(error)
    else:
        checked.phone = lead.phone
    return checked


def _name_taken(rows: list[Checked]) -> None:
    """Mark rows whose phone a lead or an earlier row has."""
    valid = [row for row in rows if not row.problem]
    phones = {row.phone for row in valid}
    taken = set(Lead.objects.filter(phone__in=phones, duplicate_of=None).values_list("phone", flat=True))
    firsts: dict[str, int] = {}
    for row in valid:
        if row.phone in taken:
            row.problem = "A lead with this phone exists already"
        elif firsts.setdefault(row.phone, row.number) != row.number:
            row.problem = f"Row {firsts[row.phone]} has this phone already"


def start(lead_import_id: int) -> bool:
    """Hand a file to the workers; False when it was handed over already, and its job is alive.

    The job commits together with the state, so there is never one without the other.
    """
    # Imported late: the tasks import this module.
    from leads.tasks import import_leads

    may_start = Q(state__in=[State.PREVIEW, State.FAILED]) | Q(
        state=State.RUNNING, seen_at__lt=timezone.now() - SILENT
    )
    with transaction.atomic():
        chosen = LeadImport.objects.filter(may_start, pk=lead_import_id, parts__number=0)
        started = (
            LeadImport.objects.filter(pk__in=chosen.values("pk"))
            .filter(may_start)
            .update(state=State.WAITING, failure=None, bytes_read=0, ended_at=None)
        )
        if started:
            import_leads.defer(lead_import_id=lead_import_id)
    return bool(started)


def run(lead_import_id: int) -> None:
    """Import a file that waits; all its leads are there at the end, or none. A second run of the job does nothing."""
    taken = LeadImport.objects.filter(pk=lead_import_id, state=State.WAITING).update(
        state=State.RUNNING, started_at=Now(), seen_at=Now()
    )
    if not taken:
        return
    lead_import = LeadImport.objects.get(pk=lead_import_id)
    try:
        with Progress(lead_import.pk) as progress, transaction.atomic():
            done = upload(io.BufferedReader(KeptFile(lead_import, progress)))
    except Exception as error:
        sentence = (
            str(error) if isinstance(error, NoSheet) else f"The import broke off ({type(error).__name__})."
        )
        _end(lead_import, state=State.FAILED, failure=sentence)
        raise
    _end(
        lead_import,
        state=State.DONE,
        bytes_read=F("bytes_total"),
        rows=done.rows,
        blank=done.blank,
        created=done.created,
        refused=done.refused,
        errors=done.errors,
        leads_created_at=done.created_at,
    )


def _end(lead_import: LeadImport, **values: Any) -> None:
    with transaction.atomic():
        LeadImport.objects.filter(pk=lead_import.pk).update(ended_at=Now(), **values)
        if values["state"] == State.DONE:
            lead_import.parts.all().delete()


class Progress:
    """Tells how far a file is read, over a connection of its own: that of the import commits at the end only."""

    def __init__(self, lead_import_id: int) -> None:
        self._id = lead_import_id
        self._thread = ThreadPoolExecutor(1)
        self._next = 0.0

    def __enter__(self) -> Progress:
        return self

    def __call__(self, bytes_read: int) -> None:
        if monotonic() >= self._next:
            self._next = monotonic() + EVERY
            self._thread.submit(self._write, bytes_read)

    def __exit__(self, *_: object) -> None:
        self._thread.submit(_close)
        self._thread.shutdown()

    def _write(self, bytes_read: int) -> None:
        rows = LeadImport.objects.filter(pk=self._id, state=State.RUNNING)
        rows.update(bytes_read=bytes_read, seen_at=Now())


def _close() -> None:
    # Each thread has a connection of its own behind this name, so it must be asked for in the thread.
    connection.close()


def sweep() -> int:
    """Delete files that nobody has confirmed for days, and the content of those that broke off; return how many."""
    last_sign = Greatest("created_at", "started_at", "seen_at", "ended_at")
    old = LeadImport.objects.alias(last_sign=last_sign).filter(last_sign__lt=timezone.now() - KEPT)
    with transaction.atomic():
        locked = dict(old.select_for_update().order_by("pk").values_list("pk", "state"))
        broken = LeadImportPart.objects.filter(
            lead_import__in=[key for key, state in locked.items() if state in (State.FAILED, State.RUNNING)]
        )
        swept = broken.values("lead_import").distinct().count()
        broken.delete()
        unconfirmed = [key for key, state in locked.items() if state == State.PREVIEW]
        LeadImport.objects.filter(pk__in=unconfirmed).delete()
    return swept + len(unconfirmed)


def forget(known: Known) -> None:
    """Delete the files that hold a person, as long as no worker has them."""
    no_worker = Q(state__in=[State.PREVIEW, State.FAILED]) | Q(
        state=State.RUNNING, seen_at__lt=timezone.now() - SILENT
    )
    # Whoever starts one of them meanwhile waits, and then finds no file instead of half of one.
    waiting = LeadImport.objects.select_for_update(of=("self",)).filter(no_worker, parts__number=0)
    for kept in waiting.order_by("pk").defer("errors"):
        if _holds(kept, known):
            kept.parts.all().delete()
            if kept.state == State.PREVIEW:
                kept.delete()


def _holds(lead_import: LeadImport, known: Known) -> bool:
    file = io.BufferedReader(KeptFile(lead_import))
    encoding, errors = encoding_of(file)
    file.seek(0)
    text = io.TextIOWrapper(file, encoding, errors)
    before = ""
    for piece in iter(lambda: text.read(PART), ""):
        if known.is_in(before + piece):
            return True
        before = piece[-LONGEST_FOUND:]
    return False


def error_lines(lead_import: LeadImport) -> Iterator[tuple[int, str]]:
    """Yield the refused rows of an import, as far as they are listed."""
    return ((number, reason) for number, reason in lead_import.errors)
