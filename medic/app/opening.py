"""From an empty start to everything that is known: the steps before anything is watched, in the only order that works.

1. The data directory is made, and locked: two processes on one journal would write one file.
2. PostgreSQL: our own is started, or the operators' is connected to.
3. The journal is opened, its torn tail cut, and the newest snapshot read.
4. The schema is brought up to date, and directory and database are held against each other: a journal of one must not
   be moved into another. Ids are refilled.
5. Snapshot, journal, and what PostgreSQL has beyond them, are folded into services (`medic.store.recovery`). Nothing is
   decided.
6. The watermark says how long Medic was away. That span is credited: sighted time goes on where it
   stood.

A start while PostgreSQL is away leaves step 4 for later, where there is a snapshot: services, open alerts, mutes, and
what was told, are in it. Everybody who asks the database is told that it is away, until `Opened.join` has found it and
has done step 4. Whether such a start is allowed is decided in one place, `_require_alone_allowed`.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Final

import structlog
import trio

from medic.actors.clock import SightedClock, wall_now
from medic.app.build import Stores
from medic.config.settings import Settings
from medic.core.blind import BlindSpan
from medic.core.policy import Defaults
from medic.core.units import InstantMs
from medic.errors import DatabaseUnavailableError
from medic.ports import Position, Webhook
from medic.store.embedded.server import EmbeddedServer, FirstStart, open_embedded_server
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.statistics import Sync
from medic.store.pairing import Gap, Pairing, Shorter, pair
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import Database, Observe, open_database
from medic.store.postgres.migrate import migrate
from medic.store.recovery import Recovered, garbage_kept, recover
from medic.store.snapshot.content import Snapshot
from medic.store.snapshot.files import SnapshotFiles
from medic.store.snapshot.keeper import Closed
from medic.store.tables.ids import BlockIds
from medic.store.tables.services import PgServiceStore
from medic.store.tables.webhook_copy import CopiedWebhooks
from medic.store.tables.webhooks import PgWebhookStore
from medic.store.watermark import Mark, Watermark, later, outage, resumes_at

_log = structlog.get_logger(__name__)

JOIN_EVERY_SECONDS: Final = 1.0
"""How often PostgreSQL is looked for after a start without it."""

JOIN_CONNECTIONS: Final = 2

NOT_JOINED: Final = "PostgreSQL was not there when Medic started, and has not been found yet"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a start found.

    Attributes:
        stores: What is durable.
        embedded: Our own PostgreSQL, or None for the operators'.
        clock: Both time lines, gone on from where they stood.
        recovered: Every service as it was, and what is still to be told.
        webhooks: Those there are, as PostgreSQL says, or said last.
        committed: How far the writer had brought the journal; 0 where PostgreSQL is away.
        snapshot: What services and journal were gone on from, or None.
        away: The span in which no Medic ran, or None where it was too short to matter.
        database_was_there: Whether PostgreSQL answered. Where it did not, `join` has still to be called.
    """

    stores: Stores
    embedded: EmbeddedServer | None
    clock: SightedClock
    recovered: Recovered
    webhooks: tuple[Webhook, ...]
    committed: Position
    snapshot: Closed | None
    away: BlindSpan | None
    database_was_there: bool
    _joining: _Joining

    async def join(self) -> None:
        """Return once PostgreSQL is there and belongs to this directory; from then on the database is no more away.

        Raises:
            ConfigurationError: it is there, and an operator has to change something.
        """
        await self._joining.join()
        self.stores.database.release()
        _log.info("PostgreSQL was found")


