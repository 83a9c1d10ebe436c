"""The seams of Medic: what one floor asks of another, as small Protocols and the values that cross them.

`actors`, `store` and `alerting` know these and not each other; `app` joins them. A journal, a clock and an id source
belong to one shard; there is one shard today.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple, NewType, Protocol

from medic.access.caller import NOBODY, Caller
from medic.core.author import Author
from medic.core.blind import BlindLog
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.effects import Effect, SettleNotification
from medic.core.notification import Notification
from medic.core.service import Alert, Service, ServiceRow
from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.core.status import HeartbeatStatus
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.core.webhook import Webhook
from medic.errors import JournalRefusedError

Position = NewType("Position", int)
"""A place in a journal: how many bytes of it, over all its files, end with this record. 0 is before the first."""


# ------------------------------------------------------------------------------------------------- time, ids, journal


class Clock(Protocol):
    """The only source of time. Sighted time never runs backwards; wall time may."""

    def now(self) -> InstantMs: ...

    def sighted(self) -> SightedMs: ...

    @property
    def skew(self) -> SkewMs:
        """`now() - sighted()` of one reading."""
        ...

    @property
    def blind(self) -> BlindLog: ...


class Ids(Protocol):
    """Ids that are unique over the whole database and do not need it to be up (HARD-CASES H22)."""

    def draw(self) -> EventId:
        """The next id. Not ordered between processes.

        Raises:
            OverloadedError: the blocks kept ahead are used up and PostgreSQL is away.
        """
        ...

    @property
    def in_hand(self) -> int:
        """How many can be drawn now without any chance of a refusal."""
        ...

    def draw_many(self, count: int) -> Sequence[EventId]:
        """The next `count` ids; no more than are `in_hand`."""
        ...


WhenDurable = Callable[[JournalRefusedError | None], None]
"""Called once a record is durable, with None, or once it is known that waiting for it is refused, with that refusal."""


@dataclass(frozen=True, slots=True)
class Entry:
    """One record of a journal and where it ends."""

    position: Position
    effect: Effect


class Records(NamedTuple):
    """A run of a journal: the position of each record, and its bytes, or its effect where that is still at hand."""

    positions: Sequence[Position]
    records: Sequence[bytes | Effect]


class Journal(Protocol):
    """An append-only record of effects, durable in order.

    An append assigns the position in the caller's own turn, without an await (HARD-CASES H11); durability is waited for
    apart from it, and shared by all who wait.
    """

    @property
    def shard(self) -> int: ...

    @property
    def journal_id(self) -> str:
        """Made with the directory; positions mean nothing to any other journal."""
        ...

    @property
    def oldest(self) -> Position:
        """Where the journal begins: what ended before it is in PostgreSQL and in a snapshot, and was deleted."""
        ...

    @property
    def unreadable(self) -> Sequence[tuple[Position, Position]]:
        """Stretches, from one position to another, that were found damaged so far, in order. Readers pass over them."""
        ...

    @property
    def newest(self) -> Position:
        """The last position assigned."""
        ...

    @property
    def durable(self) -> Position:
        """Everything up to here survives `kill -9`, and loss of power as far as `MEDIC_JOURNAL_SYNC` says."""
        ...

    def require_room(self) -> None:
        """Return if the effects of one more turn will be taken.

        Raises:
            JournalRefusedError: they would not: full, failing or closed.
        """
        ...

    def require_intake(self) -> None:
        """Return if a heartbeat will be taken. Heartbeats are refused first: what they cause still has room then.

        Raises:
            JournalRefusedError: it would not.
        """
        ...

    def append_nowait(self, effect: Effect) -> Position:
        """Take an effect that is a turn of its own, and assign its position. It is in no file yet.

        Raises:
            JournalRefusedError: full, failing or closed.
        """
        ...

    def append_turn_nowait(self, effects: Sequence[Effect]) -> Position:
        """As `append_nowait` of the effects of one turn, at least one; the position of the last.

        All are taken or none, and survive a crash or do not: neither `durable` nor a read ever ends between two.
        """
        ...

    def append_heartbeat_nowait(
        self,
        service_id: ServiceId,
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_id: EventId,
        kind: HeartbeatStatus,
    ) -> Position:
        """As `append_nowait` of the `RecordHeartbeat` that says so, its status being the word of its kind."""
        ...

    def append_heartbeats_nowait(
        self,
        services: Sequence[ServiceId],
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_ids: Sequence[EventId],
        kinds: Sequence[HeartbeatStatus],
    ) -> Sequence[Position]:
        """As `append_heartbeat_nowait` of each of them, at least one, in this order; the position of each.

        Raises:
            JournalRefusedError: full, failing or closed; none was taken.
        """
        ...

    async def wait_durable(self, position: Position) -> None:
        """Return once `durable >= position`.

        Raises:
            JournalRefusedError: it never will be.
        """
        ...

    def call_when_durable(self, position: Position, call: WhenDurable) -> None:
        """As `wait_durable`, without a task that waits: for who has thousands of answers to send and one loop.

        `call` is run in the turn of the loop that learns of the commit, those of one commit in the order in which they
        were handed in; at once where that is known already. It must not wait, and what it raises is only reported.
        """
        ...

    async def wait_newer(self, position: Position) -> None:
        """Return once `durable > position`."""
        ...

    async def read_after(self, position: Position, *, most: int) -> Sequence[Entry]:
        """Some `most` durable records after `position`, in order; the last one ends a turn. Bounded memory."""
        ...

    async def read_records_after(self, position: Position, *, most: int) -> Records:
        """The same, decoded only where that costs nothing: for who wants little of most of them."""
        ...


# ------------------------------------------------------------------------------------------------------------- store


@dataclass(frozen=True, slots=True)
class StoredService:
    """A service as recovery finds it in PostgreSQL: `service` as it was when `service.position` was journaled.

    Attributes:
        service: With the row as it is committed now.
        journal_id: Whose positions `service.position` means; empty where no state was written yet.
        version: That of the row under which the state was folded, if it is known. Where it is not the row's, the row
            was changed since, and its actor has still to be told.
    """

    service: Service
    journal_id: str
    version: int | None = None


class ServiceStore(Protocol):
    """Operators' changes: committed with audit before anybody is told (HARD-CASES H13).

    Every method raises `DatabaseUnavailableError` where PostgreSQL does not answer; then nothing was changed, or the
    outcome was read back.
    """

    async def insert(self, draft: ServiceDraft, *, by: Author) -> tuple[ServiceRow, bool]:
        """The stored row, and whether it is new. A name that is taken (case of A-Z aside) gives the row that has it."""
        ...

    async def replace(self, row: ServiceRow, *, by: Author) -> ServiceRow | None:
        """Store `row` over the version before it. None: another change came first, or the service is gone."""
        ...

    async def insert_from(self, snapshot: SnapshotId, draft: ServiceDraft, *, by: Author) -> tuple[ServiceRow, bool]:
        """As `insert`; a new row uses the snapshot up, or raises `SnapshotRestoredError`."""
        ...

    async def replace_from(self, snapshot: SnapshotId, row: ServiceRow, *, by: Author) -> ServiceRow | None:
        """As `replace`; it uses the snapshot up, or raises `SnapshotRestoredError`."""
        ...

    async def find_restored(self, service_id: ServiceId) -> ServiceId | None:
        """The service as which a deleted one is there again, because a snapshot of it was restored; None: as none."""
        ...

    async def read(self, service_id: ServiceId) -> ServiceRow | None:
        """The committed row, or None if there is none."""
        ...

    async def delete(self, service_id: ServiceId, *, by: Author) -> bool:
        """Remove the row; False if it was gone. History keeps name and id."""
        ...

    def load(self) -> AsyncIterator[Sequence[StoredService]]:
        """Every service with its newest written state, in slices of at most 5 000."""
        ...


class WebhookStore(Protocol):
    """Webhooks as stored. Raises `DatabaseUnavailableError` as `ServiceStore` does."""

    async def insert(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook: ...

    async def all(self) -> Sequence[Webhook]: ...

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook | None:
        """The webhook with a new secret, and the one before for `overlap`; None where there is none of that id."""
        ...

    async def delete(self, webhook_id: int, *, by: Author) -> bool: ...


class Webhooks(Protocol):
    """Webhooks as operators change them: stored first, then known to alerting, then answered."""

    async def create(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook: ...

    async def all(self) -> Sequence[Webhook]: ...

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook:
        """Raises `UnknownWebhookError` where there is none of that id."""
        ...

    async def delete(self, webhook_id: int, *, by: Author) -> None:
        """Raises `UnknownWebhookError` where there is none of that id."""
        ...


# ----------------------------------------------------------------------------------------------------------- alerting


class Teller(Protocol):
    """What the outbox asks of alerting: whom to tell, and to tell them."""

    def targets_for(self, notification: Notification) -> tuple[str, ...]:
        """Names of the targets this notification goes to, as configured now. Empty: there is nobody."""
        ...

    def offer_nowait(self, notification: Notification) -> None:
        """Take a journaled notification for delivery to its `targets`. Never waits, never refuses."""
        ...


class Settlements(Protocol):
    """What alerting asks of the outbox: to write down how a delivery ended."""

    def settle_nowait(self, settlement: SettleNotification) -> None:
        """Journal the outcome; it is durable soon after."""
        ...

    def tell_nowait(self, notification: Notification) -> None:
        """Journal a notification Medic itself has to send (UNTOLD), and tell it once it is durable."""
        ...


# ------------------------------------------------------------------------------------------------- what http asks for


@dataclass(slots=True)
class Beat:
    """A heartbeat as a client sent it, checked: `name` normalised, `status` 1 to 64 characters.

    Not frozen: one is made for every heartbeat, and freezing it costs as much again as making it.
    `said_at` is the sender's own time, `key` its Idempotency-Key, `caller` who sent it, for limits.
    """

    name: str
    status: str
    run_id: str | None = None
    said_at: InstantMs | None = None
    key: str | None = None
    caller: Caller = NOBODY


class Intake(Protocol):
    """Where heartbeats go."""

    def take_nowait(self, beat: Beat) -> Position:
        """Journal the heartbeat and move the deadline in this turn; the record's position, which is not durable yet.

        Raises:
            UnknownServiceError, InactiveServiceError: nothing was taken.
            RateLimitedError: it was taken as a sign of life or a report, and is not stored; or it named one service
                too many that is not registered.
            ActorBusyError: the service is being rebuilt, nothing was taken; `take` waits for it.
            OverloadedError: it could not be made durable; nothing was taken.
        """
        ...

    def take_plain_nowait(self, said: Iterable[tuple[str, str]]) -> tuple[int, Position]:
        """Take heartbeats that say nothing but name and status: how many were taken, and the newest one's position.

        They are taken as by `take_nowait`, from the first to the first that has to be looked at more closely. It never
        refuses: whatever is the matter with that one, `take_nowait` says. Beyond it nothing of `said` is consumed.
        """
        ...

    async def wait_durable(self, position: Position) -> None:
        """Return once what was taken up to that position is durable.

        Raises:
            JournalRefusedError: it never will be.
        """
        ...

    async def take(self, beat: Beat) -> Service:
        """Journal the heartbeat, move the deadline, and return once the record is durable.

        Raises:
            UnknownServiceError, InactiveServiceError: nothing was taken.
            RateLimitedError: as `take_nowait` says; nothing was waited for.
            OverloadedError: it could not be made durable.
        """
        ...


class Roster(Protocol):
    """The services in memory: current, and there whether PostgreSQL is or not."""

    @property
    def key_rules(self) -> int:
        """Grows whenever a service goes, or begins or ceases to need a key."""
        ...

    def find(self, name: str) -> Service | None:
        """The service of that name, case of A-Z aside."""
        ...

    def by_id(self, service_id: ServiceId) -> Service | None: ...

    def by_alert(self, alert_id: EventId) -> Service | None:
        """The service whose open alert has this id."""
        ...

    def services(self, after: str = "") -> Iterable[Service]:
        """Those whose `name_key(heartbeat_name)` is greater than `after`, in that order; by default all of them.

        Cheap slices: may be consumed with awaits between, while services come and go.
        """
        ...

    def open_alerts(self) -> Sequence[Service]:
        """The services with an open alert, oldest alert first."""
        ...

    def __len__(self) -> int: ...


@dataclass(frozen=True, slots=True)
class Resolved:
    """An alert that was just closed by hand: its last form, the intervals missed until then, and when that was."""

    service: Service
    alert: Alert
    cycle: int
    at: InstantMs


class Changes(Protocol):
    """What operators do; `by` is who. Each raises `UnknownServiceError` or `UnknownAlertError` for what is not there.

    Those that change operators' columns raise `DatabaseUnavailableError` while PostgreSQL is away, changing nothing.
    """

    async def register(self, draft: ServiceDraft, *, by: Author) -> tuple[Service, bool]:
        """The service, and whether it is new."""
        ...

    async def update(self, name: str, edit: ServiceEdit, *, by: Author) -> Service: ...

    async def delete(self, name: str, *, by: Author) -> None: ...

    async def restore(self, snapshot: ServiceSnapshot, *, by: Author) -> Service:
        """The service with its columns of then. Raises `SnapshotRestoredError`, `NameTakenError` of a deleted one."""
        ...

    async def mute(self, name: str, *, until: InstantMs | None, reason: str, by: Author) -> Service: ...

    async def unmute(self, name: str, *, by: Author) -> Service: ...

    async def acknowledge(self, alert_id: EventId, *, by: Author, note: str) -> Service:
        """Raises `AlertClosedError` if it is closed."""
        ...

    async def resolve(self, alert_id: EventId, *, by: Author, note: str) -> Resolved:
        """Raises `AlertClosedError` if it is closed."""
        ...

    async def send_test(self, name: str, *, by: Author) -> tuple[str, ...]:
        """Send a marked page and its resolve; the targets it goes to."""
        ...


@dataclass(frozen=True, slots=True)
class ComponentHealth:
    """One line of `GET /health`: healthy, degraded, unhealthy, configured or not_configured, and facts beside it."""

    status: str
    since: InstantMs
    facts: tuple[tuple[str, str | int | float | bool], ...] = ()


@dataclass(frozen=True, slots=True)
class HealthReport:
    """`GET /health`: healthy, degraded or unhealthy, with the components that say why."""

    status: str
    at: InstantMs
    version: str
    components: dict[str, ComponentHealth] = field(default_factory=dict)


class Health(Protocol):
    """What Medic knows of itself. Synchronous and from memory: no check waits for anything."""

    def report(self) -> HealthReport: ...

    def alive(self) -> str | None:
        """None while the loop turns and deadlines are being fired; else what has stalled."""
        ...

    def ready(self) -> str | None:
        """None while heartbeats can be taken in durably; else why not."""

    def proven_at(self) -> InstantMs | None:
        """When work was last seen to go through journal, wheel and outbox; None: not yet."""
