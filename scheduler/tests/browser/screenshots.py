"""Take the pictures in docs/screenshots, wide and narrow, light and dark: `make screenshots`, or some by name.

DEBUG=1 python -m scheduler.tests.browser.screenshots [home leads ...]
"""

from __future__ import annotations

import os
import sys
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING

os.environ.setdefault("DEBUG", "1")
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "scheduler.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from PIL import Image  # noqa: E402

from database.testing import reachable_folder, template_data, throw_away_server  # noqa: E402
from scheduler.tests.browser.pages import PAGES  # noqa: E402
from scheduler.tests.browser.site import (  # noqa: E402
    NARROW,
    WIDE,
    Site,
    chromium,
    context_of,
    made_up_site,
    sign_in,
)

if TYPE_CHECKING:
    from playwright.sync_api import Browser

FOLDER = settings.BASE_DIR / "docs" / "screenshots"
COLOURS = 40
TALLEST = 1700  # pixels


def main() -> None:
    folder = Path(os.environ.get("SCREENSHOTS") or FOLDER)
    wanted = sys.argv[1:]
    with (
        template_data() as template,
        throw_away_server(template) as server,
        reachable_folder() as scratch,
        made_up_site(server, scratch) as site,
        chromium() as browser,
    ):
        first = context_of(browser, site)
        sign_in(first.new_page())
        site.cookies = first.cookies()
        for size, width in ((WIDE, ""), (NARROW, f"-{NARROW[0]}")):
            for scheme, suffix in (("light", width), ("dark", f"{width}-dark")):
                take(browser, site, folder, wanted, size, scheme, suffix)


def take(
    browser: Browser,
    site: Site,
    folder: Path,
    wanted: list[str],
    size: tuple[int, int],
    scheme: str,
    suffix: str,
) -> None:
    context = context_of(browser, site, size, scheme=scheme)
    page = context.new_page()
    for each in PAGES:
        if wanted and each.name not in wanted:
            continue
        each.open(page, site)
        page.wait_for_load_state("networkidle")
        # As tall as the page, so that what sticks to the window's edge covers nothing.
        height = min(TALLEST, page.evaluate("document.documentElement.scrollHeight"))
        page.set_viewport_size({"width": size[0], "height": height})
        file = folder / f"{each.name}{suffix}.webp"
        write(page.screenshot(), file)
        page.set_viewport_size({"width": size[0], "height": size[1]})
        print(f"{file.name:<28}{file.stat().st_size / 1000:7.0f} kB", flush=True)
    context.close()


def write(picture: bytes, file: Path) -> None:
    """Keep few colours: a page has few, and the repository keeps every version of a picture."""
    with Image.open(BytesIO(picture)) as image:
        small = image.convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE)
    small.convert("RGB").save(file, lossless=True)


if __name__ == "__main__":
    main()
