"""From an empty start to everything that is known: the steps before anything is watched, in the only order that works.

1. The data directory is made, and locked: two processes on one journal would write one file.
2. PostgreSQL: our own is started, or the operators' is connected to. The schema is brought up to date.
3. This Medic becomes the active one of the database, or stands by until it does (`medic.store.postgres.leadership`).
   From here on every transaction shows its token.
   Before that, directory and database are asked whether one is newer than the other can be (`medic.store.restored`).
4. The journal is opened, its torn tail cut. Directory and database are held against each other: a journal of one must
   not be moved into another. Ids are refilled. Where another Medic was active since, the journal is put aside, and a
   new one is begun (`medic.store.takeover`).
5. The newest snapshot, the journal behind it, and what PostgreSQL has beyond them, are folded into services
   (`medic.store.recovery`). Nothing is decided.
6. The watermark says how long Medic was away, or since when PostgreSQL lacks what another Medic heard. That span is
   credited: sighted time goes on where it stood. A journal whose end is lost says nothing about the time after its
   last record, whatever the watermark says, so the span begins there.

A start while PostgreSQL is away leaves out what has to do with it, where the directory was the active one last and has
a snapshot: services, open alerts, mutes, and what was told, are in that. Everybody who asks the database is told that
it is away, until `Opened.join` has found it and done what was left out.
"""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import structlog
import trio

from medic.access.keys import KeyRing
from medic.actors.clock import SightedClock, wall_now
from medic.app.build import Stores
from medic.app.logs import CONCEALER
from medic.app.secrets import sealing_of
from medic.config.settings import Settings
from medic.core.afresh import begin_afresh
from medic.core.blind import RESTORED, BlindSpan
from medic.core.units import DurationMs, InstantMs, SightedMs
from medic.core.webhook import Webhook
from medic.errors import DatabaseUnavailableError
from medic.ports import Position
from medic.store.embedded.server import EmbeddedServer, FirstStart, open_embedded_server
from medic.store.journal.file_journal import FileJournal
from medic.store.journal.statistics import Sync
from medic.store.pairing import Gap, Pairing, Shorter, pair
from medic.store.postgres.bridge import Bridge, open_bridge
from medic.store.postgres.database import Database, Observe, open_database
from medic.store.postgres.leadership import Identity, Leadership, Watch, lead, lead_alone
from medic.store.postgres.migrate import migrate
from medic.store.postgres.target import ConnectionTarget
from medic.store.recovery import Inheritance, Recovered, garbage_kept, recover
from medic.store.restored import Discard, carry_out, close_unknown, find_discard, is_copy, settle, skip_ids
from medic.store.snapshot.content import Snapshot
from medic.store.snapshot.files import SnapshotFiles
from medic.store.snapshot.keeper import Closed
from medic.store.tables.ids import BlockIds
from medic.store.tables.key_copy import KeyCopy
from medic.store.tables.keys import PgKeyStore
from medic.store.tables.secret_copy import SecretCopy
from medic.store.tables.secrets import PgSecretStore
from medic.store.tables.services import PgServiceStore
from medic.store.tables.webhook_copy import CopiedWebhooks
from medic.store.tables.webhooks import PgWebhookStore
from medic.store.takeover import heard_since, set_aside, told_so_far
from medic.store.tokens import TokenFile, may_start_alone
from medic.store.vault import Vault
from medic.store.watermark import Mark, Watermark, later, outage, resumes_at

_log = structlog.get_logger(__name__)

JOIN_EVERY_SECONDS: Final = 1.0
"""How often PostgreSQL is looked for after a start without it."""

JOIN_CONNECTIONS: Final = 2

AFRESH_SLICE: Final = 1_000
"""Services given a fresh start between two chances for other tasks: a few milliseconds."""

_UNBOUNDED_MS: Final = DurationMs(1 << 53)
"""Since a backup was made all time counts as blind, however long that is."""

NOT_JOINED: Final = "PostgreSQL was not there when Medic started, and has not been found yet"


