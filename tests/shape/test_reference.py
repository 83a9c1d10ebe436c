"""The reference says all there is, and nothing that is not: every setting, metric, route and verb."""

from __future__ import annotations

import re

from medic.config.reference import END
from medic.config.variables import TABLES
from medic.http.routes import ROUTES
from medic.metrics import catalogue, services
from tests.shape.checkout import ROOT, files

REFERENCE = ROOT / "docs" / "reference"


def reference(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def first_cells(text: str) -> list[str]:
    """The code in the first cell of each table row."""
    return re.findall(r"^\| `([^`]+)`", text, re.MULTILINE)


def settings() -> set[str]:
    return {name.upper() for table in TABLES for name in table.model_fields}


def metrics() -> set[str]:
    return {spec.name for spec in catalogue.ALL} | {family.name for family in services.FAMILIES}


def routes() -> set[str]:
    return {f"{route.method} {route.path}" for route in ROUTES}


def test_every_setting_is_documented():
    assert settings() - set(first_cells(reference("configuration.md"))) == set()


def test_every_documented_setting_exists():
    # What comes after the tables, such as the command line's own variables, is told in words.
    built = reference("configuration.md").partition(END)[0]
    documented = {name for name in first_cells(built) if re.fullmatch(r"[A-Z][A-Z0-9_]+", name)}
    assert documented - settings() == set()


def test_every_metric_is_documented():
    assert metrics() - set(first_cells(reference("metrics.md"))) == set()


def test_every_documented_metric_exists():
    documented = {name for name in first_cells(reference("metrics.md")) if name.startswith("medic_")}
    assert documented - metrics() == set()


def test_metrics_are_named_by_one_rule():
    kinds = {spec.name: spec.kind for spec in catalogue.ALL} | {
        family.name: family.kind for family in services.FAMILIES
    }
    for name, kind in kinds.items():
        assert re.fullmatch(r"medic_[a-z][a-z0-9_]*", name)
        assert name.endswith("_total") == (kind == "counter"), name


def documented_routes() -> set[str]:
    return set(re.findall(r"^### `([A-Z]+ /[^`]*)`$", reference("api.md"), re.MULTILINE))


def test_every_route_is_documented_and_every_documented_route_exists():
    assert documented_routes() == routes()


def test_dashboards_ask_for_metrics_that_exist():
    parts_of_a_histogram = r"_(bucket|sum|count)$"
    known = {re.sub(parts_of_a_histogram, "", name) for name in metrics()}
    for dashboard in [path for path in files(".json") if path.parent.name == "dashboards"]:
        asked = set(re.findall(r"\bmedic_[a-z0-9_]+", dashboard.read_text(encoding="utf-8")))
        assert {re.sub(parts_of_a_histogram, "", name) for name in asked} - known == set(), dashboard.name
