"""The whole site for a browser: a server process with production's settings, and Chromium on it."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from django.conf import settings
from playwright.sync_api import Browser, BrowserContext, Page, Playwright, sync_playwright

from database.embedded import EmbeddedServer
from scheduler.tests.browser import made_up
from scheduler.tests.rest_server import served

CHROMIUM = shutil.which("chromium")
ARGUMENTS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]
WIDE, NARROW = (1440, 900), (390, 844)
PATIENCE = 30_000  # milliseconds
PRODUCTION = {
    "DEBUG": "0",
    "SECRET_KEY": "only-for-the-tests-in-a-browser-" * 2,
    "ALLOWED_HOSTS": "127.0.0.1",
    "SECURE_SSL_REDIRECT": "0",  # Chromium comes by http, on this machine
    "CSRF_TRUSTED_ORIGINS": "",
}


@dataclass
class Site:
    """A served site; `url` is its database, `cookies` those of somebody who signed in."""

    address: str
    url: str
    cookies: list[Any] = field(default_factory=list)

    def row(self, query: str, *parameters: object) -> Any:
        """Return the only row of a query, as it is committed now."""
        with psycopg.connect(self.url) as connection:
            rows = connection.execute(query, parameters or None).fetchall()
        assert len(rows) == 1, f"{len(rows)} rows"
        return rows[0]

    def rows(self, query: str, *parameters: object) -> list[Any]:
        with psycopg.connect(self.url) as connection:
            return connection.execute(query, parameters or None).fetchall()

    def execute(self, statement: str, *parameters: object) -> None:
        with psycopg.connect(self.url) as connection:
            connection.execute(statement, parameters)


@contextmanager
def made_up_site(server: EmbeddedServer, folder: Path) -> Iterator[Site]:
    """Migrate, fill and serve a database; `folder` is for files of this run."""
    imports = folder / "imports"
    imports.mkdir()
    variables = {**PRODUCTION, "DATABASE_URL": server.url, "IMPORT_FOLDER": str(imports)}
    environment = {**os.environ, **variables, "PROMETHEUS_MULTIPROC_DIR": str(folder / "metrics")}

    def manage(*arguments: str) -> None:
        command = [sys.executable, str(settings.BASE_DIR / "manage.py"), *arguments]
        done = subprocess.run(
            command, env=environment, capture_output=True, text=True, timeout=180, check=False
        )
        # 3: rows were rejected, as it is meant here.
        if done.returncode not in (0, 3):
            raise RuntimeError(f"{arguments[0]} ended with {done.returncode}: {done.stderr[-2000:]}")

    with _alone("static"):  # all processes collect into one folder
        manage("collectstatic", "--no-input", "--verbosity", "0")
    manage("migrate", "--verbosity", "0")
    made_up.fill(server.url, folder, manage)
    with served(server.url, folder / "metrics", **variables) as address:
        yield Site(address, server.url)


@contextmanager
def _alone(name: str) -> Iterator[None]:
    lock = settings.BASE_DIR / ".local" / f"{name}.lock"
    lock.parent.mkdir(exist_ok=True)
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextmanager
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        yield launched(playwright)


def launched(playwright: Playwright) -> Browser:
    return playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)


@dataclass
class Watch:
    """What went wrong in the pages of a context: errors of scripts, refused resources, other hosts."""

    host: str
    faults: list[str] = field(default_factory=list)
    expected_statuses: set[int] = field(default_factory=set)

    def look_at(self, context: BrowserContext) -> None:
        context.on("request", lambda request: self._host(request.url))
        context.on("console", lambda message: self._console(message.type, message.text))
        context.on("weberror", lambda error: self.faults.append(f"error: {error.error}"))
        context.on("response", lambda response: self._status(response.status, response.url))

    def _host(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("data", "blob", "about") and parts.netloc != self.host:
            self.faults.append(f"asked another host: {parts.scheme}://{parts.netloc}")

    def _console(self, kind: str, text: str) -> None:
        # The status of the page itself is looked at below.
        if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
            self.faults.append(f"console {kind}: {text}")

    def _status(self, status: int, url: str) -> None:
        if status >= 400 and status not in self.expected_statuses:
            self.faults.append(f"{status}: {urlsplit(url).path}")


def context_of(
    browser: Browser, site: Site, size: tuple[int, int] = WIDE, *, scheme: Any = "light", scripts: bool = True
) -> BrowserContext:
    """Open a window whose owner is signed in, once `sign_in` was called for the site."""
    context = browser.new_context(
        base_url=site.address,
        viewport={"width": size[0], "height": size[1]},
        color_scheme=scheme,
        java_script_enabled=scripts,
        reduced_motion="reduce",
        locale="en-GB",
        timezone_id="UTC",
    )
    context.set_default_timeout(PATIENCE)
    if site.cookies:
        context.add_cookies(site.cookies)
    return context


def sign_in(page: Page, user: str = made_up.USER) -> None:
    page.goto("/admin/")
    page.get_by_label("Username").fill(user)
    page.get_by_label("Password").fill(made_up.PASSWORD)
    page.get_by_role("button", name="Log in").click()
    page.get_by_role("heading", name="Calls", exact=True).first.wait_for()
