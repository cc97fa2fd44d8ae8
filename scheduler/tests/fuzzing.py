"""schemathesis, told what JSON Schema cannot say about our API. It is slow to import: only tests that fuzz do so."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from datetime import date, timedelta
from typing import Any
from zlib import crc32

import schemathesis
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis.errors import Flaky
from hypothesis.strategies import SearchStrategy, one_of
from schemathesis.checks import CHECKS
from schemathesis.config import SchemathesisConfig
from schemathesis.core.failures import FailureGroup
from schemathesis.generation import GenerationMode

from scheduler.wsgi import application

Headers = dict[str, str]

DOCUMENT = "/api/openapi.json"
CONFIG = {
    # Ours is stricter: `refusals_follow_a_rule`.
    "checks": {"positive_data_acceptance": {"enabled": False}},
    # The callers' keys are good ones; `ignored_auth` tries wrong ones.
    "generation": {"with-security-parameters": False},
    # Wrong items of a batch are answered one by one and never refuse the batch, as old clients expect.
    "operations": [
        {
            "include-path": "/api/leads/partner-transfer",
            "checks": {"negative_data_rejection": {"enabled": False}},
        }
    ],
}
# Rules that JSON Schema cannot say, by the path; a refusal for anything else of what the schema allows is a fault.
RULES = {
    r".*": [r"/query/(cursor|fields)", r"/header/Idempotency-Key", r"/query"],
    r"/api/leads/(\{lead_id\})?": [r"/(name|phone|email|country_code|language)"],
    r"/api/leads/upload": [r"/file"],
    r"/api/campaigns/start": [r"/name"],
    r"/api/meetings/(\{meeting_id\})?": [
        r"/(lead_id|host_id|call_id|scheduled_at|duration|email|notes|meeting_link|calendar_event_id)"
    ],
    r"/api/meetings/availability": [r"/query/(from|to|timezone|host)"],
    r"/api/meetings/\{meeting_id\}/status": [r"/query/status"],
    r"/api/partners/(\{partner_id\})?": [r"/name"],
    r"/api/settings/voice": [r"/voice_id"],
}
# A NUL in a text cannot be stored, wherever it stands.
NUL = "NUL characters are not allowed."
TIME_IN_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)
# 400 where old clients expect it.
OLD_REFUSALS = {"not_csv", "invalid_status", "prompt_empty", "name_taken", "no_eligible_leads"}


@schemathesis.check
def refusals_follow_a_rule(ctx: Any, response: Any, case: Any) -> None:
    """Let what the schema allows be refused by the rules only that it cannot say."""
    if response.status_code not in (400, 422) or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    problem = response.json()
    if response.status_code == 400:
        assert problem["code"] in OLD_REFUSALS, problem
        return
    rules = [rule for path, each in RULES.items() if re.fullmatch(path, case.path) for rule in each]
    for error in problem["errors"]:
        is_known = any(re.fullmatch(rule, error["pointer"]) for rule in rules) or error["detail"] == NUL
        assert is_known, f"{case.path} refuses what the schema allows: {error}"


def map_path_parameters(context: Any, path_parameters: Any) -> Any:
    """Let every other id be one that there is."""
    return {name: known(value) for name, value in (path_parameters or {}).items()}


def map_body(context: Any, body: Any) -> Any:
    """Let every other id be known too, and every other time be one at which a meeting may be booked."""
    if not isinstance(body, dict):
        return body
    likely = {name: known(value) for name, value in body.items() if name.endswith("_id")}
    if isinstance(time := body.get("scheduled_at"), str) and TIME_IN_UTC.fullmatch(time):
        likely["scheduled_at"] = soon(crc32(time.encode()))
    return {**body, **likely}


def soon(number: int) -> str:
    """Return a full hour of the next weeks, the same for the same number."""
    return f"{date.today() + timedelta(days=2 + number % 20)}T{number // 20 % 24:02}:00:00Z"


def known(value: Any) -> Any:
    return 1 if type(value) is int and value % 2 and 0 < value < 2**31 else value


def load() -> Any:
    """Read the published schema from our application, which is then what requests go to."""
    schema = schemathesis.openapi.from_wsgi(
        DOCUMENT, application, config=SchemathesisConfig.from_dict(CONFIG)
    )
    schema.hook(map_path_parameters)
    schema.hook(map_body)
    return schema


def cases(operation: Any) -> SearchStrategy[Any]:
    """Generate requests that the schema allows, and where there is something to forbid, others."""
    modes = [GenerationMode.POSITIVE]
    if operation.body or operation.query or operation.path_parameters or operation.headers:
        modes.append(GenerationMode.NEGATIVE)
    return one_of([operation.as_strategy(generation_mode=mode) for mode in modes])


def borders(operation: Any) -> Iterator[Any]:
    """Yield requests at each limit of each parameter, one step beyond it, and by methods that are not published."""
    schema = operation.schema
    generation = schema.config.generation_for(operation=operation, phase="coverage")
    yield from schema.iter_coverage_cases(
        operation, generation_modes=list(GenerationMode), generation_config=generation
    )


def ask(case: Any, callers: dict[str, Headers]) -> None:
    """Send a request as one of those who may come through, and one in ten as everybody; nothing stays."""
    schemes = {name for each in case.operation.definition.raw["security"] for name in each}
    may = [name for name, scheme in (("staff", "staffToken"), ("partner", "partnerKey")) if scheme in schemes]
    number = crc32(repr((case.path_parameters, case.query, case.body)).encode())
    is_sample = number % 10 == 0
    for name in callers if is_sample else [may[number % len(may)]]:
        _ask_as(case, callers[name], is_sample=is_sample)


def _ask_as(case: Any, headers: Headers, *, is_sample: bool) -> None:
    with _test_block():
        # It asks five times more, without and with wrong keys.
        without = [] if is_sample else [CHECKS.get_one("ignored_auth")]
        case.call_and_validate(headers=headers, excluded_checks=without)
        transaction.set_rollback(True)


def _test_block() -> transaction.Atomic:
    """Make a transaction that counts as a test's own: our code may begin durable ones within."""
    block = transaction.atomic()
    block._from_testcase = True  # type: ignore[attr-defined]
    return block


