"""Plain JSON webhooks: one POST a notification, in the shape that docs/topics/delivery.md promises.

Signed by the Standard Webhooks scheme with the webhook's own secret, and with the one before it while it is being
rotated. Sent through the guarded client: users say where.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Final

import orjson

from medic.access.signed import HEADERS, ID, SIGNATURE, TIMESTAMP, read_secret, sign
from medic.alerting.attempt import Attempt, SecretMissing
from medic.alerting.guard import Guard, guarded_client
from medic.alerting.notifier import ALERT_KINDS
from medic.alerting.outbound import Answer, host_of, judge, post, safe
from medic.alerting.resolving import Resolve, resolve_nothing
from medic.alerting.wording import headline, summary
from medic.core.names import name_key
from medic.core.notification import Notification, alert_name
from medic.core.status import NotificationKind
from medic.core.units import SECOND_MS, InstantMs, isoformat, ms_to_minutes, ms_to_seconds
from medic.core.webhook import Webhook
from medic.ports import Clock

MEDICS_HEADERS: Final = frozenset({"host", "connection", "content-length", "transfer-encoding", *HEADERS})
"""Headers that belong to the request itself; a stored webhook cannot set them, nor those that Medic documents."""

Carry = Callable[[], Mapping[str, str]]
"""Asked for each attempt, within it."""

NO_HEADERS: Final[Mapping[str, str]] = MappingProxyType({})


def carry_nothing() -> Mapping[str, str]:
    """Where nothing is traced."""
    return NO_HEADERS


WEBHOOK_KINDS: Final = ALERT_KINDS | {NotificationKind.DEGRADED, NotificationKind.DEGRADED_OVER}


class WebhookNotifier:
    """Implements `Notifier` for one stored webhook.

    Args:
        webhook: Where to, for which service, with which headers.
        base_url: `MEDIC_BASE_URL`, for links back.
        clock: For the header `webhook-timestamp`.
        guard: Says whether anything may be sent there.
        resolve: Puts values in place of references in headers.
        carry: Headers by which the receiver finds the trace that the attempt is part of.
    """

    def __init__(
        self,
        webhook: Webhook,
        *,
        base_url: str,
        clock: Clock,
        guard: Guard,
        resolve: Resolve = resolve_nothing,
        carry: Carry = carry_nothing,
    ) -> None:
        self._webhook = webhook
        self._resolve = resolve
        self._carry = carry
        self._base_url = base_url.rstrip("/")
        self._clock = clock
        self._client = guarded_client(guard)
        self._only = None if webhook.heartbeat_name is None else name_key(webhook.heartbeat_name)

    @property
    def target(self) -> str:
        """`webhook:<id>`."""
        return self._webhook.target

    def takes(self, notification: Notification) -> bool:
        """Everything of an alert and of being degraded, of the one service it was created for or of all."""
        if notification.kind not in WEBHOOK_KINDS:
            return False
        return self._only is None or self._only == name_key(notification.heartbeat_name)

    async def send(self, notification: Notification) -> Attempt:
        """Post the notification. 2xx is delivered; 408, 429 and 5xx are tried again; the rest is refused for good."""
        own = self._own_headers()
        if isinstance(own, SecretMissing):
            return own
        content = orjson.dumps(self.body(notification))
        headers = {
            **own,
            "content-type": "application/json",
            **self._signed(notification.notification_id, content),
            **self._carry(),
        }
        answer = await post(self._client, self._webhook.url, content=content, headers=headers, clock=self._clock)
        if not isinstance(answer, Answer):
            return answer
        # What is hidden is what was sent, though the secret may have been changed meanwhile.
        secrets = (*own.values(), *self._webhook.secrets_at(self._clock.now()))
        return judge(answer, "" if answer.succeeded else safe(answer.body.decode("utf-8", "replace"), *secrets))

    def _own_headers(self) -> dict[str, str] | SecretMissing:
        """The headers it was created with, with values in place of references."""
        found: dict[str, str] = {}
        for name, text in self._webhook.headers:
            if name.lower() in MEDICS_HEADERS:
                continue
            value = self._resolve(text)
            if isinstance(value, SecretMissing):
                return value
            found[name.lower()] = value
        return found

    def _signed(self, message_id: str, content: bytes) -> dict[str, str]:
        """The three headers; two where no secret is known, for a page unsigned is better than none."""
        now = self._clock.now()
        seconds = now // SECOND_MS
        signatures = [sign(read_secret(text), message_id, seconds, content) for text in self._webhook.secrets_at(now)]
        headers = {ID: message_id, TIMESTAMP: str(seconds)}
        return {**headers, SIGNATURE: " ".join(signatures)} if signatures else headers

    def body(self, notification: Notification) -> dict[str, object]:
        """The notification as a flat object, with the names that the HTTP API has for the same things."""
        alert_id = notification.alert_id
        lasted = notification.lasted_ms
        return {
            "notification_id": notification.notification_id,
            "kind": notification.kind,
            "at": isoformat(notification.at),
            "summary": f"{headline(notification)} {summary(notification)}",
            "alert_id": alert_id,
            "alert_name": alert_name(notification.heartbeat_name) if notification.heartbeat_name else "",
            "alert_url": f"{self._base_url}/alerts/{alert_id}" if notification.has_page else "",
            "external_reference_id": notification.key,
            "service_id": notification.service_id,
            "heartbeat_name": notification.heartbeat_name,
            "service_name": notification.service_name,
            "team": notification.team,
            "priority": notification.priority,
            "runbook": notification.runbook,
            "reason": notification.reason,
            "late_since": _maybe(notification.late_since),
            "last_seen": _maybe(notification.last_seen),
            "alert_interval": ms_to_minutes(notification.interval_ms),
            "threshold": notification.threshold,
            "flapping": notification.flapping,
            "muted": notification.muted,
            "duration": None if lasted is None else ms_to_seconds(lasted),
            "closed_reason": notification.closed_reason,
            "by": notification.by,
            "note": notification.note,
        }

    def describe(self) -> str:
        """Id and host; the address itself may hold a secret."""
        return f"webhook {self._webhook.webhook_id} at {host_of(self._webhook.url)}" + (
            "" if self._webhook.heartbeat_name is None else f" (only {self._webhook.heartbeat_name})"
        )

    async def aclose(self) -> None:
        """Close its connections."""
        await self._client.aclose()


def _maybe(instant: InstantMs | None) -> str | None:
    return None if instant is None else isoformat(instant)
