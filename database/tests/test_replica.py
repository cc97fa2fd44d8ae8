"""Reads from a real streaming replica: who asks for it, who does not, and what never goes there."""

import os
import threading

import pytest
from django.contrib.contenttypes.models import ContentType
from django.db import connections, router, transaction
from django.db.utils import InternalError
from prometheus_client import REGISTRY

from database.replica import (
    REPLICA,
    ReplicaRouter,
    read,
    read_from_replica,
    reading_from_replica,
)
from database.testing import wait_until
from database.tests.replicas import alias, is_well, module_pair, pair, reads, who
from database.tests.served import run

__all__ = ["module_pair", "pair"]


def test_only_those_who_ask_read_from_the_replica(pair):
    wait_until(is_well)
    before = reads("replica", "asked")

    assert who() == "primary"
    with reading_from_replica() as answering:
        assert (who(), answering) == ("replica", REPLICA)
    assert read_from_replica(who)() == read(who) == "replica"
    assert who() == "primary"
    assert reads("replica", "asked") == before + 3


def test_inside_a_transaction_on_the_primary_the_primary_answers(pair):
    wait_until(is_well)
    before = reads("primary", "transaction")

    with transaction.atomic(using="primary"):
        run("primary", "INSERT INTO marks VALUES (1)")
        assert read(who) == "primary"
    with reading_from_replica(), transaction.atomic(using="primary"):
        assert who() == "primary"

    assert reads("primary", "transaction") == before + 1


def test_after_a_write_in_the_block_the_primary_answers(pair):
    wait_until(is_well)

    with reading_from_replica():
        assert router.db_for_write(ContentType) == "primary"
        assert who() == "primary"


def test_another_thread_is_not_in_the_block(pair):
    wait_until(is_well)
    found = []

    with reading_from_replica():
        thread = threading.Thread(target=lambda: found.append(alias()))
        thread.start()
        thread.join()

    assert found == ["primary"]


def test_writes_and_migrations_never_go_there(pair):
    kept = ContentType(id=1)
    kept._state.db = REPLICA

    assert router.db_for_write(ContentType, instance=kept) == "primary"
    assert router.db_for_read(ContentType, instance=kept) == "primary"
    assert ReplicaRouter().allow_migrate(REPLICA, "auth") is False
    assert ReplicaRouter().allow_migrate("primary", "auth") is None


def test_objects_of_both_may_be_related(pair):
    first, second, third = ContentType(), ContentType(), ContentType()
    first._state.db, second._state.db, third._state.db = "primary", REPLICA, "elsewhere"

    assert ReplicaRouter().allow_relation(first, second) is True
    assert ReplicaRouter().allow_relation(first, third) is None


def test_an_object_of_a_third_database_stays_there(pair):
    far = ContentType()
    far._state.db = "elsewhere"

    assert router.db_for_read(ContentType, instance=far) == "elsewhere"
    assert router.db_for_write(ContentType, instance=far) == "elsewhere"


def test_a_write_fails_even_where_the_url_names_the_primary_by_mistake(pair):
    connections[REPLICA].close()
    connections[REPLICA].settings_dict["HOST"] = str(pair.primary.socket_dir)

    with pytest.raises(InternalError, match="read-only transaction"):
        run(REPLICA, "INSERT INTO marks VALUES (2)")
    # A primary follows nobody: what is read there may be out of date for ever.
    before = reads("primary", "down")
    assert read(who) == "primary"
    assert reads("primary", "down") == before + 1


def test_many_readers_share_one_watch(pair):
    wait_until(is_well)

    def work() -> None:
        for _ in range(20):
            read(who)
        connections[REPLICA].close()
        connections["primary"].close()

    readers = [threading.Thread(target=work) for _ in range(8)]
    for reader in readers:
        reader.start()
    for reader in readers:
        reader.join()

    watches = [thread for thread in threading.enumerate() if thread.name == "replica-watch"]
    assert len(watches) == 1


def test_what_would_fail_on_the_primary_too_is_not_run_again(pair):
    wait_until(is_well)
    calls = []

    def wrong() -> None:
        calls.append(alias())
        run(alias(), "SELECT 1 / 0")

    with pytest.raises(Exception, match="division by zero"):
        read(wrong)

    assert calls == [REPLICA]


def test_a_forked_child_watches_by_itself_and_leaves_the_connections_of_its_parent_alone(pair):
    wait_until(is_well)
    ((before,),) = run(REPLICA, "SELECT pg_backend_pid()")
    child = os.fork()
    if child == 0:
        status = 1
        try:
            wait_until(is_well)
            status = 0
        finally:
            os._exit(status)

    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert read(who) == "replica"
    assert run(REPLICA, "SELECT pg_backend_pid()") == [(before,)]


FROM_THE_ENVIRONMENT = """
import time
from django.db import DatabaseError, connections, router
from database.replica import read
def who():
    with connections[router.db_for_read(object)].cursor() as cursor:
        cursor.execute("SELECT pg_is_in_recovery()")
        return cursor.fetchone()[0]
deadline = time.monotonic() + 20
while not read(who) and time.monotonic() < deadline:
    pass
print(who(), read(who))
"""


@pytest.mark.parametrize("mode", ["pool", "persistent", "pgbouncer"])
def test_two_variables_are_all_it_takes(module_pair, manage, mode):
    primary, standby = module_pair[0].start(), module_pair[1].start()

    done = manage(
        "shell", "-v0", "-c", FROM_THE_ENVIRONMENT,
        DATABASE_URL=primary.url, DATABASE_REPLICA_URL=standby.url, DB_POOL_MODE=mode,
    )  # fmt: skip

    assert done.stdout.strip() == "False True", done.stderr


def all_reads() -> list[float]:
    samples = [sample for metric in REGISTRY.collect() for sample in metric.samples]
    return [sample.value for sample in samples if sample.name.startswith("scheduler_replica_reads")]


def test_without_a_replica_the_primary_answers_and_nothing_is_counted():
    before = all_reads()

    with reading_from_replica() as answering:
        assert answering == alias() == "default"
    assert read(alias) == "default"

    assert all_reads() == before
