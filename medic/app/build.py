"""Builds the parts and joins them at their ports. Nothing is started here."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING

from medic.access.keys import KeyRing
from medic.actors.changes import OperatorChanges
from medic.actors.clock import SightedClock
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.actors.intake import HeartbeatIntake
from medic.actors.outbox import Outbox
from medic.actors.self_alert import SelfAlert
from medic.actors.sight import Sight
from medic.actors.supervisor import Rebuild, Supervisor
from medic.alerting.assembly import NotifierSettings, as_it_is, build_alerting
from medic.alerting.deadman import DeadmanCall
from medic.alerting.guard import Guard
from medic.alerting.pipeline import Alerting
from medic.alerting.resolving import resolve_from
from medic.alerting.webhook import carry_nothing
from medic.app.deadman import Deadman
from medic.app.key_keeping import KeyKeeping
from medic.app.keys import OperatorKeys
from medic.app.progress import Progress, outbox_proof
from medic.app.secrets import OperatorSecrets
from medic.app.webhooks import OperatorWebhooks
from medic.config.secret_rules import references_of
from medic.config.settings import Settings
from medic.core.blind import BlindSpan
from medic.core.ledger import NotificationLedger
from medic.core.units import InstantMs, SightedMs
from medic.core.webhook import Webhook
from medic.ports import Journal, Position
from medic.store.audit.log import PgAuditLog
from medic.store.journal.file_journal import FileJournal
from medic.store.limiter import Limiter
from medic.store.postgres.database import Database
from medic.store.retention.records import PgServiceRecords
from medic.store.snapshot.files import SnapshotFiles
from medic.store.snapshot.keeper import Closed, SnapshotKeeper
from medic.store.tables.history import PgHistory
from medic.store.tables.ids import BlockIds
from medic.store.tables.key_copy import KeyCopy
from medic.store.tables.key_log import KeyLog
from medic.store.tables.keys import PgKeyStore
from medic.store.tables.secret_copy import SecretCopy
from medic.store.tables.secrets import PgSecretStore
from medic.store.tables.services import PgServiceStore
from medic.store.tables.snapshots import PgServiceSnapshots
from medic.store.tables.webhook_copy import CopiedWebhooks
from medic.store.tables.writer import Writer
from medic.store.vault import Vault
from medic.store.watermark import Mark, Watermark

if TYPE_CHECKING:
    from medic.tracing.assembly import Tracing


@dataclass(frozen=True, slots=True)
class Stores:
    """What is durable: opened by `medic.app.opening`, closed after everything else."""

    database: Database
    journal: FileJournal
    ids: BlockIds
    watermark: Watermark
    services: PgServiceStore
    webhooks: CopiedWebhooks
    snapshots: SnapshotFiles
    keys: PgKeyStore
    key_copy: KeyCopy
    secrets: PgSecretStore
    secret_copy: SecretCopy
    vault: Vault


@dataclass(frozen=True, slots=True)
class Watching:
    """Every part that watches and tells, joined and not yet running. `journal` is the one that they write to."""

    clock: SightedClock
    directory: Directory
    alerting: Alerting
    outbox: Outbox
    supervisor: Supervisor
    sight: Sight
    host: Host
    journal: Journal


@dataclass(frozen=True, slots=True)
class Serving:
    """What the HTTP API calls."""

    intake: HeartbeatIntake
    changes: OperatorChanges
    history: PgHistory
    records: PgServiceRecords
    webhooks: OperatorWebhooks
    audit: PgAuditLog
    snapshots: PgServiceSnapshots
    keys: OperatorKeys
    secrets: OperatorSecrets


def build_watching(
    settings: Settings,
    stores: Stores,
    clock: SightedClock,
    *,
    webhooks: Sequence[Webhook],
    ledger: NotificationLedger,
    rebuild: Rebuild,
    tracing: Tracing | None = None,
) -> Watching:
    """The parts from the wheel to the notifiers."""
    directory = Directory()
    alerting = build_alerting(
        notifier_settings(settings),
        webhooks=webhooks,
        clock=clock,
        rng=SystemRandom(),
        terminal=sys.stdout,
        secrets=stores.vault,
        wear=as_it_is if tracing is None else tracing.notifier,
        carry=carry_nothing if tracing is None else tracing.carry,
    )
    journal: Journal = stores.journal if tracing is None else tracing.journal(stores.journal)
    outbox = Outbox(journal, alerting, clock, ledger)
    alerting.settle_through(outbox)
    if settings.telling.withheld:
        alerting.withhold(outbox.ledger)
    supervisor = Supervisor(rebuild)

    def mark(at: InstantMs, sighted: SightedMs) -> None:
        stores.watermark.write(Mark(at, sighted))

    self_alert = SelfAlert(clock=clock, ids=stores.ids, outbox=outbox)
    sight = Sight(clock=clock, directory=directory, outbox=outbox, mark=mark, self_alert=self_alert)

    def on_blindness(span: BlindSpan) -> None:
        sight.note(span)

    host = Host(
        clock=clock,
        ids=stores.ids,
        directory=directory,
        outbox=outbox,
        supervisor=supervisor,
        on_blindness=on_blindness,
    )
    return Watching(clock, directory, alerting, outbox, supervisor, sight, host, journal)


def build_writer(settings: Settings, stores: Stores, watching: Watching, committed: Position) -> Writer:
    """What brings the journal into PostgreSQL, from the position up to which that has been done."""
    return Writer(
        database=stores.database,
        journal=stores.journal,
        clock=watching.clock,
        state_of=watching.directory.in_order,
        rejected=settings.storage.folder / "journal" / "rejected",
        committed=committed,
        calm=watching.host.wait_calm,
    )


def build_serving(
    settings: Settings, stores: Stores, watching: Watching, writer: Writer, limiter: Limiter, *, ring: KeyRing
) -> Serving:
    """What stands between the API and those parts."""
    history = PgHistory(stores.database, stores.journal, writer, watching.directory)
    intake = HeartbeatIntake(
        directory=watching.directory,
        host=watching.host,
        journal=watching.journal,
        clock=watching.clock,
        ids=stores.ids,
        limits=limiter,
    )
    changes = OperatorChanges(
        directory=watching.directory,
        host=watching.host,
        journal=watching.journal,
        services=stores.services,
        history=history,
        who_hears=watching.alerting.who_hears,
        clock=watching.clock,
        ids=stores.ids,
        defaults=settings.tuning.defaults,
        ring_bytes_max=settings.storage.threshold_bytes_max,
    )
    audit = PgAuditLog(stores.database, stores.journal, writer)
    webhooks = OperatorWebhooks(stores.webhooks, watching.alerting)
    keys = OperatorKeys(stores.keys, stores.key_copy, ring, watching.clock)
    secrets = OperatorSecrets(
        stores.secrets,
        stores.secret_copy,
        stores.vault,
        webhooks=stores.webhooks,
        variables=references_of(settings),
        changed=watching.alerting.try_lacking_again,
    )
    snapshots = PgServiceSnapshots(stores.database)
    records = PgServiceRecords(stores.database, stores.journal, writer, watching.directory)
    return Serving(intake, changes, history, records, webhooks, audit, snapshots, keys, secrets)


def build_key_keeping(stores: Stores, watching: Watching, serving: Serving) -> KeyKeeping:
    """What follows changed keys and secrets, writes the uses of keys, and tells of their ends."""
    keys = serving.keys

    async def follow() -> None:
        await keys.follow()
        await serving.secrets.follow()

    log = KeyLog(stores.database, follow)
    return KeyKeeping(keys, stores.keys, log, watching.outbox, watching.clock)


def build_keeper(
    stores: Stores, watching: Watching, writer: Writer, rebuild: Rebuild, last: Closed | None
) -> SnapshotKeeper:
    """What writes snapshots of all that; `last` is the one that this start went on from."""
    return SnapshotKeeper(
        files=stores.snapshots,
        journal=stores.journal,
        roster=watching.directory,
        in_order=watching.directory.in_order,
        rebuild=rebuild,
        ledger=watching.outbox.ledger,
        clock=watching.clock,
        committed=lambda: writer.committed,
        last=last,
    )


def build_progress(stores: Stores, watching: Watching) -> Progress:
    """What shows that work goes through the parts."""
    return Progress(
        {
            "journal": stores.journal.prove,
            "wheel": watching.host.prove,
            "outbox": outbox_proof(watching.outbox.statistics, watching.clock),
            "alerting": watching.alerting.prove,
        },
        watching.clock,
    )


def build_deadman(settings: Settings, stores: Stores, watching: Watching, progress: Progress) -> Deadman | None:
    """What calls `MEDIC_DEADMAN_URL`; None where it is not set."""
    deadman = settings.deadman
    if deadman is None:
        return None
    call = DeadmanCall(
        deadman.url.get_secret_value(),
        key="" if deadman.key is None else deadman.key.get_secret_value(),
        clock=watching.clock,
        guard=Guard(settings.telling.webhook_hosts),
        resolve=resolve_from(stores.vault),
    )
    return Deadman(call, progress=progress, seconds=deadman.seconds, clock=watching.clock, rng=SystemRandom())


def notifier_settings(settings: Settings) -> NotifierSettings:
    """What alerting needs to know of the vendors."""
    telling = settings.telling
    chosen = NotifierSettings(base_url=settings.listen.base_url, zone=telling.zone)
    pagerduty, slack = telling.pagerduty, telling.slack
    return NotifierSettings(
        base_url=chosen.base_url,
        zone=chosen.zone,
        pagerduty_routing_key=pagerduty.routing_key.get_secret_value() if pagerduty else "",
        pagerduty_events_url=pagerduty.events_url if pagerduty else chosen.pagerduty_events_url,
        slack_token=slack.token.get_secret_value() if slack else "",
        slack_channel=slack.channel if slack else "",
        slack_api_url=slack.api_url if slack else chosen.slack_api_url,
        slack_has_buttons=settings.slack_signing_secret is not None,
        allowlist=telling.webhook_hosts,
    )
