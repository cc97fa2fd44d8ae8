"""The documents against the code: commands, options, make targets, links, reasons."""

import argparse
import re
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import get_commands, load_command_class
from django.core.management.base import BaseCommand

ROOT = Path(settings.BASE_DIR)
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
OURS = {"database", "scheduler", "legacy"}
# `manage.py X --option`, up to the end of the line, the closing backtick or a comment.
MANAGE = re.compile(r"manage\.py ([a-z_]+)([^`#\n|]*)")
MAKE = re.compile(r"(?:^|`|PORT=\d+ |\[)make ((?:[A-Z]+=\S+ )*)([a-z]+)", re.MULTILINE)
LINK = re.compile(r"\[[^\]]*\]\(([^)]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.MULTILINE)
REASON = re.compile(r"`([^`]+)`")
# N is a number and X a name; a reason also names tables, columns and ids.
PUT_IN = re.compile(
    r"\b(?:N|X|\d+|partners|leads|calls|settings|meetings"
    r"|id|key|role|status|phone|name|is_active|scheduled_time|created_at|started_at)\b"
)
HOSTS = ("pypi.", "pythonhosted", "artifactory", "index-url")
MACHINE_PATHS = ("/work/", "/root/", "/home/", "/tmp/", "/Users/", "/opt/")


def texts() -> list[tuple[str, str]]:
    return [(str(path.relative_to(ROOT)), path.read_text()) for path in DOCUMENTS]


def prose() -> str:
    return "\n".join(text for _, text in texts())


def our_commands() -> list[str]:
    return sorted(name for name, app in get_commands().items() if app in OURS)


def options_of(name: str) -> set[str]:
    app = get_commands()[name]
    command = load_command_class(app, name) if isinstance(app, str) else app
    parser: argparse.ArgumentParser = command.create_parser("manage.py", name)
    return {option for action in parser._actions for option in action.option_strings}


def make_targets() -> set[str]:
    phony = re.search(r"^\.PHONY: (.+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    return set(phony[1].split()) if phony else set()


def anchor(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().strip("|").split("|")]


def documented_reasons() -> list[str]:
    """Return the reasons that the operator's guide explains, from all tables with a column of that name."""
    found: list[str] = []
    column = None
    for line in (ROOT / "docs" / "migration.md").read_text().splitlines():
        if not line.startswith("|"):
            column = None
        elif column is None:
            names = [name.partition(" of a ")[0] for name in cells(line)]
            column = names.index("Reason") if "Reason" in names else -1
        elif column >= 0 and not line.startswith("|---"):
            # What stands in brackets is an example or the name of a column.
            found += REASON.findall(re.sub(r"\([^)]*\)", "", cells(line)[column]))
    return found


def fixed_pieces(reason: str) -> list[str]:
    """Return what of a reason stands in the code as it is: no names, numbers, and values of a column."""
    text = re.sub(r"(?<=not one of).*", "", reason)
    pieces = re.split(PUT_IN, text)
    return [piece for piece in (each.strip(" ,.;").removeprefix("is ") for each in pieces) if len(piece) > 3]


def test_the_readme_names_the_two_commands_of_a_newcomer():
    first_screen = "\n".join((ROOT / "README.md").read_text().splitlines()[:25])

    assert "make demo" in first_screen
    assert "make test" in first_screen


@pytest.mark.parametrize("name", our_commands())
def test_every_command_is_documented(name):
    assert name in prose()


@pytest.mark.parametrize("name", [n for n in our_commands() if get_commands()[n] == "legacy"])
def test_every_option_of_the_move_is_documented(name):
    shared = {o for action in BaseCommand().create_parser("", "")._actions for o in action.option_strings}

    assert {option for option in options_of(name) - shared if option not in prose()} == set()


def test_documented_commands_and_their_options_exist():
    wrong = []
    for document, text in texts():
        for name, rest in MANAGE.findall(text):
            known = options_of(name) if name in get_commands() else set()
            used = re.findall(r"--[a-z][a-z-]*", rest)
            wrong += [f"{document}: {name} {option}" for option in used if option not in known]
            wrong += [f"{document}: {name}"] if name not in get_commands() else []

    assert wrong == []


def test_documented_make_targets_exist():
    used = {target for _, target in MAKE.findall(prose())}

    assert used - make_targets() == set()


def test_every_make_target_is_in_the_readme():
    readme = (ROOT / "README.md").read_text()

    assert {target for target in make_targets() - {"all"} if f"`make {target}`" not in readme} == set()


def test_relative_links_lead_somewhere():
    broken = []
    for path in DOCUMENTS:
        for target in LINK.findall(path.read_text()):
            if "://" in target:
                continue
            file, _, fragment = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            headings = HEADING.findall(there.read_text()) if fragment and there.exists() else []
            if not there.exists() or (fragment and fragment not in map(anchor, headings)):
                broken.append(f"{path.name}: {target}")

    assert broken == []


@pytest.mark.parametrize("word", [*HOSTS, *MACHINE_PATHS])
def test_documents_name_no_package_registry_and_no_path_of_one_machine(word):
    assert [document for document, text in texts() if word in text] == []


def test_pictures_stay_small():
    pictures = list((ROOT / "docs").rglob("*.webp"))

    assert pictures
    assert [path.name for path in pictures if path.stat().st_size > 150_000] == []


def test_the_reasons_in_the_guide_are_those_of_the_code():
    code = "\n".join(path.read_text() for path in (ROOT / "legacy").glob("*.py"))
    reasons = documented_reasons()

    assert len(reasons) > 40
    assert [reason for reason in reasons if any(piece not in code for piece in fixed_pieces(reason))] == []
