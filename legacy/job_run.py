"""Runs an import that staff started on a page, in a background worker.

The import is one long transaction. How far it is, is written by a thread of its own over another connection, once a
second: that is also the sign of life. A job without one for `jobs.LOST_AFTER` seconds is said to be lost.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from io import StringIO
from threading import Event, Thread
from typing import Any

from django.db import DatabaseError, connection
from django.db.models.functions import Now
from rich.console import Console

from legacy import import_folder
from legacy.errors import MoveError
from legacy.jobs import end_jobs, stored_run
from legacy.models import ImportJob
from legacy.pipeline import Options, run_import
from legacy.progress import Reporter, Step

BEAT = 1.0  # seconds between two signs of life
KEPT_NOTES = 100
BROKE = (
    "The import broke off by an error of the program; the worker's log says more. Nothing of it is stored."
)

log = logging.getLogger(__name__)


def run(job_id: int) -> None:
    """Do a waiting job, in a worker; one that was cancelled or begun elsewhere is left alone."""
    running = {"state": ImportJob.State.RUNNING, "heartbeat_at": Now()}
    if not ImportJob.objects.filter(pk=job_id, state=ImportJob.State.WAITING).update(**running):
        return
    job = ImportJob.objects.get(pk=job_id)
    try:
        with Heart(job_id) as heart:
            path = import_folder.inside(job.file_name)
            options = Options(dry_run=job.dry_run, job_id=job.pk)
            report = run_import(path, options, heart).as_json()
    except MoveError as error:
        _finish(job, ImportJob.State.FAILED, outcome=str(error))
    except Exception:
        _finish(job, ImportJob.State.FAILED, outcome=BROKE)
        raise
    else:
        # Without the old values: those of a partner hold its key.
        names = ("table", "id", "kind", "column", "reason")
        report["notes"] = [{name: note[name] for name in names} for note in report["notes"][:KEPT_NOTES]]
        _finish(job, ImportJob.State.DONE, report=report, run=stored_run(job))


def _finish(job: ImportJob, state: ImportJob.State, **values: Any) -> None:
    # Also one that was taken for lost meanwhile, because its worker stood still: what it says itself is right.
    unfinished = (ImportJob.State.RUNNING, ImportJob.State.LOST)
    end_jobs(ImportJob.objects.filter(pk=job.pk, state__in=unfinished), state, **values)


class Heart(Reporter):
    """Writes a job's progress and sign of life every second, over a connection of its own thread."""

    def __init__(self, job_id: int) -> None:
        super().__init__(Console(file=StringIO()))
        self.job_id = job_id
        self.current: tuple[str, Step | None] = ("Copying the file", None)
        self._stop = Event()
        self._thread = Thread(target=self._beat, name=f"import job {job_id}", daemon=True)

    def __enter__(self) -> Heart:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()

    @contextmanager
    def step(self, title: str, total: int) -> Iterator[Step]:
        step = Step(self.console, title, total, None)
        self.current = (title, step)
        yield step

    def _beat(self) -> None:
        try:
            while not self._stop.is_set():
                self._write()
                self._stop.wait(BEAT)
            self._write()
        finally:
            connection.close()

    def _write(self) -> None:
        title, step = self.current
        try:
            ImportJob.objects.filter(pk=self.job_id, state=ImportJob.State.RUNNING).update(
                step=title,
                rows_done=step.done if step else 0,
                rows_total=step.total if step else 0,
                heartbeat_at=Now(),
            )
        except DatabaseError:
            # The next second may do; when PostgreSQL is gone, the import itself fails and says so.
            log.warning("The progress of import job %s could not be written.", self.job_id)
            connection.close()
