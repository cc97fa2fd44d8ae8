"""The place of all tests here."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from database.testing import throw_away_server
from legacy.synthetic.build import build
from legacy.tests.chaos.place import Site

LEADS = 3000


@pytest.fixture(scope="module")
def site(server_template: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("chaos")
    (folder / "scratch").mkdir()
    build(folder / "ai_scheduler.db", leads=LEADS)
    with throw_away_server(server_template) as server:
        found = Site(server, folder / "ai_scheduler.db", folder / "scratch")
        found.run("migrate", "--no-input")
        yield found
