"""docs/operations.md and docs/alerts.yml against the code."""

import ast
import re
import shutil
import subprocess
from importlib import import_module
from typing import Any

import pytest
import yaml
from django.conf import settings
from django.utils.module_loading import autodiscover_modules
from prometheus_client import REGISTRY

from database.figures import all_figures

GUIDE = settings.BASE_DIR / "docs" / "operations.md"
ALERTS = settings.BASE_DIR / "docs" / "alerts.yml"
PROMTOOL = shutil.which("promtool")
HISTOGRAM = ("_bucket", "_sum", "_count")
WORDS = {"and", "or", "unless", "up"}


def families() -> dict[str, tuple[str, set[str]]]:
    """Return type and labels of each metric, by the name that the page and the guide give it."""
    autodiscover_modules("metrics")
    import_module(settings.ROOT_URLCONF)  # some metrics stand beside what they measure
    found = {
        figure.name: ("gauge", set(figure.labels))
        for figure in all_figures()
        if figure.name.startswith("scheduler_")
    }
    for collector in REGISTRY._collector_to_names:
        name: str = getattr(collector, "_name", "")
        if name.startswith("scheduler_"):
            kind = collector._type  # type: ignore[attr-defined]
            mode = getattr(collector, "_multiprocess_mode", "")
            labels = {*collector._labelnames, *({"pid"} if mode == "liveall" else ())}  # type: ignore[attr-defined]
            found[f"{name}_total" if kind == "counter" else name] = (kind, labels)
    return found


def series() -> dict[str, set[str]]:
    """Return the labels of each time series that may be in an expression."""
    found = {}
    for name, (kind, labels) in families().items():
        for suffix in HISTOGRAM if kind == "histogram" else ("",):
            found[name + suffix] = labels | ({"le"} if suffix == "_bucket" else set())
    return found


def rows_below(heading: str) -> list[list[str]]:
    """Return the cells of the first table below a heading of the guide."""
    lines = GUIDE.read_text().partition(heading)[2].splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("|---"))
    table = []
    for line in lines[start + 1 :]:
        if not line.startswith("|"):
            break
        table.append([cell.strip() for cell in line.strip("|").split("|")])
    return table


def rules() -> list[dict[str, Any]]:
    return [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


def test_the_guide_lists_every_metric_with_its_labels_and_no_other():
    listed = {
        name.strip("`"): {label.strip() for label in labels.split(",") if label.strip()}
        for name, labels, _ in rows_below("| Metric | Labels | Meaning |")
    }

    assert listed == {name: labels for name, (_, labels) in families().items()}


def test_the_guide_has_the_sentence_of_every_error_and_what_to_do():
    code = ast.parse((settings.BASE_DIR / "database" / "errors.py").read_text())
    sentences = {
        node.name: (ast.get_docstring(node) or "").splitlines()[0]
        for node in code.body
        if isinstance(node, ast.ClassDef)
    }
    table = rows_below("| Error | Sentence | What to do |")

    assert {name.strip("`"): sentence for name, sentence, _ in table} == sentences
    assert all(what for _, _, what in table)


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_asks_for_what_exists(rule):
    known = series()
    bare = re.sub(r"\{[^}]*\}|\[[^\]]*\]|\b(?:by|on)\s*\([^)]*\)|\d[\d.e]*", " ", rule["expr"])
    names = set(re.findall(r"[a-z_]+(?![a-z_]*\s*\()", bare)) - WORDS

    assert names <= known.keys()
    assert names or rule["expr"].startswith("up")
    for name, selector in re.findall(r"(scheduler_[a-z_]+)\{([^}]*)\}", rule["expr"]):
        assert set(re.findall(r"(\w+)\s*=", selector)) <= known[name]
    assert rule["labels"]["severity"] in ("page", "ticket")


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: rule["alert"])
def test_an_alert_leads_to_a_chapter(rule):
    path, _, fragment = rule["annotations"]["runbook"].partition("#")
    text = (settings.BASE_DIR / path).read_text()
    headings = re.findall(r"^#+ (.+)$", text, re.MULTILINE)

    assert fragment in {heading.lower().replace(" ", "-") for heading in headings}


@pytest.mark.skipif(not PROMTOOL, reason="promtool is not installed")
def test_promtool_accepts_the_alerts():
    done = subprocess.run(
        [str(PROMTOOL), "check", "rules", str(ALERTS)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )

    assert done.returncode == 0, done.stdout + done.stderr