@dataclass(frozen=True, slots=True)
class Opened:
    """What a start found.

    Attributes:
        stores: What is durable.
        embedded: Our own PostgreSQL, or None for the operators'.
        leadership: By what this Medic is the active one.
        clock: Both time lines, gone on from where they stood.
        recovered: Every service as it was, and what is still to be told.
        webhooks: Those there are, as PostgreSQL says, or said last.
        keys: The API keys there are, likewise.
        committed: How far the writer had brought the journal; 0 where PostgreSQL is away.
        snapshot: What services and journal were gone on from, or None.
        awake_until: The last instant at which a Medic may have answered; 0 at the first start.
        away: The span in which no Medic ran, or None where it was too short to matter.
        is_afresh: It is a backup that is gone on from: nothing that was pending is told.
        database_was_there: Whether PostgreSQL answered. Where it did not, `join` has still to be called.
    """

    stores: Stores
    embedded: EmbeddedServer | None
    leadership: Leadership
    clock: SightedClock
    recovered: Recovered
    webhooks: tuple[Webhook, ...]
    keys: KeyRing
    committed: Position
    snapshot: Closed | None
    awake_until: InstantMs
    away: BlindSpan | None
    is_afresh: bool
    database_was_there: bool
    _joining: _Joining

    async def join(self) -> None:
        """Return once PostgreSQL is there and belongs to this directory; from then on the database is no more away.

        Raises:
            ConfigurationError: it is there, and an operator has to change something.
            OvertakenError: it is there, and another Medic is the active one.
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
    leadership: Leadership
    discard: Discard | None = None
    is_copy: bool = False

    async def pairing(self, database: Database, shorter: Shorter) -> Pairing:
        """What PostgreSQL knows of this directory.

        Raises:
            ConfigurationError: an operator has to change something.
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        await migrate(database)
        folder, gap = self.settings.storage.folder, self.gap
        if gap is Gap.DISCARD:
            gap = Gap.REFUSE if self.discard is None else Gap.ACCEPT
        pairing = await pair(database, self.journal, folder, gap=gap, shorter=shorter)
        if self.is_copy:
            await skip_ids(database)
        await self.ids.refill(database)
        return pairing

    async def join(self) -> None:
        """Do it as soon as PostgreSQL is there, beside the database that everybody else is kept from."""
        target = self.database.target
        async with open_database(target, bridge=self.bridge, connections_max=JOIN_CONNECTIONS) as database:
            database.fence(self.leadership.token)
            while True:
                try:
                    await self.pairing(database, Shorter.REFUSE)
                except DatabaseUnavailableError:
                    await trio.sleep(JOIN_EVERY_SECONDS)
                else:
                    return


@asynccontextmanager
async def open_stores(
    settings: Settings, observe: Observe, watch: Watch, *, gap: Gap = Gap.REFUSE
) -> AsyncIterator[Opened]:
    """Everything durable, opened and recovered, for the block. The directory is prepared and locked by the caller.

    Args:
        settings: From `medic.config`.
        observe: Told the seconds of each operation on PostgreSQL.
        watch: Told, while this Medic stands by, which one is active.
        gap: Whether a span of the journal may be missing that PostgreSQL has not got.

    Raises:
        ConfigurationError: something an operator has to change; one sentence says what.
        DatabaseUnavailableError: PostgreSQL does not answer, and nothing else says what is to be watched.
    """
    folder = settings.storage.folder
    snapshots = SnapshotFiles(folder / "snapshot")
    async with AsyncExitStack() as stack:
        bridge = await stack.enter_async_context(open_bridge())
        target, embedded = settings.database.target, None
        if target is None:
            first = FirstStart.MAY_FAIL if snapshots.any_kept else FirstStart.MUST_WORK
            running = open_embedded_server(folder, bridge=bridge, first_start=first)
            embedded = await stack.enter_async_context(running)
            target = embedded.target
        database = await stack.enter_async_context(open_database(target, bridge=bridge, observe=observe))
        candidate = _Candidate(settings, bridge, target, TokenFile(folder), watch)
        discard, copied = None, False
        try:
            await migrate(database)
            discard = await find_discard(database, folder, candidate.tokens, gap=gap, at=wall_now())
            leadership = await candidate.lead(stack)
            # Whoever was active meanwhile may have been a newer release.
            await migrate(database)
            if discard is not None:
                await carry_out(database, folder, discard)
            copied = await is_copy(database)
            is_there = True
        except DatabaseUnavailableError as error:
            _require_alone_allowed(candidate.tokens, snapshots, folder, error)
            leadership = await candidate.lead_alone(stack)
            is_there = False
            database.hold(NOT_JOINED)
        database.fence(leadership.token)
        journal = _open_journal(settings)
        joining = _Joining(settings, bridge, database, journal, BlockIds(folder), gap, leadership, discard, copied)
        yield await _open(joining, embedded, snapshots, is_there=is_there)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """This process, as one that wants to be the active Medic."""

    settings: Settings
    bridge: Bridge
    target: ConnectionTarget
    tokens: TokenFile
    watch: Watch

    async def lead(self, stack: AsyncExitStack) -> Leadership:
        """Stand by for as long as another one is active, then lead until the stack ends."""
        leading = lead(self.target, bridge=self.bridge, identity=self._identity, tokens=self.tokens, watch=self.watch)
        return await stack.enter_async_context(leading)

    async def lead_alone(self, stack: AsyncExitStack) -> Leadership:
        """Lead without PostgreSQL."""
        leading = lead_alone(
            self.target, bridge=self.bridge, identity=self._identity, tokens=self.tokens, since=wall_now()
        )
        return await stack.enter_async_context(leading)

    @property
    def _identity(self) -> Identity:
        return Identity(name=f"{socket.gethostname()} (process {os.getpid()})", address=self.settings.listen.base_url)


