"""Starts Medic, keeps it, and ends it in order.

Three circles, one inside the other, so that what is outside works on while the inside ends:

    stores     PostgreSQL, the right to be the active Medic, journal, ids, writer
    telling    outbox, alerting
    watching   wheel, sight, supervisor, changes by SQL, HTTP

The drain goes from the inside out. HTTP stops accepting, answers what was begun, and closes; no deadline is decided any
more; what was decided is told as far as a few seconds reach; the journal is committed and moved to PostgreSQL; the last
snapshot is written; then a Medic that stands by may take over; the watermark is set last, so that the next start counts
the time from here. Each step has a deadline of its own, and what one does not finish is journaled: the next start goes
on with it.

Where PostgreSQL was away at the start, everything runs all the same, and one task more looks for it (`_join`).
"""

from __future__ import annotations

import socket
import ssl
import sys
from collections.abc import Callable
from importlib.metadata import version
from typing import TYPE_CHECKING, Final

import structlog
import trio

from medic.alerting.guard import Guard
from medic.app.access import build_gate, require_keys
from medic.app.adopted import tell_adopted
from medic.app.announce import Started, say_started
from medic.app.build import (
    Serving,
    Watching,
    build_deadman,
    build_keeper,
    build_key_keeping,
    build_progress,
    build_serving,
    build_watching,
    build_writer,
)
from medic.app.cleaning import build_cleanup
from medic.app.deadman import Deadman
from medic.app.garbage import Garbage
from medic.app.health import SystemHealth
from medic.app.key_keeping import KeyKeeping
from medic.app.limiting import build_limiter
from medic.app.logs import CONCEALER, configure_logs
from medic.app.opening import Opened, open_stores
from medic.app.secrets import secret_remarks
from medic.app.slack import build_slack
from medic.app.standby import open_standby
from medic.app.stopping import Stopping, open_stopping
from medic.app.taking_up import take_up, tell_committed
from medic.app.traces import build_server, open_traces
from medic.app.watchdog import Watchdog
from medic.config.folder import prepare
from medic.config.secret_rules import values_of
from medic.config.settings import Settings
from medic.core.service import Service
from medic.core.units import ServiceId
from medic.errors import DatabaseUnavailableError, OverloadedError
from medic.http.headers import Cors
from medic.http.listening import bind_sockets
from medic.http.parts import ApiParts, ApiSettings
from medic.http.serving import HttpServer
from medic.http.tls import server_context
from medic.metrics.collector import MedicCollector
from medic.metrics.exposition import Exposition
from medic.metrics.operations import OperationMeter
from medic.metrics.parts import Parts
from medic.metrics.requests import RequestMeter
from medic.metrics.stall import LoopStall
from medic.store.audit.heads import AuditHeads
from medic.store.audit.sealer import AuditSealer
from medic.store.audit.sign_ins import RefusedSignIns
from medic.store.directory_lock import DirectoryLock
from medic.store.disk import DiskRoom
from medic.store.pairing import Gap
from medic.store.postgres.bridge import only_member
from medic.store.reconciling import reconcile
from medic.store.recovery import recover_one
from medic.store.restored import settle
from medic.store.snapshot.keeper import SnapshotKeeper
from medic.store.tables.change_log import ChangeLog
from medic.store.tables.state_rows import STATES_AT_ONCE_MAX
from medic.store.tables.writer import Writer
from medic.store.watermark import Mark

if TYPE_CHECKING:
    from medic.tracing.assembly import Tracing

_log = structlog.get_logger(__name__)

VERSION: Final = version("medic-monitor")

SWITCH_SECONDS: Final = 0.001
"""After how long a busy loop lets another thread have the interpreter. A commit needs it three times, around a write
and a sync: at Python's own 5 ms a heartbeat in a burst of deadlines waited 40 ms for its commit, at this 2 to 13 ms.
What it costs could not be measured."""

WRITER_DRAIN_SECONDS: Final = 10.0
"""How long the writer may take at the end to bring PostgreSQL up to date. The rest stays in the journal."""


SNAPSHOT_DRAIN_SECONDS: Final = 15.0
"""How long the last snapshot may take: without it the next start folds the journal behind the one before."""

JOIN_RETRY_SECONDS: Final = 1.0


