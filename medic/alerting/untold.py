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
        self.refused: frozenset[str] = frozenset()


class UntoldWatch:
    """Watches claims from the moment they are offered. Bounded by open alerts that were not taken everywhere."""

    def __init__(self) -> None:
        self._alerts: dict[EventId, _Watched] = {}
        self._untold: dict[EventId, None] = {}
        self._deadlines: deque[tuple[float, EventId, _Watched]] = deque()

    def offered(self, notification: Notification, now: float) -> None:
        """A trigger goes to its targets: from now on a minute is granted, unless the alert is known already."""
        alert_id = notification.alert_id
        if alert_id is None or alert_id in self._alerts:
            return
        watched = self._alerts[alert_id] = _Watched(notification)
        self._deadlines.append((now + UNTOLD_SECONDS, alert_id, watched))

    def nobody(self, notification: Notification) -> bool:
        """There is no target at all for this claim; gives whether that is news."""
        alert_id = notification.alert_id
        if alert_id is None:
            return False
        watched = self._alerts.setdefault(alert_id, _Watched(notification))
        news = not watched.overdue
        watched.overdue = True
        self._weigh(alert_id, watched)
        return news

    def took(self, notification: Notification, target: str) -> None:
        """A target took a claim."""
        alert_id = notification.alert_id
        watched = None if alert_id is None else self._alerts.get(alert_id)
        if alert_id is None or watched is None:
            return
        watched.told = True
        watched.refused -= {target}
        self._weigh(alert_id, watched)
        if not watched.refused:
            del self._alerts[alert_id]

    def refused(self, notification: Notification, target: str) -> bool:
        """A target refused a claim for good; gives whether that is news."""
        alert_id = notification.alert_id
        if alert_id is None:
            return False
        watched = self._alerts.get(alert_id)
        if watched is None:
            # It was told elsewhere already, or before a restart.
            watched = self._alerts[alert_id] = _Watched(notification)
            watched.told = True
        news = target not in watched.refused
        watched.refused |= {target}
        self._weigh(alert_id, watched)
        return news

    def closed(self, alert_id: EventId | None) -> None:
        """The alert is over."""
        if alert_id is not None and self._alerts.pop(alert_id, None) is not None:
            self._untold.pop(alert_id, None)

    def knows(self, alert_id: EventId | None) -> bool:
        """Whether the alert is watched: open, and not taken everywhere as far as it was offered."""
        return alert_id in self._alerts

    def refused_by(self, alert_id: EventId) -> frozenset[str]:
        """The targets that refused it."""
        watched = self._alerts.get(alert_id)
        return frozenset() if watched is None else watched.refused

    def overdue(self, now: float, *, most: int) -> list[Notification]:
        """Up to `most` claims whose minute has passed and that nobody took, each once; fewer: these are all."""
        found: list[Notification] = []
        while self._deadlines and len(found) < most:
            due, alert_id, watched = self._deadlines[0]
            is_settled = self._alerts.get(alert_id) is not watched
            if due > now and not is_settled:
                break
            self._deadlines.popleft()
            if not is_settled and not watched.told and not watched.overdue:
                watched.overdue = True
                self._weigh(alert_id, watched)
                found.append(watched.notification)
        return found

    def next_due(self) -> float:
        """When the next minute is over, or infinity. May be early."""
        return self._deadlines[0][0] if self._deadlines else math.inf

    def untold(self) -> tuple[EventId, ...]:
        """The alerts that are untold now."""
        return tuple(self._untold)

    def _weigh(self, alert_id: EventId, watched: _Watched) -> None:
        if watched.refused or (watched.overdue and not watched.told):
            self._untold[alert_id] = None
        else:
            self._untold.pop(alert_id, None)
