"""`dashboards/grafana.json`, made from tables: `python -m medic.metrics.dashboard > dashboards/grafana.json`.

A dashboard as Grafana keeps it is four thousand lines of which a hundred are questions. The questions stand in
`medic.metrics.panels`, a line each; what they have in common, and where a panel lies, is here. The file is what people
import, so it is in the repository, and a test holds it against this.

Nothing in it names a data source, a job or an instance: all three are variables at the top of the dashboard.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from medic.metrics.panel import HEALTH, SELECTED, Limits, Panel, Query
from medic.metrics.panels import ROWS

Json = str | int | float | bool | None | Sequence["Json"] | Mapping[str, "Json"]

GRID_COLUMNS: Final = 24
ROW_HEIGHT: Final = 1
SCHEMA_VERSION: Final = 38
"""Grafana 10's. Newer ones bring it forward by themselves when they import it."""

MATCHERS: Final = 'job=~"$job",instance=~"$instance"'
"""What `SELECTED` stands for."""

DATA_SOURCE: Final[Json] = {"type": "prometheus", "uid": "${datasource}"}

GREEN, ORANGE, RED = "green", "orange", "red"

HEALTH_WORDS: Final[Json] = [
    {
        "type": "value",
        "options": {
            "0": {"text": "unhealthy", "color": RED, "index": 0},
            "0.5": {"text": "degraded", "color": ORANGE, "index": 1},
            "1": {"text": "healthy", "color": GREEN, "index": 2},
        },
    }
]


def dashboard() -> dict[str, Json]:
    """The dashboard as Grafana imports it."""
    return {
        "uid": "medic",
        "title": "Medic",
        "description": "The services that Medic watches, and Medic itself. Made by medic/metrics/dashboard.py.",
        "tags": ["medic"],
        "schemaVersion": SCHEMA_VERSION,
        "editable": True,
        "graphTooltip": 1,
        "refresh": "30s",
        "timezone": "",
        "time": {"from": "now-6h", "to": "now"},
        "annotations": {
            "list": [_annotation("Medic was started", f"changes(medic_active_token{{{MATCHERS}}}[1m]) > 0")]
        },
        "templating": {"list": list(_variables())},
        "panels": list(_panels()),
    }


def _variables() -> Iterator[Json]:
    yield {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "hide": 0}
    yield _label_variable("job", "Scrape job", "medic_build_info")
    yield _label_variable("instance", "Medic", 'medic_build_info{job=~"$job"}')


def _label_variable(name: str, shown: str, series: str) -> Json:
    question = f"label_values({series}, {name})"
    return {
        "name": name,
        "label": shown,
        "type": "query",
        "datasource": DATA_SOURCE,
        "definition": question,
        "query": {"query": question, "refId": "variable"},
        "refresh": 2,
        "sort": 1,
        "multi": True,
        "includeAll": True,
        "allValue": ".+",
        "current": {"selected": True, "text": ["All"], "value": ["$__all"]},
    }


def _annotation(name: str, expression: str) -> Json:
    return {"name": name, "datasource": DATA_SOURCE, "enable": True, "iconColor": "blue", "expr": expression}


def _panels() -> Iterator[Json]:
    """Rows from top to bottom, their panels from left to right."""
    number, top = 0, 0
    for row in ROWS:
        number += 1
        yield {"id": number, "type": "row", "title": row.title, "collapsed": False, "panels": [], **_place(0, top)}
        top += ROW_HEIGHT
        left, height = 0, 0
        for panel in row.panels:
            if left + panel.width > GRID_COLUMNS:
                left, top, height = 0, top + height, 0
            number += 1
            yield {"id": number, **_panel(panel), **_place(left, top, panel.width, panel.height)}
            left, height = left + panel.width, max(height, panel.height)
        top += height


def _place(left: int, top: int, width: int = GRID_COLUMNS, height: int = ROW_HEIGHT) -> dict[str, Json]:
    return {"gridPos": {"x": left, "y": top, "w": width, "h": height}}


def _panel(panel: Panel) -> dict[str, Json]:
    return {
        "type": panel.kind,
        "title": panel.title,
        "description": panel.description,
        "datasource": DATA_SOURCE,
        "fieldConfig": {"defaults": _defaults(panel), "overrides": []},
        "options": OPTIONS[panel.kind] | ({"textMode": "name"} if panel.is_named else {}),
        "targets": [_target(panel, query, name) for query, name in zip(panel.queries, _names(), strict=False)],
        **({"transformations": TABLE_COLUMNS} if panel.kind == "table" else {}),
    }


def _names() -> Iterable[str]:
    return (chr(letter) for letter in range(ord("A"), ord("Z") + 1))


def _target(panel: Panel, query: Query, name: str) -> Json:
    is_now = panel.kind != "timeseries"
    return {
        "refId": name,
        "datasource": DATA_SOURCE,
        "expr": query.expression.replace(SELECTED, MATCHERS),
        "legendFormat": query.legend,
        "instant": is_now,
        "range": not is_now,
        "format": "table" if panel.kind == "table" else "time_series",
    }


def _defaults(panel: Panel) -> dict[str, Json]:
    defaults: dict[str, Json] = {"unit": panel.unit, "min": 0, "thresholds": _thresholds(panel.limits)}
    if panel.kind == "timeseries":
        stacking: Json = {"mode": "normal" if panel.is_stacked else "none"}
        lines: Json = {"mode": "line" if panel.limits is not None else "off"}
        fill = 30 if panel.is_stacked else 0
        defaults["custom"] = {"fillOpacity": fill, "stacking": stacking, "thresholdsStyle": lines}
    if panel.unit == HEALTH:
        defaults |= {"unit": "none", "mappings": HEALTH_WORDS}
    return defaults


def _thresholds(limits: Limits | None) -> Json:
    steps: list[Json] = [{"color": GREEN, "value": None}]
    if limits is not None:
        steps += [{"color": ORANGE, "value": limits.warning}, {"color": RED, "value": limits.critical}]
    return {"mode": "absolute", "steps": steps}


OPTIONS: Final[Mapping[str, dict[str, Json]]] = {
    "stat": {
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "orientation": "auto",
        "textMode": "auto",
        "reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
    },
    "timeseries": {
        "legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
        "tooltip": {"mode": "multi", "sort": "desc"},
    },
    "table": {"showHeader": True, "cellHeight": "sm"},
}

TABLE_COLUMNS: Final[Json] = [{"id": "organize", "options": {"excludeByName": {"Time": True}}}]


def main() -> None:
    """Print it."""
    json.dump(dashboard(), sys.stdout, indent=1, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
