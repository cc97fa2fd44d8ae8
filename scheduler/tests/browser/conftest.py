"""The made-up site, served once for each test process, and a watched window on it for each test."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest

from database.testing import reachable_folder, throw_away_server

REQUIRED = os.environ.get("REQUIRE_SERVICES") == "1"


@pytest.fixture(scope="session")
def site(server_template) -> Iterator[Any]:
    # pytest reads this file before Django is set up.
    from scheduler.tests.browser.site import CHROMIUM, made_up_site

    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("chromium is not installed")
        pytest.skip("chromium is not installed")
    with (
        throw_away_server(server_template) as server,
        reachable_folder() as folder,
        made_up_site(server, folder) as found,
    ):
        yield found


# Not for the session: Playwright runs an event loop in this thread, and Django's ORM refuses to work beside one.
@pytest.fixture(scope="module")
def browser(site) -> Iterator[Any]:
    from playwright.sync_api import expect

    from scheduler.tests.browser.site import PATIENCE, chromium, context_of, sign_in

    # Five seconds, Playwright's own, are not enough on a machine that runs other tests beside.
    expect.set_options(timeout=PATIENCE)
    with chromium() as found:
        if not site.cookies:
            context = context_of(found, site)
            sign_in(context.new_page())
            site.cookies = context.cookies()
            context.close()
        yield found


@pytest.fixture
def watch(site) -> Iterator[Any]:
    """Fail the test when a page had an error of a script, asked another host or was refused something."""
    from scheduler.tests.browser.site import Watch

    found = Watch(site.address.partition("//")[2])
    yield found
    assert found.faults == []


@pytest.fixture
def page(site, browser, watch) -> Iterator[Any]:
    from scheduler.tests.browser.site import context_of

    context = context_of(browser, site)
    watch.look_at(context)
    yield context.new_page()
    context.close()
