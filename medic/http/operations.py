"""Health and metrics: what probes and Prometheus ask for. No envelope here."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import orjson

from medic.access.reach import reach_of
from medic.core.units import isoformat
from medic.http.answers import Answer, JsonObject, Stream
from medic.http.call import Call
from medic.http.parts import ApiParts
from medic.http.shown import health_json
from medic.metrics.exposition import Page
from medic.metrics.services import ServiceFilter

RETRY_AFTER_SECONDS: Final = "5"


async def network(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001 - one signature for all views
    """Nothing: the network is there."""
    return Answer(204, b"")


async def health(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001
    """What Medic knows of itself and of what it depends on."""
    report = parts.health.report()
    status = 503 if report.status == "unhealthy" else 200
    return _json(status, health_json(report))


async def live(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001
    """Whether Medic has to be restarted."""
    stalled = parts.health.alive()
    proven_at = parts.health.proven_at()
    shown = None if proven_at is None else isoformat(proven_at)
    return _probe(parts, "alive" if stalled is None else "stalled", stalled, {"progress_at": shown})


async def ready(parts: ApiParts, call: Call) -> Answer:  # noqa: ARG001
    """Whether heartbeats can be taken in durably."""
    missing = parts.health.ready()
    return _probe(parts, "ready" if missing is None else "not_ready", missing)


async def metrics(parts: ApiParts, call: Call) -> Stream:
    """Everything about Medic itself, and services as far as they go."""
    return _scrape(parts.metrics.metrics(accept=call.accept, accept_encoding=call.accept_encoding))


async def service_metrics(parts: ApiParts, call: Call) -> Stream:
    """Every service, streamed."""
    wanted = replace(ServiceFilter.parse(**call.query), reach=reach_of(call.caller))
    return _scrape(parts.metrics.services(wanted, accept=call.accept, accept_encoding=call.accept_encoding))


def _scrape(page: Page) -> Stream:
    headers = (("Content-Encoding", page.content_encoding),) if page.content_encoding else ()
    return Stream(page.body, headers=(*headers, ("Vary", "Accept, Accept-Encoding")), content_type=page.content_type)


def _probe(parts: ApiParts, status: str, why: str | None, beside: JsonObject | None = None) -> Answer:
    shown: JsonObject = {
        "status": status,
        "timestamp": isoformat(parts.clock.now()),
        "version": parts.version,
        **(beside or {}),
    }
    if why is None:
        return _json(200, shown)
    return _json(503, {**shown, "reason": why}, (("Retry-After", RETRY_AFTER_SECONDS),))


def _json(status: int, shown: JsonObject, headers: tuple[tuple[str, str], ...] = ()) -> Answer:
    return Answer(status, orjson.dumps(shown), headers)
