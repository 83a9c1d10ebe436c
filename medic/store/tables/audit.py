"""The audit entry of a change: in the transaction that makes the change, so that neither is there without the other.

Services are audited by triggers, so that a change by SQL has an entry as well; to them `said` says who it is. Every
other change calls `audit`. What was journaled first (mutes, acknowledgements) is audited by the writer with its batch.
"""

from __future__ import annotations

import orjson

from medic.core.author import Author
from medic.core.snapshot import SnapshotId
from medic.core.units import InstantMs
from medic.store.postgres.database import Transaction

Shown = dict[str, str | int | float | bool | list[str] | None]
"""What an entry shows of a thing before or after the change. Never a secret."""


def said(author: Author, snapshot: SnapshotId | None = None) -> str:
    """The author as the triggers on services read it from `medic.author`; with a snapshot, of a restore."""
    words: dict[str, str] = {
        "name": author.name,
        "key_id": author.key_id,
        "address": author.address,
        "request_id": author.request_id,
        "label": author.label,
    }
    if snapshot is not None:
        words["action"] = "restore"
    return orjson.dumps(words).decode()


async def audit(
    transaction: Transaction,
    *,
    at: InstantMs,
    author: Author,
    action: str,
    subject: str,
    before: Shown | None = None,
    after: Shown | None = None,
) -> None:
    """Write the entry.

    Args:
        transaction: That of the change.
        at: When.
        author: Who.
        action: What was done, as `webhook added`.
        subject: To what, as people know it.
        before: The thing as it was, if it was there.
        after: As it is, if it still is.
    """
    await transaction.execute(
        "INSERT INTO medic.audit_log (at, actor, key_id, address, request_id, label, action, subject, before, after)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
        at,
        author.name,
        author.key_id,
        author.address,
        author.request_id,
        author.label,
        action,
        subject,
        None if before is None else orjson.dumps(before).decode(),
        None if after is None else orjson.dumps(after).decode(),
        operation="insert audit",
    )
