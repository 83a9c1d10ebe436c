"""What must be done: the only output of the service machine, and the only input of `medic.core.fold`.

Every effect is a journal record, written down whole. To carry one out is to journal it and, where it is `Notify`, to
tell it once it is durable; so nothing unjournaled can leave. The live machine changes its state by folding the effects
it has just decided, and recovery by folding the same effects read from the journal: the two cannot disagree.

The order of effects within one step is meaning: what must be durable stands before what may be seen.

Where an operator's order is journaled first, its effect carries the author for the audit; `by` is the name alone, which
is what earlier journals have.
"""

from __future__ import annotations

from medic.core.author import Author
from medic.core.blind import BlindSpan
from medic.core.notification import Notification
from medic.core.ring import NO_MARK
from medic.core.service import Alert, Mute, ServiceRow
from medic.core.status import ClosedReason, Discount, HeartbeatStatus, Outcome, Status
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.core.value import value


@value(frozen=True, slots=True)
class RecordHeartbeat:
    """A heartbeat to keep. `status` is the word as sent, `kind` what it means.

    `mark` recognises a repetition of it where it is a sign of life among several; with a `discount` it means nothing.
    """

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    heartbeat_id: EventId
    kind: HeartbeatStatus
    status: str
    run_id: str | None = None
    said_at: InstantMs | None = None
    mark: int = NO_MARK
    discount: Discount | None = None


@value(frozen=True, slots=True)
class NoteHeartbeat:
    """A heartbeat that a rate limit refused: it means what `RecordHeartbeat` means, and no row is kept of it.

    It has no id, and says nothing that only a row would show.
    """

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    kind: HeartbeatStatus
    status: str
    mark: int = NO_MARK


@value(frozen=True, slots=True)
class CreditSigns:
    """Something counts as `threshold` signs of life at the sighted instant `since`.

    Activation, a changed promise, resolving by hand: `since` is their instant, and the record stands before the one
    that it belongs to, so that a journal torn between the two pages nobody. A fresh interval after blind time
    (`fresh_interval`): `since` is where sighted time stood still. Signs that are newer stay. Registration needs no such
    record: the service of a `StoreService` begins with its signs.
    """

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    since: SightedMs
    fresh_interval: bool = False


@value(frozen=True, slots=True)
class ChangeStatus:
    """A transition."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    previous: Status
    status: Status
    reason: str


@value(frozen=True, slots=True)
class OpenAlert:
    """A new alert; the service had none open."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    alert: Alert


@value(frozen=True, slots=True)
class AmendAlert:
    """The open alert as it is now.

    `change` is one word for its history: told, acknowledged, reminded, rescheduled, well, unwell, reported, escalated.
    """

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    alert: Alert
    change: str
    by: str = ""
    note: str = ""
    author: Author | None = None


@value(frozen=True, slots=True)
class CloseAlert:
    """The open alert ends. `alert` is its last form."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    alert: Alert
    reason: ClosedReason
    cycle: int
    by: str = ""
    note: str = ""
    author: Author | None = None


@value(frozen=True, slots=True)
class SetMute:
    """A mute begins or begins anew."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    mute: Mute
    author: Author | None = None


@value(frozen=True, slots=True)
class EndMute:
    """The mute ends; `by` is empty where its time was up."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    by: str
    author: Author | None = None


@value(frozen=True, slots=True)
class StoreService:
    """The operators' columns as committed: registration (no service of this id yet) or a newer version."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    row: ServiceRow


@value(frozen=True, slots=True)
class RemoveService:
    """The service is no more; its name is free."""

    service_id: ServiceId
    at: InstantMs
    sighted: SightedMs
    by: str


@value(frozen=True, slots=True)
class Notify:
    """A notification is decided. Its targets are filled in when it is journaled."""

    at: InstantMs
    sighted: SightedMs
    notification: Notification

    @property
    def service_id(self) -> ServiceId | None:
        """The service it is about, or None for what Medic says of itself."""
        return self.notification.service_id


@value(frozen=True, slots=True)
class SettleNotification:
    """How the delivery of a notification to one target ended. Only outcomes are journaled, attempts are not."""

    at: InstantMs
    sighted: SightedMs
    notification_id: str
    service_id: ServiceId | None
    target: str
    outcome: Outcome
    attempts: int
    detail: str = ""


@value(frozen=True, slots=True)
class RecordBlindSpan:
    """Medic was blind; sighted time stood still meanwhile."""

    at: InstantMs
    sighted: SightedMs
    span: BlindSpan

    @property
    def service_id(self) -> None:
        """It concerns every service."""
        return


ServiceEffect = (
    RecordHeartbeat
    | NoteHeartbeat
    | CreditSigns
    | ChangeStatus
    | OpenAlert
    | AmendAlert
    | CloseAlert
    | SetMute
    | EndMute
    | StoreService
    | RemoveService
    | Notify
)
"""What `step` returns."""

Effect = ServiceEffect | SettleNotification | RecordBlindSpan
"""What the journal holds."""
