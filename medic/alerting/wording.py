"""How notifications are said to people: words and lengths of time, the same for every notifier that shows them."""

from __future__ import annotations

from typing import Final
from zoneinfo import ZoneInfo

from medic.core.notification import Notification
from medic.core.status import ClosedReason, NotificationKind, OpenedReason
from medic.core.units import (
    DAY_MS,
    HOUR_MS,
    MINUTE_MS,
    SECOND_MS,
    DurationMs,
    InstantMs,
    to_datetime,
)

HEADLINES: Final = {
    NotificationKind.TRIGGER: "ALERT",
    NotificationKind.REMINDER: "STILL DOWN",
    NotificationKind.ESCALATION: "MORE URGENT",
    NotificationKind.ACKNOWLEDGE: "ACKNOWLEDGED",
    NotificationKind.RESOLVE: "RECOVERED",
    NotificationKind.DEGRADED: "DEGRADED",
    NotificationKind.DEGRADED_OVER: "WELL AGAIN",
    NotificationKind.MUTE_ENDED: "MUTE ENDED",
    NotificationKind.BLIND: "BLIND",
    NotificationKind.KEY_ENDS: "KEY ENDS",
    NotificationKind.ADOPTED: "TAKEN OVER",
    NotificationKind.UNTOLD: "NOT TOLD",
    NotificationKind.TEST: "TEST",
}

_OWN_NEWS: Final = {
    NotificationKind.BLIND: "Medic could not take heartbeats",
    NotificationKind.KEY_ENDS: "an API key is about to expire",
    NotificationKind.ADOPTED: "the earlier system's database was taken over",
}
"""What Medic says of itself has its own sentence; these stand where that is missing."""

_CLOSED: Final = {
    ClosedReason.RECOVERED.value: ("RECOVERED", "it is well again"),
    ClosedReason.POLICY_CHANGED.value: ("CLOSED", "its promise was changed"),
    ClosedReason.BY_HAND.value: ("RESOLVED", "resolved by hand"),
    ClosedReason.DEACTIVATED.value: ("CLOSED", "it is no longer watched"),
    ClosedReason.DELETED.value: ("CLOSED", "it was deleted"),
    ClosedReason.SUPERSEDED.value: ("CLOSED", "an older alert stands for it"),
    "test": ("TEST OVER", "the test is over"),
}

RESPONSE_TIMES: Final = {
    "p1": "within 15 minutes",
    "p2": "within 1 hour",
    "p3": "within 4 hours",
    "p4": "on the next business day",
    "p5": "on the next business day",
}
"""When somebody answers a page of that priority: the escalation matrix of docs/runbook.md."""

PAGES: Final = frozenset({NotificationKind.TRIGGER, NotificationKind.REMINDER, NotificationKind.ESCALATION})
"""What asks somebody to come. The rest only tells."""


def headline(notification: Notification) -> str:
    """One or two words in capitals that say what kind of news this is."""
    if notification.kind is NotificationKind.RESOLVE and notification.closed_reason in _CLOSED:
        return _CLOSED[notification.closed_reason][0]
    return HEADLINES[notification.kind]


def summary(notification: Notification) -> str:
    """One sentence without the headline: what is said of which service."""
    if notification.text:
        return notification.text
    return f"{notification.heartbeat_name}: {_said(notification)}"


def reason_words(notification: Notification) -> str:
    """Why the alert opened, as of the notification's instant: "no heartbeat for 12 min"."""
    match notification.reason:
        case OpenedReason.NEVER_HEARD:
            return "never heard of since it was registered"
        case OpenedReason.REPORTED_DOWN:
            return "it reported DOWN"
        case OpenedReason.REPORTED_FAILED:
            return "it reported FAILED"
        case OpenedReason.LATE | None:
            return _silence_words(notification)


def priority_words(notification: Notification) -> str:
    """The priority of a service's notification; of a page, with the response time: "p1, respond within 15 minutes"."""
    response = RESPONSE_TIMES.get(notification.priority)
    if response is None or notification.kind not in PAGES:
        return notification.priority
    return f"{notification.priority}, respond {response}"


def duration_words(duration: DurationMs) -> str:
    """A length of time in at most two units, rounded down: 45 s, 12 min, 3 h 20 min, 2 d 4 h."""
    if duration < 2 * MINUTE_MS:
        return f"{duration // SECOND_MS} s"
    if duration < 2 * HOUR_MS:
        return f"{duration // MINUTE_MS} min"
    if duration < 2 * DAY_MS:
        hours, rest = divmod(duration, HOUR_MS)
        return f"{hours} h {rest // MINUTE_MS} min" if rest >= MINUTE_MS else f"{hours} h"
    days, rest = divmod(duration, DAY_MS)
    return f"{days} d {rest // HOUR_MS} h" if rest >= HOUR_MS else f"{days} d"


def shown_at(instant: InstantMs, zone: ZoneInfo) -> str:
    """Date and time to the second in `zone`, with the zone's name."""
    return to_datetime(instant).astimezone(zone).strftime("%Y-%m-%d %H:%M:%S %Z")


def time_of_day(instant: InstantMs, zone: ZoneInfo) -> str:
    """Hours and minutes in `zone`, with the zone's name: for what was just now."""
    return to_datetime(instant).astimezone(zone).strftime("%H:%M %Z")


def clipped(text: str, longest: int) -> str:
    """`text`, cut with an ellipsis where it has more than `longest` characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def printable(text: str) -> str:
    """`text` on one line, with anything a terminal might obey shown as its escape."""
    return "".join(
        letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii") for letter in text
    )


def _said(notification: Notification) -> str:
    match notification.kind:
        case NotificationKind.RESOLVE:
            return _closed_words(notification)
        case NotificationKind.ACKNOWLEDGE:
            return f"acknowledged by {notification.by}" if notification.by else "acknowledged"
        case NotificationKind.DEGRADED:
            return "alive, but says that it is degraded"
        case NotificationKind.DEGRADED_OVER:
            return "no longer degraded"
        case NotificationKind.MUTE_ENDED:
            return "its mute has ended"
        case NotificationKind.BLIND | NotificationKind.KEY_ENDS | NotificationKind.ADOPTED:
            return _OWN_NEWS[notification.kind]
        case NotificationKind.TEST:
            return "this is a test, nothing is wrong"
        case NotificationKind.UNTOLD:
            return "another notifier refused this alert"
        case NotificationKind.TRIGGER | NotificationKind.REMINDER | NotificationKind.ESCALATION:
            flapping = ", flapping" if notification.flapping else ""
            return reason_words(notification) + flapping


def _closed_words(notification: Notification) -> str:
    words = _CLOSED.get(notification.closed_reason, ("", "the alert is over"))[1]
    if notification.closed_reason == ClosedReason.BY_HAND and notification.by:
        words += f" by {notification.by}"
    if notification.lasted_ms is not None:
        words += f", after {duration_words(notification.lasted_ms)}"
    return words


def _silence_words(notification: Notification) -> str:
    if notification.threshold > 1:
        return f"fewer than {notification.threshold} heartbeats in {duration_words(notification.interval_ms)}"
    since = notification.last_seen
    if since is None and notification.late_since is not None:
        since = InstantMs(notification.late_since - notification.interval_ms)
    if since is None:
        return "no heartbeat"
    return f"no heartbeat for {duration_words(DurationMs(max(0, notification.at - since)))}"
