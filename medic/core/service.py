"""The service machine's state: what Medic holds in memory for each thing it watches.

`ServiceRow` is what operators wrote, `Service` the hot state that `fold` mutates; `Alert` and `Mute` exist only while
one is open. Nothing here decides anything.

There may be a million of these, so each byte is decided on purpose (docs/decisions/0008 has the table). A service is
its own timer on the wheel: two objects that point at each other would be 48 bytes more. A ring and an alert cost a slot
of 8 bytes and no more while they are not there; all else that few services have is in one object, `Rare`, and who has
none of it points at the same `NOTHING_RARE`. Memory comes in steps of 16 bytes: 18 slots and two headers are 176, one
slot more is 192. What many services have in common is one object for all of them: policies, most columns of a row,
statuses, words.
"""

from __future__ import annotations

from dataclasses import dataclass

from medic.core.policy import Defaults, Policy, policy_of
from medic.core.ring import Ring, ring_of
from medic.core.sharing import sharing
from medic.core.status import HeartbeatStatus, OpenedReason, Status
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs
from medic.core.value import value
from medic.wheel import Timer

NEVER = InstantMs(0)
"""Stands for "no heartbeat yet" in `Service.last_heartbeat_at`."""

LONG_AGO = SightedMs(0)
"""Stands for `Service.registered` once the service was heard of: nobody asks for it any more, and an instant of its own
would be 32 bytes a service."""


@sharing(
    "service_name",
    "active",
    "interval_ms",
    "grace_ms",
    "threshold",
    "recovery_ms",
    "renotify_ms",
    "team",
    "priority",
    "runbook",
    "changed_by",
    "shard",
    "require_key",
)
@dataclass(frozen=True, kw_only=True)
class ServiceRow:
    """The operators' columns of one service, as PostgreSQL's `services` has them.

    Attributes:
        service_id: Identity; never used again after deletion.
        version: Grows by one with each committed change; the newest wins wherever two meet (HARD-CASES H13).
        heartbeat_name: NFC, 1 to 249 characters, prefix included.
        service_name: The label of the owning service, 1 to 249 characters.
        active: False: no deadline, heartbeats are refused.
        interval_ms, grace_ms, threshold, recovery_ms: The policy; bounds in `medic.core.policy`.
        renotify_ms: None: the default of the environment; 0: no reminders.
        team: 1 to 100 characters.
        priority: p1 to p5.
        runbook: A http or https address, or the empty string.
        date_added, date_modified: Wall time.
        changed_by: Who made this version, as `X-Actor` said.
        shard: Unit of ownership; 0 until there are members.
        require_key: Its heartbeats need an API key, whatever `MEDIC_AUTH` says of others.
    """

    service_id: ServiceId
    version: int
    heartbeat_name: str
    service_name: str
    active: bool
    interval_ms: DurationMs
    grace_ms: DurationMs
    threshold: int
    recovery_ms: DurationMs
    renotify_ms: DurationMs | None
    team: str
    priority: str
    runbook: str
    date_added: InstantMs
    date_modified: InstantMs
    changed_by: str = ""
    shard: int = 0
    require_key: bool = False

    def policy(self, defaults: Defaults) -> Policy:
        """The shared policy object of this row, defaults resolved."""
        return policy_of(self.interval_ms, self.grace_ms, self.threshold, self.recovery_ms, self.renotify_ms, defaults)


