"""The two time lines of `medic.core.units`, kept by one process for one shard.

Sighted time is the monotonic clock plus one offset, and blindness is a change of that offset: crediting an outage to a
million deadlines is one subtraction (HARD-CASES H1). `look` is how blindness is found while Medic runs: it is called
several times a second by `Sight` and once at the start of every turn of the host. Between two looks the loop was able
to take heartbeats, unless they lie further apart than any sleep of `Sight` explains; then the process was stopped,
suspended or stalled, and that time is credited before any deadline is decided.

The wall clock may be stepped; nobody is late because of it. A step only means that timers of wall instants (ends of
mutes, reminders) stand at the wrong tick: `look` reports it and the host arms them anew.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Final

import trio

from medic.core.blind import BLIND_MIN_MS, SIGHTED_ALWAYS, BlindLog, BlindSpan
from medic.core.units import DurationMs, InstantMs, SightedMs, SkewMs

LOOK_EVERY_SECONDS: Final = 0.25
"""How often `Sight` looks. A span of blindness is known to within this much."""

WALL_STEP_MS: Final = 250
"""A wall clock further from where it was expected than this was stepped, or has drifted enough to re-arm wall timers."""


def wall_now() -> InstantMs:
    """The system's wall clock."""
    return InstantMs(time.time_ns() // 1_000_000)


class SightedClock:
    """Implements `ports.Clock`. Begins at `resume_at` and stands at it until the first reading.

    Args:
        resume_at: Sighted time to go on from: the watermark's, or wall time in a new data directory.
        blind: The spans known from before.
        wall: Source of wall time.
        monotonic: Source of seconds that never run backwards; trio's clock, so that tests may own it.
    """

    def __init__(
        self,
        *,
        resume_at: SightedMs,
        blind: BlindLog = SIGHTED_ALWAYS,
        wall: Callable[[], InstantMs] = wall_now,
        monotonic: Callable[[], float] = trio.current_time,
    ) -> None:
        self._wall = wall
        self._monotonic = monotonic
        self._offset_ms = resume_at - self._monotonic_ms()
        self._blind = blind
        self._looked_ms = self._monotonic_ms()
        self._looked_at = wall()
        self._armed_skew = self.skew

    def now(self) -> InstantMs:
        """Wall time."""
        return self._wall()

    def sighted(self) -> SightedMs:
        """Sighted time. Never runs backwards."""
        return SightedMs(self._monotonic_ms() + self._offset_ms)

    @property
    def skew(self) -> SkewMs:
        """Wall time minus sighted time."""
        return SkewMs(self._wall() - self.sighted())

    @property
    def blind(self) -> BlindLog:
        """The spans of blindness known now."""
        return self._blind

    def look(self) -> BlindSpan | None:
        """Say that intake works at this moment. Gives the span of blindness this look found and credited, if any."""
        monotonic_ms, at = self._monotonic_ms(), self._wall()
        unexplained = monotonic_ms - self._looked_ms - round(LOOK_EVERY_SECONDS * 1000)
        found = None
        if unexplained >= BLIND_MIN_MS:
            begun_at = InstantMs(at - (monotonic_ms - self._looked_ms))
            found = self._credit(DurationMs(monotonic_ms - self._looked_ms), begun_at, at, cause="stalled")
        self._looked_ms, self._looked_at = monotonic_ms, at
        return found

    def wall_was_stepped(self) -> bool:
        """Whether wall timers stand at the wrong ticks since this was last asked; the asker arms them anew."""
        skew = self.skew
        if abs(skew - self._armed_skew) < WALL_STEP_MS:
            return False
        self._armed_skew = skew
        return True

    def credit_refusal(self, begun_at: InstantMs, duration: DurationMs, *, cause: str) -> BlindSpan:
        """Credit a span in which the loop turned, but heartbeats were refused."""
        return self._credit(duration, begun_at, InstantMs(begun_at + duration), cause=cause)

    def _credit(self, duration: DurationMs, begun_at: InstantMs, ended_at: InstantMs, *, cause: str) -> BlindSpan:
        # Sighted time goes on by one millisecond, so that what arrives after the span is later than the span.
        sighted = SightedMs(self.sighted() - duration)
        self._offset_ms -= duration - 1
        span = BlindSpan(begun_at=begun_at, ended_at=ended_at, sighted=sighted, cause=cause)
        self._blind = self._blind.with_span(span)
        return span

    def _monotonic_ms(self) -> int:
        return int(self._monotonic() * 1000)
