"""A WebhookStore that is a dict."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count

from medic.core.author import Author
from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError
from medic.ports import Webhook


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
        webhook = Webhook(next(self._ids), url, heartbeat_name, headers, self._now(), by.name)
        self._webhooks[webhook.webhook_id] = webhook
        return webhook

    async def all(self) -> Sequence[Webhook]:
        self._require_available()
        return tuple(self._webhooks.values())

    async def delete(self, webhook_id: int, *, by: Author) -> bool:
        self._require_available()
        return self._webhooks.pop(webhook_id, None) is not None

    def _require_available(self) -> None:
        if not self.available:
            msg = "PostgreSQL does not answer"
            raise DatabaseUnavailableError(msg)
