"""Webhooks in PostgreSQL, each change with its audit entry. Values of headers may be secrets: no entry shows them.

PostgreSQL makes the secrets that requests are signed with, as the default of their column (migration 0006): so rows
that an earlier release or somebody's SQL puts there have one too, and no logged statement carries one.
"""

from __future__ import annotations

from collections.abc import Sequence

import orjson

from medic.core.author import Author
from medic.core.units import DurationMs, InstantMs, isoformat
from medic.core.webhook import Webhook
from medic.ports import Clock
from medic.store.postgres.database import Database, Row, Transaction
from medic.store.tables.audit import Shown, audit

_COLUMNS = "webhook_id, url, heartbeat_name, headers, date_added, added_by, secret, former_secret, former_until"


class PgWebhookStore:
    """Implements `ports.WebhookStore`."""

    def __init__(self, database: Database, clock: Clock) -> None:
        self._database = database
        self._clock = clock

    async def insert(
        self, *, url: str, heartbeat_name: str | None, headers: tuple[tuple[str, str], ...], by: Author
    ) -> Webhook:
        """The stored webhook, with its id."""
        async with self._database.transaction() as transaction:
            record = await transaction.fetchrow(
                "INSERT INTO medic.webhooks (url, heartbeat_name, headers, date_added, added_by)"  # noqa: S608
                f" VALUES ($1, $2, $3, $4, $5) RETURNING {_COLUMNS}",
                url,
                heartbeat_name,
                orjson.dumps(headers).decode(),
                self._clock.now(),
                by.name,
                operation="insert webhook",
            )
            assert record is not None  # noqa: S101 - INSERT … RETURNING gives its row
            webhook = _webhook_of(record)
            await self._audit(transaction, "webhook added", by, webhook, before=False)
        return webhook

    async def all(self) -> Sequence[Webhook]:
        """Every webhook, the oldest first."""
        records = await self._database.fetch(
            f"SELECT {_COLUMNS} FROM medic.webhooks ORDER BY webhook_id",  # noqa: S608 - a constant
            operation="list webhooks",
        )
        return [_webhook_of(record) for record in records]

    async def rotate(self, webhook_id: int, *, overlap: DurationMs, by: Author) -> Webhook | None:
        """The webhook with a new secret, and the one before for `overlap`; None if there was none."""
        until = InstantMs(self._clock.now() + overlap)
        async with self._database.transaction() as transaction:
            record = await transaction.fetchrow(
                "UPDATE medic.webhooks SET former_secret = secret, former_until = $2, secret = DEFAULT"  # noqa: S608
                f" WHERE webhook_id = $1 RETURNING {_COLUMNS}",
                webhook_id,
                until,
                operation="rotate webhook",
            )
            if record is None:
                return None
            webhook = _webhook_of(record)
            await audit(
                transaction,
                at=self._clock.now(),
                author=by,
                action="webhook secret rotated",
                subject=webhook.url,
                after={"webhook_id": webhook_id, "former_secret_until": isoformat(until)},
            )
        return webhook

    async def delete(self, webhook_id: int, *, by: Author) -> bool:
        """Remove one; False if there was none."""
        async with self._database.transaction() as transaction:
            record = await transaction.fetchrow(
                f"DELETE FROM medic.webhooks WHERE webhook_id = $1 RETURNING {_COLUMNS}",  # noqa: S608 - a constant
                webhook_id,
                operation="delete webhook",
            )
            if record is None:
                return False
            await self._audit(transaction, "webhook removed", by, _webhook_of(record), before=True)
        return True

    async def _audit(
        self, transaction: Transaction, action: str, by: Author, webhook: Webhook, *, before: bool
    ) -> None:
        shown: Shown = {
            "webhook_id": webhook.webhook_id,
            "url": webhook.url,
            "heartbeat_name": webhook.heartbeat_name,
            "headers": [name for name, _ in webhook.headers],
        }
        await audit(
            transaction,
            at=self._clock.now(),
            author=by,
            action=action,
            subject=webhook.url,
            before=shown if before else None,
            after=None if before else shown,
        )


def _webhook_of(record: Row) -> Webhook:
    until = record["former_until"]
    return Webhook(
        webhook_id=record["webhook_id"],
        url=record["url"],
        heartbeat_name=record["heartbeat_name"],
        headers=tuple((name, value) for name, value in orjson.loads(record["headers"])),
        date_added=InstantMs(record["date_added"]),
        added_by=record["added_by"],
        secret=record["secret"],
        former_secret=record["former_secret"] or "",
        former_until=None if until is None else InstantMs(until),
    )