def _open_journal(settings: Settings) -> FileJournal:
    storage = settings.storage
    return FileJournal(
        storage.folder / "journal",
        sync=Sync(storage.journal_sync),
        bytes_max=storage.journal_bytes_max,
        reserve_bytes=storage.journal_reserve_bytes,
    )


async def _open(
    joining: _Joining, embedded: EmbeddedServer | None, snapshots: SnapshotFiles, *, is_there: bool
) -> Opened:
    settings, database, ids = joining.settings, joining.database, joining.ids
    folder, defaults, blind_max_ms = settings.storage.folder, settings.tuning.defaults, settings.storage.blind_max_ms
    inherits = joining.leadership.inherits
    is_afresh = inherits and joining.is_copy
    watermark = Watermark(folder / "watermark")
    mark = watermark.read()
    with garbage_kept():
        pairing = None
        if is_there:
            pairing = await joining.pairing(database, Shorter.GO_ON_BEHIND)
            if inherits:
                await trio.to_thread.run_sync(snapshots.remove_all)
            if inherits and joining.journal.newest:
                joining, pairing = await _begin_new_journal(joining, pairing)
        journal = joining.journal
        if pairing is not None and pairing.mark is not None:
            # The directory's own mark says when it was last awake, which says nothing where another was active since.
            mark = later(None if inherits else mark, pairing.mark.at, pairing.mark.sighted)
        snapshot = await snapshots.read_newest(journal.journal_id, journal.oldest, defaults)
        if pairing is None and snapshot is None:
            raise DatabaseUnavailableError(f"PostgreSQL does not answer, and no snapshot in {folder} can be read")
        # Only for services whose registration reached neither a written state nor this journal: SQL inserted them.
        provisional = SightedClock(resume_at=resumes_at(mark, wall_now(), blind_max_ms))
        stored = None if pairing is None else PgServiceStore(database, ids, provisional, defaults)
        inheritance = None
        if inherits and pairing is not None and pairing.mark is not None:
            inheritance = Inheritance(heard_since(database, pairing.mark, journal.journal_id), told_so_far(database))
        await _go_on_behind(journal, snapshot)
        recovered = await recover(stored, journal, defaults, snapshot=snapshot, inheritance=inheritance)
        if is_afresh:
            blind_max_ms = _UNBOUNDED_MS
            recovered = await _begin_afresh(database, recovered, resumes_at(mark, wall_now(), blind_max_ms))
        elif joining.is_copy:
            await settle(database)
        closed = None if snapshot is None else _closed(snapshot, snapshots.newest_size)
    cause = RESTORED if is_afresh else "down"
    away, clock = _clock_after(_awake_until(mark, recovered.last, journal), recovered, blind_max_ms, cause)
    stores = _stores(joining, watermark, snapshots, clock)
    await _fill_vault(stores, is_there=pairing is not None)
    known = await stores.webhooks.all() if pairing is not None else await stores.webhooks.last_seen()
    return Opened(
        stores=stores,
        embedded=embedded,
        leadership=joining.leadership,
        clock=clock,
        recovered=recovered,
        webhooks=tuple(known),
        keys=await _ring(settings, stores, is_there=pairing is not None),
        committed=Position(0) if pairing is None else pairing.committed,
        snapshot=closed,
        awake_until=_answered_until(mark, recovered.last),
        away=away,
        is_afresh=is_afresh,
        database_was_there=pairing is not None,
        _joining=joining,
    )


def _stores(joining: _Joining, watermark: Watermark, snapshots: SnapshotFiles, clock: SightedClock) -> Stores:
    settings, database, ids = joining.settings, joining.database, joining.ids
    folder = settings.storage.folder
    return Stores(
        database=database,
        journal=joining.journal,
        ids=ids,
        watermark=watermark,
        services=PgServiceStore(database, ids, clock, settings.tuning.defaults),
        webhooks=CopiedWebhooks(PgWebhookStore(database, clock), folder / "webhooks"),
        snapshots=snapshots,
        keys=PgKeyStore(database, clock),
        key_copy=KeyCopy(folder / "keys"),
        secrets=PgSecretStore(database, clock),
        secret_copy=SecretCopy(folder),
        vault=Vault(sealing_of(settings), CONCEALER),
    )


async def _ring(settings: Settings, stores: Stores, *, is_there: bool) -> KeyRing:
    """The API keys as PostgreSQL has them; where it is away, as it had them last."""
    keys = await stores.keys.all() if is_there else await stores.key_copy.read()
    if is_there:
        await stores.key_copy.write(keys)
    admin = settings.admin_key
    return KeyRing(keys, admin=None if admin is None else admin.get_secret_value())


