"""What a panel of the dashboard is, and the questions that many panels ask in the same way."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

SELECTED: Final = "SELECTED"

HEALTH: Final = "health"
"""A unit of ours: 1, ½ and 0 in words."""

SERVICE: Final = "heartbeat_name, service_name, team, priority"
"""What names one service, whichever job scraped it."""

SPAN: Final = "$__rate_interval"
"""Grafana's: as short as the scrapes allow."""


@dataclass(frozen=True, slots=True)
class Query:
    """One question in PromQL. `legend` names its lines by their labels."""

    expression: str
    legend: str = ""


@dataclass(frozen=True, slots=True)
class Limits:
    """Where a value becomes orange and red: the runbook's thresholds, as in `dashboards/alerts.yml`."""

    warning: float
    critical: float


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel. Where it lies follows from the widths of those before it.

    Attributes:
        unit: Grafana's id of the unit, or `HEALTH`.
        is_stacked: Whether its lines add up to something.
        is_named: Whether its labels are shown in place of its value.
    """

    title: str
    description: str
    queries: tuple[Query, ...]
    unit: str = "short"
    kind: Literal["stat", "timeseries", "table"] = "timeseries"
    width: int = 8
    height: int = 8
    limits: Limits | None = None
    is_stacked: bool = False
    is_named: bool = False


@dataclass(frozen=True, slots=True)
class Row:
    """Panels under one heading."""

    title: str
    panels: tuple[Panel, ...]


def stat(title: str, description: str, expression: str, *, unit: str = "short", limits: Limits | None = None) -> Panel:
    """One number of now."""
    return Panel(title, description, (Query(expression),), unit, "stat", width=3, height=4, limits=limits)


def quantiles(metric: str, *shares: str, matchers: str = SELECTED) -> tuple[Query, ...]:
    """A line for each of these shares of a histogram's observations."""
    return tuple(
        Query(
            f"histogram_quantile({share}, sum by (le) (rate({metric}_bucket{{{matchers}}}[{SPAN}])))",
            f"p{share[2:]:0<2}",
        )
        for share in shares
    )


def rate(metric: str, *labels: str) -> Query:
    """How fast a counter grows, a line for each value of these labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(f"sum{by} (rate({metric}{{{SELECTED}}}[{SPAN}]))", legend or _short(metric))


def total(metric: str, *labels: str) -> Query:
    """A gauge's sum, a line for each value of these labels."""
    by = f" by ({', '.join(labels)})" if labels else ""
    legend = " ".join(f"{{{{{label}}}}}" for label in labels)
    return Query(f"sum{by} ({metric}{{{SELECTED}}})", legend or _short(metric))


def _short(metric: str) -> str:
    return metric.removeprefix("medic_").removesuffix("_total").replace("_", " ")
