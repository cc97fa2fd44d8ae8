"""An agent in a browser: finds, queues and books, and is offered nothing that agents may not do."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect

from scheduler.tests.browser import made_up
from scheduler.tests.browser.site import Site, context_of, sign_in

LEADS, LEAD = "/admin/leads/lead/", "/admin/leads/lead/91002/"
NOT_FOR_AGENTS = (
    "/admin/scheduler/setting/",
    "/admin/auth/user/",
    "/admin/legacy/importrun/",
    "/admin/leads/leadimport/",
    "/admin/partners/partnerapikey/",
    "/admin/scheduler/stafftoken/",
)


@pytest.fixture
def agent(site, browser, watch) -> Iterator[Page]:
    """Sign in as an agent, in a window where nobody was signed in."""
    context = context_of(browser, Site(site.address, site.url))
    watch.look_at(context)
    page = context.new_page()
    sign_in(page, made_up.AGENT)
    yield page
    context.close()


def test_an_agent_finds_a_lead_by_phone_queues_it_and_books_a_meeting(site, agent):
    agent.goto(LEADS)
    agent.locator("#searchbar").fill("(415) 555 0135")
    agent.keyboard.press("Enter")
    agent.get_by_role("link", name=made_up.DORA).click()
    expect(agent.locator("#id_email")).to_have_value("dora@example.com")
    expect(agent.get_by_role("heading", name="Timeline")).to_be_visible()

    agent.go_back()
    agent.locator("input.action-select").check()
    agent.locator("select[name=action]").select_option("queue")
    agent.locator("button[name=index]").click()
    expect(agent.get_by_text("Queued 1 leads.")).to_be_visible()
    assert site.row("SELECT status FROM leads WHERE id = 91002") == ("queued",)

    (day,) = site.row("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '13 days', 'YYYY-MM-DD')")
    agent.goto("/admin/meetings/meeting/")
    agent.locator("a[href='/admin/meetings/meeting/book/']").first.click()
    agent.locator("#id_lead").fill("91002")
    agent.locator("#id_host").select_option(label=made_up.HOST)
    agent.locator("#id_day").fill(day)
    agent.locator("#id_time").fill("11:00")
    agent.get_by_role("button", name="Book", exact=True).click()
    expect(agent.get_by_text("Done: ")).to_be_visible()
    booked = "SELECT host_id, to_char(scheduled_time AT TIME ZONE 'UTC', 'YYYY-MM-DD HH24:MI'), status FROM meetings"
    assert site.row(f"{booked} WHERE lead_id = 91002") == (9001, f"{day} 11:00", "scheduled")
    told = "SELECT u.username FROM django_admin_log e JOIN auth_user u ON u.id = e.user_id WHERE object_id = '91002'"
    assert {name for (name,) in site.rows(told)} == {made_up.AGENT}

    agent.goto(f"{LEAD}change/")
    expect(agent.locator("li[data-kind=meeting]")).to_contain_text(made_up.HOST)


def test_an_agent_is_offered_nothing_that_agents_may_not_do(agent, watch):
    agent.goto(LEADS)
    offered = agent.locator("select[name=action] option").evaluate_all("all => all.map(each => each.value)")
    assert set(offered) == {"", "queue", "unqueue", "stop_calling", "merge"}
    for address in NOT_FOR_AGENTS:
        expect(agent.locator(f"a[href='{address}']")).to_have_count(0)

    agent.goto(f"{LEAD}change/")
    expect(agent.get_by_role("link", name="Never call again").first).to_be_visible()
    for words in ("Delete", "Erase this person", "May be called again"):
        expect(agent.get_by_role("link", name=re.compile(words))).to_have_count(0)
    expect(agent.locator("[name=do_not_call]")).to_have_count(0)

    watch.expected_statuses.add(403)
    for address in (*NOT_FOR_AGENTS, f"{LEAD}delete/", f"{LEAD}erase/", f"{LEAD}recall/"):
        answer = agent.goto(address)
        assert answer is not None and answer.status == 403, address
