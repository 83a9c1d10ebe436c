"""The closed sets of words that services, heartbeats, alerts and notifications are described with."""

from __future__ import annotations

from enum import StrEnum


class Status(StrEnum):
    """What Medic believes of a service."""

    NEW = "new"
    """Registered, never heard of, first deadline not passed."""
    UP = "up"
    DEGRADED = "degraded"
    """Alive, and says of itself that it is not well."""
    LATE = "late"
    """An alert is open because of silence."""
    DOWN = "down"
    """An alert is open and the service itself reported DOWN or FAILED."""
    INACTIVE = "inactive"
    """Not watched: no deadline, heartbeats are refused."""


class HeartbeatStatus(StrEnum):
    """What a heartbeat says. Any other word is `OTHER`: kept as sent, and counted as UP."""

    UP = "UP"
    DOWN = "DOWN"
    DEGRADED = "DEGRADED"
    STARTED = "STARTED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    OTHER = "OTHER"


REPORTS_FAILURE = frozenset({HeartbeatStatus.DOWN, HeartbeatStatus.FAILED})
"""Heartbeats that are no sign of life, clear those before, and open an alert at once."""


class Discount(StrEnum):
    """Why a heartbeat that was taken counts for nothing (`medic.core.discount`)."""

    HISTORY = "history"
    """By its sender's time it is older than interval and grace."""
    REPEATED = "repeated"
    """The same run and status, or the same key, as a sign of life within the interval."""


class OpenedReason(StrEnum):
    """Why an alert opened."""

    LATE = "late"
    NEVER_HEARD = "never_heard"
    REPORTED_DOWN = "reported_down"
    REPORTED_FAILED = "reported_failed"


class ClosedReason(StrEnum):
    """Why an alert closed."""

    RECOVERED = "recovered"
    POLICY_CHANGED = "policy_changed"
    """An operator changed interval, threshold or grace, which counts as `threshold` signs of life."""
    BY_HAND = "by_hand"
    DEACTIVATED = "deactivated"
    DELETED = "deleted"
    SUPERSEDED = "superseded"
    """The database already had an older open alert of the service: repaired by the writer."""


class NotificationKind(StrEnum):
    """What a notification tells."""

    TRIGGER = "trigger"
    """An alert opened, or is told now because its mute ended."""
    REMINDER = "reminder"
    """Still down: once every `renotify_minutes`."""
    ESCALATION = "escalation"
    """Still down, and the service's priority became more urgent: told again at once under the same key."""
    ACKNOWLEDGE = "acknowledge"
    RESOLVE = "resolve"
    DEGRADED = "degraded"
    DEGRADED_OVER = "degraded_over"
    MUTE_ENDED = "mute_ended"
    BLIND = "blind"
    """Medic's own outage: blind from, to, deadlines moved, services given a fresh interval."""
    KEY_ENDS = "key_ends"
    """An API key is about to expire: Medic's own news, and nobody's alert."""
    ADOPTED = "adopted"
    """The earlier system's database was taken over: which services were not heard of in it. Medic's own news."""
    UNTOLD = "untold"
    """Another notifier refused an alert for good; this one says so."""
    TEST = "test"
    """A marked page an operator asked for, followed by a RESOLVE of the same alert key."""


class Outcome(StrEnum):
    """How the delivery of one notification to one target ended."""

    DELIVERED = "delivered"
    REFUSED = "refused"
    """The vendor refused it for good: 4xx other than 429."""
    GIVEN_UP = "given_up"
    """The alert closed first (trigger), or 24 hours went by (resolve)."""
    DROPPED = "dropped"
    """Never attempted, because what it would have said was over."""
    WITHHELD = "withheld"
    """Never attempted, because `MEDIC_NOTIFY` was off."""
