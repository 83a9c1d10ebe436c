"""From an empty start to everything that is known: the steps before anything is watched, in the only order that works.

1. The data directory is made, and locked: two processes on one journal would write one file.
2. PostgreSQL: our own is started, or the operators' is connected to. The schema is brought up to date.
3. This Medic becomes the active one of the database, or stands by until it does (`medic.store.postgres.leadership`).
   From here on every transaction shows its token.
4. The journal is opened, its torn tail cut. Where another Medic was active since, it is put aside, and a new one is
   begun (`medic.store.takeover`).
5. Directory and database are held against each other: a journal of one must not be moved into another. Ids are
   refilled.
6. What PostgreSQL has and the journal has beyond it are folded into services (`medic.store.recovery`). Nothing is
   decided.
7. The watermark says how long Medic was away, or since when PostgreSQL lacks what another Medic heard. That span is
   credited: sighted time goes on where it stood.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from medic.actors.clock import SightedClock, wall_now
from medic.app.build import Stores
from medic.config.settings import Settings
from medic.core.blind import BlindSpan
from medic.ports import Position
from medic.store.embedded.server import EmbeddedServer, open_embedded_server
from medic.store.journal.file_journal import FileJournal, Sync
from medic.store.pairing import Pairing, pair
from medic.store.postgres.bridge import open_bridge
from medic.store.postgres.database import Database, Observe, open_database
from medic.store.postgres.leadership import Identity, Leadership, Watch, lead
from medic.store.postgres.migrate import migrate
from medic.store.recovery import Inheritance, Recovered, recover
from medic.store.tables.ids import BlockIds
from medic.store.tables.services import PgServiceStore
from medic.store.tables.webhooks import PgWebhookStore
from medic.store.takeover import heard_since, set_aside, told_so_far
from medic.store.tokens import TokenFile
from medic.store.watermark import Watermark, later, outage, resumes_at


@dataclass(frozen=True, slots=True)
class Opened:
    """What a start found.

    Attributes:
        stores: What is durable.
        embedded: Our own PostgreSQL, or None for the operators'.
        leadership: By what this Medic is the active one.
        clock: Both time lines, gone on from where they stood.
        recovered: Every service as it was, and what is still to be told.
        committed: How far the writer had brought the journal.
        away: The span in which no Medic ran, or None where it was too short to matter.
    """

    stores: Stores
    embedded: EmbeddedServer | None
    leadership: Leadership
    clock: SightedClock
    recovered: Recovered
    committed: Position
    away: BlindSpan | None


@asynccontextmanager
async def open_stores(settings: Settings, observe: Observe, watch: Watch) -> AsyncIterator[Opened]:
    """Everything durable, opened and recovered, for the block. The directory is prepared and locked by the caller.

    Args:
        settings: From `medic.config`.
        observe: Told the seconds of each operation on PostgreSQL.
        watch: Told, while this Medic stands by, which one is active.

    Raises:
        ConfigurationError: something an operator has to change; one sentence says what.
        DatabaseUnavailableError: PostgreSQL does not answer.
    """
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(open_bridge())
        target, embedded = settings.database.target, None
        if target is None:
            embedded = await stack.enter_async_context(open_embedded_server(settings.storage.folder, bridge=bridge))
            target = embedded.target
        database = await stack.enter_async_context(open_database(target, bridge=bridge, observe=observe))
        await migrate(database)
        tokens = TokenFile(settings.storage.folder)
        leading = lead(target, bridge=bridge, identity=_identity(settings), tokens=tokens, watch=watch)
        leadership = await stack.enter_async_context(leading)
        # Whoever was active meanwhile may have been a newer release.
        await migrate(database)
        database.fence(leadership.token)
        yield await _open(settings, database, embedded, leadership)


def _identity(settings: Settings) -> Identity:
    return Identity(name=f"{socket.gethostname()} (process {os.getpid()})", address=settings.listen.base_url)


async def _open(
    settings: Settings, database: Database, embedded: EmbeddedServer | None, leadership: Leadership
) -> Opened:
    folder = settings.storage.folder
    defaults = settings.tuning.defaults
    journal, pairing = await _open_journal(settings, database, leadership)
    ids = BlockIds(folder)
    await ids.refill(database)
    watermark = Watermark(folder / "watermark")
    mark = watermark.read()
    if pairing.mark is not None:
        # The directory's own mark says when it was last awake, which says nothing where another one was active since.
        newest = None if leadership.inherits else mark
        mark = later(newest, pairing.mark.at, pairing.mark.sighted)
    now = wall_now()
    blind_max_ms = settings.storage.blind_max_ms
    # Only for services whose registration reached neither a written state nor this journal: SQL inserted them.
    provisional = SightedClock(resume_at=resumes_at(mark, now, blind_max_ms))
    loading = PgServiceStore(database, ids, provisional, defaults)
    inheritance = None
    if leadership.inherits and pairing.mark is not None:
        inheritance = Inheritance(heard_since(database, pairing.mark, journal.journal_id), told_so_far(database))
    recovered = await recover(loading.load(), journal, defaults, inheritance=inheritance)
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
    return Opened(stores, embedded, leadership, clock, recovered, pairing.committed, away)


async def _open_journal(settings: Settings, database: Database, leadership: Leadership) -> tuple[FileJournal, Pairing]:
    """The directory's journal, or a new one where its own ends before another Medic was active."""
    folder = settings.storage.folder
    directory, sync = folder / "journal", Sync(settings.storage.journal_sync)
    journal = FileJournal(directory, sync=sync)
    pairing = await pair(database, journal, folder)
    if not leadership.inherits or journal.newest == 0:
        return journal, pairing
    await set_aside(journal, directory, database=database, mark=pairing.mark, after=pairing.committed)
    fresh = FileJournal(directory, sync=sync)
    return fresh, replace(pairing, committed=Position(0))
