"""Imports that staff start on a page: from which files, by whom, one at a time, with progress, also when killed."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from importlib import import_module
from pathlib import Path
from typing import Any

import psycopg
import pytest
from django.apps import apps
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Group, User
from django.db import IntegrityError, connection
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from conftest import PROJECT
from leads.models import Lead
from legacy import import_folder, job_run, jobs
from legacy.errors import UnusableSource
from legacy.models import ImportJob, ImportRun
from scheduler.staff.groups import ADMINISTRATOR, RIGHTS, SUPERVISOR, grant
from scheduler.tests import staff

pytestmark = pytest.mark.django_db(transaction=True)

START = "/admin/legacy/importjob/start/"
WAIT = 60  # seconds until a worker must have done something


@pytest.fixture
def folder(tmp_path: Path, settings: Any, old: Path) -> Path:
    """An import folder below another one, which holds the file of the fixture `old`; both hold a file."""
    path = tmp_path / "imports"
    (path / "sub").mkdir(parents=True)
    (path / "sub" / "old.db").write_bytes(old.read_bytes())
    settings.IMPORT_FOLDER = str(path)
    return path


@pytest.fixture
def client(transactional_db: None) -> Client:
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs, procrastinate_workers CASCADE")
    signed_in = Client()
    signed_in.force_login(User.objects.create_superuser("boss"))
    return signed_in


def database_url() -> str:
    values = connection.get_connection_params()
    return f"postgresql://{values['user']}@/{values['dbname']}?host={values['host']}&port={values.get('port', 5432)}"


@pytest.fixture
def worker(folder: Path) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    """Start a worker process that does the jobs there are and ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        command = [sys.executable, str(PROJECT / "manage.py"), "procrastinate", "worker", "--one-shot"]
        own = {**os.environ, "DATABASE_URL": database_url(), "IMPORT_FOLDER": str(folder)}
        started.append(
            subprocess.Popen(command, env=own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        )
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def wait_for(condition: Callable[[], object]) -> None:
    end = time.monotonic() + WAIT
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)


def begin(client: Client, **values: str) -> Any:
    return client.post(START, {"file_name": "sub/old.db", "kind": "dry", **values})


def page_of(client: Client, job: ImportJob) -> str:
    return staff.page(client, staff.address(ImportJob, "change", job.pk))


def job_in(state: str, **values: Any) -> ImportJob:
    return ImportJob.objects.create(file_name="sub/old.db", state=state, **values)


@pytest.mark.slow
def test_a_dry_run_is_done_by_a_worker_and_leaves_nothing(client: Client, folder: Path, worker) -> None:
    assert begin(client).status_code == 302
    job = ImportJob.objects.get()
    assert "Waiting for a worker" in page_of(client, job)

    assert worker().wait(WAIT) == 0

    job.refresh_from_db()
    html = page_of(client, job)
    assert (job.state, job.outcome, job.run) == ("done", "", None)
    assert not Lead.objects.exists() and not ImportRun.objects.exists()
    assert "The dry run is done; all of it was rolled back." in html
    assert '<th scope="row">leads</th><td>4</td><td>4</td>' in html
    assert "Started: Dry run of sub/old.db" in LogEntry.objects.get().change_message


def test_an_import_asks_first_and_leads_to_its_run(client: Client, folder: Path) -> None:
    asked = begin(client, kind="real")
    assert "Import sub/old.db into the database?" in asked.content.decode()
    assert not ImportJob.objects.exists()
    begin(client, kind="real", confirmed="yes")

    job = ImportJob.objects.get()
    job_run.run(job.pk)
    job.refresh_from_db()
    assert job.state == "done" and job.run == ImportRun.objects.get()
    assert Lead.objects.count() == 4
    assert staff.address(ImportRun, "change", job.run_id) in page_of(client, job)


@pytest.mark.slow
def test_progress_is_seen_while_the_transaction_of_the_import_is_open(
    client: Client, folder: Path, worker
) -> None:
    begin(client)
    job = ImportJob.objects.get()
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE leads IN ACCESS EXCLUSIVE MODE")
        process = worker()
        wait_for(lambda: ImportJob.objects.filter(state="running").exists())
        first = ImportJob.objects.get().heartbeat_at
        wait_for(lambda: ImportJob.objects.get().heartbeat_at != first)
        path = reverse("admin:legacy_importjob_progress", args=[job.pk])
        part = client.get(path)
        assert 'data-state="running"' in part.content.decode() and "data-ended" not in part.content.decode()
        assert "<progress" in part.content.decode() and "no-store" in part["Cache-Control"]
        assert "No background worker is running" not in part.content.decode()
    assert process.wait(WAIT) == 0
    assert "data-ended" in client.get(path).content.decode()