@dataclass(frozen=True, slots=True)
class _Joining:
    """Bringing database and directory together: schema, pairing, ids."""

    settings: Settings
    bridge: Bridge
    database: Database
    journal: FileJournal
    ids: BlockIds
    gap: Gap

    async def pairing(self, database: Database, shorter: Shorter) -> Pairing:
        """What PostgreSQL knows of this directory.

        Raises:
            ConfigurationError: an operator has to change something.
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        await migrate(database)
        pairing = await pair(database, self.journal, self.settings.storage.folder, gap=self.gap, shorter=shorter)
        await self.ids.refill(database)
        return pairing

    async def join(self) -> None:
        """Do it as soon as PostgreSQL is there, beside the database that everybody else is kept from."""
        target = self.database.target
        async with open_database(target, bridge=self.bridge, connections_max=JOIN_CONNECTIONS) as database:
            while True:
                try:
                    await self.pairing(database, Shorter.REFUSE)
                except DatabaseUnavailableError:
                    await trio.sleep(JOIN_EVERY_SECONDS)
                else:
                    return


@asynccontextmanager
async def open_stores(settings: Settings, observe: Observe, *, gap: Gap = Gap.REFUSE) -> AsyncIterator[Opened]:
    """Everything durable, opened and recovered, for the block. The directory is prepared and locked by the caller.

    Raises:
        ConfigurationError: something an operator has to change; one sentence says what.
        DatabaseUnavailableError: PostgreSQL does not answer, and nothing else says what is to be watched.
    """
    folder = settings.storage.folder
    async with open_bridge() as bridge:
        opening = partial(_open, settings, bridge=bridge, gap=gap)
        if settings.database.target is not None:
            async with open_database(settings.database.target, bridge=bridge, observe=observe) as database:
                yield await opening(database, None)
            return
        snapshots = SnapshotFiles(folder / "snapshot")
        first = FirstStart.MAY_FAIL if snapshots.any_kept else FirstStart.MUST_WORK
        async with (
            open_embedded_server(folder, bridge=bridge, first_start=first) as server,
            open_database(server.target, bridge=bridge, observe=observe) as database,
        ):
            yield await opening(database, server)


async def _open(
    settings: Settings, database: Database, embedded: EmbeddedServer | None, *, bridge: Bridge, gap: Gap
) -> Opened:
    folder = settings.storage.folder
    defaults = settings.tuning.defaults
    journal = FileJournal(
        folder / "journal",
        sync=Sync(settings.storage.journal_sync),
        bytes_max=settings.storage.journal_bytes_max,
        reserve_bytes=settings.storage.journal_reserve_bytes,
    )
    ids = BlockIds(folder)
    joining = _Joining(settings, bridge, database, journal, ids, gap)
    snapshots = SnapshotFiles(folder / "snapshot")
    watermark = Watermark(folder / "watermark")
    with garbage_kept():
        snapshot = await snapshots.read_newest(journal.journal_id, journal.oldest, defaults)
        pairing = await _pairing_or_alone(joining, snapshot)
        mark = watermark.read()
        if pairing is not None and pairing.mark is not None:
            mark = later(mark, pairing.mark.at, pairing.mark.sighted)
        now = wall_now()
        # Only for services whose registration reached neither a written state nor this journal: SQL inserted them.
        provisional = SightedClock(resume_at=resumes_at(mark, now, settings.storage.blind_max_ms))
        stored = None if pairing is None else PgServiceStore(database, ids, provisional, defaults)
        if pairing is not None and pairing.overtaken:
            _log.warning("another Medic worked on this database since; what it has written is taken, and nothing older")
            snapshot = None
        recovered = await _recovered(stored, journal, snapshot, pairing, defaults)
        closed = None if snapshot is None else _closed(snapshot, snapshots.newest_size)
    if recovered.last is not None:
        mark = later(mark, recovered.last.at, recovered.last.sighted)
    away = outage(mark, now, settings.storage.blind_max_ms)
    clock = _clock_after(mark, away, recovered, now, settings)
    webhooks = CopiedWebhooks(PgWebhookStore(database, clock), folder / "webhooks")
    stores = Stores(
        database=database,
        journal=journal,
        ids=ids,
        watermark=watermark,
        services=PgServiceStore(database, ids, clock, defaults),
        webhooks=webhooks,
        snapshots=snapshots,
    )
    known = await webhooks.all() if pairing is not None else await webhooks.last_seen()
    return Opened(
        stores=stores,
        embedded=embedded,
        clock=clock,
        recovered=recovered,
        webhooks=tuple(known),
        committed=Position(0) if pairing is None else pairing.committed,
        snapshot=closed,
        away=away,
        database_was_there=pairing is not None,
        _joining=joining,
    )


async def _pairing_or_alone(joining: _Joining, snapshot: Snapshot | None) -> Pairing | None:
    """What PostgreSQL knows of this directory; None where it is away and Medic may watch without it."""
    try:
        return await joining.pairing(joining.database, Shorter.GO_ON_BEHIND)
    except DatabaseUnavailableError as error:
        _require_alone_allowed(joining, snapshot, error)
    _log.warning("PostgreSQL is away; Medic watches what its snapshot and journal say")
    joining.database.hold(NOT_JOINED)
    return None


async def _recovered(
    stored: PgServiceStore | None,
    journal: FileJournal,
    snapshot: Snapshot | None,
    pairing: Pairing | None,
    defaults: Defaults,
) -> Recovered:
    """What snapshot, journal and PostgreSQL come to, each as far as it can be believed."""
    if pairing is not None and pairing.overtaken:
        return await recover(stored, journal, defaults, behind=journal.newest)
    if snapshot is not None and snapshot.newest > journal.newest:
        _log.error("the journal is shorter than the snapshot", bytes=snapshot.newest - journal.newest)
        await trio.to_thread.run_sync(journal.go_on_from, snapshot.newest)
    return await recover(stored, journal, defaults, snapshot=snapshot)


def _closed(snapshot: Snapshot, size: int) -> Closed:
    """What the keeper of the next ones has to know of this one."""
    return Closed(snapshot.facts.begun, snapshot.facts.at, len(snapshot.services), size)


def _require_alone_allowed(joining: _Joining, snapshot: Snapshot | None, error: DatabaseUnavailableError) -> None:
    """Return if Medic may watch without having seen PostgreSQL.

    Raises:
        DatabaseUnavailableError: there is nothing that says what to watch.
    """
    if snapshot is not None:
        return
    sentence = (
        f"{error.message}, and {joining.settings.storage.folder} holds no snapshot yet. The first start needs "
        "PostgreSQL; later ones do without."
    )
    raise DatabaseUnavailableError(sentence) from error


def _clock_after(
    mark: Mark | None, away: BlindSpan | None, recovered: Recovered, now: InstantMs, settings: Settings
) -> SightedClock:
    """Both time lines, gone on from where they stood, the absence among the spans of blindness."""
    blind = recovered.blind if away is None else recovered.blind.with_span(away)
    return SightedClock(resume_at=resumes_at(mark, now, settings.storage.blind_max_ms), blind=blind)
