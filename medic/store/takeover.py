"""What a takeover finds: what the other Medic left in PostgreSQL, and an old journal of its own.

Each Medic has a data directory and a journal of its own, and neither sees the other's. So whoever takes over begins
with what PostgreSQL has, and that is less than the other one's journal had:

* **Hot states** are up to a minute old for a service that was merely heard of (HARD-CASES H19). But each heartbeat is
  in `"heartbeatEvents"` a moment after it came: `heard_since` gives those that are newer than the state of their
  service, and recovery folds them as it folds a journal. A sign of life of which there is no row, a heartbeat over its
  limit or a fresh interval after blind time, is in the state alone, which is therefore written within a second of it
  (ten where the writer is behind). What is missing is the sign of that second: it is younger than the watermark says.
  It pages where the service had nearly missed its deadline when it came, and says nothing more until the takeover.
* **What is told and not told yet** is in `notifications`: `told_so_far` gives it as the journal's own records.
* **The tail**, what the writer had not moved yet, is not to be seen: two tenths of a second in ordinary times,
  everything since PostgreSQL went away where that came first. The watermark that the writer keeps beside its position
  says from where on (`Writer`), and the time from there to the takeover counts as blind: a service whose heartbeat may
  lie in it gets a fresh interval. An alert that opened in it is found again, and told under the same key.

The other direction: a directory that was active, was overtaken, and is to be active again holds a journal that ends in
the past. To fold it over what happened since would open alerts that were closed long ago and close what is open. So it
is not folded. The heartbeats in its tail were answered 201, and are written into PostgreSQL as what they are, history;
then the journal is put aside (`set_aside`), and a new one is begun. Alerts, mutes and notifications in the tail stay in
what was put aside: the Medic that took over has decided these matters since.
"""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.core.blind import SIGHTED_ALWAYS
from medic.core.effects import Effect, Notify, RecordHeartbeat, SettleNotification
from medic.core.heartbeat_words import kind_of
from medic.core.status import Outcome
from medic.core.units import EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.errors import DatabaseUnavailableError, InvariantError
from medic.ports import Entry, Journal, Position, Records
from medic.store.codec import decode
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.files import sync_directory
from medic.store.postgres.database import Database, Row
from medic.store.tables.state_rows import STATE_EVERY_SECONDS
from medic.store.tables.writer import Writer
from medic.store.watermark import Mark

_log = structlog.get_logger(__name__)

HEARD_WINDOW_MS: Final = round(3 * STATE_EVERY_SECONDS * 1000)
"""How far before the watermark heartbeats are looked at: a state is written within a minute of the first that it lacks,
and may have waited for its turn and for the transactions before it."""

TAIL_SECONDS: Final = 60.0
"""Longest wait for the tail to be written: an hour's heartbeats at a thousand a second take that long."""

_ASIDE: Final = "journal-overtaken"
"""Where an overtaken journal goes; the one before it there is removed."""

_HEARD: Final = """
SELECT h.service_id, h.heartbeat_id, h."time", h.status, h.run_id, h.said_at
FROM medic."heartbeatEvents" h JOIN medic.service_states t USING (service_id)
WHERE h."time" > $1 AND h."time" > coalesce(t.last_heartbeat_at, '-infinity') AND t.journal_id <> $2
ORDER BY h."time", h.heartbeat_id
"""
_TOLD: Final = """
SELECT notification_id, target, settled_at, attempts, outcome, detail, body FROM medic.notifications
WHERE body IS NOT NULL
  AND (outcome = '' OR alert_id IN (SELECT alert_id FROM medic.alerts WHERE active = 1))
ORDER BY decided_at, notification_id, target
"""


async def heard_since(database: Database, mark: Mark, journal_id: str) -> AsyncIterator[Sequence[RecordHeartbeat]]:
    """Heartbeats that are newer than the written state of their service, in the order they came, in slices.

    Args:
        database: Where the other Medic wrote.
        mark: Its last watermark. A heartbeat's sighted time is not stored, and is worked out from it.
        journal_id: Of our own journal, whose states need nothing added.
    """

    def heartbeat(row: Row) -> RecordHeartbeat:
        at = InstantMs(row["time"])
        return RecordHeartbeat(
            service_id=ServiceId(row["service_id"]),
            at=at,
            sighted=SightedMs(min(mark.sighted, at - (mark.at - mark.sighted))),
            heartbeat_id=EventId(row["heartbeat_id"]),
            kind=kind_of(row["status"]),
            status=row["status"],
            run_id=row["run_id"],
            said_at=row["said_at"],
        )

    async with aclosing(database.stream(_HEARD, InstantMs(mark.at - HEARD_WINDOW_MS), journal_id)) as slices:
        async for rows in slices:
            yield [heartbeat(row) for row in rows]


async def told_so_far(database: Database) -> AsyncIterator[Sequence[Effect]]:
    """The records of notifications that are pending, or belong to an open alert, and how those of them ended that did.

    In the order in which they were decided, in slices. A notification comes once for each of its targets.
    """
    async with aclosing(database.stream(_TOLD)) as slices:
        async for rows in slices:
            yield [effect for row in rows for effect in _records(row)]


