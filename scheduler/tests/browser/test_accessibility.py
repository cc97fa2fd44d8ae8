"""axe-core on every page of staff, wide and narrow, light and dark: no fault at all; and nothing cut off.

axe-core comes by `make axe`, which needs npm; without it the tests are skipped, and fail with REQUIRE_SERVICES=1.
"""

from __future__ import annotations

from typing import Any

import pytest
from django.conf import settings
from playwright.sync_api import Page

from scheduler.tests.browser.conftest import REQUIRED
from scheduler.tests.browser.pages import PAGES, Shown
from scheduler.tests.browser.site import NARROW, WIDE

AXE = settings.BASE_DIR / ".local" / "axe" / "node_modules" / "axe-core" / "axe.min.js"
MODES = [(WIDE, "light"), (WIDE, "dark"), (NARROW, "light"), (NARROW, "dark")]
# What staff open all day; all the others together take minutes.
BY_DEFAULT = {
    "home",
    "leads",
    "lead-search",
    "lead",
    "lead-actions",
    "call",
    "booking",
    "issue-key",
    "key-shown",
    "correct-row",
    "sign-in",
}
# Dark pages have the same elements in other colours.
RUN = """async (isDark) => {
  const rules = isDark ? {runOnly: {type: "rule", values: ["color-contrast", "link-in-text-block"]}} : {};
  const found = await axe.run(document, {resultTypes: ["violations"], ...rules});
  return found.violations.map(each =>
    ({id: each.id, impact: each.impact, help: each.help, nodes: each.nodes.map(node => node.html.slice(0, 160))}));
}"""
# The rows of a list are alike, and axe looks at each for a tenth of a second.
FEWER_ROWS = (
    "() => [...document.querySelectorAll('#result_list tr.data-row')].slice(8).forEach(row => row.remove())"
)
WIDER_THAN_THE_WINDOW = "() => document.scrollingElement.scrollWidth - document.scrollingElement.clientWidth"
# A box may scroll, and a line may end in an ellipsis; anything else beyond the edge cannot be seen.
CUT_OFF = """() => {
  const clips = (element) => {
    const style = getComputedStyle(element);
    return ["auto", "scroll"].includes(style.overflowX) || style.clipPath !== "none"
      || (style.overflowX === "hidden" && style.textOverflow === "ellipsis");
  };
  const isClipped = (element) => {
    for (let at = element; at && at !== document.body; at = at.parentElement) if (clips(at)) return true;
    return false;
  };
  return [...document.querySelectorAll("#main *")].filter(element => {
    const box = element.getBoundingClientRect();
    return box.width && box.height && box.right > innerWidth + 1 && element.checkVisibility({visibilityProperty: true})
      && !isClipped(element);
  }).map(element => element.outerHTML.slice(0, 160)).slice(0, 5);
}"""


# What a mouse may click and Tab never reaches.
FOR_MICE_ONLY = """() => {
  const reachable = "a[href], button, input, select, textarea, summary, label, audio, [tabindex='0'], [role=option]";
  return [...document.querySelectorAll("body *")].filter(element =>
    getComputedStyle(element).cursor === "pointer" && element.checkVisibility({visibilityProperty: true})
      && !element.closest(reachable) && !element.querySelector(reachable)
  ).map(element => element.outerHTML.slice(0, 160)).slice(0, 5);
}"""
FAULTY = """<b style='cursor: pointer'>Only by mouse</b><button></button>
<p style='color: #aaa; background: #fff'>Too pale to be read</p>
<div style='width: 600px; height: 9px'></div>
<div style='overflow: hidden; width: 99%'><p style='width: 600px'>Words</p></div>"""


@pytest.fixture(scope="module")
def axe() -> str:
    if not AXE.exists():
        if REQUIRED:
            pytest.fail("axe-core is not installed: make axe")
        pytest.skip("axe-core is not installed: make axe")
    return AXE.read_text()


def parameters() -> list[Any]:
    return [
        pytest.param(shown, id=shown.name, marks=() if shown.name in BY_DEFAULT else pytest.mark.slow)
        for shown in PAGES
    ]


@pytest.mark.parametrize("shown", parameters())
def test_a_page_has_no_fault(site, page, axe, shown: Shown):
    shown.open(page, site)
    page.evaluate(axe)  # by the debugger's door, which the policy of the page does not watch
    page.evaluate(FEWER_ROWS)

    assert {
        f"{size[0]} {scheme}": found for size, scheme in MODES if (found := faults(page, size, scheme))
    } == {}


def faults(page: Page, size: tuple[int, int], scheme: Any) -> list[Any]:
    """Return what is wrong in one window size and colour scheme."""
    page.set_viewport_size({"width": size[0], "height": size[1]})
    page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    # Unfold reads the system's scheme when a page opens, and not again.
    is_dark = scheme == "dark"
    page.evaluate("dark => document.documentElement.classList.toggle('dark', dark)", is_dark)
    found: list[Any] = page.evaluate(RUN, is_dark)
    if wider := page.evaluate(WIDER_THAN_THE_WINDOW):
        found.append(f"{wider} pixels wider than the window")
    found += [f"cut off: {each}" for each in page.evaluate(CUT_OFF)]
    return found + [f"for mice only: {each}" for each in page.evaluate(FOR_MICE_ONLY)]


def test_all_pages_by_default_exist():
    assert {each.name for each in PAGES} >= BY_DEFAULT


def test_faults_that_are_there_are_found(page, axe):
    page.goto("/admin/calls/live/")
    page.evaluate(axe)
    page.evaluate(
        "html => document.querySelector('#content-main').insertAdjacentHTML('afterbegin', html)", FAULTY
    )

    found = str(faults(page, NARROW, "light"))

    assert all(
        each in found
        for each in ("button-name", "color-contrast", "wider than the window", "cut off", "for mice")
    )
