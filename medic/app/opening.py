"""From an empty start to everything that is known: the steps before anything is watched, in the only order that works.

1. The data directory is made, and locked: two processes on one journal would write one file.
2. PostgreSQL: our own is started, or the operators' is connected to. The schema is brought up to date.
3. The journal is opened, its torn tail cut.
4. Directory and database are held against each other: a journal of one must not be moved into another. Ids are
   refilled.
5. What PostgreSQL has and the journal has beyond it are folded into services (`medic.store.recovery`). Nothing is
   decided.
6. The watermark says how long Medic was away. That span is credited: sighted time goes on where it
   stood.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from medic.actors.clock import SightedClock, wall_now
from medic.app.build import Stores
from medic.config.settings import Settings
from medic.core.blind import BlindSpan
from medic.ports import Position
from medic.store.embedded.server import EmbeddedServer, open_embedded_server
from medic.store.journal.file_journal import FileJournal, Sync
from medic.store.pairing import pair
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, Observe, open_database
from medic.store.postgres.migrate import migrate
from medic.store.recovery import Recovered, recover
from medic.store.tables.ids import BlockIds
from medic.store.tables.services import PgServiceStore
from medic.store.tables.webhooks import PgWebhookStore
from medic.store.watermark import Watermark, later, outage, resumes_at


@dataclass(frozen=True, slots=True)
class Opened:
    """What a start found.

    Attributes:
        stores: What is durable.
        embedded: Our own PostgreSQL, or None for the operators'.
        clock: Both time lines, gone on from where they stood.
        recovered: Every service as it was, and what is still to be told.
        committed: How far the writer had brought the journal.
        away: The span in which no Medic ran, or None where it was too short to matter.
    """

    stores: Stores
    embedded: EmbeddedServer | None
    clock: SightedClock
    recovered: Recovered
    committed: Position
    away: BlindSpan | None


@asynccontextmanager
async def open_stores(settings: Settings, observe: Observe) -> AsyncIterator[Opened]:
    """Everything durable, opened and recovered, for the block. The directory is prepared and locked by the caller.

    Raises:
        ConfigurationError: something an operator has to change; one sentence says what.
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    async with open_bridge() as bridge:
        if settings.database.target is not None:
            async with open_database(settings.database.target, bridge=bridge, observe=observe) as database:
                yield await _open(settings, database, None)
            return
        async with (
            open_embedded_server(settings.storage.folder, bridge=bridge) as server,
            open_database(server.target, bridge=bridge, observe=observe) as database,
        ):
            yield await _open(settings, database, server)


async def _open(settings: Settings, database: Database, embedded: EmbeddedServer | None) -> Opened:
    folder = settings.storage.folder
    defaults = settings.tuning.defaults
    await migrate(database)
    journal = FileJournal(folder / "journal", sync=Sync(settings.storage.journal_sync))
    pairing = await pair(database, journal, folder)
    ids = BlockIds(folder)
    await ids.refill(database)
    watermark = Watermark(folder / "watermark")
    mark = watermark.read()
    if pairing.mark is not None:
        mark = later(mark, pairing.mark.at, pairing.mark.sighted)
    now = wall_now()
    blind_max_ms = settings.storage.blind_max_ms
    # Only for services whose registration reached neither a written state nor this journal: SQL inserted them.
    provisional = SightedClock(resume_at=resumes_at(mark, now, blind_max_ms))
    loading = PgServiceStore(database, ids, provisional, defaults)
    recovered = await recover(loading.load(), journal, defaults)
    if recovered.last is not None:
        mark = later(mark, recovered.last.at, recovered.last.sighted)
    now = wall_now()  # loading took its time, and nothing could be heard meanwhile
    away = outage(mark, now, blind_max_ms)
    blind = recovered.blind if away is None else recovered.blind.with_span(away)
    clock = SightedClock(resume_at=resumes_at(mark, now, blind_max_ms), blind=blind)
    clock.stand_still("down")  # until HTTP is about to listen: `begin`
    stores = Stores(
        database=database,
        journal=journal,
        ids=ids,
        watermark=watermark,
        services=PgServiceStore(database, ids, clock, defaults),
        webhooks=PgWebhookStore(database, clock),
    )
    return Opened(stores, embedded, clock, recovered, pairing.committed, away)