async def set_aside(
    journal: FileJournal,
    directory: Path,
    *,
    database: Database,
    mark: Mark | None,
    after: Position,
    place: Path | None = None,
) -> None:
    """Write an overtaken journal's unwritten heartbeats into PostgreSQL, and move its directory out of the way.

    Args:
        journal: Opened and not run; it is of no use afterwards.
        directory: Its own.
        database: Where it was written so far.
        mark: The newest watermark in the database, which this must not move.
        after: The position up to which PostgreSQL has it.
        place: Where it goes; nothing is there. None: where an overtaken one goes, in place of the one before.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer for long. Nothing was moved; the next start tries again.
        OSError: the directory cannot be moved.
    """
    tail = journal.durable - after
    writer = Writer(
        database=database,
        journal=_HeartbeatsOf(journal),
        clock=_StoppedClock(mark or Mark(InstantMs(0), SightedMs(0))),
        state_of=lambda _: None,
        rejected=directory / "rejected",
        committed=after,
    )
    written = False
    async with trio.open_nursery() as nursery:
        await nursery.start(journal.run)
        if tail > 0:
            await nursery.start(writer.run)
            with trio.move_on_after(TAIL_SECONDS):
                await writer.finish()
                written = True
        nursery.cancel_scope.cancel()
    if tail > 0 and not written:
        raise DatabaseUnavailableError("an overtaken journal could not be written into PostgreSQL in time")
    place = directory.with_name(_ASIDE) if place is None else place
    await trio.to_thread.run_sync(_move, directory, place)
    _log.warning(
        "the database has gone another way than this directory's journal, which is put aside; a new one is begun",
        bytes_unwritten=tail,
        heartbeats_written=writer.statistics().rows,
        place=str(place),
    )


def _move(directory: Path, place: Path) -> None:
    if place.exists():
        shutil.rmtree(place)
    place.parent.mkdir(mode=0o700, exist_ok=True)
    directory.rename(place)
    sync_directory(place.parent)
    sync_directory(directory.parent)


class _StoppedClock:
    """Stands at a mark. Implements `ports.Clock`."""

    blind = SIGHTED_ALWAYS

    def __init__(self, mark: Mark) -> None:
        self._mark = mark
        self.skew = SkewMs(mark.at - mark.sighted)

    def now(self) -> InstantMs:
        """The mark's wall time."""
        return self._mark.at

    def sighted(self) -> SightedMs:
        """The mark's sighted time."""
        return self._mark.sighted


class _HeartbeatsOf:
    """A journal of which only the heartbeats are read. Implements what the writer asks of `ports.Journal`."""

    def __init__(self, journal: Journal) -> None:
        self.shard = journal.shard
        self.journal_id = journal.journal_id
        self.require_room = journal.require_room
        self.require_intake = journal.require_intake
        self.append_nowait = journal.append_nowait
        self.append_turn_nowait = journal.append_turn_nowait
        self.append_heartbeat_nowait = journal.append_heartbeat_nowait
        self.append_heartbeats_nowait = journal.append_heartbeats_nowait
        self.wait_durable = journal.wait_durable
        self.call_when_durable = journal.call_when_durable
        self.wait_newer = journal.wait_newer
        self._journal = journal

    @property
    def oldest(self) -> Position:
        """As the journal has it."""
        return self._journal.oldest

    @property
    def unreadable(self) -> Sequence[tuple[Position, Position]]:
        """As the journal has it."""
        return self._journal.unreadable

    @property
    def newest(self) -> Position:
        """As the journal has it."""
        return self._journal.newest

    @property
    def durable(self) -> Position:
        """As the journal has it."""
        return self._journal.durable

    async def read_after(self, position: Position, *, most: int) -> Sequence[Entry]:
        """The heartbeats among the next records, or among those after them where there are none; whole turns."""
        while entries := await self._journal.read_after(position, most=most):
            heartbeats = [entry for entry in entries if isinstance(entry.effect, RecordHeartbeat)]
            if heartbeats:
                return heartbeats
            position = entries[-1].position
        return ()

    async def read_records_after(self, position: Position, *, most: int) -> Records:
        """The same, decoded."""
        entries = await self.read_after(position, most=most)
        return Records([entry.position for entry in entries], [entry.effect for entry in entries])


def _records(row: Row) -> Sequence[Effect]:
    decided = decode(row["body"])
    if not isinstance(decided, Notify):
        raise InvariantError("a notification's row holds another record")
    if not row["outcome"]:
        return (decided,)
    ended = SettleNotification(
        at=InstantMs(row["settled_at"]),
        sighted=decided.sighted,
        notification_id=row["notification_id"],
        service_id=decided.service_id,
        target=row["target"],
        outcome=Outcome(row["outcome"]),
        attempts=row["attempts"],
        detail=row["detail"],
    )
    return (decided, ended)
