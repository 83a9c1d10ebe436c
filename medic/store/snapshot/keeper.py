"""Writes snapshots while Medic serves, and lets go of the journal that they make superfluous.

The problem. A start folds the journal, so without snapshots it takes longer with each day, and the journal never ends.
And what is only in PostgreSQL is not known to a start without PostgreSQL.

The way. Services are packed in slices of a few milliseconds, in the loop, where they cannot change meanwhile; each
slice is written by a thread while other tasks run (`content.py` says why that is exact all the same). Then the end is
awaited to be synced in the journal: a snapshot must never know more than the journal behind it, or a position would be
used for two records after a loss of power. Only then does it get its name.

When. At a start that had none, so that what PostgreSQL said is known without it the next time; at an end in order; and
whenever the journal has grown by as much as the last snapshot was long, within bounds. So writing costs a fixed share
of what intake costs, a Medic without traffic writes nothing, and a start folds no more than `GROWTH_BYTES_MAX`.

An actor that crashed is not to be believed, so its service is taken from where its rebuild would take it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from math import inf
from typing import Final, Protocol

import structlog
import trio

from medic.core.ledger import NotificationLedger
from medic.core.service import Service
from medic.core.units import InstantMs, ServiceId
from medic.errors import MedicError
from medic.ports import Clock, Position
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.limits import SEGMENTS_MIN
from medic.store.snapshot.content import (
    BLIND,
    CLOSING,
    FACTS,
    LEDGER,
    SERVICES,
    Closing,
    CopiedTelling,
    Facts,
    pack_blind,
    pack_closing,
    pack_facts,
    pack_tellings,
)
from medic.store.snapshot.files import SnapshotFiles, UnfinishedSnapshot
from medic.store.snapshot.layout import BlockWriter
from medic.store.snapshot.services import SERVICES_A_BLOCK, pack_services

_log = structlog.get_logger(__name__)

GROWTH_BYTES_MIN: Final = 1 << 20
GROWTH_BYTES_MAX: Final = 64 << 20
"""How much the journal grows between two snapshots: a small fleet's cost nothing, and a start folds at most this much
and what came while one was written: some 1.4 million records, five seconds."""

LOOK_EVERY_SECONDS: Final = 5.0
"""How often growth is looked at, and whether a segment may go."""

BEHIND_BYTES: Final = 4 << 20
BEHIND_SECONDS: Final = 60.0
"""A writer that is behind by so much needs the time more, after a storm of alerts say; but not for longer than this:
while PostgreSQL is away it stays behind."""

PAUSE_AFTER_FAILURE_SECONDS: Final = 60.0
"""A disk that took no snapshot is not asked again at once: the journal needs it more."""

TELLINGS_A_BLOCK: Final = 250
"""Pieces of the ledger packed in one turn of the loop: a millisecond."""


class Services(Protocol):
    """As much of a roster as is asked for."""

    def services(self) -> Iterable[Service]:
        """All of them. May be consumed with awaits between, while services come and go."""
        ...


@dataclass(frozen=True, slots=True)
class Closed:
    """A snapshot that is whole: where and when it was begun, how many services it holds, its bytes."""

    begun: Position
    at: InstantMs
    services: int
    size: int


@dataclass(frozen=True, slots=True)
class SnapshotStatistics:
    """The newest snapshot, and how many this process made.

    Attributes:
        written: Finished since the process began; `failures` could not be.
        at: Wall time at which the newest one was begun, or None before the first one.
        size: Its bytes. `services`: how many it holds.
        seconds: How long it took, if this process wrote it.
        covered: Behind which position the journal is kept because of snapshots.
    """

    written: int
    failures: int
    at: InstantMs | None
    size: int
    services: int
    seconds: float
    covered: Position


class SnapshotKeeper:
    """Keeps the snapshots of one journal.

    Args:
        files: Where they are.
        journal: Whose.
        roster: The services.
        in_order: Gives a service as it is; None where its actor crashed, or it is gone.
        rebuild: Gives a service whose actor crashed, as its actor will be rebuilt; None where it is gone.
        ledger: What has to be told, kept by the outbox.
        clock: For the instants in it.
        committed: How far the writer has come.
        last: The snapshot that this start went on from, or None.
    """

    def __init__(
        self,
        *,
        files: SnapshotFiles,
        journal: FileJournal,
        roster: Services,
        in_order: Callable[[ServiceId], Service | None],
        rebuild: Callable[[ServiceId], Awaitable[Service | None]],
        ledger: NotificationLedger,
        clock: Clock,
        committed: Callable[[], Position],
        last: Closed | None = None,
    ) -> None:
        self._files = files
        self._journal = journal
        self._roster = roster
        self._in_order = in_order
        self._rebuild = rebuild
        self._ledger = ledger
        self._clock = clock
        self._committed = committed
        # A journal with a limit must be let go of well before that.
        self._growth_max = min(GROWTH_BYTES_MAX, journal.statistics().bytes_max // SEGMENTS_MIN)
        self._writing = trio.Lock()
        self._covered = files.covered
        self._discarded = Position(0)
        self._last = last
        self._due_since = inf
        self._written = self._failures = 0
        self._seconds = 0.0

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write one whenever it is due, until cancelled."""
        task_status.started()
        while True:
            if self._is_due() and not await self.write():
                await trio.sleep(PAUSE_AFTER_FAILURE_SECONDS)
                continue
            await self._discard()
            await trio.sleep(LOOK_EVERY_SECONDS)

    def _is_due(self) -> bool:
        if self._last is None:
            return True
        grown = self._journal.durable - self._last.begun
        if grown < min(max(self._last.size, GROWTH_BYTES_MIN), self._growth_max):
            self._due_since = inf
            return False
        now = trio.current_time()
        self._due_since = min(self._due_since, now)
        is_behind = self._journal.durable - self._committed() > BEHIND_BYTES
        return not is_behind or now - self._due_since >= BEHIND_SECONDS

    async def finish(self) -> None:
        """Write a last one, unless the newest has everything. Bring a time limit."""
        if self._last is None or self._journal.newest > self._last.begun:
            await self.write()
            await self._discard()

    def statistics(self) -> SnapshotStatistics:
        """Counters for metrics and health."""
        last = self._last
        return SnapshotStatistics(
            written=self._written,
            failures=self._failures,
            at=None if last is None else last.at,
            size=0 if last is None else last.size,
            services=0 if last is None else last.services,
            seconds=self._seconds,
            covered=self._covered,
        )

    async def write(self) -> bool:
        """Write a snapshot; False where that failed, which is reported."""
        async with self._writing:
            since = trio.current_time()
            facts = Facts(
                journal_id=self._journal.journal_id,
                shard=self._journal.shard,
                begun=self._journal.newest,
                at=self._clock.now(),
                sighted=self._clock.sighted(),
            )
            try:
                services, size = await self._write_file(facts)
            except (OSError, MedicError) as error:
                self._failures += 1
                _log.error("no snapshot could be written; the journal is kept instead", reason=str(error))
                return False
            self._last = Closed(facts.begun, facts.at, services, size)
            self._covered = self._files.covered
            self._seconds = trio.current_time() - since
            self._written += 1
            _log.info("snapshot written", services=services, bytes=size, seconds=round(self._seconds, 3))
            return True

    async def _write_file(self, facts: Facts) -> tuple[int, int]:
        """How many services are in it, and its bytes."""
        file = await trio.to_thread.run_sync(self._files.begin)
        try:
            blocks = BlockWriter()
            head = blocks.block(FACTS, pack_facts(facts)) + blocks.block(BLIND, pack_blind(self._clock.blind))
            await trio.to_thread.run_sync(file.write, blocks.begin() + head)
            await self._write_ledger(file, blocks)
            services = await self._write_services(file, blocks)
            newest = self._journal.newest
            closing = blocks.block(CLOSING, pack_closing(Closing(newest, services))) + blocks.end()
            await trio.to_thread.run_sync(file.write, closing)
            await self._journal.wait_synced(newest)
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(file.finish, facts.begun)
        finally:
            file.abandon()
        await trio.to_thread.run_sync(self._files.remove_old)
        return services, file.size

    async def _write_ledger(self, file: UnfinishedSnapshot, blocks: BlockWriter) -> None:
        tellings = self._ledger.tellings()
        while slice_ := list(islice(tellings, TELLINGS_A_BLOCK)):
            position = self._journal.newest
            payload = pack_tellings(CopiedTelling(position, telling) for telling in slice_)
            await trio.to_thread.run_sync(file.write, blocks.block(LEDGER, payload))

    async def _write_services(self, file: UnfinishedSnapshot, blocks: BlockWriter) -> int:
        """The services, each as it is in the turn that packs it; how many."""
        iterator = iter(self._roster.services())
        count = 0
        while slice_ := list(islice(iterator, SERVICES_A_BLOCK)):
            crashed = [service.row.service_id for service in slice_ if self._in_order(service.row.service_id) is None]
            believed = [service for service in slice_ if service.row.service_id not in crashed] if crashed else slice_
            payload = pack_services(believed)
            count += len(believed)
            await trio.to_thread.run_sync(file.write, blocks.block(SERVICES, payload))
            for service_id in crashed:
                rebuilt = await self._rebuild(service_id)
                if rebuilt is not None:
                    count += 1
                    await trio.to_thread.run_sync(file.write, blocks.block(SERVICES, pack_services([rebuilt])))
        return count

    async def _discard(self) -> None:
        """Delete the segments that neither PostgreSQL nor a start needs any more."""
        position = Position(min(self._committed(), self._covered))
        if position <= self._discarded:
            return
        try:
            gone = await self._journal.discard(position)
        except OSError as error:
            _log.error("old journal files cannot be deleted", reason=str(error))
            return
        self._discarded = position
        if gone:
            _log.info("old journal files were deleted", bytes=gone)