async def serve(settings: Settings, announce: Callable[[str], None], gap: Gap = Gap.REFUSE) -> None:
    """Run Medic until SIGTERM or Ctrl-C, then drain it. A second signal ends it at once.

    Args:
        settings: From `medic.config`.
        announce: Takes the lines of the first screen.
        gap: Whether a span of the journal may be missing that PostgreSQL has not got.

    Raises:
        ConfigurationError: something the operator has to change; nothing listens, nothing was started that still runs.
        DatabaseUnavailableError: PostgreSQL does not answer at the start.
        OvertakenError: another Medic is the active one now.
    """
    as_json = settings.logs.as_json(is_terminal=sys.stderr.isatty())
    configure_logs(level=settings.logs.level, as_json=as_json, debug=settings.logs.debug)
    CONCEALER.know("environment", values_of(settings))
    sys.setswitchinterval(SWITCH_SECONDS)
    tracing = open_traces(settings.traces, VERSION)  # before anybody waits for this Medic: it takes a while to load
    prepare(settings.storage.folder)
    certificate = settings.listen.certificate
    tls = None if certificate is None else server_context(certificate.chain, certificate.key)
    sockets = bind_sockets([(address.host, address.port) for address in settings.listen.addresses])
    try:
        with DirectoryLock(settings.storage.folder):
            operations = OperationMeter()
            async with (
                open_stopping(announce) as stopping,
                open_standby(sockets, tls, VERSION, announce, stopping) as standby,
                open_stores(settings, operations.observe, standby.watch, gap=gap) as opened,
            ):
                require_keys(settings, opened.keys, opened.clock.now())
                standby.lead()
                await _Medic(settings, opened, operations, sockets, tls, announce, stopping, standby.end, tracing).run()
    except BaseExceptionGroup as group:
        # What one part raised passes through every nursery it lives in; the operator is told it as it was raised.
        alone = only_member(group)
        if alone is None:
            raise
        raise alone from alone.__cause__
    finally:
        for opened_socket in sockets:
            opened_socket.close()


