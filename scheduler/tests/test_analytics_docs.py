"""docs/analytics.md defines each figure of each endpoint in a sentence, and none that there is not."""

import re
from pathlib import Path

import pytest
from django.conf import settings

from scheduler.api import schema

SECTION = re.compile(r"^## `GET (/api/analytics/[a-z-]+)`\n(.*?)(?=^## |\Z)", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\| `(\w+)` \| (.+) \|$", re.MULTILINE)
SECTIONS = dict(SECTION.findall((Path(settings.BASE_DIR) / "docs" / "analytics.md").read_text()))


def members(part):
    """Yield the names of all members that a JSON schema of ours allows."""
    if reference := part.get("$ref"):
        yield from members(schema()["components"]["schemas"][reference.rpartition("/")[2]])
    yield from members(part["items"]) if "items" in part else ()
    for name, below in part.get("properties", {}).items():
        yield name
        yield from members(below)


def test_every_endpoint_has_a_section():
    assert set(SECTIONS) == {path for path in schema()["paths"] if path.startswith("/api/analytics/")}


@pytest.mark.parametrize("path", SECTIONS)
def test_every_figure_is_defined(path):
    answer = schema()["paths"][path]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    defined = dict(ROW.findall(SECTIONS[path]))

    assert len(defined) > 1
    assert set(defined) == set(members(answer))
    assert [name for name, meaning in defined.items() if len(meaning.split()) < 2] == []
