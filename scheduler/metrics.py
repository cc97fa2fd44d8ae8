"""What Prometheus reads about requests and background jobs."""

from collections.abc import Iterable

from django.apps import apps
from prometheus_client import Counter, Histogram

from database.figures import Figure, FigureQuery, Rows, Value, register

LATENCY_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)  # seconds

REQUESTS = Counter(
    "scheduler_requests",
    "Requests answered, by method, route and status; probes and /metrics apart.",
    ["method", "route", "status"],
)
REQUEST_SECONDS = Histogram(
    "scheduler_request_seconds", "Time until the answer began, by route.", ["route"], buckets=LATENCY_BUCKETS
)

JOBS = Figure(
    "scheduler_jobs", "Background jobs by status; successful ones are deleted at once.", ("status",)
)
JOB_STATUSES = ("todo", "doing", "failed", "aborting", "aborted", "cancelled", "succeeded")


def jobs_by_status(rows: Rows, figures: tuple[Figure, ...]) -> Iterable[Value]:
    counts = dict.fromkeys(JOB_STATUSES, 0) | dict(rows)  # a status without a job is 0, not absent
    return [(JOBS.name, (status,), float(count)) for status, count in counts.items()]


if apps.is_installed("procrastinate.contrib.django"):
    register(
        FigureQuery(
            "jobs",
            "SELECT status::text, count(*) FROM procrastinate_jobs GROUP BY status",
            (JOBS,),
            jobs_by_status,
        )
    )
