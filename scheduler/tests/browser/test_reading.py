"""Signing in, looking for people and reading what was said, in a browser."""

from __future__ import annotations

from playwright.sync_api import expect

from scheduler.tests.browser import made_up
from scheduler.tests.browser.site import context_of, sign_in


def test_somebody_signs_in_and_sees_the_figures_of_today(site, browser, watch):
    site_of_a_stranger = type(site)(site.address, site.url)
    context = context_of(browser, site_of_a_stranger)
    watch.look_at(context)
    page = context.new_page()

    sign_in(page)

    expect(page).to_have_url(f"{site.address}/admin/")
    (calls,) = site.row("SELECT count(*) FROM calls WHERE started_at >= date_trunc('day', now())")
    card = page.locator(".home-card").filter(has=page.get_by_role("heading", name="Calls", exact=True))
    expect(card.locator(".home-figure a")).to_have_text(f"{calls:,}")
    (sessions,) = site.row("SELECT count(*) > 0 FROM django_session")
    assert sessions
    context.close()


def test_a_wrong_password_is_refused_with_a_sentence_and_makes_no_session(site, browser, watch):
    context = context_of(browser, type(site)(site.address, site.url))
    watch.look_at(context)
    page = context.new_page()
    (before,) = site.row("SELECT count(*) FROM django_session")

    page.goto("/admin/")
    page.get_by_label("Username").fill(made_up.USER)
    page.get_by_label("Password").fill("wrong")
    page.get_by_role("button", name="Log in").click()

    expect(page.get_by_text("Please enter the correct username and password")).to_be_visible()
    assert site.row("SELECT count(*) FROM django_session") == (before,)
    context.close()


def test_a_figure_of_the_home_page_leads_to_as_many_calls(page):
    page.goto("/admin/?days=30")
    link = page.locator(".chart-legend a").first
    count = link.inner_text()

    link.click()

    expect(page.locator(".row-total")).to_have_text(f"{count} calls")


def test_a_phone_in_any_spelling_finds_its_lead(page):
    page.goto("/admin/leads/lead/")
    page.locator("#searchbar").fill(made_up.SPOKEN_PHONE)
    page.keyboard.press("Enter")

    expect(page.locator("#result_list tbody tr.data-row, #result_list tr.data-row")).to_have_count(1)
    expect(page.get_by_role("link", name=made_up.ANN)).to_be_visible()
    expect(page.locator("#result_list")).to_contain_text(made_up.PHONE)


def test_a_lead_shows_its_call_its_meeting_and_what_was_said(page):
    page.goto("/admin/leads/lead/?q=415+555+0134")
    page.get_by_role("link", name=made_up.ANN).click()

    timeline = page.locator("#timeline-section")
    expect(timeline.locator("[data-kind=call]")).to_have_count(1)
    expect(timeline.locator("[data-kind=meeting]")).to_contain_text(made_up.HOST)
    first = made_up.CONVERSATION[0][1]
    expect(timeline.get_by_text(first)).not_to_be_visible()
    timeline.get_by_text("Transcript").click()
    expect(timeline.get_by_text(first)).to_be_visible()


def test_a_transcript_shows_scripts_as_text_and_hebrew_from_the_right(page):
    page.goto("/admin/leads/lead/91001/change/")
    page.locator("[data-kind=call] a", has_text="Call 91001").click()

    turns = page.locator(".staff-conversation > li")
    expect(turns).to_have_count(len(made_up.CONVERSATION))
    expect(turns.nth(3)).to_contain_text(made_up.SCRIPT)
    assert "broken" not in page.title()
    for number in (5, 6):
        direction = turns.nth(number).locator("p").evaluate("each => getComputedStyle(each).direction")
        assert direction == "rtl"
    expect(page.locator("audio")).to_have_attribute("src", "https://media.example.com/91001.mp3")


def test_words_that_were_said_lead_to_the_turn_that_has_them(page):
    page.goto("/admin/calls/call/")
    page.get_by_role("link", name="Find words").last.click()
    page.get_by_label("Words").fill("pelargonium")
    page.get_by_role("button", name="Find", exact=True).click()

    page.locator(".calls-found").get_by_role("link", name="Call 91001").click()

    expect(page.locator("[aria-current=true] mark")).to_have_text("pelargonium")


def test_live_calls_show_the_last_words_and_renew_themselves(site, page):
    page.goto("/admin/calls/live/")
    (active,) = site.row("SELECT count(*) FROM calls WHERE ended_at IS NULL")
    expect(page.get_by_text("Hello, do you have a moment")).to_have_count(active)

    (call,) = site.rows("SELECT id FROM calls WHERE ended_at IS NULL ORDER BY started_at LIMIT 1")[0]
    with page.expect_response(lambda answer: "part=calls" in answer.url, timeout=30_000):
        site.execute("INSERT INTO conversation_history (call_id, turn, role, message) VALUES (%s, 2, 'user',"
                     " 'I am all ears')", call)  # fmt: skip
    expect(page.get_by_text("I am all ears")).to_be_visible(timeout=30_000)
