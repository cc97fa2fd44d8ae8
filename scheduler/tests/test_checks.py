"""System checks of the project."""

import pytest
from django.core.checks import run_checks

from scheduler.rest.addresses import networks


def found(*, deploy: bool) -> list[str]:
    return [each.id for each in run_checks(include_deployment_checks=deploy) if each.id == "scheduler.W002"]


@pytest.mark.parametrize(
    ("by_https", "trusted", "is_warned"), [(True, [], True), (True, ["unix"], False), (False, [], False)]
)
def test_a_deployment_behind_a_proxy_that_nobody_trusts_is_warned(settings, by_https, trusted, is_warned):
    settings.SECURE_SSL_REDIRECT = by_https
    settings.TRUSTED_PROXIES = networks(trusted)

    assert found(deploy=True) == (["scheduler.W002"] if is_warned else [])
    assert found(deploy=False) == []
