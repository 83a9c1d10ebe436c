"""Documents name things that exist, and keep to their form."""

from __future__ import annotations

import re
import tomllib

import pytest

from tests.shape.checkout import ROOT, files

ARCHITECTURE_LINES_MAX = 300

DECISION_PARTS = ["Context", "Decision", "What was given up", "What would change it"]
"""And Numbers, where something was measured."""

CHANGE_KINDS = "FEATURE|CHANGE|ENHANCEMENT|BUGFIX|SECURITY"

DOCUMENTS = [path for path in files(".md") if path.relative_to(ROOT).parts[0] != "tests"]


def name_of(path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize(
    "name", ["README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/operations.md"]
)
def test_the_document_is_there(name):
    assert (ROOT / name).read_text(encoding="utf-8").startswith("# ")


@pytest.mark.parametrize("topic", ["overload", "clocks", "delivery", "durability", "memory"])
def test_the_topic_is_there(topic):
    assert (ROOT / "docs" / "topics" / f"{topic}.md").is_file()


def test_the_architecture_is_short():
    assert len((ROOT / "ARCHITECTURE.md").read_text(encoding="utf-8").splitlines()) <= ARCHITECTURE_LINES_MAX


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_files_that_a_document_names_exist(path):
    text = path.read_text(encoding="utf-8")
    named = set(
        re.findall(r"`((?:medic|tests|bench|scripts|docs|requirements|dashboards|deploy|\.ci)/[\w./-]*)`", text)
    )
    # A name in capitals is one to be filled in.
    assert sorted(name for name in named if not re.search(r"/[A-Z]+\.", name) and not (ROOT / name).exists()) == []


@pytest.mark.parametrize("path", DOCUMENTS, ids=name_of)
def test_links_within_the_documents_lead_somewhere(path):
    targets = re.findall(r"\]\(([^)#\s]+)[^)]*\)", path.read_text(encoding="utf-8"))
    lost = [target for target in targets if "://" not in target and not (path.parent / target).exists()]
    assert lost == []


def test_decisions_are_numbered_without_a_gap():
    numbers = [int(path.name[:4]) for path in sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md"))]
    assert numbers == list(range(1, len(numbers) + 1))


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "decisions").glob("[0-9]*.md")), ids=name_of)
def test_a_decision_says_what_led_to_it_and_what_would_change_it(path):
    text = path.read_text(encoding="utf-8")
    assert text.startswith(f"# {int(path.name[:4])}. ")
    parts = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [part for part in parts if part in DECISION_PARTS] == DECISION_PARTS


def test_changes_say_which_part_they_are_of():
    text = (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")
    entries = re.findall(r"^\* (.*)$", text, re.MULTILINE)
    assert entries
    assert [entry for entry in entries if not re.match(rf"\[(?:{CHANGE_KINDS})\] [\w/ -]+: [A-Z`]", entry)] == []


def test_the_release_that_is_built_is_the_newest_in_the_changelog():
    released = re.findall(r"^## (\d+\.\d+\.\d+), \d{4}-\d\d-\d\d$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert released[0] == tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


def test_the_newcomers_two_commands_are_in_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    assert "./scripts/serve" in readme
    assert "./scripts/test" in readme
