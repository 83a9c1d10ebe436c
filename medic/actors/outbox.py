"""Carries effects out: to the journal in the turn that decided them, and notifications on to alerting once durable.

The order of effects is their meaning, so they are appended exactly as `step` returned them. Those of one turn go in one
call, and the journal keeps all of them or none: no start finds an alert closed and the telling of it undecided. A
notification leaves this process only once its turn is durable: that is what makes it decided once, whatever happens
next.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import trio

from medic.core.effects import (
    CloseAlert,
    CreditSigns,
    Effect,
    Notify,
    OpenAlert,
    RecordHeartbeat,
    ServiceEffect,
    SettleNotification,
)
from medic.core.heartbeat_words import PLAIN_KINDS
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.service import Service
from medic.core.status import Discount, HeartbeatStatus
from medic.core.units import EventId, InstantMs, SightedMs
from medic.errors import JournalRefusedError
from medic.ports import Clock, Journal, Position, Teller

RETRY_SECONDS: Final = 0.5
"""Pause before asking again whether a notification is durable, after the journal said that its disk fails."""

SLICE_NOTIFICATIONS: Final = 128
"""Notifications handed on between two chances for every other task: a millisecond. The host decides more in a slice of
its own, so in a burst they follow behind, and what is decided first still leaves first."""


@dataclass(frozen=True, slots=True)
class OutboxStatistics:
    """What passed through since the process began.

    `pending` notifications wait for the journal, not for a vendor; `handed_on` ones are durable and alerting's.
    `journal_retries` counts how often the journal said that its disk fails while one waited.
    `oldest_pending_at` is when the oldest of the pending ones was decided, or None.
    """

    heartbeats: dict[HeartbeatStatus, int]
    discounted: dict[Discount, int]
    alerts_opened: dict[tuple[str, str], int]
    alerts_closed: int
    fresh_intervals: int
    pending: int
    handed_on: int
    journal_retries: int
    oldest_pending_at: InstantMs | None = None


class Outbox:
    """Implements `ports.Settlements`. One for a journal, so one for a shard.

    Attributes:
        ledger: What was decided to be told and has not been told, as the journal has it; goes on from the one given.
    """

    def __init__(
        self, journal: Journal, teller: Teller, clock: Clock, ledger: NotificationLedger | None = None
    ) -> None:
        self.ledger = NotificationLedger() if ledger is None else ledger
        self._journal = journal
        self._teller = teller
        self._clock = clock
        # Bounded by the services: what a burst decides waits here for its record, and then for its turn.
        self._undelivered: deque[tuple[Position, Notification]] = deque()
        self._arrived = trio.Event()
        self._idle = trio.Event()
        self._idle.set()
        self._heartbeats: Counter[HeartbeatStatus] = Counter()
        self._discounted: Counter[Discount] = Counter()
        self._opened: Counter[tuple[str, str]] = Counter()
        self._closed = 0
        self._fresh_intervals = 0
        self._handed_on = 0
        self._retries = 0

    def carry_heartbeat_nowait(self, service: Service, effect: RecordHeartbeat) -> Position:
        """The way of nearly every turn: one heartbeat, nothing decided."""
        self._heartbeats[effect.kind] += 1
        if effect.discount is not None:
            self._discounted[effect.discount] += 1
        position = self._journal.append_nowait(effect)
        service.position = position
        return position

    def carry_plain_heartbeat_nowait(
        self,
        service: Service,
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_id: EventId,
        kind: HeartbeatStatus,
    ) -> Position:
        """The same for one whose status is the word of its kind, and of which no effect was made."""
        self._heartbeats[kind] += 1
        position = self._journal.append_heartbeat_nowait(service.row.service_id, at, sighted, heartbeat_id, kind)
        service.position = position
        return position

    def carry_plain_heartbeats_nowait(
        self,
        services: Sequence[Service],
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_ids: Sequence[EventId],
        kinds: Sequence[HeartbeatStatus],
    ) -> Position:
        """The same for many of one instant, at least one; the position of the newest record."""
        for kind in PLAIN_KINDS:
            self._heartbeats[kind] += kinds.count(kind)
        service_ids = [service.row.service_id for service in services]
        positions = self._journal.append_heartbeats_nowait(service_ids, at, sighted, heartbeat_ids, kinds)
        for service, position in zip(services, positions, strict=True):
            service.position = position
        return positions[-1]

    def carry_nowait(self, service: Service, effects: Sequence[ServiceEffect]) -> Position:
        """Journal a turn's effects in order, and keep its notifications until they are durable.

        Returns:
            The position of the newest record of this service.
        """
        if effects:
            service.position = self._append(effects)
        return Position(service.position)

    def settle_nowait(self, settlement: SettleNotification) -> None:
        """Journal how a delivery ended."""
        self._journal.append_nowait(settlement)
        self.ledger.fold(settlement)

    def require_room(self) -> None:
        """Make sure that whatever the next turn decides can be journaled.

        Raises:
            JournalRefusedError: it cannot; the turn must not be taken.
        """
        self._journal.require_room()

    def require_intake(self) -> None:
        """Make sure that heartbeats are taken.

        Raises:
            JournalRefusedError: they are not; other turns may be all the same.
        """
        self._journal.require_intake()

    def record_nowait(self, effect: Effect) -> Position:
        """Journal what is told by others, if at all: what another Medic had decided to tell."""
        return self._journal.append_nowait(effect)

    def tell_nowait(self, notification: Notification) -> None:
        """Journal a notification of Medic's own, and tell it once it is durable."""
        self._append((self._decided(notification),))

    def record_and_tell_nowait(self, effect: Effect, notification: Notification) -> None:
        """The same of a notification that says of an effect that it happened: one turn, the effect first."""
        self._append((effect, self._decided(notification)))

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hand notifications on in order, each once its record is durable, until cancelled."""
        task_status.started()
        while True:
            while self._undelivered:
                try:
                    await self._journal.wait_durable(self._undelivered[0][0])
                except JournalRefusedError:
                    # The journal keeps what it took, and writes it once the disk takes it again.
                    self._retries += 1
                    await trio.sleep(RETRY_SECONDS)
                    continue
                self._hand_on()
            self._idle.set()
            await self._arrived.wait()
            self._arrived = trio.Event()

    def _hand_on(self) -> None:
        """Hand on what is durable, one slice of it: a commit makes thousands durable at once."""
        durable = self._journal.durable
        for _ in range(SLICE_NOTIFICATIONS):
            if not self._undelivered or self._undelivered[0][0] > durable:
                return
            _, notification = self._undelivered.popleft()
            self._teller.offer_nowait(notification)
            self._handed_on += 1

    async def wait_idle(self) -> None:
        """Return once every decided notification was handed on: a step of the drain."""
        await self._idle.wait()

    def statistics(self) -> OutboxStatistics:
        """Counters for metrics."""
        return OutboxStatistics(
            heartbeats=dict(self._heartbeats),
            discounted=dict(self._discounted),
            alerts_opened=dict(self._opened),
            alerts_closed=self._closed,
            fresh_intervals=self._fresh_intervals,
            pending=len(self._undelivered),
            handed_on=self._handed_on,
            journal_retries=self._retries,
            oldest_pending_at=self._undelivered[0][1].at if self._undelivered else None,
        )

    def _decided(self, notification: Notification) -> Notify:
        return Notify(at=self._clock.now(), sighted=self._clock.sighted(), notification=notification)

    def _append(self, turn: Sequence[Effect]) -> Position:
        """Journal a turn with the targets as things stand, and keep what tells somebody until all of it is durable."""
        told = [effect.notification for effect in turn if isinstance(effect, Notify)]
        for notification in told:
            notification.address(self._teller.targets_for(notification))
        position = self._journal.append_turn_nowait(turn)
        if told and not self._undelivered:
            self._idle = trio.Event() if self._idle.is_set() else self._idle
            self._arrived.set()
        for effect in turn:
            if isinstance(effect, Notify):
                self.ledger.fold(effect)
                self._undelivered.append((position, effect.notification))
            else:
                self._count(effect)
        return position

    def _count(self, effect: Effect) -> None:
        if isinstance(effect, OpenAlert):
            self._opened[effect.alert.priority, effect.alert.team] += 1
        elif isinstance(effect, RecordHeartbeat):
            self._heartbeats[effect.kind] += 1
        elif isinstance(effect, CloseAlert):
            self._closed += 1
        elif isinstance(effect, CreditSigns) and effect.fresh_interval:
            self._fresh_intervals += 1
