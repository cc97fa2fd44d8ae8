"""Background jobs of the move; `manage.py procrastinate worker` runs them."""

from django.db import connection
from procrastinate.contrib.django import app


@app.task
def run_import_job(job_id: int) -> None:
    """Run an import that staff started on a page."""
    # All that an import needs, which only a worker has to load.
    from legacy import job_run

    try:
        job_run.run(job_id)
    finally:
        # A thread of the worker would keep its connection until its next job.
        if not connection.in_atomic_block:
            connection.close()
