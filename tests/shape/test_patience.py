"""No test fails because the machine is slow: what it waits for has the one patience there is, and no time is judged."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.patience import PATIENCE_SECONDS
from tests.shape.checkout import ROOT

WAITS = {"fail_after", "wait_for", "wait_for_pages", "wait_answer", "wait"}
"""Calls that raise, or whose caller does, when their seconds are over."""

POSITIONAL = {"fail_after", "wait"}
"""Those that take them without a name."""

SECONDS = {"timeout", "seconds"}
"""What the others name them, and what sockets and processes do."""

CLOCKS = {"monotonic", "perf_counter", "time"}

GIVES_UP_ON_PURPOSE = {"tests/vendors/test_vendors.py"}
"""Its client gives up on a vendor that hangs."""


def number(node: ast.expr) -> float | None:
    return float(node.value) if isinstance(node, ast.Constant) and isinstance(node.value, int | float) else None


def name_of(call: ast.Call) -> str:
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def impatient(tree: ast.AST) -> Iterator[int]:
    """The lines that wait for less than the tests' patience, or judge what the wall clock says."""
    on_purpose = {id(node.operand) for node in ast.walk(tree) if isinstance(node, ast.UnaryOp)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and id(node) not in on_purpose:
            waits = name_of(node) in WAITS
            said = [word.value for word in node.keywords if word.arg == "timeout" or (waits and word.arg in SECONDS)]
            if name_of(node) in POSITIONAL and len(node.args) == 1:
                said.append(node.args[0])
            if any((seconds := number(one)) is not None and seconds < PATIENCE_SECONDS for one in said):
                yield node.lineno
        if isinstance(node, ast.Compare) and isinstance(node.ops[-1], ast.Lt | ast.LtE):
            spent = node.comparators[-2] if len(node.comparators) > 1 else node.left
            limit = number(node.comparators[-1])
            if limit is not None and reads_clock(spent):
                yield node.lineno


def reads_clock(node: ast.expr) -> bool:
    """Whether it is the difference to a clock of the machine."""
    return isinstance(node, ast.BinOp) and any(
        isinstance(one, ast.Call) and name_of(one) in CLOCKS for one in ast.walk(node)
    )


@pytest.mark.parametrize(
    ("line", "refused"),
    [
        ("trio.fail_after(20)", True),
        ("trio.fail_after(PATIENCE_SECONDS)", False),
        ("medic.wait_for(lambda: 1, seconds=5)", True),
        ("urlopen(request, timeout=15)", True),
        ("child.wait(10)", True),
        ("event.wait()", False),
        ("assert not event.wait(0.6)", False),
        ("assert time.monotonic() - begun < 3", True),
        ("assert time.monotonic() < deadline", False),
        ("trio.move_on_after(0.05)", False),
    ],
)
def test_the_rule_knows_what_depends_on_the_machine(line: str, *, refused: bool) -> None:
    assert bool(list(impatient(ast.parse(line)))) is refused


def test_no_test_waits_for_less_than_the_tests_patience() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{line}: use PATIENCE_SECONDS, an order, a count, or a clock of the test's own"
        for path in sorted(Path(ROOT, "tests").rglob("*.py"))
        if str(path.relative_to(ROOT)) not in GIVES_UP_ON_PURPOSE
        for line in impatient(ast.parse(path.read_text(encoding="utf-8")))
    ]
    assert found == []
