"""The reference says of each metric what the code says: kind, labels and summary."""

from __future__ import annotations

from pathlib import Path

import pytest

from medic.metrics import catalogue, services

REFERENCE = (Path(__file__).parents[3] / "docs" / "reference" / "metrics.md").read_text(encoding="utf-8")
SERVICE_LABELS = ("heartbeat_name", "service_name", "team", "priority")


def line(name, kind, labels, summary):
    return f"| `{name}` | {kind} | {', '.join(f'`{label}`' for label in labels)} | {summary} |"


@pytest.mark.parametrize("spec", catalogue.ALL, ids=lambda spec: spec.name)
def test_a_metric_of_a_part_is_described_as_it_is(spec):
    assert line(spec.name, spec.kind, spec.labels, spec.summary) in REFERENCE


@pytest.mark.parametrize("family", services.FAMILIES, ids=lambda family: family.name)
def test_a_metric_of_a_service_is_described_as_it_is(family):
    assert line(family.name, family.kind, SERVICE_LABELS, family.summary) in REFERENCE


def test_no_metric_stands_in_the_catalogue_twice():
    names = [spec.name for spec in catalogue.ALL]
    assert len(names) == len(set(names))
