"""Attempts to tell somebody, as spans in the trace of the alert; webhooks are told which trace that is."""

from __future__ import annotations

from typing import Final

import structlog
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from medic.alerting.attempt import Attempt, Delivered
from medic.alerting.notifier import Notifier
from medic.core.notification import Notification
from medic.tracing.alerts import AlertTraces

_PROPAGATOR: Final = TraceContextTextMapPropagator()


def carried_headers() -> dict[str, str]:
    """`traceparent` of the attempt under way. For webhooks alone: vendors have no use for it, and need not know."""
    headers: dict[str, str] = {}
    _PROPAGATOR.inject(headers)
    return headers


class TracedNotifier:
    """Implements `Notifier` over another: each attempt is a span.

    Args:
        notifier: Makes the attempts.
        tracer: Keeps every span.
        alerts: Knows where a notification belongs.
    """

    def __init__(self, notifier: Notifier, tracer: Tracer, alerts: AlertTraces) -> None:
        self._notifier = notifier
        self._tracer = tracer
        self._alerts = alerts
        self.takes = notifier.takes
        self.describe = notifier.describe

    @property
    def target(self) -> str:
        """The notifier's."""
        return self._notifier.target

    async def send(self, notification: Notification) -> Attempt:
        """Make one attempt."""
        vendor = self.target.partition(":")[0]
        parent = self._alerts.parent_of(notification)
        with self._tracer.start_as_current_span(f"deliver {vendor}", parent, SpanKind.CLIENT) as span:
            trace_id = f"{span.get_span_context().trace_id:032x}"
            # Each attempt has a task of its own: what is bound here ends with it.
            structlog.contextvars.bind_contextvars(trace_id=trace_id)
            span.set_attributes(
                {
                    "medic.vendor": vendor,
                    "medic.target": self.target,
                    "medic.notification": notification.notification_id,
                    "medic.kind": notification.kind.value,
                    "medic.heartbeat_name": notification.heartbeat_name,
                }
            )
            attempt = await self._notifier.send(notification)
            _say(span, attempt)
        return attempt

    async def aclose(self) -> None:
        """Close its connections."""
        await self._notifier.aclose()


def _say(span: Span, attempt: Attempt) -> None:
    """How it ended. The detail is fit for people's eyes: no secret is in it."""
    span.set_attribute("medic.outcome", type(attempt).__name__.lower())
    if attempt.status is not None:
        span.set_attribute("http.response.status_code", attempt.status)
    if not isinstance(attempt, Delivered):
        span.set_status(Status(StatusCode.ERROR, attempt.detail))
