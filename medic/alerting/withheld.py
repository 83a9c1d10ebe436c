"""What becomes of notifications while nobody is to be told: `MEDIC_NOTIFY=off`.

A Medic that runs beside another system, to be compared with it, watches and decides as ever. Each notification is
decided, journaled and addressed as ever, too; but instead of being sent it is said in the log and settled as
*withheld*, once for each of its targets. So the alert's deliveries, the table `notifications` and the metric
`medic_notifications_total` say what would have been told to whom, and when.

Two things must still be right once notifications are switched on again, which takes a restart:

* What is still down has been told to nobody. Withheld is not delivered, so the ledger says of such an alert that it
  reached nobody, and the start has it told as an alert, once: the same rule as at the end of a mute.
* What was told before the switch was thrown has to be told to be over: nobody else will close it at the vendor's. So an
  end is kept, not withheld, where the target knows of the alert or may know of it; it stays pending in the journal, and
  goes out at the next start with notifications on. The same holds for what was pending when Medic was stopped: it may
  have been attempted, and only its own end can answer that.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import structlog

from medic.alerting.notifier import ALERT_KINDS
from medic.alerting.wording import headline, summary
from medic.core.ledger import NotificationLedger
from medic.core.notification import Notification
from medic.core.status import NotificationKind

_log = structlog.get_logger(__name__)

WHY: Final = "MEDIC_NOTIFY is off"


class Withholding:
    """Decides which targets a notification is withheld from. What is not withheld stays pending.

    Args:
        ledger: The outbox's: which target knows of which alert.
    """

    def __init__(self, ledger: NotificationLedger) -> None:
        self._ledger = ledger

    def take(self, notification: Notification) -> Sequence[str]:
        """The targets of a new notification that it is withheld from: all but those that have to hear of its end."""
        kept = [name for name in notification.targets if self._has_to_hear(notification, name)]
        withheld = [name for name in notification.targets if name not in kept]
        _say(notification, withheld, kept)
        return withheld

    def take_resumed(self, notification: Notification) -> Sequence[str]:
        """The same of one that was pending at the start: of an alert, it stays so."""
        if notification.kind in ALERT_KINDS and notification.alert_id is not None:
            _say(notification, (), notification.targets)
            return ()
        return self.take(notification)

    def _has_to_hear(self, notification: Notification, name: str) -> bool:
        alert_id = notification.alert_id
        if notification.kind is not NotificationKind.RESOLVE or alert_id is None:
            return False
        return self._ledger.may_know(alert_id, name, besides=notification.notification_id)


def _say(notification: Notification, withheld: Sequence[str], kept: Sequence[str]) -> None:
    _log.info(
        "would have been told",
        why=WHY,
        said=f"{headline(notification)} {summary(notification)}",
        notification=notification.notification_id,
        kind=notification.kind.value,
        heartbeat_name=notification.heartbeat_name,
        alert_id=notification.alert_id,
        priority=notification.priority,
        withheld_from=list(withheld),
        kept_for=list(kept),
    )
