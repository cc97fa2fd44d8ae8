"""Background jobs: a job commits with the row that caused it, and a worker process runs it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import psycopg
import pytest
from django.contrib.sessions.models import Session
from django.db import connection, transaction
from django.utils import timezone
from procrastinate.contrib.django.models import ProcrastinateJob

from scheduler.tasks import clear_expired_sessions

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def no_jobs(transactional_db):
    """Empty the queue: its tables belong to procrastinate, so the end of a test does not."""
    with connection.cursor() as cursor:
        cursor.execute("TRUNCATE procrastinate_jobs CASCADE")


def sessions(*days: int) -> None:
    for day in days:
        expires = timezone.now() + timedelta(days=day)
        Session.objects.create(session_key=f"day{day}", session_data="", expire_date=expires)


def database_url() -> str:
    """Return the URL of the test's own database, for another process."""
    values = connection.get_connection_params()
    return f"postgresql://{values['user']}@/{values['dbname']}?host={values['host']}&port={values.get('port', 5432)}"


def test_a_job_is_there_when_its_transaction_commits_and_not_before():
    with transaction.atomic():
        clear_expired_sessions.defer()
        with psycopg.connect(database_url()) as other:
            before = other.execute("SELECT count(*) FROM procrastinate_jobs").fetchone()

    assert before == (0,)
    assert ProcrastinateJob.objects.get().task_name == "scheduler.tasks.clear_expired_sessions"


def test_a_job_goes_with_a_transaction_that_is_rolled_back():
    with pytest.raises(RuntimeError), transaction.atomic():
        clear_expired_sessions.defer()
        raise RuntimeError

    assert not ProcrastinateJob.objects.exists()


def test_a_worker_process_runs_the_job(manage):
    sessions(-1, 1)
    clear_expired_sessions.defer()

    done = manage("procrastinate", "worker", "--one-shot", DATABASE_URL=database_url())

    assert done.returncode == 0, done.stderr
    assert list(Session.objects.values_list("session_key", flat=True)) == ["day1"]
    assert not ProcrastinateJob.objects.filter(status="todo").exists()


def test_two_workers_run_a_job_once(manage):
    jobs = {clear_expired_sessions.configure(queueing_lock=str(number)).defer() for number in range(6)}

    with ThreadPoolExecutor(2) as two:
        work = [
            two.submit(manage, "procrastinate", "worker", "--one-shot", DATABASE_URL=database_url())
            for _ in range(2)
        ]
    logs = "".join(each.result().stderr for each in work)

    assert [each.result().returncode for each in work] == [0, 0]
    for job in jobs:
        assert logs.count(f"Starting job scheduler.tasks.clear_expired_sessions[{job}](") == 1
