"""Blind time: every span over a second in which an acceptable heartbeat would not have been answered 2xx.

While Medic is blind nobody becomes late. The clock that deadlines live on, sighted time, simply does not move during a
blind span, so crediting one is adding its length to a single offset (HARD-CASES H1). What the offset alone cannot mend
is the heartbeat that was sent and lost meanwhile (H3): for that the log of spans is kept, and looked into only when a
deadline fires.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from medic.core.units import DurationMs, InstantMs, SightedMs

BLIND_MIN_MS: Final = DurationMs(1_000)
"""Shorter spans are ordinary latency; every client waits that long."""

RESTORED: Final = "restored"
"""The cause of a span in which a Medic worked, of which nothing is known: since the backup was made."""

BLIND_LOG_SPANS_MAX: Final = 256
"""Spans kept. A silence only asks for those since its last heartbeat; past this many the oldest are forgotten."""


@dataclass(frozen=True, slots=True)
class BlindSpan:
    """One span of blindness.

    Attributes:
        begun_at: Wall time of the last moment at which intake was known to work.
        ended_at: Wall time at which it worked again.
        sighted: Where sighted time stood still.
        cause: One word for people: down, stopped, suspended, stalled, journal, damaged, restored.
    """

    begun_at: InstantMs
    ended_at: InstantMs
    sighted: SightedMs
    cause: str

    @property
    def duration_ms(self) -> DurationMs:
        """Length of the span on the wall, never negative."""
        return DurationMs(max(0, self.ended_at - self.begun_at))


@dataclass(frozen=True, slots=True)
class BlindLog:
    """The newest spans, oldest first. Immutable: an event carries it as it was at the event's instant."""

    spans: tuple[BlindSpan, ...] = ()

    def with_span(self, span: BlindSpan) -> BlindLog:
        """This log and one span more, the oldest forgotten beyond `BLIND_LOG_SPANS_MAX`."""
        return BlindLog((*self.spans, span)[-BLIND_LOG_SPANS_MAX:])

    def span_over(self, earliest: InstantMs, latest: InstantMs) -> BlindSpan | None:
        """The newest span that shares an instant with the closed range, or None."""
        for span in reversed(self.spans):
            if span.begun_at <= latest and span.ended_at >= earliest:
                return span
        return None


SIGHTED_ALWAYS: Final = BlindLog()
"""The log of a Medic that was never blind."""
