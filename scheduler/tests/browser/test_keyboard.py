"""The admin without a mouse: Tab, Shift-Tab, Space, Enter and Escape only."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from scheduler.tests.browser import made_up
from scheduler.tests.browser.site import NARROW, context_of

MOST_TABS = 150
HAS_FOCUS = "selector => Boolean(document.activeElement?.matches(selector))"
FILTERS = "[role=button][x-on\\:click*='filterOpen']"
ACCOUNT = "[role=button][x-on\\:click*='openUserLinks']"
SIDE_BAR = ".staff-place button[x-on\\:click*='sidebarMobileOpen']"


def tab_to(page: Page, selector: str) -> None:
    """Press Tab until the element has the focus; fails when it cannot be reached or cannot be seen then."""
    # What makes an element reachable runs when the page has loaded.
    page.wait_for_load_state("load")
    page.locator(selector).first.wait_for(state="attached")
    for _ in range(MOST_TABS):
        page.keyboard.press("Tab")
        if page.evaluate(HAS_FOCUS, selector):
            expect(page.locator(":focus")).to_be_visible()
            return
    raise AssertionError(f"{selector} was not reached by {MOST_TABS} tabs")


def tab_to_or_stay(page: Page, selector: str) -> None:
    """Press Tab to an element unless the page has put the focus there."""
    page.wait_for_load_state("load")
    if not page.evaluate(HAS_FOCUS, selector):
        tab_to(page, selector)


def test_somebody_signs_in_searches_opens_a_lead_and_runs_an_action_by_keyboard(site, browser, watch):
    context = context_of(browser, type(site)(site.address, site.url))
    watch.look_at(context)
    page = context.new_page()
    page.goto("/admin/leads/lead/")
    tab_to_or_stay(page, "#id_username")
    page.keyboard.type(made_up.USER)
    tab_to(page, "#id_password")
    page.keyboard.type(made_up.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.locator("#result_list")).to_be_visible()

    tab_to(page, "#searchbar")
    page.keyboard.type(made_up.SPOKEN_PHONE)
    expect(page.locator("#searchbar")).to_have_value(made_up.SPOKEN_PHONE)
    page.keyboard.press("Enter")
    expect(page.locator("#result_list input.action-select")).to_have_count(1)

    tab_to(page, "#result_list input.action-select")
    page.keyboard.press("Space")
    tab_to(page, "select[name=action]")
    page.keyboard.type("Take out")
    expect(page.locator("select[name=action]")).to_have_value("unqueue")
    tab_to(page, "button[name=index]")
    page.keyboard.press("Enter")
    expect(page.get_by_text("Took 0 leads out of the queue.")).to_be_visible()

    tab_to(page, "#result_list a[href*='/91001/change/']")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Timeline")).to_be_visible()
    tab_to(page, "#timeline-section summary")
    page.keyboard.press("Enter")
    expect(page.get_by_text(made_up.CONVERSATION[0][1])).to_be_visible()
    context.close()


def test_a_list_is_filtered_by_keyboard(page):
    page.goto("/admin/leads/lead/")
    tab_to(page, FILTERS)
    page.keyboard.press("Enter")
    expect(page.locator("#changelist-filter a:focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#changelist-filter")).to_be_hidden()
    expect(page.locator(FILTERS)).to_be_focused()

    page.keyboard.press("Space")
    expect(page.locator("#changelist-filter a:focus")).to_have_count(1)
    tab_to(page, "#changelist-filter a[href*='contacted']")
    page.keyboard.press("Enter")

    expect(page).to_have_url(re.compile(r"status__exact=contacted"))


def test_somebody_signs_out_by_keyboard(site, browser, watch):
    # Signing out ends the session, so it is one of its own.
    context = context_of(browser, type(site)(site.address, site.url))
    watch.look_at(context)
    page = context.new_page()
    page.goto("/admin/calls/live/")
    page.locator("#id_username").fill(made_up.USER)
    page.locator("#id_password").fill(made_up.PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Live calls")).to_be_visible()

    tab_to(page, ACCOUNT)
    page.keyboard.press("Enter")
    expect(page.locator("#logout-form button")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.locator("#logout-form button")).to_be_hidden()
    expect(page.locator(ACCOUNT)).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.locator("#nav-sidebar nav :focus")).to_have_count(1)
    tab_to(page, "#logout-form button")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Thanks for spending some quality time")).to_be_visible()
    context.close()


def test_the_side_bar_of_a_narrow_screen_opens_and_closes_by_keyboard(page):
    page.set_viewport_size({"width": NARROW[0], "height": NARROW[1]})
    page.goto("/admin/calls/live/")
    expect(page.locator("#nav-sidebar")).to_be_hidden()
    tab_to(page, SIDE_BAR)
    page.keyboard.press("Enter")

    expect(page.locator("#nav-sidebar")).to_be_visible()
    expect(page.locator("#nav-sidebar :focus")).to_have_count(1)
    page.keyboard.press("Escape")
    expect(page.locator("#nav-sidebar")).to_be_hidden()
    expect(page.locator(SIDE_BAR)).to_be_focused()
    expect(page.locator(SIDE_BAR)).to_have_attribute("aria-expanded", "false")


def test_the_first_stop_leads_past_the_side_bar(page):
    page.goto("/admin/leads/lead/")
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to the content")).to_be_focused()
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")

    assert page.evaluate("document.activeElement.closest('#content') !== null")


def test_a_slot_is_chosen_in_the_week_and_booked_by_keyboard(site, page):
    page.goto("/admin/meetings/meeting/week?host=9001")
    tab_to(page, "a[rel=next]")
    page.keyboard.press("Enter")
    expect(page.locator(".week-free a").first).to_be_visible()
    tab_to(page, ".week-free a")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", name="Book a meeting")).to_be_visible()
    tab_to(page, "#id_lead")
    page.keyboard.type("91107")
    tab_to(page, "#content button[type=submit]:not([name])")
    page.keyboard.press("Enter")

    expect(page.get_by_text("Done: ")).to_be_visible()
    assert site.row("SELECT count(*) FROM meetings WHERE lead_id = 91107 AND status = 'scheduled'") == (1,)
