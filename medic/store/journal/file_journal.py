"""The journal: an append-only record of effects in a file, made durable for everybody who waits at once.

The problem. A heartbeat is answered 201 once it cannot be lost. A sync of the disk costs a quarter of a millisecond, a
millisecond with the hop to a thread: some hundreds a second, on a machine that can answer tens of thousands.

The workload. Up to 10 000 heartbeats a second of 48 bytes each, from hundreds of connections that each wait for their
answer; between them transitions, alerts and notifications, few, but never to be lost.

The way. `append_nowait` seals a frame and assigns its position in the caller's own turn (HARD-CASES H11), into memory.
One committer takes everything pending, writes and syncs it in a thread, and wakes all who wait for any of it; what
arrives meanwhile is the next commit. Under load commits grow by themselves, and nobody waits for longer than two syncs.

What `durable` means. With `Sync.ALWAYS`: synced. With `Sync.INTERVAL`: handed to the operating system, which outlives a
`kill -9` of Medic, and synced at most `SYNC_EVERY_SECONDS` later; alerts and notifications are synced in both.

When the disk fails (H15). A write or sync that raises, or is not back after `COMMIT_PATIENCE_SECONDS`, makes the
journal refuse: who waits, `require_room`, heartbeats (503). What was appended before is not forgotten, because actors
have already folded it: it stays in memory and is written first into a new file, which begins where the last good sync
ended. The failed file is never synced again and believed. As soon as a new file is whole the journal takes records
again, by itself. Where room is missing, the new file has that of the reserve, and heartbeats are refused until the
reserve is there again (`space.py`). Numbers, and what was rejected: docs/decisions/0005-journal.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from time import perf_counter
from typing import Final

import structlog
import trio

from medic.core.effects import CreditSigns, Effect, NoteHeartbeat, RecordHeartbeat
from medic.core.status import HeartbeatStatus
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import JournalRefusedError
from medic.ports import Entry, Position, Records, WhenDurable
from medic.store.codec import encode_plain_heartbeat, encode_plain_heartbeats
from medic.store.journal import limits
from medic.store.journal.commit import CommitMeter, Commits, Unsynced, run_call
from medic.store.journal.encoding import records_of
from medic.store.journal.files import SEGMENT_BYTES, Disk, JournalFiles, Opening
from medic.store.journal.frames import Pending
from medic.store.journal.reader import JournalReader
from medic.store.journal.recent import RecentRecords
from medic.store.journal.space import JOURNAL_BYTES_MAX, NO_ROOM, JournalSpace
from medic.store.journal.statistics import JournalStatistics, Sync

_log = structlog.get_logger(__name__)

_FAILING: Final = "The journal cannot be written at the moment."
_HANGING: Final = "The journal's disk does not answer at the moment."
_FULL: Final = "The journal cannot keep up with what comes in."
_STOPPING: Final = "Medic is stopping."

_SYNCED_LATER: Final[frozenset[type[Effect]]] = frozenset({RecordHeartbeat, NoteHeartbeat, CreditSigns})
"""What `Sync.INTERVAL` may answer for before it is synced. Everything else tells people, or undoes what was told."""


class FileJournal:
    """Implements `ports.Journal` on a directory. Opening it reads its files once: about a microsecond a record.

    Args:
        directory: `<data_dir>/journal`.
        sync: `MEDIC_JOURNAL_SYNC`.
        shard: Whose journal it is.
        disk: Where tests put a disk that fails.
        bytes_max: `MEDIC_JOURNAL_MAX_BYTES`.
        reserve_bytes: `MEDIC_JOURNAL_RESERVE_BYTES`.

    Raises:
        ConfigurationError: the directory holds what is no journal of this shard.
        OSError: it cannot be read or written.
    """

    def __init__(
        self,
        directory: Path,
        *,
        sync: Sync = Sync.ALWAYS,
        shard: int = 0,
        disk: Disk | None = None,
        bytes_max: int = JOURNAL_BYTES_MAX,
        reserve_bytes: int = 0,
    ) -> None:
        segment_bytes = min(SEGMENT_BYTES, bytes_max // limits.SEGMENTS_MIN)
        self._files = JournalFiles(directory, shard=shard, disk=disk, segment_bytes=segment_bytes)
        self._space = JournalSpace(directory, bytes_max=bytes_max, reserve_bytes=reserve_bytes)
        self._space.look()
        self._space.note_held(self._files.end - self._files.oldest)
        self._sync = sync
        self.shard = shard
        self._durable = self._synced = Position(self._files.end)
        self._pending = Pending(self._files.seed, self._files.end)
        self._unsynced = Unsynced()
        self._must_sync = False
        self._recent = RecentRecords(self._files.end)
        self._reader = JournalReader(self._files, self._recent)
        self._arrived = trio.Event()
        self._commits = Commits()
        self._committing_since: float | None = None
        self._failed = False
        self._closing = False
        self._refusal: str | None = None
        self._refusing_since: float | None = None
        self._writing = trio.CapacityLimiter(1)
        self._records = self._failures = 0
        self._meter = CommitMeter()
        self._measure_room()

    @property
    def journal_id(self) -> str:
        """Made with the directory."""
        return self._files.journal_id

    @property
    def opening(self) -> Opening:
        """What was found damaged or torn when the journal was opened."""
        return self._files.opening

    @property
    def unreadable(self) -> Sequence[tuple[Position, Position]]:
        """What could not be read, as far as anybody has tried to, in order."""
        return self._files.unreadable

    @property
    def newest(self) -> Position:
        """The last position assigned."""
        return Position(self._pending.newest)

    @property
    def durable(self) -> Position:
        """Everything up to here survives `kill -9`, and loss of power as far as `sync` says."""
        return self._durable

    @property
    def synced(self) -> Position:
        """Everything up to here survives a loss of power, whatever `sync` says."""
        return self._synced

    @property
    def oldest(self) -> Position:
        """Where the journal begins: what ended before it was discarded."""
        return Position(self._files.oldest)

    async def discard(self, position: Position) -> int:
        """Delete the files in which nothing after `position` stands; how many bytes of records are gone.

        Raises:
            OSError: a file cannot be deleted; it is tried again the next time.
        """
        gone = await trio.to_thread.run_sync(self._files.discard, position, limiter=self._writing)
        self._space.note_held(self.newest - self._files.oldest)
        return gone

    # ---------------------------------------------------------------------------------------------------- appending

    def require_room(self) -> None:
        """Return if the effects of one more turn will be taken.

        Raises:
            JournalRefusedError: they would not: full, failing or closed.
        """
        if self._pending.newest > self._turn_room_end:
            raise JournalRefusedError(self._refusal or _FULL)

    def require_intake(self) -> None:
        """Return if a heartbeat will be taken: what `require_room` asks, and room beyond what is kept for the rest.

        Raises:
            JournalRefusedError: it would not.
        """
        self.require_room()
        refusal = self._space.refusal
        if refusal is not None:
            raise JournalRefusedError(refusal, retry_after_seconds=limits.INTAKE_RETRY_SECONDS)

    def append_nowait(self, effect: Effect) -> Position:
        """As `append_turn_nowait` of an effect that is a turn of its own."""
        return self.append_turn_nowait((effect,))

    def append_turn_nowait(self, effects: Sequence[Effect]) -> Position:
        """Take the effects of one turn, at least one, and assign their positions; that of the last.

        All of them survive or none does: a commit holds the whole turn, and an opening cuts off what a crash left of
        one (`tail.py`).

        Raises:
            JournalRefusedError: full, failing or closed; none was taken.
            InvariantError: a record, or the turn, is longer than any can be.
        """
        records = records_of(effects)
        ends: Sequence[Position] = self._pending_with_room().add_turn(records)  # type: ignore[assignment]  # integers
        self._recent.add_turn(ends, effects)
        self._records += len(records)
        self._must_sync |= not _SYNCED_LATER.issuperset(map(type, effects))
        return ends[-1]

    def append_heartbeat_nowait(
        self,
        service_id: ServiceId,
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_id: EventId,
        kind: HeartbeatStatus,
    ) -> Position:
        """As `append_nowait` of the `RecordHeartbeat` that says so, its status being the word of its kind.

        Raises:
            JournalRefusedError: full, failing or closed.
        """
        record = encode_plain_heartbeat(service_id, at, sighted, heartbeat_id, kind)
        position = Position(self._pending_with_room().add(record))
        self._recent.add(position, record)
        self._records += 1
        return position

    def append_heartbeats_nowait(
        self,
        services: Sequence[ServiceId],
        at: InstantMs,
        sighted: SightedMs,
        heartbeat_ids: Sequence[EventId],
        kinds: Sequence[HeartbeatStatus],
    ) -> Sequence[Position]:
        """As `append_heartbeat_nowait` of each of them, at least one, in this order; the position of each.

        Raises:
            JournalRefusedError: full, failing or closed; none was taken.
        """
        records = encode_plain_heartbeats(services, at, sighted, heartbeat_ids, kinds)
        positions: Sequence[Position] = self._pending_with_room().add_many(records)  # type: ignore[assignment]  # a range
        self._recent.add_many(positions, records)
        self._records += len(records)
        return positions

    def _pending_with_room(self) -> Pending:
        """Where the next frame goes, which the committer knows of by then.

        Raises:
            JournalRefusedError: full, failing or closed.
        """
        pending = self._pending
        if pending.newest > self._room_end:
            raise JournalRefusedError(self._refusal or _FULL)
        if pending.newest == pending.taken:
            self._arrived.set()  # told of the first frame, the committer takes all that are there
        return pending

    def _measure_room(self) -> None:
        """Work out up to which position records are taken, so that each of them has one comparison to pay for it."""
        if self._refusal is not None:
            self._room_end = self._turn_room_end = -1
        else:
            self._room_end = self._synced + limits.PENDING_BYTES_MAX
            self._turn_room_end = self._room_end - limits.TURN_BYTES_MAX

    async def wait_durable(self, position: Position) -> None:
        """Return once `durable >= position`.

        Raises:
            JournalRefusedError: the disk fails. The record is kept, and written once the disk takes it again; whoever
                needs to know asks again.
        """
        if self._durable >= position:
            await trio.lowlevel.checkpoint()
            return
        while self._durable < position:
            if self._refusal is not None:
                raise JournalRefusedError(self._refusal)
            await self._commits.commit_of(position).wait_settled()

    def call_when_durable(self, position: Position, call: WhenDurable) -> None:
        """As `wait_durable`, without a task that waits: `call` is run in the turn that learns of the commit."""
        if self._durable >= position:
            run_call(call, None)
        elif self._refusal is not None:
            run_call(call, JournalRefusedError(self._refusal))
        else:
            self._commits.commit_of(position).add_call(call)

    async def wait_synced(self, position: Position) -> None:
        """Return once everything up to `position` survives a loss of power, whatever `sync` says.

        Raises:
            JournalRefusedError: the disk fails.
        """
        await trio.lowlevel.checkpoint()
        while self._synced < position:
            if self._refusal is not None:
                raise JournalRefusedError(self._refusal)
            self._must_sync = True
            self._arrived.set()
            await self._commits.soonest().wait_settled()

    async def prove(self) -> None:
        """Return once a commit and a sync that began from now on came back: records would be kept, though none comes.

        Raises:
            JournalRefusedError: the disk fails, or does not answer.
        """
        await trio.lowlevel.checkpoint()
        if self._refusal is None:
            self._must_sync = True
            self._arrived.set()
            await self._commits.next().wait_settled()
        if self._refusal is not None:
            raise JournalRefusedError(self._refusal)

    async def wait_newer(self, position: Position) -> None:
        """Return once `durable > position`."""
        await trio.lowlevel.checkpoint()
        while self._durable <= position:
            await self._commits.soonest().wait_settled()

    async def read_after(self, position: Position, *, most: int) -> Sequence[Entry]:
        """Some `most` durable records after `position`, in order, whole turns; none where there are none yet.

        Raises:
            UnreadableRecordError: a whole frame holds what this release does not know.
        """
        return await self._reader.entries(position, self._durable, most=most)

    async def read_records_after(self, position: Position, *, most: int) -> Records:
        """The same, not decoded."""
        return await self._reader.records(position, self._durable, most=most)

    def go_on_from(self, position: Position) -> None:
        """Go on behind `position`, which somebody remembers and the files do not. Before `run`; blocks."""
        self._files.begin_anew(position, b"")
        self._durable = self._synced = position
        self._pending.begin_at(position)
        self._recent.begin_at(position)
        self._measure_room()

    def statistics(self) -> JournalStatistics:
        """Counters for metrics and health."""
        return JournalStatistics(
            newest=self.newest,
            durable=self._durable,
            records=self._records,
            bytes=self._meter.bytes,
            commits=self._meter.commits,
            commit_counts=tuple(self._meter.counts),
            commit_seconds_total=self._meter.seconds_total,
            commit_seconds_max=self._meter.seconds_max,
            commit_seconds_last=self._meter.seconds_last,
            pending_bytes=len(self._pending) + self._unsynced.bytes,
            refusing=self._refusal,
            refusing_since=self._refusing_since,
            failures=self._failures,
            committing_since=self._committing_since,
            damaged_bytes=self._files.damaged_bytes,
            segments=self._files.segments,
            held_bytes=self.newest - self._files.oldest,
            bytes_max=self._space.bytes_max,
            reserved_bytes=self._space.reserved_bytes,
            refusing_intake=self._space.refusal,
        )

    # --------------------------------------------------------------------------------------------------- committing

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Commit what is appended until cancelled; then commit the rest, and close the journal for good."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch)
                nursery.start_soon(self._space.keep, lambda: self.newest - self._files.oldest)
                task_status.started()
                while True:
                    if not self._failed:
                        await self._wait_arrived()
                    await self._commit()
        finally:
            await self._close()

    async def _wait_arrived(self) -> None:
        """Return once there is something to write, or to sync."""
        with trio.move_on_after(max(0.0, self._unsynced.since + limits.SYNC_EVERY_SECONDS - trio.current_time())):
            await self._arrived.wait()

    async def _commit(self) -> None:
        """Write what is pending, sync it if that is due, and wake who waits for it."""
        self._arrived = trio.Event()
        self._commits.begin(self.newest)
        self._committing_since = trio.current_time()
        began = perf_counter()
        try:
            written = await (self._begin_anew() if self._failed else self._write())
        except OSError as error:
            self._failed = True
            self._failures += 1
            self._refuse(_FAILING)
            await self._make_room(error)
            _log.error("the journal's file cannot be trusted any more; beginning a new one", reason=str(error))
            return
        finally:
            self._committing_since = None
        self._meter.observe(perf_counter() - began, written)
        self._settle()

    async def _write(self) -> int:
        """Append what is pending to the file, and sync where that is due; the number of bytes."""
        start = self._synced + self._unsynced.bytes
        frames = self._pending.take(self._synced)
        self._unsynced.add(frames)
        overdue = trio.current_time() - self._unsynced.since >= limits.SYNC_EVERY_SECONDS
        syncing = self._sync is Sync.ALWAYS or self._must_sync or overdue
        self._must_sync = False
        append = self._files.append_durably if syncing else self._files.append
        with trio.CancelScope(shield=True):
            await trio.to_thread.run_sync(append, frames, start, limiter=self._writing)
        self._durable = Position(start + len(frames))
        if syncing:
            self._forget_unsynced()
        return len(frames)

    def _forget_unsynced(self) -> None:
        self._synced = self._durable
        self._unsynced.forget()
        self._measure_room()

    def _settle(self) -> None:
        """Take records again if they were refused, and wake who waited for this commit."""
        self._refusal = _STOPPING if self._closing else None
        self._refusing_since = None
        self._measure_room()
        self._space.note_held(self._durable - self._files.oldest)
        self._commits.settle()

    # ------------------------------------------------------------------------------------------------ a disk that fails

    def _refuse(self, reason: str) -> None:
        """Refuse from now on, and tell everybody who waits."""
        self._refusal = reason
        self._refusing_since = trio.current_time()
        self._measure_room()
        self._commits.refuse(JournalRefusedError(reason))

    async def _begin_anew(self) -> int:
        """Begin a new file with everything that no sync covers, until one is whole; the number of bytes in it."""
        self._unsynced.add(self._pending.take(-1))
        backlog = self._unsynced.joined()
        pause = limits.RETRY_FIRST_SECONDS
        while True:
            try:
                with trio.CancelScope(shield=True):
                    await trio.to_thread.run_sync(
                        self._files.begin_anew, int(self._synced), backlog, limiter=self._writing
                    )
            except OSError as error:
                self._failures += 1
                await self._make_room(error)
                _log.error("no new journal file can be begun yet", reason=str(error), waiting_bytes=len(backlog))
                await trio.sleep(pause)
                pause = min(2 * pause, limits.RETRY_MAX_SECONDS)
                continue
            break
        self._failed = False
        self._durable = Position(self._synced + len(backlog))
        self._forget_unsynced()
        _log.warning("the journal goes on in a new file", position=self._durable)
        return len(backlog)

    async def _make_room(self, error: OSError) -> None:
        """Use the reserve, if room is what is missing."""
        if error.errno in NO_ROOM:
            with trio.CancelScope(shield=True):
                await trio.to_thread.run_sync(self._space.release, limiter=self._writing)

    async def _watch(self) -> None:
        """Refuse while a commit does not come back; it is taken up again by itself once it does."""
        seen, looks = None, 0  # not the clock: while this process is stopped nobody looks, and its disk is not to blame
        while True:
            await trio.sleep(limits.WATCH_EVERY_SECONDS)
            since = self._committing_since
            looks = looks + 1 if since is not None and since == seen else 0
            seen = since
            if looks * limits.WATCH_EVERY_SECONDS >= limits.COMMIT_PATIENCE_SECONDS and self._refusal is None:
                _log.error("the disk under the journal does not answer", looks=looks)
                self._refuse(_HANGING)

    async def _close(self) -> None:
        """Commit the rest and take nothing more."""
        self._closing = True
        with trio.CancelScope(deadline=trio.current_time() + limits.CLOSE_SECONDS, shield=True):
            while len(self._pending) or self._unsynced.bytes:
                self._must_sync = True
                await self._commit()
        lost = self.newest - self._synced
        if lost:
            _log.error("the journal was closed with records that could not be synced", bytes=lost)
        self._refuse(_STOPPING)
        self._files.close()
