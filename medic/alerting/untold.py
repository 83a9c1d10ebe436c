"""Alerts that were told to nobody, or refused by somebody (CONTRACT 2.10). Synchronous; told the time.

An alert is *untold* when a minute went by and no target took it, or when a target refused it for good. It stays untold
until that is mended (a reminder gets through) or the alert closes. Each target is complained about once an alert: the
complaint goes to other notifiers as a notification of its own, and a complaint that is refused makes no other.
"""

from __future__ import annotations

import math
from collections import deque
from typing import Final

from medic.core.notification import Notification
from medic.core.units import EventId

UNTOLD_SECONDS: Final = 60.0


class _Watched:
    __slots__ = ("notification", "overdue", "refused", "told")

    def __init__(self, notification: Notification) -> None:
        self.notification = notification
        self.told = False
        self.overdue = False
        self.refused: set[str] = set()

    @property
    def untold(self) -> bool:
        return bool(self.refused) or (self.overdue and not self.told)


class UntoldWatch:
    """Watches claims from the moment they are offered. Bounded by open alerts that were not taken everywhere."""

    def __init__(self) -> None:
        self._alerts: dict[EventId, _Watched] = {}
        self._deadlines: deque[tuple[float, EventId, _Watched]] = deque()

    def offered(self, notification: Notification, now: float) -> None:
        """A trigger goes to its targets: from now on a minute is granted, unless the alert is known already."""
        if notification.alert_id is None or notification.alert_id in self._alerts:
            return
        watched = _Watched(notification)
        self._alerts[notification.alert_id] = watched
        self._deadlines.append((now + UNTOLD_SECONDS, notification.alert_id, watched))

    def nobody(self, notification: Notification) -> bool:
        """There is no target at all for this claim; gives whether that is news."""
        if notification.alert_id is None:
            return False
        watched = self._alerts.setdefault(notification.alert_id, _Watched(notification))
        news = not watched.overdue
        watched.overdue = True
        return news

    def took(self, notification: Notification, target: str) -> None:
        """A target took a claim."""
        watched = self._find(notification)
        if watched is None:
            return
        watched.told = True
        watched.refused.discard(target)
        if not watched.refused and notification.alert_id is not None:
            del self._alerts[notification.alert_id]

    def refused(self, notification: Notification, target: str) -> bool:
        """A target refused a claim for good; gives whether that is news."""
        if notification.alert_id is None:
            return False
        watched = self._alerts.get(notification.alert_id)
        if watched is None:
            # It was told elsewhere already, or before a restart.
            watched = self._alerts[notification.alert_id] = _Watched(notification)
            watched.told = True
        news = target not in watched.refused
        watched.refused.add(target)
        return news

    def closed(self, alert_id: EventId | None) -> None:
        """The alert is over."""
        if alert_id is not None:
            self._alerts.pop(alert_id, None)

    def knows(self, alert_id: EventId | None) -> bool:
        """Whether the alert is watched: open, and not taken everywhere as far as it was offered."""
        return alert_id in self._alerts

    def refused_by(self, alert_id: EventId) -> frozenset[str]:
        """The targets that refused it."""
        watched = self._alerts.get(alert_id)
        return frozenset() if watched is None else frozenset(watched.refused)

    def overdue(self, now: float) -> list[Notification]:
        """The claims whose minute has passed and that nobody took, each once."""
        found = []
        while self._deadlines and (self._deadlines[0][0] <= now or self._is_settled(self._deadlines[0])):
            entry = self._deadlines.popleft()
            watched = entry[2]
            if not self._is_settled(entry) and not watched.told and not watched.overdue:
                watched.overdue = True
                found.append(watched.notification)
        return found

    def next_due(self) -> float:
        """When the next minute is over, or infinity. May be early."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def untold(self) -> tuple[EventId, ...]:
        """The alerts that are untold now."""
        return tuple(alert_id for alert_id, watched in self._alerts.items() if watched.untold)

    def _find(self, notification: Notification) -> _Watched | None:
        return None if notification.alert_id is None else self._alerts.get(notification.alert_id)

    def _is_settled(self, entry: tuple[float, EventId, _Watched]) -> bool:
        return self._alerts.get(entry[1]) is not entry[2]
