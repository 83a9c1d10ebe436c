"""What was promised for a service: one immutable object, shared by every service with the same promise.

A million services have a few dozen policies between them; `policy_of` interns them, so that an actor pays one pointer.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import lru_cache

from medic.core.units import DAY_MS, HOUR_MS, MINUTE_MS, SECOND_MS, DurationMs

INTERVAL_MIN_MS = SECOND_MS
INTERVAL_MAX_MS = DurationMs(366 * DAY_MS)
GRACE_MAX_MS = DurationMs(366 * DAY_MS)
RECOVERY_MAX_MS = DurationMs(366 * DAY_MS)
THRESHOLD_MAX = 1_000

FLAP_WINDOW_MS = HOUR_MS
"""Openings within this span count toward flapping (CONTRACT 2.6)."""
FLAP_WELL_INTERVALS = 3
FLAP_WELL_MIN_MS = DurationMs(10 * MINUTE_MS)
"""A flapping alert closes once the service was well for three intervals, and for at least this long."""

HEARTBEATS_SPARE = 3
"""A service may send this many times what its promise asks for before a limit refuses any: retries, two senders."""
UNHURRIED = 16
"""A heartbeat that comes this many times later after the one before it than it may is not counted at all."""


@dataclass(frozen=True, slots=True)
class Defaults:
    """What a service gets for what its registration leaves open, from the environment.

    Attributes:
        renotify_ms: `MEDIC_RENOTIFY_MINUTES`; 0 for no reminders.
        flap_openings: `MEDIC_FLAP_OPENINGS`: more openings than this in an hour is flapping; 0 switches that off.
        first_heartbeat_ms: `MEDIC_FIRST_HEARTBEAT_MINUTES`: the first deadline of a service never heard of is at least
            this long after registration.
        auto_unmute_ms: `ALERT_AUTO_UNMUTE_HOURS`; 0 means until unmuted by hand.
        heartbeats_a_minute: `RATE_LIMIT_HEARTBEAT_REQUESTS`: how many are stored at the most; 0 means all.
    """

    renotify_ms: DurationMs = HOUR_MS
    flap_openings: int = 3
    first_heartbeat_ms: DurationMs = DurationMs(15 * MINUTE_MS)
    auto_unmute_ms: DurationMs = DurationMs(24 * HOUR_MS)
    heartbeats_a_minute: int = 0


@dataclass(frozen=True, slots=True)
class Policy:
    """What one service was promised, every default resolved.

    Attributes:
        interval_ms: Promised time between signs of life, 1 s to 366 days.
        grace_ms: Patience after it, 0 to 366 days.
        threshold: Signs of life promised within one interval, 1 to 1000 (k).
        recovery_ms: How long the service must be well before its alert closes.
        renotify_ms: Time between reminders; 0 for none.
        defaults: The environment's, the same object for every policy of a process.
        heartbeats_a_minute: Beyond this they are signs of life and not stored: the environment's limit, or
            `HEARTBEATS_SPARE` times what was promised, whichever is more; 0 for no limit.
        unhurried_ms: A heartbeat that comes so long after the one before it cannot be one too many.
    """

    interval_ms: DurationMs
    grace_ms: DurationMs = DurationMs(0)
    threshold: int = 1
    recovery_ms: DurationMs = DurationMs(0)
    renotify_ms: DurationMs = HOUR_MS
    defaults: Defaults = Defaults()
    heartbeats_a_minute: int = field(init=False, compare=False)
    unhurried_ms: DurationMs = field(init=False, compare=False)

    def __post_init__(self) -> None:
        most = self.defaults.heartbeats_a_minute
        promised = -(-HEARTBEATS_SPARE * self.threshold * MINUTE_MS // self.interval_ms)
        allowed = max(most, promised) if most else 0
        object.__setattr__(self, "heartbeats_a_minute", allowed)
        object.__setattr__(self, "unhurried_ms", UNHURRIED * MINUTE_MS // allowed if allowed else 0)

    @property
    def patience_ms(self) -> DurationMs:
        """Interval and grace together: from the k-th newest sign of life to the deadline."""
        return DurationMs(self.interval_ms + self.grace_ms)

    @property
    def flap_well_ms(self) -> DurationMs:
        """How long a flapping service must be well before its alert closes."""
        return DurationMs(max(FLAP_WELL_INTERVALS * self.interval_ms, FLAP_WELL_MIN_MS, self.recovery_ms))


@lru_cache(maxsize=65_536)
def policy_of(
    interval_ms: DurationMs,
    grace_ms: DurationMs,
    threshold: int,
    recovery_ms: DurationMs,
    renotify_ms: DurationMs | None,
    defaults: Defaults,
) -> Policy:
    """The shared policy with these values. The cache is bounded: past it a policy is merely not shared."""
    resolved = defaults.renotify_ms if renotify_ms is None else renotify_ms
    return Policy(interval_ms, grace_ms, threshold, recovery_ms, resolved, defaults)
