"""Seals the audit's entries, a moment behind the changes that wrote them.

Not in the change's own transaction: a hash that covers the one before makes each change wait for the commit of the one
before, one sync of the disk after the other (docs/decisions/0023-the-audit.md has the figures). So the entry commits
with its change, and this task chains what has committed, at most a second later, in batches, in a transaction of its
own that shows Medic's token: two Medics cannot both seal.
"""

from __future__ import annotations

from typing import Final

import structlog
import trio

from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError
from medic.ports import Clock
from medic.store.audit.chain import DIGEST, START, Head, seal_all
from medic.store.audit.heads import AuditHeads
from medic.store.postgres.database import Database, StatementRefusedError, Transaction

_log = structlog.get_logger(__name__)

SEAL_EVERY_SECONDS: Final = 0.5
"""Pause between two looks. An entry is sealed within a second, and an idle Medic asks one row of an empty table."""

ENTRIES_AT_ONCE: Final = 2_000
"""Entries of one transaction: tens of milliseconds. A change of all services by SQL takes many of them."""

RETRY_SECONDS: Final = 5.0
"""Pause after PostgreSQL was away or refused."""

_ANY: Final = "SELECT FROM medic.audit_unsealed LIMIT 1"
# Chosen first: a digest worked out for all that waits, to be sorted, would make a long backlog quadratic.
_WAITING: Final = (
    "WITH waiting AS MATERIALIZED"  # noqa: S608 - constants
    " (SELECT audit_id FROM medic.audit_unsealed ORDER BY audit_id LIMIT $1)"
    f" SELECT a.audit_id, {DIGEST} AS digest"
    " FROM waiting JOIN medic.audit_log a USING (audit_id) ORDER BY a.audit_id"
)
_HEAD: Final = """
(SELECT place, hash FROM medic.audit_seals ORDER BY place DESC LIMIT 1)
UNION ALL (SELECT place, hash FROM medic.audit_checkpoints ORDER BY place DESC LIMIT 1)
ORDER BY place DESC LIMIT 1
"""
_SEAL_AT: Final = "SELECT hash FROM medic.audit_seals WHERE place = $1"


class AuditSealer:
    """Chains the audit of one database.

    Args:
        database: Where the audit is.
        clock: For the instants of seals.
        heads: Where the newest head is kept outside the database.
    """

    def __init__(self, database: Database, clock: Clock, heads: AuditHeads) -> None:
        self._database = database
        self._clock = clock
        self._heads = heads
        self._was_read = False

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Seal until cancelled."""
        task_status.started()
        while True:
            pause = SEAL_EVERY_SECONDS
            try:
                await self.seal_waiting()
            except DatabaseUnavailableError:
                pause = RETRY_SECONDS  # others report that
            except (StatementRefusedError, OSError, ValueError) as error:
                _log.error("the audit cannot be sealed", reason=str(error))
                pause = RETRY_SECONDS
            await trio.sleep(pause)

    async def seal_waiting(self) -> int:
        """Seal all entries that have committed; how many those were."""
        if not self._was_read:
            await trio.to_thread.run_sync(self._heads.read)
            await self._compare(self._database)
            self._was_read = True
        sealed = 0
        while count := await self._seal_some():
            sealed += count
            if count < ENTRIES_AT_ONCE:
                break
        return sealed

    async def _seal_some(self) -> int:
        if await self._database.fetchrow(_ANY, operation="look for audit") is None:
            return 0
        async with self._database.transaction() as transaction:
            await self._compare(transaction)
            head = await _head(transaction)
            waiting = await transaction.fetch(_WAITING, ENTRIES_AT_ONCE, operation="unsealed audit")
            sealed_at = self._clock.now()
            seals = list(seal_all(head, ((row["audit_id"], row["digest"]) for row in waiting), sealed_at))
            if not seals:
                return 0  # what waits was removed; verifying says so
            rows = ((seal.place, seal.audit_id, seal.sealed_at, seal.hash) for seal in seals)
            await transaction.copy_records("audit_seals", ("place", "audit_id", "sealed_at", "hash"), rows)
            await transaction.execute(
                "DELETE FROM medic.audit_unsealed WHERE audit_id = ANY ($1::bigint[])",
                [seal.audit_id for seal in seals],
                operation="seal audit",
            )
        await self._keep(Head(seals[-1].place, seals[-1].hash), sealed_at)
        return len(seals)

    async def _keep(self, head: Head, at: InstantMs) -> None:
        """Outside the database as well; once a day in the log, which goes where neither of the two is."""
        if self._heads.begins_day(at):
            _log.info("the audit's chain", place=head.place, hash=head.hash.hex())
        await trio.to_thread.run_sync(self._heads.keep, head, at)

    async def _compare(self, database: Database | Transaction) -> None:
        """Hold the head that this directory knows against the chain, before anything is added to it.

        Each time, and not at the start alone: the head of what is added takes that head's place, and with it would go
        the only trace of a chain that somebody rewrote while Medic ran.
        """
        known = self._heads.expected
        if known is None:
            return
        stored = await database.fetchrow(_SEAL_AT, known.place, operation="audit head")
        if stored is None or stored["hash"] != known.hash:
            _log.error(
                "the audit's chain is not the one this data directory knows; medic audit verify says more",
                place=known.place,
                hash=known.hash.hex(),
            )
            self._heads.pin_newest()


async def _head(transaction: Transaction) -> Head:
    row = await transaction.fetchrow(_HEAD, operation="audit head")
    return START if row is None else Head(row["place"], row["hash"])