class _Medic:
    """One run of Medic, from what was opened to the end of the drain."""

    def __init__(
        self,
        settings: Settings,
        opened: Opened,
        operations: OperationMeter,
        sockets: list[socket.socket],
        tls: ssl.SSLContext | None,
        announce: Callable[[str], None],
        stopping: Stopping,
        on_accepting: Callable[[], None],
        tracing: Tracing | None,
    ) -> None:
        self._settings = settings
        self._opened = opened
        self._operations = operations
        self._sockets = sockets
        self._tls = tls
        self._announce = announce
        self._leaving = stopping.leaving
        self._on_accepting = on_accepting
        self._meter = RequestMeter()
        self._stall = LoopStall()
        self._disk = DiskRoom(settings.storage.folder)
        self._heads = AuditHeads(settings.storage.folder)
        self._sign_ins = RefusedSignIns(opened.stores.database, opened.clock)
        self._cleanup = build_cleanup(settings.retention, opened.stores.database, opened.clock, self._heads)
        self._limiter = build_limiter(settings.limits)
        self._tracing = tracing

    async def run(self) -> None:
        """The three circles, and the drain from the inside out."""
        stores = self._opened.stores
        watching = build_watching(
            self._settings,
            stores,
            self._opened.clock,
            webhooks=self._opened.webhooks,
            ledger=self._opened.recovered.ledger,
            rebuild=self._rebuild,
            tracing=self._tracing,
        )
        writer = build_writer(self._settings, stores, watching, self._opened.committed)
        keeper = build_keeper(stores, watching, writer, self._rebuild, self._opened.snapshot)
        async with trio.open_nursery() as outer:
            await outer.start(Garbage(watching.directory.__len__, watching.host.is_in_burst).run)
            await outer.start(stores.ids.run, stores.database)
            await outer.start(stores.journal.run)
            await outer.start(writer.run)
            await outer.start(AuditSealer(stores.database, self._opened.clock, self._heads).run)
            await outer.start(self._sign_ins.run)
            await outer.start(self._cleanup.run)
            await outer.start(self._opened.leadership.run)
            async with trio.open_nursery() as telling:
                await telling.start(watching.alerting.run)
                await telling.start(watching.outbox.run)
                await self._watch(watching, writer, keeper, outer)
                await watching.outbox.wait_idle()
                await watching.alerting.drain()
                telling.cancel_scope.cancel()
            with trio.move_on_after(WRITER_DRAIN_SECONDS):
                await writer.finish()
            with trio.move_on_after(SNAPSHOT_DRAIN_SECONDS):
                await keeper.finish()
            outer.cancel_scope.cancel()
        await self._opened.leadership.step_down()
        stores.watermark.write(Mark(watching.clock.now(), watching.clock.sighted(), clean=True))
        stores.watermark.close()
        if self._tracing is not None:
            await self._tracing.close()

    async def _watch(self, watching: Watching, writer: Writer, keeper: SnapshotKeeper, outer: trio.Nursery) -> None:
        """Wheel, changes by SQL and HTTP, until Medic is to leave and HTTP has drained."""
        stores = self._opened.stores
        serving = build_serving(self._settings, stores, watching, writer, self._limiter, ring=self._opened.keys)
        key_keeping = build_key_keeping(stores, watching, serving)
        progress = build_progress(stores, watching)
        deadman = build_deadman(self._settings, stores, watching, progress)
        parts = self._parts(watching, writer, keeper, key_keeping, deadman)
        health = SystemHealth(
            parts=parts,
            clock=watching.clock,
            version=VERSION,
            database=self._settings.database.kind,
            journal_sync=self._settings.storage.journal_sync,
            require_intake=stores.journal.require_intake,
            proven_at=progress.proven_at,
        )
        api = self._api(watching, serving, health, parts)
        server = build_server(api, stores.journal.call_when_durable, tls=self._tls, tracing=self._tracing)
        take_up(self._opened, watching, withheld=self._settings.telling.withheld)
        # From here on somebody may wait for the loop; a million services were taken up in one turn of it.
        await outer.start(self._stall.run)
        outer.start_soon(self._disk.run)
        await outer.start(Watchdog().run)
        async with trio.open_nursery() as nursery:
            await nursery.start(watching.supervisor.run, watching.host.restore)
            await nursery.start(watching.sight.run, watching.host.look)
            await nursery.start(self._limiter.run)
            await nursery.start(health.run)
            await tell_committed(self._opened.recovered, serving.changes)
            change_log = ChangeLog(
                stores.database,
                serving.changes,
                defaults=self._settings.tuning.defaults,
                interval_seconds=self._settings.tuning.changes_seconds,
            )
            await nursery.start(change_log.run)
            await nursery.start(key_keeping.run)
            if api.slack is not None:
                await nursery.start(api.slack.presses.run)
            await nursery.start(self._serve_http, server, health, nursery)
            self._on_accepting()
            await nursery.start(watching.host.run)
            await nursery.start(keeper.run)
            await nursery.start(progress.run)
            if deadman is not None:
                await nursery.start(deadman.run)
            self._say_started(watching)
            if not self._settings.telling.withheld:
                nursery.start_soon(tell_adopted, stores.database, watching.outbox, stores.journal, writer)
            if self._opened.leadership.inherits:
                await self._inherit(writer)
            if not self._opened.database_was_there:
                await self._join(watching, serving)
        await key_keeping.finish()

    async def _join(self, watching: Watching, serving: Serving) -> None:
        """Look for PostgreSQL until it is there, and learn what was changed in it meanwhile."""
        stores = self._opened.stores
        await self._opened.join()
        while True:
            try:
                differed = await reconcile(stores.services, watching.directory, serving.changes)
                await serving.webhooks.follow(self._opened.webhooks)
            except (DatabaseUnavailableError, OverloadedError) as error:
                _log.warning("what PostgreSQL has is not known yet", reason=str(error))
                await trio.sleep(JOIN_RETRY_SECONDS)
                continue
            _log.info("PostgreSQL and the services are of one mind", differed=differed)
            return

    async def _serve_http(
        self,
        server: HttpServer,
        health: SystemHealth,
        watching: trio.Nursery,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until Medic is to leave, and is not ready from then on; end `watching` once connections are closed."""

        async def leave_readiness() -> None:
            await self._leaving.wait()
            health.leave("Medic is stopping.")

        async with trio.open_nursery() as nursery:
            nursery.start_soon(leave_readiness)
            await server.serve(
                self._sockets,
                drain=self._leaving,
                drain_seconds=self._settings.tuning.drain_seconds,
                task_status=task_status,
            )
        watching.cancel_scope.cancel()

    async def _inherit(self, writer: Writer) -> None:
        """Bring what another Medic left into this directory's own records, so that the next start finds it there."""
        await writer.wait_committed(self._opened.stores.journal.newest)
        heard = self._opened.recovered.heard
        # After a restore these are all services; the writer looks through what it waits for each time it wrote some.
        for first in range(0, len(heard), STATES_AT_ONCE_MAX):
            await writer.write_states(heard[first : first + STATES_AT_ONCE_MAX])
        try:
            await self._opened.leadership.end_inheriting()
            if self._opened.is_afresh:
                await settle(self._opened.stores.database)
        except OSError as error:
            _log.error("the takeover could not be written down; the next start does it again", reason=error.strerror)
        except DatabaseUnavailableError as error:
            _log.warning("the database still counts as a copy; the next start settles that", reason=error.message)

    async def _rebuild(self, service_id: ServiceId) -> Service | None:
        """One service as it was before its actor crashed."""
        stores, defaults = self._opened.stores, self._settings.tuning.defaults
        journal = stores.journal
        try:
            stored = await stores.services.load_one(service_id)
        except DatabaseUnavailableError:
            stored = None
        kept = None
        if stored is None or stored.journal_id != journal.journal_id or stored.service.position < journal.oldest:
            kept = await stores.snapshots.find(service_id, journal.journal_id, defaults)
        return await recover_one(service_id, stored, journal, defaults, kept=kept)

    def _say_started(self, watching: Watching) -> None:
        counts = watching.directory.statistics()
        listen, kind = self._settings.listen, self._settings.database.kind
        place = f"its own PostgreSQL in {self._settings.storage.folder}" if kind == "embedded" else "yours (DB_HOST)"
        if not self._opened.database_was_there:
            place += ", which does not answer: Medic watches from its snapshot and journal until it does"
        say_started(
            Started(
                version=VERSION,
                addresses=tuple(f"{listen.scheme}://{address}" for address in listen.addresses),
                database=place,
                services=counts.services,
                alerts=counts.alerts_active,
                targets=watching.alerting.describe_targets(),
                remarks=secret_remarks(self._settings, self._opened.stores.vault),
            ),
            self._settings,
            self._announce,
        )

    def _parts(
        self, watching: Watching, writer: Writer, keeper: SnapshotKeeper, keys: KeyKeeping, deadman: Deadman | None
    ) -> Parts:
        stores = self._opened.stores
        return Parts(
            host=watching.host.statistics,
            directory=watching.directory.statistics,
            outbox=watching.outbox.statistics,
            supervisor=watching.supervisor.statistics,
            sight=watching.sight.statistics,
            requests=self._meter.statistics,
            stall=self._stall.statistics,
            operations=self._operations.statistics,
            journal=stores.journal.statistics,
            snapshot=keeper.statistics,
            ids_ahead=lambda: stores.ids.remaining,
            disk=self._disk.statistics,
            writer=writer.statistics,
            database=stores.database.statistics,
            leadership=self._opened.leadership.statistics,
            alerting=watching.alerting.statistics,
            keys=keys.statistics,
            redis=self._limiter.statistics,
            deadman=lambda: None if deadman is None else deadman.statistics(),
            cleanup=self._cleanup.statistics,
        )

    def _api(self, watching: Watching, serving: Serving, health: SystemHealth, parts: Parts) -> ApiParts:
        most = self._settings.tuning.metrics_services_max
        collector = MedicCollector(parts=parts, health=health, version=VERSION, services_max=most)
        return ApiParts(
            intake=serving.intake if self._tracing is None else self._tracing.intake(serving.intake, watching.journal),
            roster=watching.directory,
            changes=serving.changes,
            history=serving.history,
            records=serving.records,
            webhooks=serving.webhooks,
            audit=serving.audit,
            snapshots=serving.snapshots,
            keys=serving.keys,
            secrets=serving.secrets,
            health=health,
            clock=watching.clock,
            metrics=Exposition(collector=collector, roster=watching.directory, clock=watching.clock, services_max=most),
            meter=self._meter,
            defaults=self._settings.tuning.defaults,
            version=VERSION,
            gatekeeper=build_gate(
                self._settings,
                serving.keys.ring,
                serving.keys.uses,
                roster=watching.directory,
                clock=watching.clock,
                meter=self._meter,
                awake_until=self._opened.awake_until,
                note_failure=self._sign_ins.note_refused_sign_in,
            ),
            request_limits=self._limiter,
            settings=ApiSettings(
                strict_status=self._settings.tuning.strict_status,
                trusted_proxies=self._settings.listen.trusted_proxies,
                metrics_open=self._settings.access.metrics_open,
                cors=Cors(frozenset(self._settings.access.cors_origins)),
            ),
            guard=Guard(self._settings.telling.webhook_hosts),
            slack=build_slack(
                self._settings,
                changes=serving.changes,
                roster=watching.directory,
                clock=watching.clock,
                secrets=self._opened.stores.vault,
            ),
        )
