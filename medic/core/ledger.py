"""What was decided to be told, and not told yet: the same question asked of the journal at a start.

Folds `Notify` and `SettleNotification`; every other effect is nothing to it. It holds what is pending and, while an
alert stands or something of it is pending, which of its notifications each target took last. So it is as large as
what is open, not as long as the journal.

A running Medic keeps one as well, so that a snapshot can hold it. It is taken apart into what belongs together, one
`Telling` an alert, and put together again.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

from medic.core.effects import Effect, Notify, SettleNotification
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.units import EventId

_RESOLVE = NotificationKind.RESOLVE


@dataclass(frozen=True, slots=True)
class Telling:
    """What the ledger holds of one alert; or, where `alert_id` is None, of one notification that belongs to none.

    Attributes:
        alert_id: The alert.
        key: Its key.
        pending: What has to be told still, in order.
        is_over: Its end was decided to be told.
        delivered: For each target that took something of it, the id of the newest it took.
    """

    alert_id: EventId | None
    pending: tuple[Notification, ...]
    is_over: bool = False
    delivered: tuple[tuple[str, str], ...] = ()
    key: str = ""


@dataclass(slots=True)
class _ToldAlert:
    """What is known of one alert's notifications; `pending` are their ids."""

    key: str
    pending: tuple[str, ...] = ()
    is_over: bool = False
    delivered: tuple[tuple[str, str], ...] = ()


class NotificationLedger:
    """Which notifications still have to reach which targets."""

    def __init__(self) -> None:
        self._pending: dict[str, Notification] = {}
        self._alerts: dict[EventId, _ToldAlert] = {}

    def __len__(self) -> int:
        """How many notifications are pending."""
        return len(self._pending)

    def fold(self, effect: Effect) -> None:
        """Take the next effect of the journal."""
        if isinstance(effect, Notify):
            self._decide(effect.notification)
        elif isinstance(effect, SettleNotification):
            self._settle(effect)

    def pending(self) -> tuple[Notification, ...]:
        """What has to be told, in the order it was decided; `targets` are those that it has not been settled for."""
        return tuple(self._pending.values())

    def delivered(self, alert_id: EventId) -> Mapping[str, str]:
        """For each target that took one of this alert's notifications, the id of the newest it took."""
        told = self._alerts.get(alert_id)
        return {} if told is None else dict(told.delivered)

    def reached_nobody(self, alert_id: EventId) -> bool:
        """Whether this alert was told, every attempt has ended, and no target took anything of it."""
        told = self._alerts.get(alert_id)
        return told is not None and not told.pending and not told.delivered

    def may_know(self, alert_id: EventId, target: str, *, besides: str) -> bool:
        """Whether the target took something of this alert, or may yet have: some of it, `besides` that, is pending."""
        told = self._alerts.get(alert_id)
        if told is None:
            return False
        if target in dict(told.delivered):
            return True
        return any(target in self._pending[one].targets for one in told.pending if one != besides)

    def open_under(self, key: str) -> EventId | None:
        """The alert of that key whose end was not decided to be told, or None. Looks at all of them: for a start."""
        for alert_id, told in self._alerts.items():
            if told.key == key and not told.is_over:
                return alert_id
        return None

    def tellings(self) -> Iterator[Telling]:
        """All it holds, in pieces that are each as they are when they are reached.

        May be consumed with folding between the steps: what is forgotten meanwhile does not come, nor does what is new.
        """
        alerts = list(self._alerts)
        alone = [one for one, notification in self._pending.items() if notification.alert_id is None]
        for alert_id in alerts:
            told = self._alerts.get(alert_id)
            if told is not None:
                pending = tuple(self._pending[one] for one in told.pending)
                yield Telling(alert_id, pending, told.is_over, told.delivered, told.key)
        for one in alone:
            notification = self._pending.get(one)
            if notification is not None:
                yield Telling(None, (notification,))

    def restore(self, telling: Telling) -> None:
        """Hold what another ledger held."""
        for notification in telling.pending:
            self._pending[notification.notification_id] = notification
        if telling.alert_id is not None:
            ids = tuple(notification.notification_id for notification in telling.pending)
            self._alerts[telling.alert_id] = _ToldAlert(telling.key, ids, telling.is_over, telling.delivered)

    def _decide(self, notification: Notification) -> None:
        # The outbox writes a notification again when it cannot know that the journal kept it: it is the same one.
        notification_id, alert_id = notification.notification_id, notification.alert_id
        if notification_id in self._pending:
            return
        if notification.targets:
            self._pending[notification_id] = notification
        if alert_id is not None:
            told = self._alerts.get(alert_id)
            if told is None:
                told = self._alerts[alert_id] = _ToldAlert(notification.key)
            if notification.targets:
                told.pending += (notification_id,)
            if notification.kind is _RESOLVE:
                told.is_over = True
                self._forget_if_over(alert_id, told)

    def _settle(self, settled: SettleNotification) -> None:
        notification = self._pending.get(settled.notification_id)
        if notification is None or settled.target not in notification.targets:
            return
        left = tuple(target for target in notification.targets if target != settled.target)
        if left:
            self._pending[settled.notification_id] = replace(notification, targets=left)
        else:
            del self._pending[settled.notification_id]
        if notification.alert_id is None:
            return
        told = self._alerts[notification.alert_id]
        if settled.outcome is Outcome.DELIVERED:
            told.delivered = tuple({**dict(told.delivered), settled.target: settled.notification_id}.items())
        if not left:
            told.pending = tuple(one for one in told.pending if one != settled.notification_id)
        self._forget_if_over(notification.alert_id, told)

    def _forget_if_over(self, alert_id: EventId, told: _ToldAlert) -> None:
        if told.is_over and not told.pending:
            del self._alerts[alert_id]
