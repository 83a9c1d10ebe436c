"""No item of the earlier runbook is left out: each is walked by a test, in its order, and stands in our own."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.e2e.runbook_walk import CHAPTERS, ITEMS
from tests.shape.checkout import ROOT

FILES = sorted((ROOT / "tests" / "e2e").glob("test_runbook_*.py"))
PAGE = (ROOT / "docs" / "runbook.md").read_text()


def walked(path: Path) -> list[str]:
    """The items that a file says it saw, in its order."""
    calls = [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]
    seen = [
        call.args[0]
        for call in sorted(calls, key=lambda call: call.lineno)
        if isinstance(call.func, ast.Attribute) and call.func.attr == "saw"
    ]
    assert all(isinstance(item, ast.Constant) for item in seen), "an item is quoted where it is seen"
    return [str(item.value) for item in seen if isinstance(item, ast.Constant)]


def test_every_item_is_walked_once() -> None:
    seen = [item for path in FILES for item in walked(path)]
    assert sorted(seen) == sorted(ITEMS)


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_the_walk_keeps_to_the_runbooks_order(path: Path) -> None:
    chapters = {item: number for number, items in enumerate(CHAPTERS.values()) for item in items}
    order = [chapters[item] for item in walked(path)]
    assert order == sorted(order)


def named_in(item: str) -> set[str]:
    """What an operator would look for of an item: its variable, path, metric or command."""
    found = re.findall(r"`(/[a-z0-9/]+|[A-Z][A-Z_]+|medic_\w+|dashboards/[\w.]+)`", item)
    if re.match(r"(medic-cli|kubectl|psql|pg_dump|curl|DELETE) ", item):
        found.append(item)
    return set(found)


def test_our_own_runbook_has_each_of_its_names_and_commands() -> None:
    missing = {name for item in ITEMS for name in named_in(item) if name not in PAGE}
    assert missing == set()
