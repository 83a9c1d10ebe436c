"""Traces that stay in this process, for tests that look at them."""

from __future__ import annotations

from opentelemetry.sdk.trace import ReadableSpan, Tracer, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_ON, Sampler

from medic.tracing.alerts import AlertTraces
from medic.tracing.identity import ChosenIds


class Kept:
    """A tracer whose spans are kept here once they ended, and the alerts' part over it."""

    def __init__(self, sampler: Sampler = ALWAYS_ON) -> None:
        self._exporter = InMemorySpanExporter()
        ids = ChosenIds()
        provider = TracerProvider(sampler, shutdown_on_exit=False, id_generator=ids)
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        tracer = provider.get_tracer("test")
        assert isinstance(tracer, Tracer)
        self.tracer = tracer
        self.alerts = AlertTraces(tracer, ids)

    def ended(self) -> tuple[ReadableSpan, ...]:
        return self._exporter.get_finished_spans()
