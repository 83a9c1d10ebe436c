"""Watches that Medic sees: says several times a second that intake works, and says so once when it did not.

`Host.look` finds a span of blindness and credits it at once, because deadlines must not be decided before. What is left
for this task is unhurried: keep the watermark, from which the next start learns how long Medic was away, journal the
span, count whom it concerned, and tell people.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from medic.actors.clock import LOOK_EVERY_SECONDS, SightedClock
from medic.actors.directory import Directory
from medic.actors.outbox import Outbox
from medic.actors.self_alert import SelfAlert
from medic.core.blind import RESTORED, BlindSpan
from medic.core.deadline import was_due_in
from medic.core.effects import RecordBlindSpan
from medic.core.notification import SELF_KEY, Notification
from medic.core.status import NotificationKind
from medic.core.units import InstantMs, SightedMs, isoformat
from medic.errors import OverloadedError

_log = structlog.get_logger(__name__)

COUNT_SLICE: Final = 1_000
"""Services looked at between two chances for other tasks, while counting whom a span concerned: about a millisecond."""

Mark = Callable[[InstantMs, SightedMs], None]
"""Writes the watermark: intake worked at this instant."""


@dataclass(frozen=True, slots=True)
class BlindReport:
    """What people are told of one span: deadlines moved by it, and services given one fresh interval because of it."""

    span: BlindSpan
    moved: int
    fresh_intervals: int


@dataclass(frozen=True, slots=True)
class SightStatistics:
    """Spans of blindness this process found, their length, and the newest one reported."""

    spans: int
    seconds_total: float
    newest: BlindReport | None


class Sight:
    """Keeps the watermark and reports blindness."""

    def __init__(
        self, *, clock: SightedClock, directory: Directory, outbox: Outbox, mark: Mark, self_alert: SelfAlert
    ) -> None:
        self._self_alert = self_alert
        self._clock = clock
        self._directory = directory
        self._outbox = outbox
        self._mark = mark
        self._found: deque[BlindSpan] = deque()
        self._spans = 0
        self._seconds = 0.0
        self._newest: BlindReport | None = None

    def note(self, span: BlindSpan) -> None:
        """Take a span that was found and credited; it is journaled and told soon after."""
        self._found.append(span)
        self._spans += 1
        self._seconds += span.duration_ms / 1000

    async def run(
        self, look: Callable[[], None], *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Look, mark and report until cancelled; `look` is `Host.look`."""
        task_status.started()
        while True:
            look()
            self._self_alert.look()
            if not self._clock.stands_still:
                self._mark(self._clock.now(), self._clock.sighted())
            while self._found:
                await self._report(self._found[0], look)
                self._found.popleft()
            await trio.sleep(LOOK_EVERY_SECONDS)

    def statistics(self) -> SightStatistics:
        """Counters for metrics, and what `/health` says of the newest span."""
        return SightStatistics(self._spans, self._seconds, self._newest)

    async def _report(self, span: BlindSpan, look: Callable[[], None]) -> None:
        moved, given = 0, 0
        for count, service in enumerate(self._directory.services(), start=1):
            moved += service.row.active and service.alert is None
            given += was_due_in(service, span)
            if count % COUNT_SLICE == 0:
                await trio.lowlevel.checkpoint()
                look()  # counting a million takes seconds, and must not be taken for blindness itself
        self._newest = BlindReport(span, moved, given)
        text = _text_of(self._newest)
        _log.warning("Medic was blind", cause=span.cause, moved=moved, fresh_intervals=given, text=text)
        while not self._record(span, text):
            await trio.sleep(LOOK_EVERY_SECONDS)
            look()

    def _record(self, span: BlindSpan, text: str) -> bool:
        """Journal the span and what is told of it; False where the journal refuses now."""
        at = self._clock.now()
        try:
            self._outbox.require_room()
        except OverloadedError:
            return False
        self._outbox.record_and_tell_nowait(
            RecordBlindSpan(at=at, sighted=self._clock.sighted(), span=span),
            Notification(
                notification_id=f"blind.{span.begun_at}",
                kind=NotificationKind.BLIND,
                key=SELF_KEY,
                at=at,
                text=text,
            ),
        )
        return True


def _text_of(report: BlindReport) -> str:
    span = report.span
    when = f"from {isoformat(span.begun_at)} to {isoformat(span.ended_at)}"
    if span.cause == RESTORED:
        return f"Medic goes on from a backup. Nothing is known {when}: {report.moved} deadlines start afresh."
    return (
        f"Medic was blind {when} ({span.cause}): {report.moved} deadlines moved by {span.duration_ms / 1000:.1f} s, "
        f"{report.fresh_intervals} services whose heartbeat was due meanwhile get one fresh interval."
    )