@value(frozen=True, slots=True)
class Alert:
    """The claim "this service is late", while it stands. Immutable: an amendment is a new one.

    Attributes:
        alert_id: The id of the event that opened it.
        reason: Why it opened.
        opened_at: Wall time at which it was decided.
        opened_sighted: The same in sighted time.
        late_since: Wall time from which the claim was true: the deadline, or the arrival of the report.
        priority, team, runbook: As the service had them when it opened; kept.
        reported: The service itself said DOWN or FAILED since: STARTED does not close it.
        told: A trigger has been decided, so that its end has to be told too.
        told_priority: The most urgent priority told so far.
        acknowledged_at, acknowledged_by: None and "" until somebody did.
        flapping: Stays open until the service was well for `Policy.flap_well_ms`; nothing more is told.
        reminders: Number of the newest reminder whose instant has passed; n is due at opened_at + n * renotify.
        reminded_ms: Time since opened_at for which no reminder is owed any more: the next one is due at the first
            multiple of renotify beyond it, also where a restart brought another default for renotify.
        key: The key under which vendors know it; empty for that of the service's name. Only an alert that the earlier
            system opened may have another.
        well_since: Sighted instant since which the service is well again but the alert has to wait, or None.
        notifications: How many notifications of this alert were decided; the next one's ordinal. Counted by folding
            `Notify`, so that an alert that has to be told and whose trigger the journal lost is recognised.
    """

    alert_id: EventId
    reason: OpenedReason
    opened_at: InstantMs
    opened_sighted: SightedMs
    late_since: InstantMs
    priority: str
    team: str
    runbook: str
    reported: bool = False
    told: bool = False
    told_priority: str = ""
    acknowledged_at: InstantMs | None = None
    acknowledged_by: str = ""
    flapping: bool = False
    reminders: int = 0
    well_since: SightedMs | None = None
    notifications: int = 0
    reminded_ms: DurationMs = DurationMs(0)
    key: str = ""

    def with_notification(self) -> Alert:
        """The same with one notification more. Written out: `replace` looks fields up by name, for ten times that."""
        return Alert(
            self.alert_id,
            self.reason,
            self.opened_at,
            self.opened_sighted,
            self.late_since,
            self.priority,
            self.team,
            self.runbook,
            self.reported,
            self.told,
            self.told_priority,
            self.acknowledged_at,
            self.acknowledged_by,
            self.flapping,
            self.reminders,
            self.well_since,
            self.notifications + 1,
            self.reminded_ms,
            self.key,
        )


@value(frozen=True, slots=True)
class Mute:
    """An order not to tell.

    Attributes:
        muted_at: Wall time of the order; muting again starts it anew.
        until: Wall time of its end, or None until unmuted by hand.
        reason, muted_by: What the operator said, who it was.
    """

    muted_at: InstantMs
    until: InstantMs | None
    reason: str = ""
    muted_by: str = ""


@dataclass(frozen=True, slots=True)
class Deactivation:
    """When a service was made inactive, in wall time, and by whom: later edits of it say nothing of that."""

    at: InstantMs
    by: str


@value(frozen=True, slots=True)
class Rare:
    """What few services have. Immutable, because all that have nothing of it share one.

    Attributes:
        mute: The mute in force, or None.
        openings: Sighted instants of the alerts opened within `FLAP_WINDOW_MS`, oldest first.
        deactivated: While the service is inactive: when that began, and by whom.
        mailbox: Whatever holds its events while it cannot take them, or None. A place kept for `medic.actors`.
    """

    mute: Mute | None
    openings: tuple[SightedMs, ...]
    deactivated: Deactivation | None
    mailbox: object | None


NOTHING_RARE = Rare(None, (), None, None)


