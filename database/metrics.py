"""What Prometheus reads about the PostgreSQL layer.

The values of all processes of a machine meet in the folder PROMETHEUS_MULTIPROC_DIR, which the settings name
before this module is imported.
"""

from prometheus_client import Counter, Gauge, Histogram

WAIT_BUCKETS = (0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)  # seconds

POOL_CONNECTIONS = Gauge(
    "scheduler_pool_connections",
    "Connections of a pool by state: idle, used.",
    ["alias", "state"],
    multiprocess_mode="liveall",
)
POOL_LIMIT = Gauge(
    "scheduler_pool_max_connections",
    "Connections that a pool may open.",
    ["alias"],
    multiprocess_mode="liveall",
)
POOL_WAITING = Gauge(
    "scheduler_pool_waiting",
    "Threads or tasks waiting for a connection.",
    ["alias"],
    multiprocess_mode="liveall",
)
POOL_WAIT = Histogram(
    "scheduler_pool_wait_seconds", "Time until a connection was there.", ["alias"], buckets=WAIT_BUCKETS
)
POOL_TIMEOUTS = Counter("scheduler_pool_timeouts", "Requests that got no connection in time.", ["alias"])
POOL_RETIRED = Counter(
    "scheduler_pool_connections_retired",
    "Connections closed and replaced, by reason: queries, lifetime, idle, broken.",
    ["alias", "reason"],
)
POOL_HELD_IDLE = Counter(
    "scheduler_pool_held_idle",
    "Connections held for over a second without a statement, such as during a request to a third party.",
    ["alias"],
)
COMMAND_TIMEOUTS = Counter("scheduler_command_timeouts", "Statements that the server broke off.", ["alias"])
RETRIES = Counter("scheduler_transaction_retries", "Transactions tried again, by cause.", ["cause"])
RETRIES_GIVEN_UP = Counter(
    "scheduler_transaction_retries_given_up", "Transactions that failed for good, by last cause.", ["cause"]
)
COMMITS_UNKNOWN = Counter("scheduler_commits_unknown", "Connections lost during COMMIT.")
REPLICA_LAG = Gauge(
    "scheduler_replica_lag_seconds",
    "How far the replica is behind; NaN while it is down.",
    multiprocess_mode="livemostrecent",
)
REPLICA_READS = Counter(
    "scheduler_replica_reads",
    "Reads that asked for the replica, by who answered (replica, primary) and why "
    "(asked, transaction, lag, down, conflict).",
    ["answered_by", "reason"],
)

# Prometheus sees an increase only from a value that was there before, so these are there from the start.
for _counter in (POOL_TIMEOUTS, COMMAND_TIMEOUTS):
    _counter.labels("default")
