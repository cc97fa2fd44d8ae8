"""/api/docs in a real browser: all endpoints show, and nothing is asked of any other host."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from scheduler.api import schema
from scheduler.tests.rest_server import served

CHROMIUM = shutil.which("chromium")
QUIET = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
    "--disable-sync", "--disable-default-apps", "--disable-extensions", "--no-first-run", "--no-default-browser-check",
    "--disable-features=OptimizationHints,MediaRouter,Translate,InterestFeedContentSuggestions",
]  # fmt: skip


@pytest.fixture
def address(tmp_path: Path) -> Iterator[str]:
    if CHROMIUM is None and os.environ.get("REQUIRE_SERVICES") != "1":
        pytest.skip("chromium is not installed")
    with served(os.environ["DATABASE_URL"], tmp_path / "metrics") as found:
        yield found


def test_the_page_shows_every_endpoint_and_asks_no_other_host(address: str, tmp_path: Path):
    assert CHROMIUM is not None, "chromium is not installed"
    log = tmp_path / "net.json"
    done = subprocess.run(
        [CHROMIUM, *QUIET, f"--user-data-dir={tmp_path / 'profile'}", f"--log-net-log={log}",
         "--virtual-time-budget=20000", "--timeout=60000", "--dump-dom", f"{address}/api/docs"],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    page = unescape(done.stdout).replace("\u200b", "")

    missing = [path for path in schema()["paths"] if f'data-path="{path}"' not in page]
    assert missing == []
    assert hosts(log, address) == {urlsplit(address).netloc}


def hosts(log: Path, page: str) -> set[str]:
    """Return the hosts that a page asked, from a net log of Chromium, which itself has errands elsewhere."""
    events = json.loads(log.read_text())["events"]
    requests = [each["params"] for each in events if "initiator" in each.get("params", {})]
    return {urlsplit(each["url"]).netloc for each in requests if each["initiator"].rstrip("/") == page}