@pytest.mark.slow
def test_a_killed_worker_leaves_a_job_that_says_so(client: Client, folder: Path, worker) -> None:
    begin(client, kind="real", confirmed="yes")
    job = ImportJob.objects.get()
    with psycopg.connect(database_url()) as other:
        other.execute("LOCK TABLE leads IN ACCESS EXCLUSIVE MODE")
        process = worker()
        wait_for(lambda: ImportJob.objects.filter(state="running").exists())
        process.kill()
        process.wait()
    assert "Another import is waiting or running" in begin(client).content.decode()

    ImportJob.objects.update(heartbeat_at=timezone.now() - timedelta(seconds=jobs.LOST_AFTER + 1))
    html = page_of(client, job)

    assert "Lost." in html and "nothing of it is stored" in html
    assert not Lead.objects.exists()
    # The server lets go of the locks of the killed import, and the next one runs.
    begin(client, kind="real", confirmed="yes")
    assert worker().wait(WAIT) == 0
    assert ImportJob.objects.latest("pk").state == "done" and Lead.objects.count() == 4


def test_a_worker_that_died_after_the_commit_has_done_the_import(client: Client, folder: Path) -> None:
    job = job_in("running", heartbeat_at=timezone.now() - timedelta(hours=1))
    run = ImportRun.objects.create(source_path="x", source_bytes=1, options={"job": job.pk})

    html = page_of(client, job)

    job.refresh_from_db()
    assert (job.state, job.run) == ("done", run)
    assert "stored: it is complete" in html


def test_a_job_taken_for_lost_says_in_the_end_what_became_of_it(client: Client, folder: Path) -> None:
    job = job_in("waiting")
    with pytest.MonkeyPatch.context() as patch:

        def slow(*_: Any) -> Any:
            ImportJob.objects.update(heartbeat_at=timezone.now() - timedelta(hours=1))
            jobs.bury_lost()
            raise UnusableSource("The file is damaged.")

        patch.setattr(job_run, "run_import", slow)
        job_run.run(job.pk)

    job.refresh_from_db()
    assert (job.state, job.outcome) == ("failed", "The file is damaged.")


def test_a_failure_is_told_in_one_sentence(client: Client, folder: Path) -> None:
    (folder / "sub" / "old.db").write_bytes(b"no database at all")
    begin(client)

    job_run.run(ImportJob.objects.get().pk)

    job = ImportJob.objects.get()
    assert job.state == "failed" and job.outcome.endswith(".")
    assert "It failed." in page_of(client, job)


def test_of_two_people_who_start_at_once_one_is_refused(client: Client, folder: Path) -> None:
    user = User.objects.get()

    def start(_: int) -> bool:
        try:
            jobs.start("sub/old.db", dry_run=True, user_id=user.pk)
        except jobs.AnotherRuns:
            return False
        finally:
            connection.close()
        return True

    with ThreadPoolExecutor(5) as threads:
        assert sorted(threads.map(start, range(5))) == [False] * 4 + [True]
    with connection.cursor() as cursor:
        cursor.execute("SELECT count(*) FROM procrastinate_jobs")
        assert cursor.fetchone() == (1,)


def test_the_database_refuses_a_second_open_job_and_an_open_one_with_an_end(client: Client) -> None:
    job_in("running")

    with pytest.raises(IntegrityError, match="import_jobs_one_open"):
        job_in("waiting")
    with pytest.raises(IntegrityError, match="import_jobs_ended"):
        job_in("waiting", ended_at=timezone.now())
    with pytest.raises(IntegrityError, match="import_jobs_ended"):
        job_in("asleep", ended_at=timezone.now())


def test_a_waiting_job_is_cancelled_and_no_worker_does_it(client: Client, folder: Path) -> None:
    begin(client)
    job = ImportJob.objects.get()
    path = reverse("admin:legacy_importjob_cancel", args=[job.pk])

    assert client.get(path).status_code == 405
    client.post(path)
    again = client.post(path, follow=True).content.decode()
    job_run.run(ImportJob.objects.get().pk)

    job.refresh_from_db()
    assert job.state == "failed" and "cancelled" in job.outcome and job.heartbeat_at is None
    assert "too late" in again


