"""How gently one target is treated: how many attempts at once, and when none at all. Pure arithmetic, told the time.

The problem. A vendor that is down, with ten thousand pages waiting for it, must not be hammered; yet when it is back
the pages must go out at once and in order, not each after a backoff of its own. And one notification that a vendor
cannot digest (a 500 for this one alone) must not look like an outage.

So failures are counted by lane. When `OUTAGE_LANES` different lanes failed with no answer in between, the target is
*out*: one attempt at a time, further and further apart, but never more than `PROBE_MAX_SECONDS`, taken from the head of
the queue. Any answer ends the outage: the window opens again and everything that waits for its retry is released. A
single lane that keeps failing never gets that far, and waits out its own backoff.

A 429 is different: the vendor works, and says how long it wants to be left alone. All attempts pause until then.

Numbers. Eight attempts at once take 50 to 400 notifications/s to a vendor that answers within 20 to 150 ms, and leave a
p1 at most one answer behind. Four more are kept for p1 alone: eight requests that hang would otherwise hold up the page
that matters for ten seconds.
"""

from __future__ import annotations

import math
from random import Random
from typing import Final

from medic.alerting.attempt import Attempt, Delivered, Refused, Retry, Throttled
from medic.alerting.backoff import backoff_seconds

ATTEMPTS_AT_ONCE_MAX: Final = 8
URGENT_ATTEMPTS_EXTRA: Final = 4
URGENT_PRIORITY: Final = 0
"""p1."""

OUTAGE_LANES: Final = 3
PROBE_FIRST_SECONDS: Final = 1.0
PROBE_MAX_SECONDS: Final = 10.0
"""A vendor that is back is noticed within ten seconds; a request in ten seconds hurts nobody who is down."""


class Pace:
    """The pace of one target.

    Attributes:
        in_flight: Attempts under way.
        outages: How many outages have begun; names the present or last one.
    """

    def __init__(self, rng: Random) -> None:
        self._rng = rng
        self.in_flight = 0
        self.outages = 0
        self._failed: set[str] = set()
        self._out = False
        self._probes = 0
        self._probed_at = -math.inf
        self._next_probe = -math.inf
        self._paused_until = -math.inf
        self._throttles = 0

    @property
    def out(self) -> bool:
        """The target is in an outage: several lanes failed and nothing succeeded."""
        return self._out

    def paused(self, now: float) -> bool:
        """The target asked for a pause that has not passed."""
        return now < self._paused_until

    def may_begin(self, priority: int, now: float) -> bool:
        """Whether an attempt of this priority may begin now."""
        if now < self._paused_until:
            return False
        if self._out:
            return self.in_flight == 0 and now >= self._next_probe
        extra = URGENT_ATTEMPTS_EXTRA if priority == URGENT_PRIORITY else 0
        return self.in_flight < ATTEMPTS_AT_ONCE_MAX + extra

    def next_change(self, now: float) -> float:
        """When time alone lets an attempt begin, or infinity where only the end of another attempt does."""
        waits = [self._paused_until]
        if self._out and self.in_flight == 0:
            waits.append(self._next_probe)
        latest = max(waits)
        return latest if latest > now else math.inf

    def begun(self, now: float) -> None:
        """An attempt begins."""
        self.in_flight += 1
        self._probed_at = now

    def hurry(self) -> None:
        """News has come: the next probe of an outage is brought forward, to one a second at most."""
        if self._out:
            self._next_probe = min(self._next_probe, self._probed_at + PROBE_FIRST_SECONDS)

    def ended(self, key: str, attempt: Attempt, now: float) -> bool:
        """An attempt has ended; gives whether the target answers again after failing, so that others are released."""
        self.in_flight -= 1
        match attempt:
            case Delivered() | Refused():
                self._throttles = 0
                return self._answered()
            case Throttled(retry_after=retry_after):
                self._throttles += 1
                pause = backoff_seconds(self._throttles, self._rng) if retry_after is None else retry_after
                self._paused_until = max(self._paused_until, now + pause)
                return self._answered()
            case Retry():
                self._fail(key, now)
                return False

    def retry_at(self, attempts: int, attempt: Attempt, now: float) -> float:
        """When a lane whose attempt ended so may be tried again. `attempts` have ended, this one included."""
        match attempt:
            case Retry(retry_after=retry_after):
                return now + max(backoff_seconds(attempts, self._rng), retry_after or 0.0)
            case Throttled() | Delivered() | Refused():
                # A throttled lane waits for the target's pause, and then goes in its order.
                return now

    def mended(self) -> None:
        """What attempts failed of was here, and is mended."""
        self._answered()

    def crashed(self) -> None:
        """The task that counted is gone, and its attempts with it."""
        self.in_flight = 0

    def _answered(self) -> bool:
        failing = bool(self._failed)
        self._failed.clear()
        self._out = False
        self._probes = 0
        return failing

    def _fail(self, key: str, now: float) -> None:
        if len(self._failed) < OUTAGE_LANES:
            self._failed.add(key)
        if not self._out and len(self._failed) >= OUTAGE_LANES:
            self._out = True
            self.outages += 1
        if self._out:
            spacing = min(PROBE_MAX_SECONDS, PROBE_FIRST_SECONDS * 2.0 ** min(self._probes, 8))
            self._probes += 1
            self._next_probe = now + self._rng.uniform(0.5, 1.0) * spacing
