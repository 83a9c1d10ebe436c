"""What a run of journal entries means for PostgreSQL's tables: plain rows, worked out before any transaction is opened.

Heartbeats stay as many as they are. Everything else is brought to what it came to at the end of the batch: an alert
that opened, was amended twice and closed is one row, so that a batch can write all closed alerts before all open
ones, and at no point of it has a service two of them open (HARD-CASES H21). What is history, the moments of an
alert and the audit, keeps every line in its order.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

import orjson

from medic.core.author import Author
from medic.core.effects import (
    AmendAlert,
    ChangeStatus,
    CloseAlert,
    CreditSigns,
    Effect,
    EndMute,
    NoteHeartbeat,
    Notify,
    OpenAlert,
    RecordBlindSpan,
    RecordHeartbeat,
    RemoveService,
    SetMute,
    SettleNotification,
    StoreService,
)
from medic.core.service import Alert, Mute
from medic.core.status import ClosedReason
from medic.core.units import EventId, InstantMs, ServiceId, isoformat
from medic.store.codec import decode, encode
from medic.store.tables.heartbeat_rows import HeartbeatRows


@dataclass(frozen=True, slots=True)
class AlertValues:
    """An alert as it stands at the end of the batch. `muted` is None where the batch says nothing of mutes."""

    service_id: ServiceId
    alert: Alert
    closed_at: InstantMs | None
    closed_reason: str
    cycle: int
    muted: bool | None


@dataclass(frozen=True, slots=True)
class Moment:
    """A line of an alert's history."""

    alert_id: EventId
    at: InstantMs
    change: str
    by: str
    note: str


@dataclass(frozen=True, slots=True)
class Audit:
    """A line of the audit: something an operator did that was journaled first.

    `before` and `after` are JSON. A mute's `before` is None where the batch does not know it: the row does, still.
    """

    at: InstantMs
    author: Author
    action: str
    service_id: ServiceId
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class Decided:
    """A notification for its targets. `body` is the journal's record of it."""

    notify: Notify
    body: bytes


