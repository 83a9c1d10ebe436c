"""PagerDuty, by its Events API v2: trigger, acknowledge and resolve under the alert's key.

A reminder and an escalation are triggers again under the same key: PagerDuty adds them to the incident while it is
open, silently, and opens a new one if somebody or a timer resolved it there.

Source: https://developer.pagerduty.com/docs/events-api-v2/trigger-events/
"""

from __future__ import annotations

import hashlib
from typing import Final

import orjson

from medic.alerting.attempt import Attempt, SecretMissing
from medic.alerting.notifier import ALERT_KINDS
from medic.alerting.outbound import Answer, host_of, judge, outbound_client, post, safe
from medic.alerting.resolving import Resolve, resolve_nothing
from medic.alerting.wording import clipped, priority_words, reason_words
from medic.core.notification import PAGERDUTY, Notification, alert_name
from medic.core.status import NotificationKind, OpenedReason
from medic.core.units import isoformat, ms_to_minutes
from medic.ports import Clock

EVENTS_URL: Final = "https://events.pagerduty.com/v2/enqueue"
CLIENT: Final = "Medic Heartbeat Monitor"

SUMMARY_MAX: Final = 1_024
DEDUP_KEY_MAX: Final = 255
"""PagerDuty's limit. `medic-` and the longest name make exactly 255."""

SEVERITIES: Final = {"p1": "critical", "p2": "error", "p3": "warning", "p4": "info", "p5": "info"}

NOTIFICATION_HEADER: Final = "Medic-Notification-Id"
"""Carried beside the event, whose fields have no room for it: a repeated request can be recognised in a proxy's log."""


class PagerDuty:
    """Implements `Notifier`.

    Args:
        routing_key: The integration key, 32 characters. A secret, or a reference to a stored one.
        events_url: Where events go; another region, or a proxy.
        base_url: `MEDIC_BASE_URL`, for links back.
        clock: To measure a Retry-After that is a date.
        resolve: Puts values in place of references.
    """

    target = PAGERDUTY

    def __init__(
        self, *, routing_key: str, events_url: str, base_url: str, clock: Clock, resolve: Resolve = resolve_nothing
    ) -> None:
        self._routing_key = routing_key
        self._resolve = resolve
        self._events_url = events_url
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._client = outbound_client()

    def takes(self, notification: Notification) -> bool:
        """Everything of an alert; never that a service is degraded, nor what Medic says of itself."""
        return notification.kind in ALERT_KINDS

    async def send(self, notification: Notification) -> Attempt:
        """Enqueue one event."""
        routing_key = self._resolve(self._routing_key)
        if isinstance(routing_key, SecretMissing):
            return routing_key
        answer = await post(
            self._client,
            self._events_url,
            content=orjson.dumps({**self.event(notification), "routing_key": routing_key}),
            headers={
                "Content-Type": "application/json",
                NOTIFICATION_HEADER: notification.notification_id,
            },
            clock=self._clock,
        )
        if not isinstance(answer, Answer):
            return answer
        return judge(answer, "" if answer.succeeded else safe(_reason(answer.body), routing_key))

    def event(self, notification: Notification) -> dict[str, object]:
        """The event as PagerDuty's schema has it, with the routing key as it is configured."""
        action = event_action(notification.kind)
        event: dict[str, object] = {
            "routing_key": self._routing_key,
            "event_action": action,
            "dedup_key": dedup_key(notification.key),
        }
        if action != "trigger":
            return event
        event["payload"] = self._payload(notification)
        event["client"] = CLIENT
        event["client_url"] = self._base_url
        if links := self._links(notification):
            event["links"] = links
        return event

    def describe(self) -> str:
        """PagerDuty, and where if it is not the vendor's usual address."""
        return "PagerDuty" if self._events_url == EVENTS_URL else f"PagerDuty at {host_of(self._events_url)}"

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()

    def _links(self, notification: Notification) -> list[dict[str, str]]:
        """The service's runbook; the alert, with the response time of its priority, for which no field is left."""
        links = []
        if notification.runbook:
            links.append({"href": notification.runbook, "text": "Runbook"})
        if notification.has_page:
            words = f"Alert in Medic ({priority_words(notification)})"
            links.append({"href": self._alert_url(notification), "text": words})
        return links

    def _alert_url(self, notification: Notification) -> str:
        return f"{self._base_url}/alerts/{notification.alert_id}" if notification.has_page else ""

    def _payload(self, notification: Notification) -> dict[str, object]:
        since = notification.at if notification.late_since is None else notification.late_since
        return {
            "summary": clipped(_summary(notification), SUMMARY_MAX),
            "timestamp": isoformat(since),
            "severity": severity(notification),
            "source": "medic",
            "component": notification.heartbeat_name,
            "group": notification.team,
            "class": "heartbeat_failure",
            "custom_details": {
                "service_name": notification.service_name,
                "heartbeat_name": notification.heartbeat_name,
                "team": notification.team,
                "priority": notification.priority,
                "last_seen": None if notification.last_seen is None else isoformat(notification.last_seen),
                "reason": notification.reason,
                "threshold": notification.threshold,
                "alert_interval": ms_to_minutes(notification.interval_ms),
                "alert_id": notification.alert_id,
                "alert_url": self._alert_url(notification),
            },
        }


def event_action(kind: NotificationKind) -> str:
    """trigger, acknowledge or resolve."""
    if kind is NotificationKind.RESOLVE:
        return "resolve"
    return "acknowledge" if kind is NotificationKind.ACKNOWLEDGE else "trigger"


def severity(notification: Notification) -> str:
    """By priority; a service that was never heard of is at most a warning (CONTRACT 2.3)."""
    found = SEVERITIES.get(notification.priority, "warning")
    if notification.reason is OpenedReason.NEVER_HEARD and found in {"critical", "error"}:
        return "warning"
    return found


def dedup_key(key: str) -> str:
    """`key` as PagerDuty takes it. A longer one, which no alert has, ends in a digest that keeps it distinct."""
    if len(key) <= DEDUP_KEY_MAX:
        return key
    digest = hashlib.sha256(key.encode()).hexdigest()[:32]
    return f"{key[: DEDUP_KEY_MAX - 33]}-{digest}"


def _summary(notification: Notification) -> str:
    if not notification.heartbeat_name:  # it is of a Medic, not of a service
        return notification.text
    name = alert_name(notification.heartbeat_name)
    if notification.kind is NotificationKind.TEST:
        return f"TEST - {name}: {notification.text or 'this is a test, nothing is wrong'}"
    if notification.kind is NotificationKind.UNTOLD:
        return f"{name}: {notification.text}"
    return f"{name}: {reason_words(notification)}"


def _reason(body: bytes) -> str:
    """What PagerDuty says is wrong: its message and errors, or the beginning of whatever it sent."""
    try:
        said = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body.decode("utf-8", "replace")
    if not isinstance(said, dict):
        return ""
    errors = said.get("errors")
    parts = [said.get("message"), *(errors if isinstance(errors, list) else [errors])]
    return "; ".join(part for part in parts if isinstance(part, str) and part)
