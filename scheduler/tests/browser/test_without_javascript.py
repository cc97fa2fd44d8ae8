"""The admin in a browser that runs no scripts: lists, search, pages and forms work all the same."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from scheduler.tests.browser import made_up
from scheduler.tests.browser.site import context_of


@pytest.fixture
def plain(site, browser, watch) -> Iterator[Page]:
    context = context_of(browser, site, scripts=False)
    watch.look_at(context)
    yield context.new_page()
    context.close()


def test_a_list_and_its_search_work(plain):
    plain.goto("/admin/leads/lead/")
    expect(plain.locator("#result_list tr.data-row, #result_list tbody tr").first).to_be_visible()
    expect(plain.locator(".row-total")).to_be_visible()

    plain.locator("#searchbar").fill(made_up.SPOKEN_PHONE)
    plain.keyboard.press("Enter")

    expect(plain.get_by_role("link", name=made_up.ANN)).to_be_visible()
    expect(plain.locator(".row-total")).to_have_text("1 lead")


def test_a_lead_is_opened_changed_and_saved(site, plain):
    plain.goto("/admin/leads/lead/91102/change/")
    plain.locator("#id_email").fill("saved.without@example.com")
    plain.get_by_role("button", name="Save", exact=True).click()

    expect(plain.get_by_text("was changed successfully")).to_be_visible()
    assert site.row("SELECT email FROM leads WHERE id = 91102") == ("saved.without@example.com",)


def test_an_action_is_run_after_its_question(site, plain):
    plain.goto("/admin/leads/lead/?q=Queue+Me+3")
    plain.locator("input.action-select[value='91103']").check()
    plain.locator("select[name=action]").select_option("stop_calling")
    plain.locator("button[name=index]").click()
    plain.get_by_label("Reason").fill("No scripts, no calls.")
    plain.get_by_role("button", name="Never call again").click()

    expect(plain.get_by_text("will not be called again")).to_be_visible()
    assert site.row("SELECT do_not_call FROM leads WHERE id = 91103") == (True,)
    site.execute("UPDATE leads SET do_not_call = false WHERE id = 91103")


@pytest.mark.parametrize(
    ("address", "text"),
    [
        ("/admin/?days=30", "Leads by status"),
        ("/admin/calls/live/", "Hello, do you have a moment"),
        ("/admin/calls/call/91001/change/", made_up.CONVERSATION[0][1]),
        ("/admin/meetings/meeting/week?host=9001", made_up.HOST),
    ],
)
def test_a_page_says_all_it_has_to_say(plain, address, text):
    plain.goto(address)

    expect(plain.locator("#content").get_by_text(text).locator("visible=true").first).to_be_visible()
