"""What dashboards and rules ask of Prometheus: their expressions, and the series and labels that each is about."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import promql_parser
import yaml

ROOT = Path(__file__).resolve().parents[1]
DASHBOARD = ROOT / "dashboards" / "grafana.json"
RULES = ROOT / "dashboards" / "alerts.yml"

VARIABLES = {"$__rate_interval": "1m", "$job": ".+", "$instance": ".+"}
"""As Grafana fills them in where everything is chosen."""


@dataclass(frozen=True)
class Question:
    """An expression, who asks it, and the labels that its legend shows."""

    asker: str
    expression: str
    legend: frozenset[str] = frozenset()

    @property
    def syntax(self) -> Any:
        """The expression, parsed."""
        return promql_parser.parse(self.expression)


def panels() -> list[dict[str, Any]]:
    """The dashboard's panels, rows aside."""
    return [panel for panel in json.loads(DASHBOARD.read_text())["panels"] if panel["type"] != "row"]


def rules() -> list[dict[str, Any]]:
    """The alerting rules, in order."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def panel_questions() -> Iterator[Question]:
    """What the dashboard asks."""
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"]
            for name, value in VARIABLES.items():
                expression = expression.replace(name, value)
            legend = frozenset(re.findall(r"\{\{(\w+)\}\}", target["legendFormat"]))
            yield Question(f"panel {panel['title']!r}", expression, legend)


def rule_questions() -> Iterator[Question]:
    """What the rules ask."""
    for rule in rules():
        texts = " ".join(rule["annotations"].values())
        legend = frozenset(re.findall(r"\$labels\.(\w+)", texts))
        yield Question(f"rule {rule['alert']} {rule['labels']['severity']}", rule["expr"], legend)


def documented_configuration() -> str:
    """The `prometheus.yml` of docs/operations.md."""
    text = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
    [found] = [block for block in re.findall(r"```yaml\n(.*?)```", text, re.DOTALL) if "scrape_configs:" in block]
    return found


def selectors(syntax: Any) -> list[Any]:
    """The series selectors in an expression."""
    found: list[Any] = []

    def visit(node: Any) -> None:
        if isinstance(node, promql_parser.VectorSelector):
            found.append(node)

    promql_parser.walk(syntax, pre_visit=visit)
    return found


def labels_named(expression: str) -> set[str]:
    """The labels by which an expression groups or joins."""
    lists = re.findall(r"\b(?:by|on|without|ignoring|group_left|group_right) \(([^)]*)\)", expression)
    return {label.strip() for one in lists for label in one.split(",") if label.strip()}


def matches(selector: Any, name: str, labels: Mapping[str, str]) -> bool:
    """Whether a sample is one of those that the selector chooses."""
    return name == selector.name and all(
        _agrees(matcher, labels.get(matcher.name, ""))
        for matcher in selector.matchers.matchers
        if matcher.name not in {"job", "instance"}  # Prometheus adds these
    )


def _agrees(matcher: Any, value: str) -> bool:
    by_pattern = matcher.op in (promql_parser.MatchOp.Re, promql_parser.MatchOp.NotRe)
    is_same = re.fullmatch(matcher.value, value) is not None if by_pattern else value == matcher.value
    return is_same == (matcher.op in (promql_parser.MatchOp.Equal, promql_parser.MatchOp.Re))
