"""The pages that staff see most, and how to come to each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from scheduler.tests.browser import made_up

if TYPE_CHECKING:
    from playwright.sync_api import Page

    from scheduler.tests.browser.site import Site

Address = str | Callable[["Site"], str]


@dataclass(frozen=True)
class Shown:
    """A page; `address` may depend on what the database holds, `then` is done on it once it is open."""

    name: str
    address: Address
    then: Callable[[Page], None] | None = None
    is_signed_in: bool = True

    def open(self, page: Page, site: Site) -> None:
        if self.is_signed_in:
            page.context.add_cookies(site.cookies)
        else:
            page.context.clear_cookies()
        page.goto(self.address if isinstance(self.address, str) else self.address(site))
        if self.then:
            self.then(page)

    def __str__(self) -> str:
        return self.name


def row_of(address: str, query: str) -> Address:
    """Return the address of a page of the first row that a query finds."""
    return lambda site: address.format(*site.rows(query)[0])


def click(name: str) -> Callable[[Page], None]:
    def then(page: Page) -> None:
        page.get_by_role("button", name=name, exact=True).click()
        page.wait_for_load_state()

    return then


def book_what_is_taken(page: Page) -> None:
    click("Book")(page)
    page.get_by_role("alert").first.wait_for()


def issue_key(page: Page) -> None:
    """Issue a key, and show it as crosses: no key that ever worked belongs into a picture."""
    click("Issue the key")(page)
    page.locator("#api-key").evaluate("code => code.textContent = 'ais_' + 'x'.repeat(43)")


def choose_three(page: Page) -> None:
    for box in page.locator("input.action-select").all()[:3]:
        box.check()


def ask_for(action: str) -> Callable[[Page], None]:
    def then(page: Page) -> None:
        choose_three(page)
        page.locator("select[name=action]").select_option(action)
        click("Run")(page)
        page.locator("#question").wait_for()

    return then


def open_filters(page: Page) -> None:
    page.get_by_role("button", name="Filters").click()
    page.locator("#changelist-filter h3").first.wait_for()


def upload_people(page: Page) -> None:
    text = "name,phone,email\nGrace Hopper,+1 415 555 0188,grace@example.com\nNo Number,12,\nשרה לוי,+972501234567,\n"
    page.locator("input[type=file]").set_input_files(
        {"name": "people.csv", "mimeType": "text/csv", "buffer": text.encode()}
    )
    page.locator("#content form button[type=submit]").click()
    page.get_by_text("Rows that would be refused").wait_for()


REJECTED = f"SELECT id FROM import_row_notes WHERE kind = 'rejected' AND row_id = {made_up.BAD_LEAD}"
NEWEST_RUN = "SELECT id FROM import_runs ORDER BY id DESC LIMIT 1"
A_PARTNER = "SELECT partner_id FROM partner_api_keys WHERE revoked_at IS NULL ORDER BY 1"
ANOTHER_KEY = "SELECT partner_id, id FROM partner_api_keys WHERE revoked_at IS NULL ORDER BY 1 DESC, 2"
TAKEN = "SELECT id FROM meetings WHERE host_id = 9001 AND lead_id = 91001"
PROMPT = "SELECT id FROM settings WHERE key = 'system_prompt'"
AGENT = "SELECT id FROM auth_group WHERE name = 'Agent'"
A_CHANGE = "SELECT id FROM django_admin_log ORDER BY id LIMIT 1"
LINK_TO_TAKEN = (
    "SELECT format('lead=91105&host=9001&start=%sT10:00:00%%2B00:00',"
    " to_char(date_trunc('day', now()) + interval '12 days', 'YYYY-MM-DD'))"
)

PAGES = (
    Shown("home", "/admin/?days=30"),
    Shown("home-without-calls", "/admin/?from=2001-01-01&to=2001-01-07"),
    Shown("leads", "/admin/leads/lead/"),
    Shown("lead-search", "/admin/leads/lead/?q=415+555+0134"),
    Shown("lead-search-in-vain", "/admin/leads/lead/?q=zebedee"),
    Shown("lead-filters", "/admin/leads/lead/?status__exact=contacted", open_filters),
    Shown("lead", "/admin/leads/lead/91001/change/"),
    Shown("lead-actions", "/admin/leads/lead/", choose_three),
    Shown("lead-merge", "/admin/leads/lead/?q=queue+me", ask_for("merge")),
    Shown("lead-stop-calling", "/admin/leads/lead/?q=queue+me", ask_for("stop_calling")),
    Shown("lead-delete", "/admin/leads/lead/91001/delete/"),
    Shown("lead-erase", "/admin/leads/lead/91001/erase/"),
    Shown("lead-erase-phone", "/admin/leads/lead/erase-phone/"),
    Shown("lead-history", "/admin/leads/lead/91001/history/"),
    Shown("lead-imports", "/admin/leads/leadimport/"),
    Shown("lead-import", "/admin/leads/leadimport/add/"),
    Shown("lead-import-preview", "/admin/leads/leadimport/add/", upload_people),
    Shown("calls", "/admin/calls/call/"),
    Shown("call", "/admin/calls/call/91001/change/"),
    Shown("live-calls", "/admin/calls/live/"),
    Shown("words", "/admin/calls/call/words?q=tuesday"),
    Shown("correct-outcome", "/admin/calls/call/91001/correct-outcome"),
    Shown("turns", "/admin/calls/turn/"),
    Shown("meetings", "/admin/meetings/meeting/"),
    Shown("meeting", row_of("/admin/meetings/meeting/{}/change/", TAKEN)),
    Shown("week", "/admin/meetings/meeting/week?host=9001"),
    Shown("booking", row_of("/admin/meetings/meeting/book?{}", LINK_TO_TAKEN), book_what_is_taken),
    Shown("move", row_of("/admin/meetings/meeting/{}/move", TAKEN)),
    Shown("cancel", row_of("/admin/meetings/meeting/{}/cancel", TAKEN)),
    Shown("hosts", "/admin/meetings/meetinghost/"),
    Shown("host", "/admin/meetings/meetinghost/9001/change/"),
    Shown("partners", "/admin/partners/partner/"),
    Shown("partner", row_of("/admin/partners/partner/{}/change/", A_PARTNER)),
    Shown("issue-key", row_of("/admin/partners/partner/{}/issue-key/", A_PARTNER)),
    Shown("key-shown", row_of("/admin/partners/partner/{}/issue-key/", ANOTHER_KEY), issue_key),
    Shown("revoke-key", row_of("/admin/partners/partner/{}/revoke-key/{}/", ANOTHER_KEY)),
    Shown("api-keys", "/admin/partners/partnerapikey/"),
    Shown("import-runs", "/admin/legacy/importrun/"),
    Shown("import-run", row_of("/admin/legacy/importrun/{}/change/", NEWEST_RUN)),
    Shown("import-notes", "/admin/legacy/importrownote/"),
    Shown("import-note", row_of("/admin/legacy/importrownote/{}/change/", REJECTED)),
    Shown("correct-row", row_of("/admin/legacy/importrownote/{}/reimport/", REJECTED)),
    Shown("import-jobs", "/admin/legacy/importjob/"),
    Shown("import-start", "/admin/legacy/importjob/start/"),
    Shown("changes", "/admin/admin/logentry/"),
    Shown("change-filters", "/admin/admin/logentry/?day=2026-01-31", open_filters),
    Shown("change", row_of("/admin/admin/logentry/{}/change/", A_CHANGE)),
    Shown("settings", "/admin/scheduler/setting/"),
    Shown("setting", row_of("/admin/scheduler/setting/{}/change/", PROMPT)),
    Shown("setting-versions", row_of("/admin/scheduler/setting/{}/versions/", PROMPT)),
    Shown("voice", "/admin/scheduler/setting/voice/"),
    Shown("users", "/admin/auth/user/"),
    Shown("user", "/admin/auth/user/9002/change/"),
    Shown("groups", "/admin/auth/group/"),
    Shown("group", row_of("/admin/auth/group/{}/change/", AGENT)),
    Shown("staff-tokens", "/admin/scheduler/stafftoken/"),
    Shown("sign-in", "/admin/", is_signed_in=False),
)
