"""Whatever fails, and in whatever order: a retried transaction takes effect once or not at all."""

from collections.abc import Iterator
from itertools import count
from types import SimpleNamespace

import psycopg
import pytest
import stamina
from django.db import DatabaseError, transaction
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from database.errors import CommitOutcomeUnknown
from database.retry import retry_transient
from database.testing import throw_away_server
from database.tests.retried import RAISE
from database.tests.served import CuttingProxy, run, served

TRIES = 4
TERMINATE = "SELECT pg_terminate_backend(pg_backend_pid())"
TRANSIENT = {
    "serialization": RAISE.format("40001"),
    "deadlock": RAISE.format("40P01"),
    "terminated": TERMINATE,
    "starting": RAISE.format("57P03"),
}
FAILURES = st.sampled_from(
    [*TRANSIENT, "refused", "terminated before commit", "before it arrives", "after it arrived"]
)
numbers = count(1)


@pytest.fixture(scope="module")
def proxied(server_template, django_db_blocker) -> Iterator[SimpleNamespace]:
    with throw_away_server(server_template) as server, django_db_blocker.unblock():
        proxy = CuttingProxy(server.socket_dir.parent, server.socket_dir)
        with (
            served("random", server.socket_dir.parent),
            psycopg.connect(**server.conninfo, autocommit=True) as apart,
        ):
            apart.execute("CREATE TABLE effects (id int)")
            yield SimpleNamespace(proxy=proxy, apart=apart)
        proxy.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(failures=st.lists(FAILURES, max_size=TRIES + 1))
def test_no_order_of_failures_leads_to_a_double_effect(proxied, failures):
    number = next(numbers)
    tries: list[str | None] = []
    hooks: list[str | None] = []
    proxied.proxy.cut = None

    @retry_transient(using="random", attempts=TRIES)
    def work() -> None:
        failure = failures[len(tries)] if len(tries) < len(failures) else None
        tries.append(failure)
        transaction.on_commit(lambda: hooks.append(failure), using="random")
        run("random", "INSERT INTO effects VALUES (%s)", [number])
        if failure in TRANSIENT:
            run("random", TRANSIENT[failure])
        elif failure == "refused":
            run("random", RAISE.format("23505"))
        elif failure == "terminated before commit":
            ((pid,),) = run("random", "SELECT pg_backend_pid()")
            proxied.apart.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        elif failure:
            proxied.proxy.cut = failure

    with stamina.set_testing(True, attempts=TRIES, cap=True):
        outcome = outcome_of(work)

    ((there,),) = proxied.apart.execute("SELECT count(*) FROM effects WHERE id = %s", [number]).fetchall()
    expected = {"done": 1, "failed": 0, "unknown": int(tries[-1] == "after it arrived")}
    if tries[-1] == "terminated before commit":
        # The news may still be on its way when COMMIT is sent: unknown to the caller, but nothing is stored.
        assert (there, outcome) in [(0, "failed"), (0, "unknown")]
        return
    assert there == expected[outcome]
    assert len(hooks) == (outcome == "done")
    assert not set(tries[:-1]) & {"refused", "before it arrives", "after it arrived"}


def outcome_of(work) -> str:
    try:
        work()
    except CommitOutcomeUnknown:
        return "unknown"
    except DatabaseError:
        return "failed"
    return "done"
