"""Requests as spans: around the application for those that Quart takes, around the takers for the express lane's.

The lane answers a heartbeat in the turn in which it reads it, and that way has no room for a span. So where traces are
on, framing tells a heartbeat whose sender traces it apart (`SAMPLED_HEARTBEAT`), and it goes the way of everything that
takes a task: its take is traced like that of a bulk. All others are read, taken and answered as if nobody traced.

Where `OTEL_TRACES_SAMPLER` asks for a share of them all the same, the intake is where they are told apart: a trace that
begins there ends when the record is durable (`TracedIntake`). That costs each heartbeat the question.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Final

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span, SpanKind, Status, StatusCode, get_current_span, set_span_in_context, use_span
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from medic.core.service import Service
from medic.http.answers import Answer
from medic.http.call import canonical_path
from medic.http.framing import HotHead, HotRoute
from medic.http.hot_routes import HEARTBEAT, HOT_ROUTES, SAMPLED_HEARTBEAT, Take
from medic.http.parts import ApiParts
from medic.http.requests import MedicQuart, Observe
from medic.ports import Beat, Intake, Journal, Position
from medic.tracing.journal import end_spans

if TYPE_CHECKING:
    from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

MANY_AND_ALIKE: Final = ("/heartbeat", "/v2/heartbeats", "/health", "/v1/healthcheck", "/metrics")
"""Beginnings of paths that are asked for many times a minute by programs, and are traced when the program traces."""

TRACE_HEADERS: Final = frozenset({"traceparent", "tracestate"})

_PROPAGATOR: Final = TraceContextTextMapPropagator()


def is_one_of_many(path: str) -> bool:
    """Whether requests of this path are sampled as heartbeats are."""
    return any(path == beginning or path.startswith(f"{beginning}/") for beginning in MANY_AND_ALIKE)


def continued(headers: Mapping[str, str]) -> Context:
    """The trace that a request is part of, or none."""
    return _PROPAGATOR.extract(headers, Context())


def wear(app: MedicQuart, *, requests: Tracer, heartbeats: Tracer) -> None:
    """Trace the requests that this application answers.

    Args:
        app: The application, before it serves.
        requests: Traces most of them.
        heartbeats: Traces those of which there are many.
    """
    answer, observe = app.asgi_app, app.observe

    async def traced(scope: Scope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        if scope["type"] != "http":
            await answer(scope, receive, send)
            return
        path = canonical_path(scope["raw_path"] or scope["path"].encode())
        headers = {
            name.decode("latin-1"): value.decode("latin-1")
            for name, value in scope["headers"]
            if name.decode("latin-1") in TRACE_HEADERS
        }
        tracer = heartbeats if is_one_of_many(path) else requests
        with tracer.start_as_current_span(scope["method"], continued(headers), SpanKind.SERVER) as span:
            if span.is_recording():
                structlog.contextvars.bind_contextvars(trace_id=f"{span.get_span_context().trace_id:032x}")
            await answer(scope, receive, send)

    app.asgi_app = traced  # type: ignore[method-assign]  # Quart's own way to wrap an application
    app.observe = partial(_observe, observe)


def _observe(observe: Observe, method: str, route: str, status: int, seconds: float) -> None:
    """Called in the request's own task, once it was answered."""
    span = get_current_span()
    if span.is_recording():
        span.update_name(f"{method} {route}")
        span.set_attribute("medic.request_id", str(structlog.contextvars.get_contextvars().get("request_id", "")))
        _say_answered(span, method, route, status)
    observe(method, route, status, seconds)


def _say_answered(span: Span, method: str, route: str, status: int) -> None:
    span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
    if status >= 500:
        span.set_status(Status(StatusCode.ERROR))


def traced_routes(tracer: Tracer) -> Mapping[HotRoute, Take]:
    """The table of the express lane, each request traced whose sender says so."""

    def worn(route: HotRoute, take: Take) -> Take:
        async def traced(parts: ApiParts, head: HotHead, body: bytes, address: str) -> Answer:
            parent = continued({"traceparent": head.traceparent} if head.traceparent else {})
            with tracer.start_as_current_span(f"{head.method} {route.path}", parent, SpanKind.SERVER) as span:
                answer = await take(parts, head, body, address)
                if span.is_recording():
                    _say_answered(span, head.method, route.path, answer.status)
            return answer

        return traced

    table = {**HOT_ROUTES, SAMPLED_HEARTBEAT: HOT_ROUTES[HEARTBEAT]}
    return {route: worn(route, take) for route, take in table.items()}


class TracedIntake:
    """Implements `ports.Intake` over another: a heartbeat that no request's span is about begins a trace, or does not.

    Args:
        intake: Takes the heartbeats.
        journal: Says when they are durable.
        tracer: Asked for each.
    """

    def __init__(self, intake: Intake, journal: Journal, tracer: Tracer) -> None:
        self._intake = intake
        self._journal = journal
        self._tracer = tracer
        self.wait_durable = intake.wait_durable

    def take_nowait(self, beat: Beat) -> Position:
        """As the intake does."""
        if get_current_span().get_span_context().is_valid:
            return self._intake.take_nowait(beat)
        span = self._tracer.start_span("POST /heartbeat", Context(), SpanKind.SERVER)
        if not span.is_recording():
            return self._intake.take_nowait(beat)
        span.set_attribute("medic.heartbeat_name", beat.name)
        try:
            with use_span(span):
                position = self._intake.take_nowait(beat)
        except Exception:
            span.end()
            raise
        journal = self._tracer.start_span("journal", set_span_in_context(span, Context()))
        self._journal.call_when_durable(position, partial(end_spans, (journal, span)))
        return position

    def take_plain_nowait(self, said: Iterable[tuple[str, str]]) -> tuple[int, Position]:
        """As the intake does: a bulk is one request, and has its span."""
        return self._intake.take_plain_nowait(said)

    async def take(self, beat: Beat) -> Service:
        """As the intake does: whoever waits has a span of the request."""
        return await self._intake.take(beat)
