"""One notification on its way to one target, and how that ended."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from medic.core.draft import PRIORITIES
from medic.core.notification import Notification
from medic.core.status import NotificationKind, Outcome
from medic.core.units import InstantMs

Subject = int | str
"""What a claim is about: the alert's id; for kinds without an alert, a name made from their key."""

RESOLVE_SECONDS_MAX: Final = 24 * 3600.0
"""A resolve is tried for a day (CONTRACT 2.9), and so is other news: it is stale by then."""

TEST_SECONDS_MAX: Final = 600.0
"""A test page that arrives later than this frightens somebody who no longer expects it."""

LIFETIME_LEAST_SECONDS: Final = 600.0
"""What was pending when Medic stopped is tried for at least ten minutes after it is back, however old it is."""

UNTIL_THE_ALERT_CLOSES: Final = frozenset(
    {NotificationKind.TRIGGER, NotificationKind.REMINDER, NotificationKind.ESCALATION}
)

_OF_BEING_DEGRADED: Final = frozenset({NotificationKind.DEGRADED, NotificationKind.DEGRADED_OVER})
_RANKS: Final = {priority: rank for rank, priority in enumerate(PRIORITIES)}


class Errand:
    """One notification on its way to one target. Changed by its lane and its queue only.

    Attributes:
        notification: What is told.
        subject: What it is about; see `subject_of`.
        priority: 0 for p1, and so on.
        sequence: Order of arrival at this target.
        due: Monotonic seconds before which it is not tried again.
        expires_at: Monotonic seconds at which it is given up; infinite for what lives as long as its alert.
        attempts: How many attempts have ended in this process.
        maybe_taken: One of them may have been taken, or an attempt before a restart may have been.
        in_flight: An attempt is under way.
        over: What it says is over: if the attempt under way fails, there is no other.
        ended: It has left its lane.
        detail: The newest failure, for people.
        released_in: The outage after which it was last set free early; see `medic.alerting.pace`.
    """

    __slots__ = (
        "attempts",
        "detail",
        "due",
        "ended",
        "expires_at",
        "in_flight",
        "maybe_taken",
        "notification",
        "over",
        "priority",
        "released_in",
        "sequence",
        "subject",
    )

    def __init__(self, notification: Notification, sequence: int, *, now: float, expires_at: float) -> None:
        self.notification = notification
        self.subject = subject_of(notification)
        self.priority = priority_of(notification)
        self.sequence = sequence
        self.due = now
        self.expires_at = expires_at
        self.attempts = 0
        self.maybe_taken = False
        self.in_flight = False
        self.over = False
        self.ended = False
        self.detail = ""
        self.released_in = -1

    @property
    def kind(self) -> NotificationKind:
        """What it tells."""
        return self.notification.kind

    @property
    def attempted(self) -> bool:
        """An attempt has ended, or one may have before a restart."""
        return self.attempts > 0 or self.maybe_taken


@dataclass(frozen=True, slots=True)
class Ending:
    """How an errand ended, for the journal."""

    errand: Errand
    outcome: Outcome
    detail: str = ""


def subject_of(notification: Notification) -> Subject:
    """What a claim and the news of its end have in common."""
    if notification.kind in _OF_BEING_DEGRADED:
        return f"degraded:{notification.key}"
    return f"other:{notification.key}" if notification.alert_id is None else notification.alert_id


def is_first_claim(notification: Notification) -> bool:
    """Whether no claim on the same subject came before: only where this one failed was the target surely never told.

    An alert that is muted and unmuted while it is open is triggered again; the first trigger has ordinal 0.
    """
    if notification.kind is NotificationKind.TRIGGER:
        return notification.notification_id == f"{notification.alert_id}.0"
    return notification.kind in {NotificationKind.DEGRADED, NotificationKind.TEST}


def priority_of(notification: Notification) -> int:
    """0 for p1 to 4 for p5; anything else comes last."""
    return _RANKS.get(notification.priority, len(_RANKS))


def lifetime_seconds(notification: Notification, *, now: InstantMs) -> float:
    """How long from `now` on the notification is worth trying."""
    if notification.kind in UNTIL_THE_ALERT_CLOSES:
        return math.inf
    longest = TEST_SECONDS_MAX if notification.kind is NotificationKind.TEST else RESOLVE_SECONDS_MAX
    return max(longest - (now - notification.at) / 1000, min(LIFETIME_LEAST_SECONDS, longest))
