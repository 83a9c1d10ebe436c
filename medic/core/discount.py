"""Heartbeats that are stored and counted, and mean nothing: what was sent long ago, and what was said before.

A sender's own `time` never makes a heartbeat count for more than its arrival does (HARD-CASES H4). It can make it
count for less: one that was sent more than interval and grace before it arrived is history that a sender caught up
on, and says nothing of now, neither that the service is well nor that it is down.

Two heartbeats with the same run and status, or the same Idempotency-Key, are one heartbeat that was sent twice: within
the interval only the first counts toward the threshold. What recognises them is a mark of 63 bits, kept beside the
sign (`medic.core.ring`). A run says more than a key, which a sender may draw anew for each attempt, so the mark is that
of run and status where there is a run. At a thousand signs a ring takes one heartbeat in 10^16 for another.

With a threshold of 1 nothing is remembered. Once is all that is asked for, so that a repetition can only move the
deadline by the time that it came after the first; and it was sent by somebody who is alive. To remember would cost
every service 16 bytes, and would not even keep a relay that repeats for ever from keeping its service up: after an
interval the same heartbeat counts anew, by the rule itself.

Rejected: to fold a discounted heartbeat into `last_heartbeat_at` and the observed gap. Seconds between two attempts
are no rhythm, and the rhythm decides who is owed a fresh interval after blind time.
"""

from __future__ import annotations

from hashlib import blake2b

from medic.core.events import HeartbeatReceived
from medic.core.ring import NO_MARK
from medic.core.service import Service
from medic.core.status import REPORTS_FAILURE, Discount, HeartbeatStatus
from medic.core.units import MINUTE_MS, DurationMs, InstantMs, SightedMs

SAID_AHEAD_MAX_MS = DurationMs(5 * MINUTE_MS)
"""How far a sender's time may lie ahead of its arrival; one further ahead is kept as this. Clocks that are set by hand
are wrong by less, and whoever reads the table must not find the year 9999. A wrong clock is no reason to refuse a sign
of life."""


def mark_of(service: Service, event: HeartbeatReceived) -> int:
    """What recognises a repetition of this heartbeat; `NO_MARK` where nothing does, or nobody asks."""
    if service.ring is None or (event.run_id is None and event.key is None):
        return NO_MARK
    if event.kind in REPORTS_FAILURE:
        return NO_MARK
    if event.run_id is not None:
        status = event.status if event.kind is HeartbeatStatus.OTHER else event.kind.value
        said = f"run\0{status}\0{event.run_id}"
    else:
        said = f"key\0{event.key}"
    digest = blake2b(said.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big") >> 1 or 1


def discount_of(service: Service, event: HeartbeatReceived, mark: int) -> Discount | None:
    """Why the heartbeat counts for nothing, or None if it counts."""
    if event.said_at is not None and is_history(service, event.said_at, event.at):
        return Discount.HISTORY
    ring = service.ring
    if mark == NO_MARK or ring is None:
        return None
    within = SightedMs(event.sighted - service.policy.interval_ms)
    return Discount.REPEATED if ring.holds(mark, after=within) else None


def is_history(service: Service, said_at: InstantMs, at: InstantMs) -> bool:
    """Whether what was sent then and arrived at `at` says nothing of now: it is older than interval and grace."""
    return at - said_at > service.policy.patience_ms


def kept_said_at(said_at: InstantMs | None, at: InstantMs) -> InstantMs | None:
    """The sender's time as it is kept: at most `SAID_AHEAD_MAX_MS` ahead of the arrival."""
    return None if said_at is None else InstantMs(min(said_at, at + SAID_AHEAD_MAX_MS))
