"""Traces where they are asked for. Where they are not, no part has anything more to do, and nothing is imported."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from typing import TYPE_CHECKING

from medic.alerting.outbound import safe
from medic.config.settings import Traces
from medic.errors import ConfigurationError, Fault
from medic.http.application import create_app
from medic.http.hot_routes import HOT_ROUTES
from medic.http.parts import ApiParts
from medic.http.serving import HttpServer
from medic.ports import Position, WhenDurable

if TYPE_CHECKING:
    from medic.tracing.assembly import Tracing


def open_traces(traces: Traces | None, version: str) -> Tracing | None:
    """What the parts wear, or None.

    Raises:
        ConfigurationError: the SDK refuses one of the variables that it reads by itself.
    """
    if traces is None:
        return None
    try:
        from medic.tracing.assembly import Tracing  # noqa: PLC0415 - an extra, and a tenth of a second of everybody's

        return Tracing(
            endpoint=traces.endpoint,
            headers="" if traces.headers is None else traces.headers.get_secret_value(),
            service_name=traces.service_name,
            sampler=traces.sampler,
            ratio=traces.ratio,
            version=version,
        )
    except ValueError as refused:
        # OTEL_BSP_* and the limits of spans are the SDK's own: it says what is wrong, and not always which it read.
        sentence = f"is set, and OpenTelemetry refuses another variable of its own (OTEL_…): {safe(str(refused))}"
        raise ConfigurationError((Fault("OTEL_EXPORTER_OTLP_ENDPOINT", sentence),)) from None


def build_server(
    api: ApiParts,
    when_durable: Callable[[Position, WhenDurable], None],
    *,
    tls: ssl.SSLContext | None,
    tracing: Tracing | None,
) -> HttpServer:
    """What serves HTTP, wearing traces or not."""
    app = create_app(api)
    if tracing is None:
        return HttpServer(api, app, when_durable=when_durable, tls=tls, hot=HOT_ROUTES)
    tracing.wear(app)
    return HttpServer(api, app, when_durable=when_durable, tls=tls, hot=tracing.hot_routes())
