"""The table of attacks names tests that exist, so that no row promises what nobody shows."""

from __future__ import annotations

import ast
import re

import pytest

from tests.shape.checkout import ROOT

PAGE = ROOT / "docs" / "topics" / "security.md"

ROW = re.compile(r"^\| (?!Attack)[^|]+\|[^|]+\| (.+) \|$", re.MULTILINE)
NAMED = re.compile(r"`((?:tests|medic)/[\w/]+\.py)?(?:::)?(test_\w+)?`")

ASKED_FOR = (
    "scope",
    "Unicode",
    "time",
    "slow",
    "head",
    "body",
    "deep",
    "twice",
    "NaN",
    "line break",
    "Slack",
    "log",
    "SQL",
    "path",
    "listing",
    "10 000",
    "rebinding",
    "X-Forwarded-For",
)


def rows() -> list[str]:
    return ROW.findall(PAGE.read_text())


def defined_in(path: str) -> set[str]:
    return {
        node.name
        for node in ast.walk(ast.parse((ROOT / path).read_text()))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
    }


def test_every_row_names_tests_that_exist() -> None:
    wrong = []
    for cell in rows():
        path = ""
        named = NAMED.findall(cell)
        if not named:
            wrong.append(cell)
        for given, test in named:
            path = given or path
            if not path or not (ROOT / path).is_file() or (test and test not in defined_in(path)):
                wrong.append(f"{given}::{test}")
    assert wrong == []


@pytest.mark.parametrize("word", ASKED_FOR)
def test_the_table_speaks_of_every_attack_that_was_asked_for(word: str) -> None:
    assert word.lower() in PAGE.read_text().lower()
