"""What happened: the only input of the service machine. Immutable, each with its instant on both time lines."""

from __future__ import annotations

from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS, BlindLog
from medic.core.service import ServiceRow
from medic.core.status import HeartbeatStatus
from medic.core.units import EventId, InstantMs, SightedMs
from medic.core.value import value


@value(frozen=True, slots=True)
class HeartbeatReceived:
    """A heartbeat was read from a socket.

    `said_at` is the sender's own time, `key` its Idempotency-Key: either can only make it count for nothing.
    """

    at: InstantMs
    sighted: SightedMs
    event_id: EventId
    kind: HeartbeatStatus
    status: str
    run_id: str | None = None
    said_at: InstantMs | None = None
    key: str | None = None


@value(frozen=True, slots=True)
class HeartbeatLimited(HeartbeatReceived):
    """The same, of a heartbeat that a rate limit refuses: a sign of life or a report like any other, and not stored."""


@value(frozen=True, slots=True)
class DeadlineExpired:
    """The wheel fired. Names the deadline it was armed for, so that a late firing is recognised, not raced against."""

    at: InstantMs
    sighted: SightedMs
    event_id: EventId
    armed_for: SightedMs
    blind: BlindLog = SIGHTED_ALWAYS


@value(frozen=True, slots=True)
class ServiceChanged:
    """An operator's change was committed. Ignored unless `row.version` is newer."""

    at: InstantMs
    sighted: SightedMs
    event_id: EventId
    row: ServiceRow


@value(frozen=True, slots=True)
class ServiceDeleted:
    """The deletion of the service was committed."""

    at: InstantMs
    sighted: SightedMs
    by: Author


@value(frozen=True, slots=True)
class MuteRequested:
    """An operator ordered not to tell; replaces a mute in force. `until` is None for "until unmuted by hand"."""

    at: InstantMs
    sighted: SightedMs
    until: InstantMs | None
    reason: str
    by: Author


@value(frozen=True, slots=True)
class UnmuteRequested:
    """An operator ended the mute."""

    at: InstantMs
    sighted: SightedMs
    event_id: EventId
    by: Author


@value(frozen=True, slots=True)
class AcknowledgeRequested:
    """Somebody works on the open alert: reminders stop."""

    at: InstantMs
    sighted: SightedMs
    by: Author
    note: str = ""


@value(frozen=True, slots=True)
class ResolveRequested:
    """An operator closed the open alert by hand: a fresh deadline begins."""

    at: InstantMs
    sighted: SightedMs
    by: Author
    note: str = ""


@value(frozen=True, slots=True)
class NobodyTold:
    """Medic found at its start that nobody ever took what was told of the open alert.

    Every target refused it for good before the restart. The configuration may have been mended since.
    """

    at: InstantMs
    sighted: SightedMs


@value(frozen=True, slots=True)
class TestRequested:
    """An operator asked for a marked page through the real notifiers, resolved after."""

    __test__ = False

    at: InstantMs
    sighted: SightedMs
    event_id: EventId
    by: Author


Event = (
    HeartbeatReceived
    | HeartbeatLimited
    | DeadlineExpired
    | ServiceChanged
    | ServiceDeleted
    | MuteRequested
    | UnmuteRequested
    | AcknowledgeRequested
    | ResolveRequested
    | NobodyTold
    | TestRequested
)
