"""Where spans go: a queue with an end, a thread, and an exporter of which nobody waits for anything.

The SDK's batch processor keeps `OTEL_BSP_MAX_QUEUE_SIZE` spans (2 048) and loses what is beyond; a thread of its own
sends them. The exporter tries for some seconds and gives up. All that is lost while nobody takes spans is spans, and
the log has one line about it a minute at most. Why is only in the SDK's own lines, one or more for each batch: these
are kept out of the log, and the last two of them are the reason in ours: what failed, and that it was given up.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic
from typing import Final

import structlog
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.util.re import parse_env_headers

from medic.alerting.outbound import safe

_log = structlog.get_logger(__name__)

TRACES_PATH: Final = "/v1/traces"
"""What OTLP over HTTP appends to the endpoint."""

SAID_AGAIN_SECONDS: Final = 60.0
"""A collector that fails now and then makes no more lines than one that is gone."""


class LastWords(logging.Handler):
    """Keeps the last two lines of a logger, and lets none of them through.

    Args:
        name: The logger.
    """

    def __init__(self, name: str) -> None:
        super().__init__(logging.WARNING)
        self._lines: deque[str] = deque(maxlen=2)
        logger = logging.getLogger(name)
        logger.handlers[:] = [self]
        logger.setLevel(logging.WARNING)
        logger.propagate = False

    def emit(self, record: logging.LogRecord) -> None:
        """Keep this one."""
        self._lines.append(record.getMessage())

    def take(self) -> str:
        """What was said since this was called before."""
        said = safe(" ".join(self._lines))
        self._lines.clear()
        return said


class ReportingExporter(SpanExporter):
    """An exporter whose failures are told once and counted.

    Args:
        exporter: Sends the spans; called in the processor's thread.
        last_words: Of the logger in which the exporter says why it failed.
        now: Seconds that never run backwards.
    """

    def __init__(self, exporter: SpanExporter, last_words: LastWords, now: Callable[[], float] = monotonic) -> None:
        self._exporter = exporter
        self._last_words = last_words
        self._now = now
        self._quiet_until = 0.0
        self._is_told = False
        self._lost = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send them, or lose them."""
        ending = self._exporter.export(spans)
        reason = self._last_words.take()
        if ending is not SpanExportResult.SUCCESS:
            self._lost += len(spans)
            if self._now() >= self._quiet_until:
                self._is_told = True
                self._quiet_until = self._now() + SAID_AGAIN_SECONDS
                event = "traces are not taken; nothing waits for that, and spans are lost"
                _log.warning(event, lost=self._lost, reason=reason)
        elif self._is_told:
            self._is_told = False
            _log.info("traces are taken again", lost=self._lost)
            self._lost = 0
        return ending

    def shutdown(self) -> None:
        """Send nothing more."""
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Whether everything was sent."""
        return self._exporter.force_flush(timeout_millis)


def batches_to(endpoint: str, headers: str) -> BatchSpanProcessor:
    """What takes spans that ended and sends them from a thread of its own.

    Args:
        endpoint: `OTEL_EXPORTER_OTLP_ENDPOINT`.
        headers: `OTEL_EXPORTER_OTLP_HEADERS`, as it stands there.
    """
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    sent = parse_env_headers(headers, liberal=True)
    exporter = OTLPSpanExporter(endpoint.rstrip("/") + TRACES_PATH, headers=sent)
    return BatchSpanProcessor(ReportingExporter(exporter, LastWords(OTLPSpanExporter.__module__)))


def resource_of(service_name: str, version: str) -> Resource:
    """What every span says of its process; `OTEL_RESOURCE_ATTRIBUTES` is read by the SDK."""
    return Resource.create({"service.name": service_name, "service.version": version})
