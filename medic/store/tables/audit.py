"""The audit entry of a change: in the transaction that makes the change, so that neither is there without the other.

Services are audited by triggers, so that a change by SQL has an entry as well; every other change calls `audit`.
"""

from __future__ import annotations

import orjson

from medic.access.caller import Author
from medic.core.units import InstantMs
from medic.store.postgres.database import Transaction

Shown = dict[str, str | int | float | bool | list[str] | None]
"""What an entry shows of a thing before or after the change. Never a secret."""


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
        "INSERT INTO medic.audit_log (at, actor, action, subject, before, after) VALUES ($1, $2, $3, $4, $5, $6)",
        at,
        author.name,
        action,
        subject,
        None if before is None else orjson.dumps(before).decode(),
        None if after is None else orjson.dumps(after).decode(),
        operation="insert audit",
    )
