"""What staff do all day, in a browser: each test looks at the page and at what PostgreSQL holds afterwards."""

from __future__ import annotations

import hashlib
import re

from playwright.sync_api import expect

from scheduler.tests.browser import made_up
from scheduler.tests.browser.pages import A_PARTNER, LINK_TO_TAKEN, REJECTED

BOOKED = "SELECT count(*) FROM meetings WHERE host_id = 9001 AND lead_id = 91105"


def test_ten_leads_are_queued_at_once(site, page):
    page.goto("/admin/leads/lead/?q=queue+me")
    boxes = page.locator("input.action-select")
    expect(boxes).to_have_count(10)
    for box in boxes.all():
        box.check()
    page.locator("select[name=action]").select_option("queue")
    page.locator("button[name=index]").click()

    expect(page.get_by_text("Queued 10 leads.")).to_be_visible()
    statuses = site.rows("SELECT DISTINCT status FROM leads WHERE name LIKE 'Queue Me %%'")
    assert statuses == [("queued",)]
    told = site.row(
        "SELECT count(DISTINCT object_id) FROM django_admin_log WHERE object_id IN"
        " (SELECT id::text FROM leads WHERE name LIKE 'Queue Me %%') AND change_message ILIKE '%%queued%%'"
    )
    assert told == (10,)


def test_a_taken_slot_is_refused_with_free_ones_and_a_click_books_one(site, page):
    (query,) = site.row(LINK_TO_TAKEN)
    page.goto(f"/admin/meetings/meeting/book?{query}")
    page.get_by_role("button", name="Book", exact=True).click()

    expect(page.get_by_role("alert").first).to_be_visible()
    expect(page.locator(".booking-refused")).to_contain_text("another meeting at that time")
    assert site.row(BOOKED) == (0,)
    free = page.locator(".booking-free button").first
    start = free.get_attribute("value")

    free.click()

    expect(page.get_by_text("Done: ")).to_be_visible()
    query = "SELECT scheduled_time = %s::timestamptz, status FROM meetings WHERE host_id = 9001 AND lead_id = 91105"
    assert site.row(query, start) == (True, "scheduled")
    (status,) = site.row("SELECT status FROM leads WHERE id = 91105")
    assert status == "meeting_scheduled"


def test_a_key_is_rotated_shown_once_and_the_old_one_ends(site, page):
    (partner,) = site.rows(A_PARTNER)[0]
    alive = "SELECT count(*) FROM partner_api_keys WHERE partner_id = %s AND revoked_at IS NULL AND expires_at IS NULL"
    assert site.row(alive, partner) == (1,)
    page.goto(f"/admin/partners/partner/{partner}/change/")
    page.get_by_role("link", name="Issue an API key").click()
    page.get_by_label("end in 24 hours").check()
    page.get_by_role("button", name="Issue the key").click()

    key = page.locator("#api-key").inner_text().strip()
    assert re.fullmatch(r"ais_[\w-]{60}", key)
    digest = hashlib.sha256(key.encode()).hexdigest()
    assert site.row("SELECT count(*) FROM partner_api_keys WHERE digest = %s", digest) == (1,)
    assert site.row(alive, partner) == (1,)
    ending = site.row(
        "SELECT count(*) FROM partner_api_keys WHERE partner_id = %s AND digest <> %s"
        " AND expires_at BETWEEN now() + interval '23 hours' AND now() + interval '24 hours'",
        partner,
        digest,
    )
    assert ending == (1,)

    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_role("heading", name="API keys")).to_be_visible()
    assert key not in page.content()


def test_a_rejected_row_is_corrected_and_imported_again(site, page):
    (note,) = site.row(REJECTED)
    assert site.rows("SELECT 1 FROM leads WHERE id = %s", made_up.BAD_LEAD) == []
    page.goto(f"/admin/legacy/importrownote/{note}/change/")
    page.get_by_role("link", name="Import this row again").click()
    page.get_by_label("phone", exact=True).fill("+1 415 555 0177")
    page.get_by_role("button", name="Import this row").click()

    expect(page.get_by_text(f"Row {made_up.BAD_LEAD} of leads is imported.")).to_be_visible()
    stored = site.row("SELECT phone, name FROM leads WHERE id = %s", made_up.BAD_LEAD)
    assert stored == ("+14155550177", "Lost Number")
    assert site.row("SELECT resolved_at IS NOT NULL FROM import_row_notes WHERE id = %s", note) == (True,)


def test_a_lead_is_marked_never_to_be_called_after_a_question_with_a_reason(site, page):
    page.goto("/admin/leads/lead/?q=415+555+0134")
    page.locator("input.action-select").check()
    page.locator("select[name=action]").select_option("stop_calling")
    page.locator("button[name=index]").click()
    expect(page.get_by_role("heading", name="Never call these 1 leads again?")).to_be_visible()
    assert site.row("SELECT do_not_call FROM leads WHERE id = 91001") == (False,)

    page.get_by_label("Reason").fill("She asked for it in a letter.")
    page.get_by_role("button", name="Never call again").click()

    expect(page.get_by_text("1 leads will not be called again.")).to_be_visible()
    assert site.row("SELECT do_not_call FROM leads WHERE id = 91001") == (True,)
    page.goto("/admin/leads/lead/91001/history/")
    expect(page.get_by_text("She asked for it in a letter.")).to_be_visible()


def test_an_outcome_is_corrected_with_a_reason(site, page):
    page.goto("/admin/calls/call/91001/change/")
    page.get_by_role("link", name="Correct the outcome").first.click()
    page.locator("#id_outcome").select_option("busy")
    page.get_by_label("Reason").fill("She wants to be called again.")
    page.get_by_role("button", name="Correct it").click()

    expect(page.get_by_text("The outcome is Busy")).to_be_visible()
    assert site.row("SELECT outcome FROM calls WHERE id = 91001") == ("busy",)
