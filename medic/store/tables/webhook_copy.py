"""Webhooks, and a copy of them in the data directory: whom to tell is known while PostgreSQL is away as well.

The copy is replaced as a whole after each change and each time PostgreSQL was asked; the file is readable by Medic
alone: it holds the secrets to sign with, and headers may be secrets too. Losing it costs a start without PostgreSQL its
webhooks, and nothing else.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import orjson
import structlog
import trio
from pydantic import TypeAdapter, ValidationError

from medic.core.author import Author
from medic.core.units import DurationMs
from medic.core.webhook import Webhook
from medic.errors import DatabaseUnavailableError
from medic.ports import WebhookStore
from medic.store.private_file import replace_private_file

_log = structlog.get_logger(__name__)

_STORED: Final = TypeAdapter(tuple[Webhook, ...])


class CopiedWebhooks:
    """Implements `ports.WebhookStore` over another one.

    Args:
        store: PostgreSQL's.
        path: Where the copy is.
    """

    def __init__(self, store: WebhookStore, path: Path) -> None:
        self._store = store
        self._path = path
        self._known: tuple[Webhook, ...] | None = None

    async def insert(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook:
        """The stored webhook, with its id."""
        webhook = await self._store.insert(url=url, heartbeat_name=heartbeat_name, headers=headers, by=by)
        await self._copy_again()
        return webhook

    async def all(self) -> Sequence[Webhook]:
        """Every webhook, the oldest first."""
        webhooks = tuple(await self._store.all())
        if webhooks != self._known:
            await trio.to_thread.run_sync(self._replace, webhooks)
            self._known = webhooks
        return webhooks

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook | None:
        """The webhook with a new secret; None if there was none."""
        webhook = await self._store.rotate(webhook_id, overlap=overlap, by=by)
        await self._copy_again()
        return webhook

    async def delete(self, webhook_id: int, *, by: Author) -> bool:
        """Remove one; False if there was none."""
        was_there = await self._store.delete(webhook_id, by=by)
        await self._copy_again()
        return was_there

    async def last_seen(self) -> Sequence[Webhook]:
        """Every webhook as PostgreSQL said last; none where nothing is known of them."""
        return await trio.to_thread.run_sync(read_copied, self._path)

    async def _copy_again(self) -> None:
        try:
            await self.all()
        except DatabaseUnavailableError as error:
            # The change itself was committed; the next start that finds PostgreSQL copies it.
            _log.warning("the copy of the webhooks is out of date", reason=error.message)

    def _replace(self, webhooks: tuple[Webhook, ...]) -> None:
        try:
            replace_private_file(self._path, orjson.dumps(webhooks))
        except OSError as error:
            _log.warning("the copy of the webhooks cannot be written", reason=str(error))


def read_copied(path: Path) -> tuple[Webhook, ...]:
    """The webhooks of a copy, as PostgreSQL said last when it was written; none where there is no copy. Blocks."""
    try:
        return _STORED.validate_json(path.read_bytes(), strict=True)
    except FileNotFoundError:
        return ()
    except (ValidationError, OSError) as error:
        _log.error("the copy of the webhooks cannot be read; they are not told", reason=str(error))
        return ()
