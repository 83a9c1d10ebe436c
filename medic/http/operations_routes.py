"""Routes of health and metrics."""

from __future__ import annotations

from typing import Final

from medic.http import operations, shapes
from medic.http.route import Parameter, Route, Told

OPERATIONS: Final = (
    Route(
        "GET",
        "/v1/healthcheck/network",
        operations.network,
        "Operations",
        "Is the network there",
        {204: Told("It is.")},
        query=None,
        limited=False,
        scope=None,
    ),
    Route(
        "GET",
        "/health",
        operations.health,
        "Operations",
        "Health, by component",
        {
            200: Told("Healthy or degraded.", shapes.HealthShape),
            503: Told("Unhealthy: database, journal, wheel or writer do not work.", shapes.HealthShape),
        },
        query=None,
        limited=False,
        scope=None,
    ),
    Route(
        "GET",
        "/health/live",
        operations.live,
        "Operations",
        "Does Medic have to be restarted",
        {
            200: Told("No: the loop turns and deadlines are fired.", shapes.LifeShape),
            503: Told("Yes: it has stalled.", shapes.LifeShape),
        },
        query=None,
        limited=False,
        scope=None,
    ),
    Route(
        "GET",
        "/health/ready",
        operations.ready,
        "Operations",
        "Can heartbeats be taken in durably",
        {
            200: Told("Yes, PostgreSQL down or not.", shapes.ProbeShape),
            503: Told("No, and why.", shapes.ProbeShape),
        },
        query=None,
        limited=False,
        scope=None,
    ),
    Route(
        "GET",
        "/metrics",
        operations.metrics,
        "Operations",
        "Prometheus metrics",
        {200: Told("Prometheus text, or OpenMetrics where Accept asks for it.", None, "text/plain")},
        query=None,
        limited=False,
    ),
    Route(
        "GET",
        "/metrics/services",
        operations.service_metrics,
        "Operations",
        "Prometheus metrics of every service, streamed",
        {
            200: Told("Prometheus text, or OpenMetrics where Accept asks for it.", None, "text/plain"),
            503: Told("Too many of these scrapes are under way.", shapes.Refusal),
        },
        query=(
            Parameter("team", "string", "Only this team's services."),
            Parameter("name", "string", "Only services of this name; `*` stands for any characters."),
            Parameter("status", "string", "Only services of this status."),
            Parameter("shard", "string", "`i/n`: the i-th of n parts."),
        ),
        limited=False,
        narrows=True,
    ),
)
