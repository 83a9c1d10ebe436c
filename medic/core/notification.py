"""One thing to tell people, complete in itself: a notifier needs no other part of Medic to send it."""

from __future__ import annotations

from typing import Final

from medic.core.status import NotificationKind, OpenedReason
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId
from medic.core.value import value

PAGERDUTY: Final = "pagerduty"
SLACK: Final = "slack"
CONSOLE: Final = "console"
WEBHOOK_PREFIX: Final = "webhook:"
"""Targets are named by notifier; each webhook is a target of its own, `webhook:<id>`."""

SELF_KEY: Final = "medic-self"
"""The key of what Medic says of itself."""


@value(frozen=True, slots=True)
class Notification:
    """What is told, journaled whole before the first attempt.

    Attributes:
        notification_id: Durable, the same in the journal, PagerDuty's details, Slack's metadata and `webhook-id`.
        kind: What it tells.
        key: PagerDuty's dedup key and `external_reference_id`: `medic-NAME`, the name as registered.
        service_id: None for what Medic says of itself.
        alert_id: The alert it belongs to, or None.
        heartbeat_name, service_name, team, priority, runbook: As the alert has them; the name as registered.
        reason: Why the alert opened, or None.
        at: Wall time of the decision.
        late_since: Wall time from which the claim was true.
        last_seen: Wall time of the newest heartbeat, or None.
        interval_ms, threshold: The promise that was missed.
        flapping, muted: State of the alert when this was decided.
        lasted_ms: For RESOLVE: how long the alert was open.
        closed_reason: For RESOLVE: why it closed.
        by, note: Who asked for it and what they said, where a person did.
        text: For BLIND, KEY_ENDS, ADOPTED, UNTOLD and TEST: the sentence itself.
        targets: Names of the targets it goes to; filled by the outbox when it is journaled.
    """

    notification_id: str
    kind: NotificationKind
    key: str
    at: InstantMs
    service_id: ServiceId | None = None
    alert_id: EventId | None = None
    heartbeat_name: str = ""
    service_name: str = ""
    team: str = ""
    priority: str = "p3"
    runbook: str = ""
    reason: OpenedReason | None = None
    late_since: InstantMs | None = None
    last_seen: InstantMs | None = None
    interval_ms: DurationMs = DurationMs(0)
    threshold: int = 1
    flapping: bool = False
    muted: bool = False
    lasted_ms: DurationMs | None = None
    closed_reason: str = ""
    by: str = ""
    note: str = ""
    text: str = ""
    targets: tuple[str, ...] = ()

    def address(self, targets: tuple[str, ...]) -> None:
        """Fill in who is told, in the very turn that decided it: nobody else has seen it yet.

        The one field of a value that is ever assigned to: a copy of all 24 for each alert costs time and lasts as long.
        """
        object.__setattr__(self, "targets", targets)

    @property
    def has_page(self) -> bool:
        """Whether its alert can be looked up in Medic: those of services can."""
        return self.alert_id is not None and self.service_id is not None


def alert_name(heartbeat_name: str) -> str:
    """The alert's name as every vendor shows it."""
    return f"Medic - Heartbeat failure for {heartbeat_name}"


def alert_key(heartbeat_name: str) -> str:
    """The key under which vendors know the alert of a service: one, whatever happens to it."""
    return f"medic-{heartbeat_name}"