class Service(Timer):
    """Everything Medic knows of one service between two events. Mutated by `medic.core.fold` only.

    Attributes:
        row: The operators' columns.
        policy: The promise, shared with every service that has the same one.
        status: What Medic believes of it.
        heard_kind: Kind of the newest heartbeat that says how the service is (STARTED says nothing of it), or None.
        registered: Sighted instant of registration, from which the first deadline is counted; `LONG_AGO` once that is
            past, with the first heartbeat.
        last_sign: Sighted instant of the newest sign of life, credited ones included; `NO_SIGN` after a report.
        ring: For threshold k > 1 the k newest signs, oldest first; None for k = 1.
        last_heartbeat_at: Wall time of the newest heartbeat of any kind; `NEVER` while there was none.
        last_status: That heartbeat's status as sent.
        gap_ms: The last observed gap: wall time between two heartbeats, 0 while there were fewer. What says nothing of
            when the next one comes is not a gap: a silence with an alert or a fresh interval in it, and the time from
            STARTED to the COMPLETED or FAILED that ends the run.
        heartbeats_total: Heartbeats taken since registration.
        fresh_interval_given: This silence already had its one fresh interval (CONTRACT 2.12).
        alert: The open alert, or None. At most one, ever.
        rare: What few services have. Each of its fields is read and set here too; what every heartbeat asks reads it
            there, which costs no call.
        position: Journal position of the newest record of this service; kept by the host, read by `GET /heartbeat`.
    """

    __slots__ = (
        "alert",
        "fresh_interval_given",
        "gap_ms",
        "heard_kind",
        "heartbeats_total",
        "last_heartbeat_at",
        "last_sign",
        "last_status",
        "policy",
        "position",
        "rare",
        "registered",
        "ring",
        "row",
        "status",
    )

    def __init__(self, row: ServiceRow, policy: Policy, *, registered: SightedMs) -> None:
        super().__init__()
        self.row = row
        self.policy = policy
        self.status = Status.NEW if row.active else Status.INACTIVE
        self.heard_kind: HeartbeatStatus | None = None
        self.registered = registered
        self.last_sign = registered
        self.ring: Ring | None = ring_of(registered, policy.threshold)
        self.last_heartbeat_at = NEVER
        self.last_status = ""
        self.gap_ms = DurationMs(0)
        self.heartbeats_total = 0
        self.fresh_interval_given = False
        self.alert: Alert | None = None
        self.position = 0
        self.rare = NOTHING_RARE if row.active else Rare(None, (), deactivation_of(row), None)

    @property
    def heard(self) -> bool:
        """Whether any heartbeat came since registration."""
        return self.last_heartbeat_at != NEVER

    @property
    def kth_sign(self) -> SightedMs:
        """The k-th newest sign of life, k being the threshold: the one that the deadline is counted from."""
        return self.last_sign if self.ring is None else SightedMs(self.ring[0])

    @property
    def mute(self) -> Mute | None:
        """As in `Rare`."""
        return self.rare.mute

    @mute.setter
    def mute(self, mute: Mute | None) -> None:
        rare = self.rare
        self.rare = _rare(mute, rare.openings, rare.deactivated, rare.mailbox)

    @property
    def openings(self) -> tuple[SightedMs, ...]:
        """As in `Rare`."""
        return self.rare.openings

    @openings.setter
    def openings(self, openings: tuple[SightedMs, ...]) -> None:
        rare = self.rare
        self.rare = _rare(rare.mute, openings, rare.deactivated, rare.mailbox)

    @property
    def deactivated(self) -> Deactivation | None:
        """As in `Rare`."""
        return self.rare.deactivated

    @deactivated.setter
    def deactivated(self, deactivated: Deactivation | None) -> None:
        rare = self.rare
        self.rare = _rare(rare.mute, rare.openings, deactivated, rare.mailbox)

    def hold(self, mailbox: object | None) -> None:
        """Keep the mailbox; None: it takes events again."""
        rare = self.rare
        self.rare = _rare(rare.mute, rare.openings, rare.deactivated, mailbox)


def _rare(
    mute: Mute | None, openings: tuple[SightedMs, ...], deactivated: Deactivation | None, mailbox: object | None
) -> Rare:
    if mute is None and deactivated is None and mailbox is None and not openings:
        return NOTHING_RARE
    return Rare(mute, openings, deactivated, mailbox)


def modified_at(added: InstantMs, modified: InstantMs) -> InstantMs:
    """`modified`; where nobody ever edited the service that is `added`, and one object: 32 bytes less."""
    return added if modified == added else modified


def deactivation_of(row: ServiceRow) -> Deactivation | None:
    """What a row that has just become inactive says of that; None while it is active."""
    return None if row.active else Deactivation(row.date_modified, row.changed_by)


def is_reported_down(service: Service) -> bool:
    """Whether a reported failure stands and the service is not well again: signs count from the report on."""
    alert = service.alert
    return alert is not None and alert.reported and alert.well_since is None
