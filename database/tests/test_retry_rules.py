"""What a retried transaction may be, and how it behaves inside a test of an application."""

import psycopg
import pytest
import stamina
from django.contrib.contenttypes.models import ContentType
from django.db import IntegrityError, transaction

from database.errors import CommitOutcomeUnknown, RetryInsideTransaction
from database.retry import cause_of, retry_transient
from database.tests.served import run

RAISE = "DO $$ BEGIN RAISE EXCEPTION USING ERRCODE = '{}'; END $$"


@pytest.mark.parametrize("kind", ["coroutine", "generator"])
def test_what_would_run_after_its_transaction_is_refused(kind):
    async def coroutine() -> None: ...

    def generator():
        yield

    with pytest.raises(TypeError, match=kind):
        retry_transient({"coroutine": coroutine, "generator": generator}[kind])


@pytest.mark.parametrize(
    "error",
    [
        ValueError("server closed the connection unexpectedly"),
        psycopg.ProgrammingError("the connection is closed"),
        psycopg.OperationalError("sending query failed: another command is already in progress"),
        CommitOutcomeUnknown("the connection is lost"),
    ],
)
def test_what_only_sounds_like_a_loss_is_none(error):
    assert cause_of(error) is None


class TestInATestOfAnApplication:
    """Inside the transaction that Django's TestCase puts round every test."""

    @pytest.mark.django_db
    def test_it_may_be_called(self):
        add_type(model="fresh")

        assert ContentType.objects.filter(app_label="retry", model="fresh").count() == 1

    @pytest.mark.django_db
    def test_a_failed_try_leaves_nothing_and_the_next_one_counts(self):
        tries = []

        @retry_transient
        def work() -> None:
            tries.append(ContentType.objects.create(app_label="retry", model="once"))
            if len(tries) == 1:
                run("default", RAISE.format("40001"))

        with stamina.set_testing(True, attempts=2):
            work()

        assert ContentType.objects.filter(app_label="retry").count() == 1

    @pytest.mark.django_db
    def test_an_atomic_of_the_test_itself_refuses_it(self):
        with pytest.raises(RetryInsideTransaction), transaction.atomic():
            add_type(model="fresh")

    @pytest.mark.django_db(transaction=True)
    def test_without_that_transaction_it_commits(self):
        add_type(model="committed")
        with pytest.raises(IntegrityError):
            add_type(model="committed")

        assert ContentType.objects.filter(app_label="retry").count() == 1


@retry_transient
def add_type(model: str) -> None:
    ContentType.objects.create(app_label="retry", model=model)
