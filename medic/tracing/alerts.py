"""An alert as a trace, from its deadline to everybody who was told.

    alert            from the instant at which the claim became true until its record is durable
      deadline         until it was decided: how late the wheel was
      journal          until it was durable
      deliver …        one for each attempt at each target, whenever that is   (medic.tracing.notifiers)
      alert closed     until the end of it was durable
        journal

Where a traced request opened the alert (a heartbeat that says DOWN), its span is the parent, and the whole is part of
that request's trace; what is told after a restart is then in the alert's own (`medic.tracing.identity`).

The three spans of an opening cost some 75 microseconds, the opening itself some twenty. A burst of a hundred thousand
must page as fast as it does without traces, so no more than `ALERTS_SECOND_MAX` a second have theirs begun; the log
says how many had not.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Final

import structlog
from opentelemetry.context import Context
from opentelemetry.sdk.trace import Tracer
from opentelemetry.trace import Link, NonRecordingSpan, Span, SpanContext, get_current_span, set_span_in_context
from opentelemetry.util.types import Attributes

from medic.alerting.notifier import ALERT_KINDS
from medic.core.effects import CloseAlert, Effect, OpenAlert
from medic.core.notification import Notification
from medic.core.status import NotificationKind, OpenedReason
from medic.core.units import EventId, InstantMs, ServiceId
from medic.tracing.identity import ChosenIds, alert_context

_log = structlog.get_logger(__name__)

ALERTS_SECOND_MAX: Final = 100
"""Alerts of one second whose spans are made: some 10 ms of work in it."""

CONTINUED_MAX: Final = 10_000
"""Open alerts whose trace is a request's, remembered: 2 MB. Those before them go on in a trace of their own."""

SAID_AGAIN_MS: Final = 60_000

_OF_AN_ALERT: Final = ALERT_KINDS - {NotificationKind.TEST}
_BY_SILENCE: Final = frozenset({OpenedReason.LATE, OpenedReason.NEVER_HEARD})


def nanoseconds(instant: InstantMs) -> int:
    """The instant in OpenTelemetry's unit."""
    return instant * 1_000_000


class AlertTraces:
    """Makes the spans of alerts; knows the parent of whatever is told of one.

    Args:
        tracer: Keeps every span.
        ids: That tracer's.
    """

    def __init__(self, tracer: Tracer, ids: ChosenIds) -> None:
        self._tracer = tracer
        self._ids = ids
        self._continued: OrderedDict[EventId, SpanContext] = OrderedDict()
        self._second = 0
        self._in_second = 0
        self._left_out = 0
        self._said_at = 0

    def note(self, turn: Sequence[Effect]) -> Sequence[Span]:
        """Begin the spans of what a turn decided, which was just journaled; they end when that is durable."""
        return [span for effect in turn for span in self._begun(effect)]

    def parent_of(self, notification: Notification) -> Context:
        """Where the delivery of a notification belongs; what is of no alert has a trace of its own."""
        service_id, alert_id, late_since = notification.service_id, notification.alert_id, notification.late_since
        if service_id is None or alert_id is None or late_since is None or notification.kind not in _OF_AN_ALERT:
            return Context()
        return self._within(service_id, alert_id, late_since)

    def _begun(self, effect: Effect) -> Iterator[Span]:
        match effect:
            case OpenAlert() if self._has_room(effect.at):
                yield from self._opened(effect)
            case CloseAlert() if self._has_room(effect.at):
                yield from self._closed(effect)
            case _:
                pass

    def _opened(self, effect: OpenAlert) -> Iterator[Span]:
        alert, began = effect.alert, nanoseconds(effect.alert.late_since)
        attributes: Attributes = {
            "medic.alert_id": alert.alert_id,
            "medic.service_id": effect.service_id,
            "medic.reason": alert.reason.value,
            "medic.team": alert.team,
            "medic.priority": alert.priority,
        }
        if get_current_span().is_recording():
            root = self._tracer.start_span("alert", start_time=began, attributes=attributes)
            self._remember(alert.alert_id, root.get_span_context())
        else:
            with self._ids.chosen(alert_context(effect.service_id, alert.alert_id, alert.late_since)):
                root = self._tracer.start_span("alert", Context(), start_time=began, attributes=attributes)
        within = set_span_in_context(root, Context())
        if alert.reason in _BY_SILENCE:
            self._tracer.start_span("deadline", within, start_time=began).end(nanoseconds(effect.at))
        yield self._tracer.start_span("journal", within)
        yield root

    def _closed(self, effect: CloseAlert) -> Iterator[Span]:
        alert, current = effect.alert, get_current_span()
        attributes: Attributes = {"medic.alert_id": alert.alert_id, "medic.closed_reason": effect.reason.value}
        links = [Link(current.get_span_context())] if current.is_recording() else []
        parent = self._within(effect.service_id, alert.alert_id, alert.late_since)
        span = self._tracer.start_span("alert closed", parent, attributes=attributes, links=links)
        yield self._tracer.start_span("journal", set_span_in_context(span, Context()))
        yield span

    def _within(self, service_id: ServiceId, alert_id: EventId, late_since: InstantMs) -> Context:
        context = self._continued.get(alert_id) or alert_context(service_id, alert_id, late_since)
        return set_span_in_context(NonRecordingSpan(context), Context())

    def _remember(self, alert_id: EventId, context: SpanContext) -> None:
        # Not forgotten when the alert closes: its end is told after that.
        self._continued[alert_id] = context
        if len(self._continued) > CONTINUED_MAX:
            self._continued.popitem(last=False)

    def _has_room(self, at: InstantMs) -> bool:
        """Whether one more alert of this second has its spans made."""
        second = at // 1_000
        if second != self._second:
            self._second, self._in_second = second, 0
        self._in_second += 1
        if self._in_second <= ALERTS_SECOND_MAX:
            return True
        self._left_out += 1
        if at - self._said_at >= SAID_AGAIN_MS:
            self._said_at = at
            _log.info("more alerts come than are traced", a_second=ALERTS_SECOND_MAX, left_out=self._left_out)
        return False
