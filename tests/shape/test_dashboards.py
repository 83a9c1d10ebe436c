"""Dashboard and rules are what they are said to be: importable, complete, and of use to whoever is woken by them."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from grafana_foundation_sdk.cog import plugins
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from medic.metrics.dashboard import GRID_COLUMNS, dashboard
from tests.questions import DASHBOARD, RULES, panels, rules
from tests.shape.checkout import ROOT

DATA_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

RUNBOOK_THRESHOLDS = {
    ("MedicAlertsOpen", "warning"): "medic_alerts_active > 5",
    ("MedicAlertsOpen", "critical"): "medic_alerts_active > 10",
    ("MedicRequestsSlow", "warning"): "> 1",
    ("MedicRequestsSlow", "critical"): "> 5",
    ("MedicDatabaseConnectionErrors", "warning"): "rate(medic_db_connection_errors_total[5m]) * 60 > 0.1",
    ("MedicDatabaseConnectionErrors", "critical"): "rate(medic_db_connection_errors_total[5m]) * 60 > 1",
}


def test_the_dashboard_is_made_from_its_tables():
    made = json.dumps(dashboard(), indent=1, ensure_ascii=False) + "\n"
    assert DASHBOARD.read_text(encoding="utf-8") == made, "python -m medic.metrics.dashboard > dashboards/grafana.json"


def test_the_dashboard_can_be_imported_anywhere():
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    variables = {variable["name"]: variable for variable in found["templating"]["list"]}
    assert variables["datasource"]["type"] == "datasource"
    assert "id" not in found  # a dashboard's number belongs to the Grafana that has it
    for panel in panels():
        assert panel["datasource"] == DATA_SOURCE
        assert all(target["datasource"] == DATA_SOURCE for target in panel["targets"])
    asked = set(re.findall(r"\$\{?(\w+)", json.dumps(found))) - {"__rate_interval", "__all"}
    assert asked == set(variables)


def lost(given, kept, place=""):
    """What of a document is not in another: all but what says nothing, and Grafana's own note for its list."""
    if isinstance(given, dict):
        for name, value in given.items():
            if name != "definition" and value not in (None, False, "", [], {}):
                yield from lost(value, kept.get(name), f"{place}.{name}")
    elif isinstance(given, list):
        for number, (value, other) in enumerate(itertools.zip_longest(given, kept or [])):
            yield from lost(value, other, f"{place}[{number}]")
    elif given != kept:
        yield f"{place}: {given} became {kept}"


def test_grafanas_own_classes_read_the_dashboard_and_lose_nothing():
    plugins.register_default_plugins()
    given = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    kept = json.loads(JSONEncoder().encode(Dashboard.from_json(given)))
    assert list(lost(given, kept)) == []


def test_panels_are_told_apart_and_none_lies_on_another():
    found = json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
    assert len({panel["id"] for panel in found}) == len(found)
    cells = [
        (panel["gridPos"]["x"] + column, panel["gridPos"]["y"] + line)
        for panel in found
        for column, line in itertools.product(range(panel["gridPos"]["w"]), range(panel["gridPos"]["h"]))
    ]
    assert len(cells) == len(set(cells))
    assert max(column for column, _ in cells) < GRID_COLUMNS


@pytest.mark.parametrize("panel", panels(), ids=lambda panel: panel["title"])
def test_a_panel_says_what_it_shows(panel):
    assert panel["description"].endswith(".")
    assert panel["targets"]
    lines = [target["legendFormat"] for target in panel["targets"]]
    assert len(lines) == len(set(lines))
    if panel["type"] == "timeseries":
        assert all(lines)


def test_each_rule_has_a_name_and_severity_of_its_own():
    named = [(rule["alert"], rule["labels"]["severity"]) for rule in rules()]
    assert len(named) == len(set(named))
    assert {severity for _, severity in named} == {"warning", "critical"}


@pytest.mark.parametrize("rule", rules(), ids=lambda rule: f"{rule['alert']}-{rule['labels']['severity']}")
def test_a_rule_says_what_is_wrong_and_what_to_do(rule):
    assert set(rule["annotations"]) == {"summary", "description", "runbook_url"}
    assert len(rule["annotations"]["description"]) > len(rule["annotations"]["summary"]) / 2
    page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert page == "docs/runbook.md"
    headings = re.findall(r"^#+ (.*)$", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE)
    assert anchor in {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def test_the_runbooks_thresholds_are_the_rules():
    found = {(rule["alert"], rule["labels"]["severity"]): rule["expr"] for rule in rules()}
    assert {
        name: threshold for name, threshold in RUNBOOK_THRESHOLDS.items() if not found[name].endswith(threshold)
    } == {}


def test_commands_that_a_rule_names_exist():
    reference = (ROOT / "docs" / "reference" / "cli.md").read_text(encoding="utf-8")
    named = set(re.findall(r"`(medic(?:-cli)?(?: [a-z][a-z-]*){1,2})", RULES.read_text(encoding="utf-8")))
    assert named
    assert sorted(command for command in named if command.removeprefix("medic-cli ") not in reference) == []