async def _fill_vault(stores: Stores, *, is_there: bool) -> None:
    """The secrets as PostgreSQL has them; where it is away, as it had them last."""
    secrets = await stores.secrets.all() if is_there else await stores.secret_copy.read()
    if is_there:
        await stores.secret_copy.write(secrets)
    stores.vault.replace_all(secrets)


def _awake_until(mark: Mark | None, last: Mark | None, journal: FileJournal) -> Mark | None:
    """The last moment of which everything that was heard is known.

    Args:
        mark: The watermark.
        last: The newest moment of snapshot and journal.
        journal: As it was opened; not run yet. What was cut off its end may never have been answered for, or be what
            the disk spoilt: a service is better paged later than called late for a heartbeat that we lost.
    """
    if last is None:
        return mark
    lost_its_end = journal.opening.torn_bytes > 0 or journal.newest > journal.opening.end
    return last if lost_its_end else later(mark, last.at, last.sighted)


def _answered_until(mark: Mark | None, last: Mark | None) -> InstantMs:
    """The last instant at which a request may have been taken, whether or not all that was heard is known."""
    return max((found.at for found in (mark, last) if found is not None), default=InstantMs(0))


def _clock_after(
    mark: Mark | None, recovered: Recovered, blind_max_ms: DurationMs, cause: str
) -> tuple[BlindSpan | None, SightedClock]:
    """The absence, and both time lines gone on from where they stood. They stand still until HTTP is to listen."""
    now = wall_now()  # loading took its time, and nothing could be heard meanwhile
    away = outage(mark, now, blind_max_ms)
    away = None if away is None else replace(away, cause=cause)
    blind = recovered.blind if away is None else recovered.blind.with_span(away)
    clock = SightedClock(resume_at=resumes_at(mark, now, blind_max_ms), blind=blind)
    clock.stand_still("down")  # `SightedClock.begin` ends it
    return away, clock


async def _begin_new_journal(joining: _Joining, pairing: Pairing) -> tuple[_Joining, Pairing]:
    """Put a journal aside that the database has gone another way than, and begin a new one."""
    directory = joining.settings.storage.folder / "journal"
    await set_aside(
        joining.journal,
        directory,
        database=joining.database,
        mark=pairing.mark,
        after=pairing.committed,
        place=None if joining.discard is None else joining.discard.aside / "journal",
    )
    fresh = replace(joining, journal=_open_journal(joining.settings))
    return fresh, replace(pairing, committed=Position(0))


async def _begin_afresh(database: Database, recovered: Recovered, sighted: SightedMs) -> Recovered:
    """What was recovered from a backup, each service owed a fresh start; PostgreSQL of one mind about open alerts."""
    now = wall_now()
    for number, service in enumerate(recovered.services, start=1):
        begin_afresh(service, at=now, sighted=sighted)
        if number % AFRESH_SLICE == 0:
            await trio.lowlevel.checkpoint()
    open_alerts = [service.alert.alert_id for service in recovered.services if service.alert is not None]
    await close_unknown(database, open_alerts, now)
    _log.warning("Medic goes on from a backup: every deadline starts afresh", services=len(recovered.services))
    return replace(recovered, heard=tuple(service.row.service_id for service in recovered.services))


async def _go_on_behind(journal: FileJournal, snapshot: Snapshot | None) -> None:
    """Use no position twice that the snapshot remembers and the journal does not."""
    if snapshot is not None and snapshot.newest > journal.newest:
        _log.error("the journal is shorter than the snapshot", bytes=snapshot.newest - journal.newest)
        await trio.to_thread.run_sync(journal.go_on_from, snapshot.newest)


def _closed(snapshot: Snapshot, size: int) -> Closed:
    """What the keeper of the next ones has to know of this one."""
    return Closed(snapshot.facts.begun, snapshot.facts.at, len(snapshot.services), size)


def _require_alone_allowed(
    tokens: TokenFile, snapshots: SnapshotFiles, folder: Path, error: DatabaseUnavailableError
) -> None:
    """Return if Medic may watch without having seen PostgreSQL.

    Raises:
        DatabaseUnavailableError: nothing says what to watch, or another Medic may be watching it.
    """
    if not snapshots.any_kept:
        sentence = (
            f"{error.message}, and {folder} holds no snapshot yet. The first start needs PostgreSQL; later ones do "
            "without."
        )
        raise DatabaseUnavailableError(sentence) from error
    if not may_start_alone(tokens.tokens):
        sentence = (
            f"{error.message}, and another Medic was the active one since {folder} was: it may be watching. Start this "
            "one once PostgreSQL answers."
        )
        raise DatabaseUnavailableError(sentence) from error
    _log.warning("PostgreSQL is away; Medic watches what its snapshot and journal say")