@pytest.mark.parametrize(
    "name",
    ["", "..", "../ai_scheduler.db", "sub/../../ai_scheduler.db", "/etc/passwd", "link.db", "linked/ai_scheduler.db",
     "loop.db", "sub", "nothing.db", "a\0.db", "notes.txt"],
)  # fmt: skip
def test_no_file_outside_of_the_folder_is_imported(
    client: Client, folder: Path, old: Path, name: str
) -> None:
    (folder / "link.db").symlink_to(old)
    (folder / "linked").symlink_to(old.parent)
    (folder / "loop.db").symlink_to(folder / "loop.db")
    (folder / "notes.txt").write_text("x")
    assert old.exists() and old.parent == folder.parent

    answer = begin(client, file_name=name)

    assert answer.status_code == 200 and answer.context["form"].errors
    with pytest.raises(UnusableSource):
        import_folder.inside(name)
    with pytest.raises(UnusableSource):
        import_folder.inside(str(old))
    assert [each.name for each in import_folder.offered()] == ["sub/old.db"]
    assert not ImportJob.objects.exists()


def test_a_file_that_became_a_link_while_it_waited_is_not_read(
    client: Client, folder: Path, old: Path
) -> None:
    begin(client)
    (folder / "sub" / "old.db").unlink()
    (folder / "sub" / "old.db").symlink_to(old)

    job_run.run(ImportJob.objects.get().pk)

    assert ImportJob.objects.get().outcome == "This is no file of the import folder."


@pytest.mark.parametrize("value", ["", "/nowhere/at/all"])
def test_without_a_folder_the_page_says_what_to_set(client: Client, settings: Any, value: str) -> None:
    settings.IMPORT_FOLDER = value

    html = staff.page(client, START)

    assert "set <code>IMPORT_FOLDER</code>" in html
    with pytest.raises(UnusableSource):
        jobs.start("sub/old.db", dry_run=True, user_id=1)


def test_without_a_worker_the_pages_say_how_to_start_one(client: Client, folder: Path) -> None:
    job = job_in("waiting")

    for html in (staff.page(client, START), page_of(client, job)):
        assert "manage.py procrastinate worker" in html
    with connection.cursor() as cursor:
        cursor.execute("INSERT INTO procrastinate_workers DEFAULT VALUES")
    assert "manage.py procrastinate worker" not in page_of(client, job)


def test_only_administrators_start_imports_and_supervisors_see_them(client: Client, folder: Path) -> None:
    # Tests with real transactions empty the groups that migrations have made.
    grant(apps, RIGHTS)
    import_module("legacy.migrations.0002_jobs").grant_rights(apps, None)
    job = job_in("waiting")
    supervisor, administrator = Client(), Client()
    for each, group in ((supervisor, SUPERVISOR), (administrator, ADMINISTRATOR)):
        user = User.objects.create_user(group, is_staff=True)
        user.groups.add(Group.objects.get(name=group))
        each.force_login(user)

    assert "Cancel</button>" not in page_of(supervisor, job)
    assert supervisor.get(START).status_code == supervisor.post(START).status_code == 403
    assert supervisor.post(reverse("admin:legacy_importjob_cancel", args=[job.pk])).status_code == 403
    assert administrator.get(START).status_code == 200
    assert staff.staff_client().get(staff.address(ImportJob, "change", job.pk)).status_code == 403
    assert (
        staff.staff_client().get(reverse("admin:legacy_importjob_progress", args=[job.pk])).status_code == 403
    )


def test_the_pages_of_jobs_open_with_few_queries(client: Client, folder: Path) -> None:
    for text in staff.NASTY:
        ImportJob.objects.create(
            file_name=text,
            state="failed",
            outcome=text,
            ended_at=timezone.now(),
            started_by=User.objects.get(),
        )
    html = staff.page(client, staff.address(ImportJob, "changelist"))

    assert (
        staff.rows_listed(html) == len(staff.NASTY)
        and staff.ESCAPED_SCRIPT in html
        and staff.SCRIPT not in html
    )
    for path in (
        staff.address(ImportJob, "changelist"),
        START,
        staff.address(ImportJob, "change", ImportJob.objects.latest("pk").pk),
    ):
        assert staff.queries_of(client, path) <= staff.MOST_QUERIES
    job = ImportJob.objects.latest("pk")
    assert client.post(staff.address(ImportJob, "change", job.pk), {"state": "done"}).status_code == 403
