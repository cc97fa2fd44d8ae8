"""A primary and its standby, known to Django as `primary` and `replica`, and who of them answers."""

from collections.abc import Iterator
from types import SimpleNamespace

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import router
from prometheus_client import REGISTRY

from database import replica_watch as watching
from database.replica import (
    REPLICA,
    read,
    replica_watch,
)
from database.testing import wait_until
from database.tests.replication import replicated
from database.tests.served import counted, run, served

READ_ONLY = {"options": "-c default_transaction_read_only=on", "connect_timeout": 3}
# One second is promised; the rest is for a machine that runs other tests.
PROMISED = 1.0 + 2.0


@pytest.fixture(scope="module")
def module_pair(server_template) -> Iterator[tuple]:
    with replicated(server_template) as pair:
        pair[0].answer("CREATE TABLE marks (id int)")
        yield pair


@pytest.fixture
def pair(module_pair, django_db_blocker, monkeypatch, settings) -> Iterator[SimpleNamespace]:
    """Return a primary and its standby, known to Django as `default` and `replica`."""
    primary, standby = module_pair[0].start(), module_pair[1].start()
    settings.DATABASE_REPLICA_MAX_LAG = 1.0
    wait_until(lambda: standby.answer("SELECT count(*) FROM pg_stat_wal_receiver"), timeout=30)
    with (
        django_db_blocker.unblock(),
        served("primary", primary.socket_dir),
        served(
            REPLICA,
            standby.socket_dir,
            ENGINE="database.replica_backend",
            OPTIONS=READ_ONLY,
            CONN_MAX_AGE=60,
            TEST={"MIRROR": "default"},
        ),
    ):
        monkeypatch.setattr("database.replica.DEFAULT_DB_ALIAS", "primary")
        yield SimpleNamespace(primary=primary, standby=standby)
        if watch := replica_watch():
            watch.stop()
        watching.forget_watches()


def alias() -> str:
    return router.db_for_read(ContentType)


def who() -> str:
    """Ask whoever answers whether it is the replica."""
    ((in_recovery,),) = run(alias(), "SELECT pg_is_in_recovery()")
    return "replica" if in_recovery else "primary"


def reads(answered_by: str, reason: str) -> float:
    return counted("scheduler_replica_reads", answered_by=answered_by, reason=reason)


def lag() -> float:
    return REGISTRY.get_sample_value("scheduler_replica_lag_seconds") or 0.0


def is_well() -> bool:
    return read(who) == "replica"