def walk_chains(schema: Any, headers: Headers, number: int, steps: int) -> Counter[str]:
    """Walk chains of requests that follow one from another; return how often each operation succeeded.

    Each chain begins in the same world and leaves nothing. Raises what the first wrong answer was found by.
    """
    succeeded: Counter[str] = Counter()
    faults: list[Exception] = []
    walked = 0

    class Chain(schema.as_state_machine()):  # type: ignore[misc]
        def setup(self) -> None:
            nonlocal walked
            walked += 1
            self.world = _test_block()
            self.world.__enter__()

        def teardown(self) -> None:
            transaction.set_rollback(True)
            self.world.__exit__(None, None, None)

        def get_call_kwargs(self, case: Any) -> dict[str, Any]:
            # The same key for other requests would be refused, as it must be.
            case.headers.pop("Idempotency-Key", None)
            return {"headers": headers}

        def call(self, case: Any, **sent: Any) -> Any:
            # A statement that PostgreSQL refuses must not break the chain's transaction.
            with _test_block():
                response = super().call(case, **sent)
                transaction.set_rollback(response.status_code >= 400)
            succeeded[case.operation.label] += response.status_code < 400
            return response

        def validate_response(self, response: Any, case: Any, *_: Any, **sent: Any) -> None:
            try:
                case.validate_response(
                    response, headers=headers, transport_kwargs=sent, recorder=self.recorder,
                    excluded_checks=[CHECKS.get_one("ignored_auth")],
                )  # fmt: skip
            except Exception as fault:
                faults.append(fault)
                raise

    # schemathesis draws links at random behind the back of hypothesis, which may then end a run as inconsistent.
    while walked < number and not faults:
        with suppress(Flaky, FailureGroup):
            Chain.run(settings=_of_chains(number - walked, steps))
    if faults:
        raise faults[0]
    return succeeded


def _of_chains(number: int, steps: int) -> settings:
    return settings(
        max_examples=number, stateful_step_count=steps, phases=[Phase.generate], deadline=None,
        suppress_health_check=list(HealthCheck), database=None,
    )  # fmt: skip
