"""A WebhookStore that is a dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from itertools import count
from os import urandom

from medic.access.signed import write_secret
from medic.core.author import Author
from medic.core.units import DurationMs, InstantMs
from medic.core.webhook import Webhook
from medic.errors import DatabaseUnavailableError


class MemoryWebhookStore:
    """Implements `ports.WebhookStore`. Set `available` to False for a PostgreSQL that does not answer."""

    def __init__(self, *, now: Callable[[], InstantMs] = lambda: InstantMs(1_700_000_000_000)) -> None:
        self.available = True
        self._now = now
        self._ids = count(1)
        self._webhooks: dict[int, Webhook] = {}

    async def insert(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook:
        self._require_available()
        webhook = Webhook(
            next(self._ids), url, heartbeat_name, headers, self._now(), by.name, write_secret(urandom(32))
        )
        self._webhooks[webhook.webhook_id] = webhook
        return webhook

    async def all(self) -> Sequence[Webhook]:
        self._require_available()
        return tuple(self._webhooks.values())

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook | None:
        self._require_available()
        webhook = self._webhooks.get(webhook_id)
        if webhook is None:
            return None
        self._webhooks[webhook_id] = replace(
            webhook,
            secret=write_secret(urandom(32)),
            former_secret=webhook.secret,
            former_until=InstantMs(self._now() + overlap),
        )
        return self._webhooks[webhook_id]

    async def delete(self, webhook_id: int, *, by: Author) -> bool:
        self._require_available()
        return self._webhooks.pop(webhook_id, None) is not None

    def _require_available(self) -> None:
        if not self.available:
            msg = "PostgreSQL does not answer"
            raise DatabaseUnavailableError(msg)