@dataclass(slots=True)
class Batch:
    """The rows of a run of entries.

    Attributes:
        heartbeats: For COPY, in the order they came.
        alerts: By id, as they stand at the end.
        moments, audits, decided: In the order they were journaled.
        settled: The last word on each notification and target.
        mutes: For each service whose mute was set or ended: the mute in force at the end, or None.
        removed: Services that are no more.
        changed: Services of which the state has to be written at once; a dict for its order.
        unrowed: Services with a sign of life of which no row is kept, so that their state must not wait for long.
    """

    heartbeats: HeartbeatRows = field(default_factory=HeartbeatRows)
    alerts: dict[EventId, AlertValues] = field(default_factory=dict)
    moments: list[Moment] = field(default_factory=list)
    audits: list[Audit] = field(default_factory=list)
    decided: list[Decided] = field(default_factory=list)
    settled: dict[tuple[str, str], SettleNotification] = field(default_factory=dict)
    mutes: dict[ServiceId, Mute | None] = field(default_factory=dict)
    removed: set[ServiceId] = field(default_factory=set)
    changed: dict[ServiceId, None] = field(default_factory=dict)
    unrowed: set[ServiceId] = field(default_factory=set)

    def add_all(self, records: Sequence[bytes | Effect]) -> None:
        """Take further records of the journal, in their order. Costs half a microsecond for a plain heartbeat.

        Raises:
            RowRefusedError: no row can say what one of them says.
            UnreadableRecordError: one of them is what this release does not know.
        """
        self.heartbeats.add_records(records, self._add_other)

    @property
    def heard(self) -> set[ServiceId]:
        """Services of which the state may wait to be written: rows tell of their last sign."""
        return self.heartbeats.heard

    @property
    def rows(self) -> int:
        """How many rows it writes, about."""
        rare = len(self.alerts) + len(self.moments) + len(self.audits) + len(self.decided) + len(self.settled)
        return self.heartbeats.count + rare + len(self.mutes)

    def _add_other(self, record: bytes | Effect) -> None:
        effect = decode(record) if isinstance(record, bytes) else record
        match effect:
            case RecordHeartbeat():
                self.heartbeats.add(effect)
            case CreditSigns() | NoteHeartbeat():
                self.unrowed.add(effect.service_id)
            case ChangeStatus() | StoreService():
                self.changed[effect.service_id] = None
            case OpenAlert() | AmendAlert() | CloseAlert():
                self._add_alert(effect)
            case SetMute() | EndMute():
                self._add_mute(effect)
            case RemoveService():
                self.removed.add(effect.service_id)
            case Notify():
                self._add_notification(effect, record)
            case SettleNotification():
                self.settled[effect.notification_id, effect.target] = effect
            case RecordBlindSpan():
                pass  # the journal is its record; people are told by a notification
            case _:
                assert_never(effect)

    def _add_alert(self, effect: OpenAlert | AmendAlert | CloseAlert) -> None:
        alert_id = effect.alert.alert_id
        mute = self.mutes.get(effect.service_id)
        muted = mute is not None if effect.service_id in self.mutes else None
        values = AlertValues(effect.service_id, effect.alert, None, "", 1, muted)
        moment = Moment(alert_id, effect.at, "opened", "", effect.alert.reason)
        if isinstance(effect, AmendAlert):
            moment = Moment(alert_id, effect.at, effect.change, storable(effect.by), storable(effect.note))
            if effect.change == "acknowledged":
                self._audit(effect, "acknowledge", "acknowledged", was=0)
        elif isinstance(effect, CloseAlert):
            values = AlertValues(effect.service_id, effect.alert, effect.at, effect.reason, effect.cycle, muted)
            said = f"{effect.reason}: {storable(effect.note)}" if effect.note else effect.reason.value
            moment = Moment(alert_id, effect.at, "closed", storable(effect.by), said)
            if effect.reason is ClosedReason.BY_HAND:
                self._audit(effect, "resolve", "active", was=1)
        self.alerts[alert_id] = values
        self.moments.append(moment)
        self.changed[effect.service_id] = None

    def _add_mute(self, effect: SetMute | EndMute) -> None:
        self.changed[effect.service_id] = None
        before = _json(_mute_shown(self.mutes[effect.service_id])) if effect.service_id in self.mutes else None
        mute = effect.mute if isinstance(effect, SetMute) else None
        self.mutes[effect.service_id] = mute
        by = effect.by if isinstance(effect, EndMute) else effect.mute.muted_by
        if mute is not None or by:  # a mute whose time is up is nobody's doing
            action = "unmute" if mute is None else "mute"
            after = _json(_mute_shown(mute))
            author = _storable_author(effect.author, by)
            self.audits.append(Audit(effect.at, author, action, effect.service_id, before, after))

    def _add_notification(self, effect: Notify, record: bytes | Effect) -> None:
        if not effect.notification.targets:
            return
        self.decided.append(Decided(effect, record if isinstance(record, bytes) else encode(effect)))

    def _audit(self, effect: AmendAlert | CloseAlert, action: str, flag: str, *, was: int) -> None:
        alert_id = effect.alert.alert_id
        before = _json({"alert_id": alert_id, flag: was})
        after = _json({"alert_id": alert_id, flag: 1 - was, "note": effect.note})
        author = _storable_author(effect.author, effect.by)
        self.audits.append(Audit(effect.at, author, action, effect.service_id, before, after))


def storable(said: str) -> str:
    """What was said, without the one character that PostgreSQL cannot store: no alert is lost for a note."""
    return said.replace("\x00", "\ufffd")


def _storable_author(author: Author | None, by: str) -> Author:
    """Who did it; by name alone where an earlier release journaled it."""
    if author is None:
        return Author(storable(by))
    return Author(
        storable(author.name),
        storable(author.key_id),
        storable(author.address),
        storable(author.request_id),
        storable(author.label),
    )


def _mute_shown(mute: Mute | None) -> Mapping[str, object]:
    """A mute as the audit shows it; the same of a row of services, `batch_tables` says."""
    if mute is None:
        return {"muted": 0}
    return {"muted": 1, "until": None if mute.until is None else isoformat(mute.until), "reason": mute.reason}


def _json(values: Mapping[str, object]) -> str:
    cleaned = {name: storable(value) if isinstance(value, str) else value for name, value in values.items()}
    return orjson.dumps(cleaned).decode()
