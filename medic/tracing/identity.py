"""An alert's trace has ids that follow from the alert, so that nobody has to remember them.

What is told of one alert is spread over hours and over restarts, and all of it belongs in one trace. So trace id and
span id are a digest of what the alert is. A delivery after a restart, or by the Medic that took over, finds its place
without any state kept for it. The instant is part of it, because ids of alerts are unique in one database only, and
those of a test system begin with the same numbers as those of the one in use.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from hashlib import sha256

from opentelemetry.sdk.trace.id_generator import RandomIdGenerator
from opentelemetry.trace import SpanContext, TraceFlags

from medic.core.units import EventId, InstantMs, ServiceId


def alert_context(service_id: ServiceId, alert_id: EventId, late_since: InstantMs) -> SpanContext:
    """Trace and span of an alert that begins a trace of its own."""
    digest = sha256(f"medic alert {service_id} {alert_id} {late_since}".encode()).digest()
    trace_id, span_id = int.from_bytes(digest[:16]), int.from_bytes(digest[16:24])
    return SpanContext(trace_id, span_id, is_remote=False, trace_flags=TraceFlags(TraceFlags.SAMPLED))


class ChosenIds(RandomIdGenerator):
    """Random ids, but within `chosen`."""

    def __init__(self) -> None:
        self._chosen: SpanContext | None = None

    @contextmanager
    def chosen(self, context: SpanContext) -> Iterator[None]:
        """The span that is started within, without a parent, has these ids."""
        self._chosen = context
        try:
            yield
        finally:
            self._chosen = None

    def generate_trace_id(self) -> int:
        """For a new trace."""
        return super().generate_trace_id() if self._chosen is None else self._chosen.trace_id

    def generate_span_id(self) -> int:
        """For a new span."""
        return super().generate_span_id() if self._chosen is None else self._chosen.span_id

    def is_trace_id_random(self) -> bool:
        """Whether a sampler behind Medic may take the new trace's id for a random number."""
        return self._chosen is None
