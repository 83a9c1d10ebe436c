"""What was decided to be told, and not told yet: the same question asked of the journal at a start.

Folds `Notify` and `SettleNotification`; every other effect is nothing to it. It holds what is pending and, while an
alert stands or something of it is pending, which of its notifications each target took last. So it is as large as
what is open, not as long as the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Final

from medic.core.effects import Effect, Notify, SettleNotification
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.units import EventId

_NOTHING: Final[Mapping[str, str]] = MappingProxyType({})


@dataclass(slots=True)
class _ToldAlert:
    """What is known of one alert's notifications."""

    pending: int = 0
    is_over: bool = False
    delivered: dict[str, str] = field(default_factory=dict)


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
        return _NOTHING if told is None else MappingProxyType(told.delivered)

    def reached_nobody(self, alert_id: EventId) -> bool:
        """Whether this alert was told, every attempt has ended, and no target took anything of it."""
        told = self._alerts.get(alert_id)
        return told is not None and told.pending == 0 and not told.delivered

    def _decide(self, notification: Notification) -> None:
        # The outbox writes a notification again when it cannot know that the journal kept it: it is the same one.
        if notification.notification_id in self._pending:
            return
        if notification.targets:
            self._pending[notification.notification_id] = notification
        if notification.alert_id is not None:
            told = self._alerts.setdefault(notification.alert_id, _ToldAlert())
            told.pending += bool(notification.targets)
            told.is_over = told.is_over or notification.kind is NotificationKind.RESOLVE
            self._forget_if_over(notification.alert_id, told)

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
            told.delivered[settled.target] = settled.notification_id
        told.pending -= not left
        self._forget_if_over(notification.alert_id, told)

    def _forget_if_over(self, alert_id: EventId, told: _ToldAlert) -> None:
        if told.is_over and told.pending == 0:
            del self._alerts[alert_id]
