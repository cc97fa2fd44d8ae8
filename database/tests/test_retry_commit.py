"""The end of a retried transaction: COMMIT that fails, that is lost, and what runs after it; what is rolled back."""

import pytest
from django.db import OperationalError, transaction

from database.errors import (
    CommitOutcomeUnknown,
    RetryInsideTransaction,
)
from database.retry import retry_transient
from database.tests.retried import ALIAS, INSERT, RAISE, module_server, proxied, rows, server
from database.tests.served import counted, run

__all__ = ["module_server", "proxied", "server"]


def test_a_failure_that_commit_reports_is_a_rollback_and_not_an_unknown_outcome(server):
    run(ALIAS, "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF nextval('refusals') <= 2 THEN RAISE EXCEPTION USING ERRCODE = '40001'; END IF; "
        "RETURN NULL; END $$;"
        "DROP SEQUENCE IF EXISTS refusals; CREATE SEQUENCE refusals;"
        "CREATE CONSTRAINT TRIGGER late AFTER INSERT ON effects DEFERRABLE INITIALLY DEFERRED "
        "FOR EACH ROW EXECUTE FUNCTION refuse()")  # fmt: skip
    tries = []

    @retry_transient(using=ALIAS)
    def work() -> None:
        tries.append(run(ALIAS, INSERT))

    work()

    assert len(tries) == 3 and rows(server) == 1


@pytest.mark.parametrize(("cut", "there"), [("before it arrives", 0), ("after it arrived", 1)])
@pytest.mark.parametrize("retried", [True, False])
def test_a_connection_lost_during_commit_has_an_unknown_outcome_and_is_not_repeated(
    proxied, cut, there, retried
):
    tries, hooks = [], []
    unknown = counted("scheduler_commits_unknown")

    def work() -> None:
        tries.append(1)
        transaction.on_commit(lambda: hooks.append(1), using="proxied")
        run("proxied", INSERT)
        proxied.proxy.cut = cut

    decorated = (
        retry_transient(using="proxied")(work) if retried else transaction.atomic(using="proxied")(work)
    )
    with pytest.raises(CommitOutcomeUnknown):
        decorated()

    assert rows(proxied.server) == there
    assert (len(tries), hooks) == (1, [])
    assert counted("scheduler_commits_unknown") == unknown + 1
    run("proxied", INSERT)
    assert rows(proxied.server) == there + 1


def test_a_server_that_stays_down_after_a_lost_commit_does_not_turn_it_into_a_failed_connect(proxied):
    tries = []

    @retry_transient(using="proxied")
    def work() -> None:
        tries.append(run("proxied", INSERT))
        proxied.proxy.cut = "after it arrived"
        proxied.proxy._server = "/nowhere"  # nobody gets a connection any more

    with pytest.raises(CommitOutcomeUnknown):
        work()

    assert len(tries) == 1 and rows(proxied.server) == 1


def test_a_hook_that_fails_after_commit_does_not_repeat_the_transaction(server):
    tries = []

    @retry_transient(using=ALIAS)
    def work() -> None:
        tries.append(run(ALIAS, INSERT))
        transaction.on_commit(lambda: run(ALIAS, RAISE.format("40001")), using=ALIAS)

    with pytest.raises(OperationalError):
        work()

    assert len(tries) == 1 and rows(server) == 1


def test_a_failure_of_the_function_rolls_back_and_passes_through(server):
    @retry_transient(using=ALIAS)
    def work() -> None:
        run(ALIAS, INSERT)
        raise KeyError("mine")

    with pytest.raises(KeyError):
        work()

    assert rows(server) == 0


def test_it_refuses_to_be_nested_in_a_transaction(server):
    @retry_transient(using=ALIAS)
    def work() -> None:
        run(ALIAS, INSERT)

    @retry_transient(using=ALIAS)
    def outer() -> None:
        work()

    with (
        pytest.raises(RetryInsideTransaction, match=r"^work\(\) repeats its whole transaction"),
        transaction.atomic(using=ALIAS),
    ):
        work()
    with pytest.raises(RetryInsideTransaction):
        outer()
    transaction.set_autocommit(False, using=ALIAS)
    with pytest.raises(RetryInsideTransaction):
        work()
    transaction.rollback(using=ALIAS)
    transaction.set_autocommit(True, using=ALIAS)
    work()
    assert rows(server) == 1
