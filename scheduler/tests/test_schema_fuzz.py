"""Whatever the schema allows or forbids is asked by everybody; every answer is what the schema says, none a fault.

`make test` asks a few examples of each endpoint, `make fuzz` 2,000 of each, all borders of all parameters, and chains
of requests that follow one from another.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from django.core.signals import request_finished, request_started
from django.db import close_old_connections, connection
from django.test import override_settings
from django.utils import timezone
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from limits import RateLimitItemPerMinute

from legacy.schema import TABLES
from partners.models import PartnerApiKey
from scheduler.api import schema as published
from scheduler.models import StaffToken
from scheduler.rest import limits
from scheduler.tests.rest_world import World, key_of, superuser

OPERATIONS = [
    f"{method.upper()} {path}" for path, methods in published()["paths"].items() for method in methods
]
FEW, MANY = 4, 2000
CHAINS, STEPS = 200, 20


@pytest.fixture(scope="module")
def schema(django_db_setup: None, django_db_blocker: Any) -> Iterator[Any]:
    from scheduler.tests import fuzzing

    # A request looks at the connection that an earlier test may have left open, even one that asks for the schema.
    with override_settings(ALLOWED_HOSTS=["localhost"]):
        with django_db_blocker.unblock():
            loaded = fuzzing.load()
        yield loaded


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> dict[str, dict[str, str]]:
    """Headers of staff, of a partner and of nobody, in a world whose rows have the id 1."""
    monkeypatch.setattr(limits, "FAILED_ATTEMPTS", RateLimitItemPerMinute(10**9))
    with connection.cursor() as cursor:
        for table in TABLES:
            cursor.execute(f"ALTER TABLE {table} ALTER id RESTART WITH 1")
    world = World.made()
    callers = {"staff": superuser(), "partner": {"X-API-Key": key_of(world.ids["partner_id"])}, "nobody": {}}
    # Otherwise each request would note its use again, as what it writes does not stay.
    for model in (StaffToken, PartnerApiKey):
        model.objects.update(last_used_at=timezone.now() + timedelta(days=1))
    return callers


@pytest.fixture
def kept_connection() -> Iterator[None]:
    """Keep requests from giving away the connection of the test's transaction, as Django's own test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


def fuzz(operation: Any, callers: dict[str, dict[str, str]], number: int, *, is_random: bool) -> None:
    from scheduler.tests.fuzzing import ask, cases

    @examples(
        max_examples=number, deadline=None, suppress_health_check=list(HealthCheck),
        derandomize=not is_random, database=None,
    )  # fmt: skip
    @given(cases(operation))
    def ask_each(case: Any) -> None:
        ask(case, callers)

    ask_each()


@pytest.mark.django_db
@pytest.mark.usefixtures("kept_connection")
@pytest.mark.parametrize("label", OPERATIONS)
def test_every_answer_is_what_the_schema_says(label, schema, callers):
    fuzz(schema.find_operation_by_label(label), callers, FEW, is_random=False)


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.usefixtures("kept_connection")
@pytest.mark.parametrize("label", OPERATIONS)
def test_thousands_of_answers_are_what_the_schema_says(label, schema, callers):
    fuzz(schema.find_operation_by_label(label), callers, MANY, is_random=True)


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.usefixtures("kept_connection")
@pytest.mark.parametrize("label", OPERATIONS)
def test_the_borders_of_every_parameter_are_where_the_schema_says(label, schema, callers):
    from scheduler.tests.fuzzing import ask, borders

    tried = list(borders(schema.find_operation_by_label(label)))
    for case in tried:
        ask(case, callers)

    assert tried


@pytest.mark.slow
@pytest.mark.django_db
@pytest.mark.usefixtures("kept_connection")
def test_no_chain_of_requests_leads_to_an_answer_that_is_not_published(schema, callers):
    from scheduler.tests.fuzzing import walk_chains

    succeeded = walk_chains(schema, callers["staff"], CHAINS, STEPS)

    assert succeeded["DELETE /api/leads/{lead_id}"] and succeeded["GET /api/leads/{lead_id}"]
