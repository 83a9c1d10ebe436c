"""The two time lines of `medic.core.units`, kept by one process for one shard.

Sighted time is the monotonic clock plus one offset, and blindness is a change of that offset: crediting an outage to a
million deadlines is one subtraction (HARD-CASES H1). `look` is how blindness is found while Medic runs: it is called
several times a second by `Sight` and once at the start of every turn of the host. Between two looks the loop was able
to take heartbeats, unless they lie further apart than any sleep of `Sight` explains; then the process was stopped,
suspended or stalled. That time is credited by the first reading after it, whoever makes it: a heartbeat that is read
from its socket before anybody looked must not be stamped with an instant that is about to be taken back.

While heartbeats are refused although the loop turns, sighted time stands still (`stand_still`, `go_on`).

A machine that sleeps takes no heartbeats either, and here the monotonic clock stands still by itself, so nothing has to
be credited. But the heartbeats that were sent meanwhile are lost all the same, so the span is found and kept like any
other, by the one clock that goes on through sleep.

The wall clock may be stepped; nobody is late because of it. A step only means that timers of wall instants (ends of
mutes, reminders) stand at the wrong tick: `look` reports it and the host arms them anew.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import replace
from typing import Final

import trio

from medic.core.blind import BLIND_MIN_MS, SIGHTED_ALWAYS, BlindLog, BlindSpan
from medic.core.units import InstantMs, SightedMs, SkewMs

LOOK_EVERY_SECONDS: Final = 0.25
"""How often `Sight` looks. A span of blindness is known to within this much."""

GAP_MS: Final = BLIND_MIN_MS + round(LOOK_EVERY_SECONDS * 1000)
"""Two looks further apart than this: the loop did not turn for longer than a client waits."""

SKEW_JITTER_MS: Final = 5
"""Two readings of two clocks differ by so much for no reason; a deadline that is shown must not tremble."""

STILL_STEP_MS: Final = 5_000
"""The same while sighted time stands still: how late a reminder may be then. Each step looks at all that wait."""

WALL_STEP_MS: Final = 250
"""A wall clock further from where it was expected than this was stepped, or drifted enough to re-arm wall timers."""


def seconds_asleep() -> float:
    """How long this machine has been suspended since it was started; 0.0 where the system does not say."""
    if not hasattr(time, "CLOCK_BOOTTIME"):
        return 0.0
    return time.clock_gettime(time.CLOCK_BOOTTIME) - time.clock_gettime(time.CLOCK_MONOTONIC)


def wall_now() -> InstantMs:
    """The system's wall clock."""
    return InstantMs(time.time_ns() // 1_000_000)


class SightedClock:
    """Implements `ports.Clock`. Begins at `resume_at` and stands at it until the first reading.

    Args:
        resume_at: Sighted time to go on from: the watermark's, or wall time in a new data directory.
        blind: The spans known from before.
        wall: Source of wall time.
        monotonic: Source of seconds that never run backwards; by default the clock of the trio loop that this runs in,
            so that tests may own it.
        asleep: Source of seconds for which the machine was suspended, which `monotonic` does not count.
    """

    def __init__(
        self,
        *,
        resume_at: SightedMs,
        blind: BlindLog = SIGHTED_ALWAYS,
        wall: Callable[[], InstantMs] = wall_now,
        monotonic: Callable[[], float] | None = None,
        asleep: Callable[[], float] = seconds_asleep,
    ) -> None:
        self._wall = wall
        self._asleep = asleep
        self._asleep_ms = int(asleep() * 1000)
        # Asked of the clock itself: `trio.current_time` looks for it anew in every reading, which costs as much again.
        self._monotonic = monotonic or trio.lowlevel.current_clock().current_time
        self._offset_ms = resume_at - self._monotonic_ms()
        self._blind = blind
        self._looked_ms = self._monotonic_ms()
        self._found: deque[BlindSpan] = deque()
        self._stood_ms: int | None = None
        self._stood_why = ""
        self._shown_skew = SkewMs(wall() - resume_at)
        self._armed_skew = self.skew

    def now(self) -> InstantMs:
        """Wall time."""
        return self._wall()

    def sighted(self) -> SightedMs:
        """Sighted time. Runs back only over the second before a span of blindness was found, never further."""
        if self._stood_ms is not None:
            return SightedMs(self._stood_ms + self._offset_ms)
        monotonic_ms = self._monotonic_ms()
        if monotonic_ms - self._looked_ms >= GAP_MS:
            self._credit(self._looked_ms, monotonic_ms, "stalled")
        return SightedMs(monotonic_ms + self._offset_ms)

    def read(self) -> tuple[InstantMs, SightedMs]:
        """Wall time and sighted time, of one reading: what every turn needs."""
        return self._wall(), self.sighted()

    @property
    def skew(self) -> SkewMs:
        """Wall time minus sighted time. The two are read one after the other: what only that explains is not shown."""
        skew = SkewMs(self._wall() - self.sighted())
        if abs(skew - self._shown_skew) > SKEW_JITTER_MS:
            self._shown_skew = skew
        return self._shown_skew

    @property
    def blind(self) -> BlindLog:
        """The spans of blindness known now."""
        return self._blind

    def look(self) -> BlindSpan | None:
        """Say that the loop turns at this moment. Gives a span of blindness that was credited since, each once."""
        sighted = self.sighted()
        self._looked_ms = self._monotonic_ms()
        self._find_sleep(sighted)
        return self._found.popleft() if self._found else None

    @property
    def stands_still(self) -> bool:
        """Whether sighted time stands still, because heartbeats are refused."""
        return self._stood_ms is not None

    def stand_still(self, why: str) -> None:
        """Heartbeats are refused from now on, although the loop turns; `why` in one word."""
        if self._stood_ms is None:
            self.sighted()
            self._stood_ms, self._stood_why = self._monotonic_ms(), why

    def go_on(self) -> None:
        """Heartbeats are taken again. The time since `stand_still` is credited, if it was long enough to be blind."""
        stood_ms, self._stood_ms = self._stood_ms, None
        if stood_ms is None:
            return
        now_ms = self._monotonic_ms()
        if now_ms - stood_ms >= BLIND_MIN_MS:
            self._credit(stood_ms, now_ms, self._stood_why)

    def begin(self, away: BlindSpan | None) -> BlindSpan | None:
        """Let time go on at the end of a start, through which it stood still: nothing could be heard before.

        The span in which Medic was away lasted until now, so the start is no second one. Where it was credited only in
        part (`MEDIC_BLIND_MAX_HOURS`) it ended long before, and the start is a span of its own, if it took long enough.

        Args:
            away: The newest span of the log, as it was known when the clock was made, or None.

        Returns:
            That span as it is now.
        """
        if away is None or self._stood_ms is None:
            self.go_on()
            return away
        now_ms, ended_at = self._monotonic_ms(), self._wall()
        if ended_at - (now_ms - self._stood_ms) - away.ended_at >= BLIND_MIN_MS:
            self.go_on()
            return away
        away = replace(away, ended_at=max(ended_at, away.ended_at))
        self._offset_ms -= now_ms - self._stood_ms
        self._stood_ms, self._looked_ms = None, now_ms
        self._blind = BlindLog((*self._blind.spans[:-1], away))
        return away

    def wall_was_stepped(self) -> bool:
        """Whether wall timers stand at the wrong ticks since this was last asked; the asker arms them anew."""
        skew = self.skew
        if abs(skew - self._armed_skew) < (STILL_STEP_MS if self.stands_still else WALL_STEP_MS):
            return False
        self._armed_skew = skew
        return True

    def _find_sleep(self, sighted: SightedMs) -> None:
        slept_ms = int(self._asleep() * 1000) - self._asleep_ms
        if slept_ms >= BLIND_MIN_MS:
            self._asleep_ms += slept_ms
            self._keep(slept_ms, sighted, "suspended")

    def _credit(self, from_ms: int, to_ms: int, why: str) -> None:
        self._keep(to_ms - from_ms, SightedMs(from_ms + self._offset_ms), why)
        # Sighted time goes on by one millisecond, so that what arrives after the span is later than the span.
        self._offset_ms -= to_ms - from_ms - 1
        self._looked_ms = to_ms

    def _keep(self, duration_ms: int, sighted: SightedMs, why: str) -> None:
        """Keep a span that ends now, for the log and for whoever looks next."""
        ended_at = self._wall()
        span = BlindSpan(begun_at=InstantMs(ended_at - duration_ms), ended_at=ended_at, sighted=sighted, cause=why)
        self._blind = self._blind.with_span(span)
        self._found.append(span)

    def _monotonic_ms(self) -> int:
        return int(self._monotonic() * 1000)
