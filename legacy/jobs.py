"""Imports that staff start on a page and a background worker runs (`legacy.job_run`)."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db import IntegrityError, transaction
from django.db.models import QuerySet
from django.db.models.functions import Now
from procrastinate.contrib.django.models import ProcrastinateWorker

from legacy import import_folder
from legacy.models import ImportJob, ImportRun
from legacy.tasks import run_import_job

LOST_AFTER = 60  # seconds without a sign of life
WORKER_SILENT_AFTER = 45  # seconds; workers report every ten
WORKER_COMMAND = "manage.py procrastinate worker"
LOST = "The worker that ran it ended or was killed: the import was rolled back and nothing of it is stored."
LOST_BUT_STORED = "The worker ended after the import was stored: it is complete."


class AnotherRuns(Exception):
    """Another import waits or runs."""

    def __init__(self) -> None:
        super().__init__("Another import is waiting or running; let it finish, then start this one.")


def start(name: str, *, dry_run: bool, user_id: int) -> ImportJob:
    """Put an import of a file below the folder into the queue. Raises UnusableSource and AnotherRuns."""
    import_folder.inside(name)
    bury_lost()
    try:
        with transaction.atomic():
            job = ImportJob.objects.create(file_name=name, dry_run=dry_run, started_by_id=user_id)
            run_import_job.defer(job_id=job.pk)
    except IntegrityError:
        raise AnotherRuns from None
    job.refresh_from_db()
    return job


def cancel(job: ImportJob) -> bool:
    """Take back a job that no worker has begun; return False when it is too late."""
    waiting = ImportJob.objects.filter(pk=job.pk, state=ImportJob.State.WAITING)
    return bool(
        end_jobs(waiting, ImportJob.State.FAILED, outcome="It was cancelled before a worker began it.")
    )


def bury_lost() -> None:
    """Mark running jobs whose worker has given no sign of life; one whose rows were stored counts as done."""
    silent = ImportJob.objects.filter(
        state=ImportJob.State.RUNNING, heartbeat_at__lt=Now() - timedelta(seconds=LOST_AFTER)
    )
    for job in silent:
        same = silent.filter(pk=job.pk)
        if run := stored_run(job):
            end_jobs(same, ImportJob.State.DONE, outcome=LOST_BUT_STORED, run=run, report=run.report)
        else:
            end_jobs(same, ImportJob.State.LOST, outcome=LOST)


def worker_is_running() -> bool:
    """Tell whether a worker has given a sign of life lately."""
    lately = Now() - timedelta(seconds=WORKER_SILENT_AFTER)
    return ProcrastinateWorker.objects.filter(last_heartbeat__gt=lately).exists()


def end_jobs(jobs: QuerySet[ImportJob], state: ImportJob.State, **values: Any) -> int:
    """End jobs, as long as they still are what the queryset asks for; return how many."""
    return int(jobs.update(state=state, ended_at=Now(), **{"outcome": "", **values}))


def stored_run(job: ImportJob) -> ImportRun | None:
    """Return the run that a job has committed, None when it has none."""
    return ImportRun.objects.filter(options__job=job.pk).order_by("-pk").first()
