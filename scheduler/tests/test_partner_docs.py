"""docs/partner-api.md: each example is run as it is printed, against a real server; each code of a refusal is there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from django.conf import settings
from django.utils import timezone

from calls.models import Call
from leads.models import Lead
from meetings.models import Meeting, MeetingHost
from partners.models import Partner
from scheduler.api import schema
from scheduler.rest.tests.processes import database_url
from scheduler.tests.rest_server import served
from scheduler.tests.rest_world import key_of, token_of, user

ROOT = Path(settings.BASE_DIR)
GUIDE = (ROOT / "docs" / "partner-api.md").read_text()
EXAMPLE = re.compile(r"^```(bash|python|javascript)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
HEADING = re.compile(r"^##+ (.+)$", re.MULTILINE)
# Language, the program that runs it, what it needs besides bash.
PROGRAMS = {
    "bash": (["bash", "-euo", "pipefail"], "curl"),
    "python": ([sys.executable, "-I", "-"], sys.executable),
    "javascript": (["node", "--input-type=module", "-"], "node"),
}
FOR_PARTNERS = [
    "Sign in", "Transfer leads", "Read leads", "Read calls and their results", "Read meetings", "Export as CSV",
    "Errors",
]  # fmt: skip
FOR_STAFF = ["Issue and rotate partners' keys", "Upload leads", "Book meetings"]
# What the output of an example must hold, in whatever language it is.
SHOWS = {
    "Sign in": [r"Acme", r"\b600\b"],
    "Transfer leads": [r'"total_submitted": ?2\b', r'"failed": ?1\b', r'"index": ?1\b', r"7 to 15 digits"],
    "Read leads": [r'"id": ?1,', r'"id": ?2,', r'"id": ?3,', r'"status": ?"pending"'],
    "Read calls and their results": [r'"outcome": ?"interested"', r'"summary": ?"Wants a meeting."'],
    "Read meetings": [r'"lead_name": ?"Lead 1"', r'"status": ?"scheduled"'],
    "Export as CSV": [r"1,Lead 1,\+41446681801", r"3,Lead 3,\+41446681803"],
    "Errors": [r"\b422\b", r"\binvalid\b", r"/query/page\b", r"/query/status\b", r"must be one of"],
    "Issue and rotate partners' keys": [r'"api_key":"ais_\w+', r'"name":"Acme"'],
    "Upload leads": [r'"leads_created":1\b', r"Row 3: "],
    "Book meetings": [r"^scheduled 20.*\nscheduled 20.*\ncancelled$"],
}
# How the code of a refusal is written in our sources.
CODES = re.compile(
    r'Problem\(\s*[0-9]{3},\s*"(\w+)"|Invalid\([^\n]*code="(\w+)"|unauthorized\([^\n]*"(\w+)"\)'
    r'|^    code = "(\w+)"|NotBookable\("(\w+)"|return "(\w+)", f?"',
    re.MULTILINE,
)
NOT_FOUND = re.compile(r'NotFound\("([^"]+)"\)')
# The base class of refusals, which is never raised itself.
ABSTRACT = {"refused"}


def examples() -> list[tuple[str, str, str]]:
    """Return heading, language and text of each example, in the order of the guide."""
    headings = [(found.start(), found[1]) for found in HEADING.finditer(GUIDE)]
    return [
        ([text for start, text in headings if start < found.start()][-1], found[1], found[2])
        for found in EXAMPLE.finditer(GUIDE)
    ]


@pytest.fixture
def variables(transactional_db, tmp_path: Path) -> Iterator[dict[str, str]]:
    """The variables that the guide tells people to set, for a server with rows of partner Acme."""
    partner = Partner.objects.create(name="Acme", rate_limit=600)
    leads = [
        Lead.objects.create(name=f"Lead {n}", phone=f"+4144668180{n}", partner=partner) for n in (1, 2, 3)
    ]
    Call.objects.create(
        lead=leads[0], outcome="interested", summary="Wants a meeting.",
        ended_at=timezone.now() + timedelta(minutes=1),
    )  # fmt: skip
    host = MeetingHost.objects.create(name="Ruth", timezone="Europe/Zurich")
    Meeting.objects.create(lead=leads[0], host=host, scheduled_time=timezone.now() + timedelta(days=3))
    with served(database_url(), tmp_path) as address:
        yield {
            "API": address, "API_KEY": key_of(partner.pk), "STAFF_TOKEN": token_of(user(is_superuser=True)),
            "PATH": os.environ["PATH"],
        }  # fmt: skip


def run(language: str, text: str, variables: dict[str, str]) -> str:
    program, _ = PROGRAMS[language]
    done = subprocess.run(
        program, input=text, env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
    return done.stdout


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("language", PROGRAMS)
def test_every_example_runs_as_it_is_printed(language, variables):
    needed = PROGRAMS[language][1]
    if shutil.which(needed) is None:
        pytest.skip(f"{needed} is not installed")
    shown = {
        heading: run(language, text, variables) for heading, kind, text in examples() if kind == language
    }

    assert shown
    wrong = [
        f"{heading}: no {pattern} in {output}"
        for heading, output in shown.items()
        for pattern in SHOWS[heading]
        if not re.search(pattern, output, re.MULTILINE)
    ]
    assert wrong == []


def test_partners_have_each_example_in_all_languages():
    found = [(heading, language) for heading, language, _ in examples()]

    for heading in FOR_PARTNERS:
        assert [language for name, language in found if name == heading] == list(PROGRAMS), heading
    assert {heading for heading, _ in found} == {*FOR_PARTNERS, *FOR_STAFF}


def test_examples_are_for_the_standard_library_alone():
    imported = {
        name.strip().partition(".")[0]
        for _, language, text in examples()
        if language == "python"
        for line in re.findall(r"^import (.+)$", text, re.MULTILINE)
        for name in line.split(",")
    }
    scripts = "".join(text for _, language, text in examples() if language == "javascript")

    assert imported and imported <= sys.stdlib_module_names
    assert "import " not in scripts and "require(" not in scripts


def codes_of(*names: str) -> set[str]:
    """Return the codes in the sources of these names, tests apart."""
    texts = [file.read_text() for name in names for file in ROOT.glob(f"{name}.py")]
    words = {word for text in texts for found in CODES.findall(text) for word in found if word}
    missing = {what for text in texts for what in NOT_FOUND.findall(text)}
    return (words | {f"{what.lower().replace(' ', '_')}_not_found" for what in missing}) - ABSTRACT


def test_every_code_of_a_refusal_is_explained():
    codes = codes_of(
        "scheduler/rest/[a-z]*", "scheduler/*_api", "partners/*", "leads/*", "leads/api/*", "calls/api", "meetings/*",
        "analytics/api",
    )  # fmt: skip

    assert len(codes) > 30
    assert sorted(code for code in codes if f"`{code}`" not in GUIDE) == []


def test_every_path_that_the_guide_names_is_published():
    published = {re.sub(r"\{\w+\}", "{id}", path).rstrip("/") for path in schema()["paths"]}
    named = set(re.findall(r"/api/[a-z{][\w{}/.-]*[\w}]", EXAMPLE.sub("", GUIDE)))

    assert len(named) > 15
    assert named - published == {"/api/openapi.json", "/api/docs"}
