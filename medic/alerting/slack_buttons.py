"""The buttons under an alert in Slack, and what is said once one was pressed. Pure.

A button carries the alert's id and nothing else: whose alert it is, and whether it is still open, is asked of memory
when it is pressed, which may be days later. What Slack sends back with a press is the message as Slack keeps it, with
its own ideas of escapes and emoji; so the message is made anew from the alert, never from that.

Source: https://docs.slack.dev/reference/block-kit/block-elements/button-element
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from medic.alerting.slack_look import Block, Look, fitting, remark, section
from medic.alerting.wording import clipped, printable, shown_at, time_of_day
from medic.core.notification import Notification, alert_key
from medic.core.service import Alert, Mute, Service
from medic.core.status import NotificationKind
from medic.core.units import DAY_MS, HOUR_MS, DurationMs, EventId, InstantMs

PERSON_MAX: Final = 60
"""Characters of a person's name: the actor made of it stays within `X-Actor`'s 100, whatever Slack calls somebody."""

TEXT_MAX: Final = 3_000
"""Characters of the text beside the blocks, as of a message that is posted."""


class Button(StrEnum):
    """What can be pressed; the value is the button's `action_id`."""

    ACKNOWLEDGE = "medic_acknowledge"
    MUTE_HOUR = "medic_mute_1h"
    MUTE_DAY = "medic_mute_24h"


LABELS: Final = {
    Button.ACKNOWLEDGE: "Acknowledge",
    Button.MUTE_HOUR: "Mute 1 h",
    Button.MUTE_DAY: "Mute 24 h",
}

MUTES: Final = {Button.MUTE_HOUR: HOUR_MS, Button.MUTE_DAY: DAY_MS}

OVER: Final = "This alert is over: nothing was changed."


@dataclass(frozen=True, slots=True)
class Person:
    """Who pressed, as Slack knows them."""

    user_id: str
    name: str

    @property
    def at_name(self) -> str:
        """How people call them in Slack."""
        return f"@{self._shown}"

    @property
    def actor(self) -> str:
        """Under whom it is written down: the name for people, the id because names change hands."""
        return f"slack:{self._shown} ({self.user_id})"

    @property
    def _shown(self) -> str:
        return clipped(printable(self.name or self.user_id), PERSON_MAX)


@dataclass(frozen=True, slots=True)
class Press:
    """One button pressed by somebody.

    Attributes:
        button: Which.
        alert_id: Of the alert it stands under.
        person: Who pressed it.
        channel, message: Where: the channel's id, and the message's time stamp, which is its name there.
        address, request_id: Of the request that said so.
    """

    button: Button
    alert_id: EventId
    person: Person
    channel: str
    message: str
    address: str = ""
    request_id: str = ""


def buttons(alert_id: EventId) -> Block:
    """The block of buttons under an open alert."""
    return {
        "type": "actions",
        "elements": [
            {
                "type": "button",
                "action_id": button.value,
                "text": {"type": "plain_text", "text": label, "emoji": False},
                "value": str(alert_id),
            }
            for button, label in LABELS.items()
        ],
    }


def acknowledged_words(press: Press, alert: Alert, look: Look) -> str:
    """Who acknowledged the alert, and when: somebody else may have been quicker."""
    at = "" if alert.acknowledged_at is None else f" at {time_of_day(alert.acknowledged_at, look.zone)}"
    if alert.acknowledged_by == press.person.actor:
        return f"Acknowledged by {press.person.at_name}{at}"
    return f"Acknowledged already, by {alert.acknowledged_by or 'somebody'}{at}"


def muted_words(press: Press, duration: DurationMs, mute: Mute | None, look: Look) -> str:
    """Who muted the service, when, and until when."""
    if mute is None or mute.until is None:
        return f"Muted by {press.person.at_name}, and unmuted since"
    at, until = time_of_day(mute.muted_at, look.zone), shown_at(mute.until, look.zone)
    return f"Muted for {_length(duration)} by {press.person.at_name} at {at}, until {until}"


def updated(press: Press, service: Service, alert: Alert, said: str, *, at: InstantMs, look: Look) -> dict[str, object]:
    """The arguments of `chat.update`: the alert as it is now, and who did what in place of the buttons."""
    claim = _claim(service, alert, at)
    return {
        "channel": press.channel,
        "ts": press.message,
        "text": fitting(f"{said} · {claim.heartbeat_name}", TEXT_MAX),
        "blocks": [*look.blocks(claim), remark(said)],
    }


def whispered(press: Press, said: str) -> dict[str, object]:
    """The arguments of `chat.postEphemeral`: what only the one who pressed is told."""
    return {
        "channel": press.channel,
        "user": press.person.user_id,
        "text": fitting(said, TEXT_MAX),
        "blocks": [section(said)],
    }


def _claim(service: Service, alert: Alert, at: InstantMs) -> Notification:
    """The alert as it would be told now."""
    row, policy = service.row, service.policy
    return Notification(
        notification_id="",
        kind=NotificationKind.TRIGGER,
        key=alert.key or alert_key(row.heartbeat_name),
        at=at,
        service_id=row.service_id,
        alert_id=alert.alert_id,
        heartbeat_name=row.heartbeat_name,
        service_name=row.service_name,
        team=alert.team,
        priority=alert.told_priority or alert.priority,
        runbook=alert.runbook,
        reason=alert.reason,
        late_since=alert.late_since,
        last_seen=service.last_heartbeat_at if service.heard else None,
        interval_ms=policy.interval_ms,
        threshold=policy.threshold,
        flapping=alert.flapping,
    )


def _length(duration: DurationMs) -> str:
    """As the button says it: 24 h, not a day."""
    return f"{duration // HOUR_MS} h"
