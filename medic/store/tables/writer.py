"""The writer: moves the journal into PostgreSQL, behind the heartbeats, in batches, every record exactly once.

The problem. A row at a time, PostgreSQL takes some thousands a second, and it may be away for hours. The journal has
every record in order, and one process reads it.

The invariant. `journal_positions` says how far the tables have come. Each transaction locks that row first, goes on
only if it stands where the batch begins, and moves it to the batch's end in the same commit. Nothing else makes a
record go in once and not twice: constraints cannot, on a table partitioned by day (HARD-CASES H16). So whatever
happens to a transaction, also a COMMIT whose answer was lost, the next one looks at the row and goes on from there.

The way. Read some `BATCH_RECORDS_MAX` records after the position, or what came within `BATCH_SECONDS`, at once
when somebody waits for it. The journal gives whole turns, so the tables are always as they were after some turn: a
Medic that takes over finds no alert closed of which the telling is only in a journal that it cannot see. Work out the
rows (`batch.py`), make the days they need, and write them set by set (`batch_tables.py`). Hot states go in transactions
of their own behind it (`state_rows.py`): each says which position it is as of, so they need not move with the batch,
and a state that is refused holds up no record.

In a storm. What a hundred thousand services that fall silent at once leave in the journal is worth ten seconds of this
core and of PostgreSQL's. While they are being decided the writer gives way (`calm`), but for `GIVES_WAY_SECONDS` at
most, and never to keep a reader waiting. Then alerts come before states, which say nothing that the alerts do not.

The watermark beside the position says up to which instant the tables have everything that came: not the clock's, but
`ANSWER_MS` before it where the writer has caught up, and the newest record's of the batch where it has not. Another
Medic that takes over cannot see this one's journal, and goes by that. Where nothing comes it moves all the same.

Errors. PostgreSQL away, restarting, out of space, deadlocked: the same batch again, after a pause, for as long as
it takes; the journal holds what comes meanwhile. A row that it refuses for what is in it: the batch is halved until
the record is alone, which is kept in `journal/rejected/`, counted and reported, and the rest goes on (H17). For
the moments of halving the tables may then stand within a turn; what was refused is missing in them for ever anyway. A
statement that is refused as such means that the schema or the role's privileges are not Medic's: an operator has to
act, so it is reported and tried again like an outage.

Numbers are in docs/decisions/0005-journal.md. Rejected there: INSERT for each record, executemany, logical decoding.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from math import inf
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.core.effects import AmendAlert, CloseAlert, Effect, OpenAlert
from medic.core.service import Service
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs
from medic.errors import DatabaseUnavailableError, JournalRefusedError
from medic.ports import Clock, Entry, Journal, Position, Records
from medic.store.journal.files import entries_of
from medic.store.postgres.database import Database, RowRefusedError, StatementRefusedError, Transaction
from medic.store.tables.batch import Batch
from medic.store.tables.batch_tables import store_batch
from medic.store.tables.rejected import RejectedRecords
from medic.store.tables.state_rows import DueStates, StateRow, state_row, store_states
from medic.store.watermark import Mark

_log = structlog.get_logger(__name__)

BATCH_RECORDS_MAX: Final = 20_000
"""Two seconds of intake at the promised peak: large enough that COPY is at its best, small enough for memory."""

BATCH_SECONDS: Final = 0.2
"""How old a record may get before its batch begins, where nobody waits for it."""

GIVES_WAY_SECONDS: Final = 4.0
"""How long a batch waits while a burst of deadlines is decided: a hundred thousand take about three."""

STATES_WAIT_SECONDS: Final = 10.0
"""How long states wait while the writer is behind with records: they are a shorter way to what those say."""

TURN_RECORDS: Final = 1_000
"""Records worked out between two chances for every other task: half a millisecond of heartbeats, five of alerts that
are read back from the files."""

TURN_STATES: Final = 500
"""States packed between two such chances: two to three milliseconds."""

PAUSE_FIRST_SECONDS: Final = 0.1
PAUSE_MAX_SECONDS: Final = 5.0
"""Pauses between two attempts while PostgreSQL is away: it is noticed within seconds that it is back."""

WATERMARK_SECONDS: Final = 5.0
"""How often the watermark moves where there is nothing to write. Another Medic that takes over counts the time since as
blind: a minute of it would page a minute late."""

ANSWER_MS: Final = 2_000
"""How long a record may be on its way into the journal: as long as a commit is waited for. The watermark keeps this far
back, so that everything that came before it is in PostgreSQL."""

DAYS_KNOWN_MAX: Final = 1_000
"""Days that are remembered to have their partition."""

_DAY_OF_1970: Final = dt.date(1970, 1, 1).toordinal()
_NO_PARTITION: Final = "23514"

_LOCK: Final = "SELECT position FROM medic.journal_positions WHERE journal_id = $1 FOR UPDATE"
_ENSURE: Final = """
INSERT INTO medic.journal_positions (journal_id, shard) VALUES ($1, $2) ON CONFLICT (journal_id) DO NOTHING
"""
_MOVE: Final = """
UPDATE medic.journal_positions SET position = $2, watermark_at = $3, watermark_sighted = $4, updated_at = now()
WHERE journal_id = $1
"""

StateOf = Callable[[ServiceId], Service | None]
"""The service as it is now. None: there is none, or it is being rebuilt and must not be written."""


class _MovedError(Exception):
    """The position row does not stand where the batch begins."""

    def __init__(self, position: Position) -> None:
        super().__init__(position)
        self.position = position


@dataclass(frozen=True, slots=True)
class WriterStatistics:
    """How far the writer has come, and what it did since the process began.

    Attributes:
        committed: The position up to which PostgreSQL has everything.
        backlog_bytes: Durable in the journal and not yet in PostgreSQL.
        lag_seconds: Age of the oldest record that is not in PostgreSQL; 0 where there is none.
        batches, rows: Committed. A row is one of any table but `service_states`.
        states: Rows of `service_states` written; `states_due` wait to be.
        rejected: Records that PostgreSQL will never take, kept in `journal/rejected/`.
        superseded: Older open alerts that were closed because a service had two.
        failing: Why it cannot write now, or None.
        progress_at: trio's clock when it last committed something, or found nothing to do.
    """

    committed: Position
    backlog_bytes: int
    lag_seconds: float
    batches: int
    rows: int
    states: int
    states_due: int
    rejected: int
    superseded: int
    failing: str | None
    progress_at: float


class Writer:
    """Moves one journal into one database.

    Args:
        database: Where to.
        journal: Where from.
        clock: Tells the age of records, and the watermark that is kept beside the position.
        state_of: Gives a service's hot state.
        rejected: Where records are kept that PostgreSQL will never take: `<data_dir>/journal/rejected`.
        committed: Where the position row stands, as far as is known; the row itself decides.
        calm: Returns once nothing more urgent than a batch wants the loop.
    """

    def __init__(
        self,
        *,
        database: Database,
        journal: Journal,
        clock: Clock,
        state_of: StateOf,
        rejected: Path,
        committed: int = 0,
        calm: Callable[[], Awaitable[None]] = trio.lowlevel.checkpoint,
    ) -> None:
        self._calm = calm
        self._database = database
        self._journal = journal
        self._clock = clock
        self._state_of = state_of
        self._kept = RejectedRecords(rejected)
        self._committed = Position(committed)
        self._due = DueStates()
        self._days: set[int] = set()
        self._woken = trio.Event()
        self._moved = trio.Event()
        self._stated = trio.Event()
        self._waiting = trio.CancelScope()
        self._giving_way = trio.CancelScope()
        self._finishing = False
        self._finished = trio.Event()
        self._is_behind = False
        self._until = Position(0)
        self._until_mark = Mark(InstantMs(0), SightedMs(0))
        self._marked_at = -inf
        self._stated_at = 0.0
        self._oldest_at: InstantMs | None = None
        self._failing: str | None = None
        self._progress_at = 0.0
        self._batches = self._rows = self._states = self._rejected = self._superseded = 0

    @property
    def committed(self) -> Position:
        """The position up to which PostgreSQL has everything."""
        return self._committed

    def wake(self) -> None:
        """Begin the next batch at once: somebody waits for what is in it."""
        self._woken.set()
        self._giving_way.cancel()

    async def wait_committed(self, position: Position) -> None:
        """Wake the writer, and return once PostgreSQL has everything up to `position`. Bring a time limit."""
        while self._committed < position:
            self.wake()
            await self._moved.wait()
        await trio.lowlevel.checkpoint()

    async def write_states(self, services: Sequence[ServiceId]) -> None:
        """Return once the hot states of these services were written, as they are by then."""
        self._due.add_changed(services)
        self._waiting.cancel()
        while any(service_id in self._due for service_id in services):
            await self._stated.wait()
        await trio.lowlevel.checkpoint()

    async def finish(self) -> None:
        """Return once PostgreSQL has everything durable and every hot state: an end in order. Bring a time limit."""
        self._finishing = True
        self._finished = trio.Event()
        self._waiting.cancel()
        self._giving_way.cancel()
        await self._finished.wait()

    def statistics(self) -> WriterStatistics:
        """Counters for metrics and health."""
        oldest = self._oldest_at
        return WriterStatistics(
            committed=self._committed,
            backlog_bytes=max(0, self._journal.durable - self._committed),
            lag_seconds=0.0 if oldest is None else max(0, self._clock.now() - oldest) / 1000,
            batches=self._batches,
            rows=self._rows,
            states=self._states,
            states_due=len(self._due),
            rejected=self._rejected,
            superseded=self._superseded,
            failing=self._failing,
            progress_at=self._progress_at,
        )

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Write until cancelled.

        Raises:
            OvertakenError: another process has taken this database over.
            UnreadableRecordError: the journal holds what this release does not know.
        """
        task_status.started()
        self._stated_at = trio.current_time()
        pause = PAUSE_FIRST_SECONDS
        while True:
            await self._wait_due()
            await self._give_way()
            try:
                await self._write_records()
                if not self._is_behind or trio.current_time() >= self._stated_at + STATES_WAIT_SECONDS:
                    await self._write_states()
            except _MovedError as moved:
                self._committed = moved.position
                _log.info("the writer goes on from the position in PostgreSQL", position=moved.position)
            except (DatabaseUnavailableError, StatementRefusedError, JournalRefusedError, OSError) as error:
                self._report_failing(str(error))
                await trio.sleep(pause)
                pause = min(2 * pause, PAUSE_MAX_SECONDS)
                continue
            pause = PAUSE_FIRST_SECONDS
            self._report_working()

    async def _wait_due(self) -> None:
        """Return once a batch or a state is due."""
        if self._is_behind or (self._finishing and not self._finished.is_set()):
            await trio.lowlevel.checkpoint()
            return
        # A journal in which nothing ever stood has nothing that another Medic could miss.
        mark_due = self._marked_at + WATERMARK_SECONDS if self._committed else inf
        due = min(self._due.next_due(), mark_due)
        with trio.CancelScope(deadline=due) as self._waiting:
            await self._journal.wait_newer(self._committed)
            with trio.move_on_after(BATCH_SECONDS):
                await self._woken.wait()

    async def _give_way(self) -> None:
        """Let what is more urgent go first, unless somebody waits for what the journal holds."""
        if not self._woken.is_set() and not self._finishing:
            with trio.move_on_after(GIVES_WAY_SECONDS) as self._giving_way:
                await self._calm()

    def _report_failing(self, reason: str) -> None:
        if self._failing is None:
            _log.warning("the writer cannot write; the journal holds what comes", reason=reason)
        self._failing = reason

    def _report_working(self) -> None:
        if self._failing is not None:
            _log.info("the writer writes again", backlog_bytes=self._journal.durable - self._committed)
        self._failing = None
        self._progress_at = trio.current_time()
        if self._finishing and self._committed >= self._journal.durable and not len(self._due):
            self._finished.set()

    # ------------------------------------------------------------------------------------------------------ records

    async def _write_records(self) -> None:
        """One batch, or as many as a refused row breaks it into."""
        self._woken = trio.Event()
        until = self._until = self._journal.durable
        self._until_mark = Mark(InstantMs(self._clock.now() - ANSWER_MS), SightedMs(self._clock.sighted() - ANSWER_MS))
        run = await self._journal.read_records_after(self._committed, most=BATCH_RECORDS_MAX)
        if run.records:
            self._oldest_at = _first_of(run).effect.at
            await self._write(run)
        elif self._committed < until:
            # Nothing there can be read; the journal has reported the damage.
            await self._store(Batch(), until, self._until_mark)
        elif self._committed and trio.current_time() >= self._marked_at + WATERMARK_SECONDS:
            await self._keep_watermark()
        self._is_behind = self._committed < until
        if not self._is_behind:
            self._oldest_at = None

    async def _write(self, run: Records) -> None:
        """All of the records but those that PostgreSQL will never take."""
        end = run.positions[-1]
        mark = self._until_mark if end >= self._until else _mark_of(run)
        try:
            batch = await self._batch_of(run.records)
            await self._store_with_days(batch, end, mark)
        except RowRefusedError as refused:
            half = len(run.records) // 2
            if half == 0:
                await self._reject(run, refused, mark)
                return
            await self._write(Records(run.positions[:half], run.records[:half]))
            await self._write(Records(run.positions[half:], run.records[half:]))

    async def _batch_of(self, records: Sequence[bytes | Effect]) -> Batch:
        batch = Batch()
        for first in range(0, len(records), TURN_RECORDS):
            batch.add_all(records[first : first + TURN_RECORDS])
            await trio.lowlevel.checkpoint()
        return batch

    async def _store_with_days(self, batch: Batch, end: Position, mark: Mark) -> None:
        try:
            await self._ensure_days(batch.heartbeats.days)
            await self._store(batch, end, mark)
        except RowRefusedError as refused:
            if refused.sqlstate != _NO_PARTITION or not batch.heartbeats.days:
                raise
            # A day that is still written to may have been dropped since it was made.
            self._days.clear()
            await self._ensure_days(batch.heartbeats.days)
            await self._store(batch, end, mark)

    async def _ensure_days(self, days: set[int]) -> None:
        for day in sorted(days - self._days):
            date = dt.date.fromordinal(_DAY_OF_1970 + day)
            await self._database.execute("SELECT medic.ensure_heartbeat_day($1)", date, operation="partition")
            if len(self._days) >= DAYS_KNOWN_MAX:
                self._days.clear()
            self._days.add(day)

    async def _store(self, batch: Batch, end: Position, mark: Mark) -> None:
        """The batch, and the position's move to `end` with the watermark, in one transaction."""
        async with self._database.transaction() as transaction:
            await self._lock_expected(transaction)
            superseded = await store_batch(transaction, batch)
            await self._move(transaction, end, mark)
        self._committed = end
        self._batches += 1
        self._rows += batch.rows
        self._superseded += superseded
        if superseded:
            _log.error("services had two open alerts; the older ones were closed", alerts=superseded)
        self._due.add_changed(batch.changed)
        self._due.add_unrowed(batch.unrowed, trio.current_time())
        self._due.add_heard(batch.heard, trio.current_time())
        self._moved.set()
        self._moved = trio.Event()

    async def _keep_watermark(self) -> None:
        """Move the watermark alone: nothing came, and it could have."""
        try:
            self._journal.require_room()
        except JournalRefusedError:
            self._marked_at = trio.current_time()
            return
        async with self._database.transaction() as transaction:
            await self._lock_expected(transaction)
            await self._move(transaction, self._committed, self._until_mark)

    async def _move(self, transaction: Transaction, end: Position, mark: Mark) -> None:
        await transaction.execute(_MOVE, self._journal.journal_id, end, mark.at, mark.sighted, operation="position")
        self._marked_at = trio.current_time()

    async def _lock_expected(self, transaction: Transaction) -> None:
        position = await self._lock(transaction)
        if position != self._committed:
            raise _MovedError(position)

    async def _lock(self, transaction: Transaction) -> Position:
        """Where the position row stands; nobody else moves it until the end of the transaction."""
        row = await transaction.fetchrow(_LOCK, self._journal.journal_id, operation="position")
        if row is None:
            await transaction.execute(_ENSURE, self._journal.journal_id, self._journal.shard, operation="position")
            return await self._lock(transaction)
        return Position(row["position"])

    async def _reject(self, run: Records, refused: RowRefusedError, mark: Mark) -> None:
        """Keep the one record of the run aside, and move on."""
        entry = _first_of(run)
        path = await trio.to_thread.run_sync(self._kept.keep, entry, refused.message)
        await self._store(Batch(), entry.position, mark)
        self._rejected += 1
        _log.error(
            "PostgreSQL will never take this record; it is kept aside",
            position=entry.position,
            kind=type(entry.effect).__name__,
            service_id=entry.effect.service_id,
            alert_id=_alert_of(entry.effect),
            sqlstate=refused.sqlstate,
            file=None if path is None else str(path),
        )

    # ------------------------------------------------------------------------------------------------------- states

    async def _write_states(self) -> None:
        """The states that are due, as they are now."""
        self._stated_at = trio.current_time()
        taken = self._due.take(inf if self._finishing else self._stated_at)
        if not taken:
            return
        done = False
        try:
            rows = await self._pack(taken)
            if rows:
                # A state must not be ahead of a journal that could still lose its newest records.
                await self._journal.wait_durable(Position(max(row.position for row in rows)))
                async with self._database.transaction() as transaction:
                    await self._lock(transaction)
                    await store_states(transaction, self._journal.journal_id, rows, self._clock.now())
            done = True
            self._states += len(rows)
        except RowRefusedError as refused:
            done = True
            _log.error("hot states were refused; the journal has them", states=len(taken), reason=refused.message)
        finally:
            if not done:
                self._due.add_changed(taken)
            self._stated.set()
            self._stated = trio.Event()

    async def _pack(self, services: Sequence[ServiceId]) -> list[StateRow]:
        rows: list[StateRow] = []
        skew = self._clock.skew
        for number, service_id in enumerate(services, start=1):
            service = self._state_of(service_id)
            if service is not None:
                rows.append(state_row(service, skew))
            if number % TURN_STATES == 0:
                await trio.lowlevel.checkpoint()
        return rows


def _first_of(run: Records) -> Entry:
    return entries_of(Records(run.positions[:1], run.records[:1]))[0]


def _mark_of(run: Records) -> Mark:
    """When the last record of the run was made."""
    last = entries_of(Records(run.positions[-1:], run.records[-1:]))[0].effect
    return Mark(last.at, last.sighted)


def _alert_of(effect: Effect) -> EventId | None:
    """The alert that a record is about, if it is about one."""
    return effect.alert.alert_id if isinstance(effect, OpenAlert | AmendAlert | CloseAlert) else None
