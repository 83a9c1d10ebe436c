"""Webhooks as operators change them: stored first, then known to alerting, then answered."""

from __future__ import annotations

from collections.abc import Sequence

from medic.alerting.pipeline import Alerting
from medic.core.author import Author
from medic.core.units import DurationMs
from medic.core.webhook import Webhook
from medic.errors import UnknownWebhookError
from medic.ports import WebhookStore


class OperatorWebhooks:
    """Implements `ports.Webhooks`: the store and alerting as one."""

    def __init__(self, store: WebhookStore, alerting: Alerting) -> None:
        self._store = store
        self._alerting = alerting

    async def create(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook:
        """The stored webhook; it is told from now on."""
        webhook = await self._store.insert(url=url, heartbeat_name=heartbeat_name, headers=headers, by=by)
        self._alerting.add_webhook(webhook)
        return webhook

    async def follow(self, known: Sequence[Webhook]) -> None:
        """Tell alerting what is stored, where it knows only those."""
        stored = await self._store.all()
        targets = {webhook.target for webhook in stored}
        for webhook in known:
            if webhook.target not in targets:
                self._alerting.remove_webhook(webhook)
        for webhook in stored:
            if webhook not in known:
                self._alerting.add_webhook(webhook)

    async def all(self) -> Sequence[Webhook]:
        """Every webhook, as stored."""
        return await self._store.all()

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook:
        """The webhook with a new secret, which signs from now on; the one before signs as well for `overlap`.

        Raises:
            UnknownWebhookError: there is none of that id.
        """
        webhook = await self._store.rotate(webhook_id, overlap=overlap, by=by)
        if webhook is None:
            raise UnknownWebhookError(webhook_id)
        self._alerting.add_webhook(webhook)
        return webhook

    async def delete(self, webhook_id: int, *, by: Author) -> None:
        """Forget a webhook; what waits for it is given up.

        Raises:
            UnknownWebhookError: there is none of that id.
        """
        if not await self._store.delete(webhook_id, by=by):
            raise UnknownWebhookError(webhook_id)
        self._alerting.remove_webhook(Webhook(webhook_id, url=""))
