"""Removes entries of the audit that are older than `MEDIC_AUDIT_RETENTION_DAYS`, so that the rest stays verifiable.

Only the Medic that runs does it, not `medic cleanup`: first the place up to which entries go, and its hash, are written
into `audit-heads`, the file that the sealer keeps. `medic audit verify` believes no checkpoint that is not in it
(decision 23). Then entries and seals go and the checkpoint comes, in one transaction, with an entry that says so.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

import structlog
import trio

from medic.core.author import MEDIC
from medic.core.units import InstantMs
from medic.store.audit.chain import Head
from medic.store.audit.heads import AuditHeads
from medic.store.postgres.database import Database
from medic.store.tables.audit import audit

_log = structlog.get_logger(__name__)

ENTRIES_AT_ONCE: Final = 50_000
"""Entries of one checkpoint: two seconds. At one a day, `HEADS_MAX` checkpoints are ten years."""

ACTION: Final = "audit removed"

# Places go up with time. The newest seal stays in any case: the next start compares it with the data directory's.
_LAST_OLD: Final = """
SELECT place FROM medic.audit_seals
WHERE sealed_at < $1 AND place < (SELECT max(place) FROM medic.audit_seals) ORDER BY place DESC LIMIT 1
"""
_FIRST: Final = "SELECT min(place) AS place FROM medic.audit_seals"
_HASH: Final = "SELECT hash FROM medic.audit_seals WHERE place = $1"
_CHECKPOINT: Final = "INSERT INTO medic.audit_checkpoints (place, hash, made_at) VALUES ($1, $2, $3)"
_DELETE_ENTRIES: Final = """
DELETE FROM medic.audit_log a USING medic.audit_seals s WHERE s.place <= $1 AND a.audit_id = s.audit_id
"""
_DELETE_SEALS: Final = "DELETE FROM medic.audit_seals WHERE place <= $1"


class AuditRetention:
    """Lets the chain of one database begin later.

    Args:
        database: Where the audit is.
        heads: The sealer's own.
        now: The wall clock.
    """

    def __init__(self, database: Database, heads: AuditHeads, now: Callable[[], InstantMs]) -> None:
        self._database = database
        self._heads = heads
        self._now = now

    async def remove_before(self, before: InstantMs) -> int:
        """Remove entries that were sealed before an instant; how many places of the chain that were.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer. The next run goes on.
            OSError, ValueError: `audit-heads` cannot be read or written; nothing was removed.
        """
        removed = 0
        last = await self._place(_LAST_OLD, before)
        first = await self._place(_FIRST)
        while last is not None and first is not None and first <= last:
            place = min(last, first + ENTRIES_AT_ONCE - 1)
            if not await self._remove_up_to(place):
                break
            removed += place - first + 1
            first = place + 1
        return removed

    async def _place(self, sql: str, *args: object) -> int | None:
        row = await self._database.fetchrow(sql, *args, operation="old audit")
        return None if row is None else row["place"]

    async def _remove_up_to(self, place: int) -> bool:
        row = await self._database.fetchrow(_HASH, place, operation="old audit")
        if row is None:
            return False  # a gap that `medic audit verify` reports; to begin behind it would hide it
        at = self._now()
        await trio.to_thread.run_sync(self._heads.keep_checkpoint, Head(place, row["hash"]), at)
        async with self._database.transaction() as transaction:
            await transaction.execute("SET LOCAL medic.audit_retention = 'on'")
            await transaction.execute(_CHECKPOINT, place, row["hash"], at, operation="remove audit")
            await transaction.execute(_DELETE_ENTRIES, place, operation="remove audit")
            await transaction.execute(_DELETE_SEALS, place, operation="remove audit")
            await audit(transaction, at=at, author=MEDIC, action=ACTION, subject="audit", after={"up_to_place": place})
        _log.info("old entries of the audit were removed", place=place, hash=row["hash"].hex())
        return True
