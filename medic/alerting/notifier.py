"""What a notifier is: an adapter to one vendor, in a file of its own.

A notifier knows its vendor's format and nothing else. Queues, order, retries, pauses and the journal are the pipeline's
(`medic.alerting.pipeline`), the same for every vendor.
"""

from __future__ import annotations

from typing import Final, Protocol

from medic.alerting.attempt import Attempt
from medic.core.notification import Notification
from medic.core.status import NotificationKind

CLAIMS: Final = frozenset({NotificationKind.TRIGGER, NotificationKind.REMINDER, NotificationKind.ESCALATION})
"""Kinds that say "this service is late": whoever took one has to be told when that is over."""

ALERT_KINDS: Final = CLAIMS | {
    NotificationKind.ACKNOWLEDGE,
    NotificationKind.RESOLVE,
    NotificationKind.UNTOLD,
    NotificationKind.TEST,
}
"""Kinds that belong to the life of an alert. The others are news: degraded, the end of a mute, Medic's blindness."""


class Notifier(Protocol):
    """Tells one target. `send` is called for several notifications at once, never twice at once for one alert key."""

    @property
    def target(self) -> str:
        """Its name among the targets: in the journal, in statistics, in `Notification.targets`."""
        ...

    def takes(self, notification: Notification) -> bool:
        """Whether this target is told this notification at all."""
        ...

    async def send(self, notification: Notification) -> Attempt:
        """Make one attempt. Expected failures are returned; anything raised is a bug, and counts as "may be taken"."""
        ...

    def describe(self) -> str:
        """Whom it tells, for the start line: a few words, no secret."""
        ...

    async def aclose(self) -> None:
        """Close its connections."""
        ...
