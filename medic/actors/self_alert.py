"""Medic's one alert of its own: raised while it takes no heartbeats although it runs, resolved when it does again.

While Medic is blind nobody becomes late, so nobody would be paged for anything. That nobody is watched is worth a page
itself. It goes through the journal and the notifiers as every other, under a dedup key of its own, and a restart in
between still finds it open in the ledger.
"""

from __future__ import annotations

from typing import Final

import structlog

from medic.actors.clock import SightedClock
from medic.actors.outbox import Outbox
from medic.core.blind import BLIND_MIN_MS
from medic.core.notification import SELF_KEY, Notification
from medic.core.status import NotificationKind
from medic.core.units import DurationMs, EventId, InstantMs, isoformat
from medic.errors import JournalRefusedError, OverloadedError
from medic.ports import Ids

_log = structlog.get_logger(__name__)

PRIORITY: Final = "p1"
"""As urgent as the most urgent service that is not watched meanwhile."""


class SelfAlert:
    """Looks whether heartbeats are taken, and says so once where they are not.

    Args:
        clock: Stands still while heartbeats are refused.
        ids: For the alert's id.
        outbox: Knows why they are refused, and tells. Its ledger knows what an earlier process has told.
    """

    def __init__(self, *, clock: SightedClock, ids: Ids, outbox: Outbox) -> None:
        self._clock = clock
        self._ids = ids
        self._outbox = outbox
        self._alert_id = outbox.ledger.open_under(SELF_KEY)
        self._since: InstantMs | None = None

    @property
    def is_open(self) -> bool:
        """Whether it was told and not resolved."""
        return self._alert_id is not None

    def look(self) -> None:
        """Raise or resolve the alert, as things stand. Where that cannot be journaled now, the next look does it."""
        if not self._clock.stands_still:
            self._resolve()
            self._since = None
            return
        now = self._clock.now()
        if self._since is None:
            self._since = now
        if self._alert_id is None and now - self._since >= BLIND_MIN_MS:
            self._raise(now, self._since)

    def _raise(self, now: InstantMs, since: InstantMs) -> None:
        try:
            self._outbox.require_intake()
        except JournalRefusedError as refused:
            reason = refused.message
        else:
            return
        text = (
            f"Medic takes no heartbeats since {isoformat(since)}: {reason} "
            "Meanwhile no service is called late; reports, reminders and recoveries taken before are told."
        )
        try:
            self._outbox.require_room()
            alert_id = self._ids.draw()
        except OverloadedError:
            return
        self._tell(NotificationKind.TRIGGER, alert_id, now, text)
        self._alert_id = alert_id
        _log.error("no heartbeats are taken", reason=reason)

    def _resolve(self) -> None:
        alert_id = self._alert_id
        if alert_id is None:
            return
        try:
            self._outbox.require_room()
        except OverloadedError:
            return
        now = self._clock.now()
        self._tell(NotificationKind.RESOLVE, alert_id, now, "Medic takes heartbeats again.")
        self._alert_id = None

    def _tell(self, kind: NotificationKind, alert_id: EventId, now: InstantMs, text: str) -> None:
        lasted = None if self._since is None else DurationMs(max(0, now - self._since))
        self._outbox.tell_nowait(
            Notification(
                notification_id=f"{alert_id}.{0 if kind is NotificationKind.TRIGGER else 1}",
                kind=kind,
                key=SELF_KEY,
                at=now,
                alert_id=alert_id,
                priority=PRIORITY,
                late_since=self._since,
                lasted_ms=lasted if kind is NotificationKind.RESOLVE else None,
                text=text,
            )
        )
