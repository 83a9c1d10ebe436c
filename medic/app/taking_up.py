"""What recovery found, taken up: what is still to be told, the services with their deadlines, our own absence."""

from __future__ import annotations

import gc

from medic.actors.changes import OperatorChanges
from medic.app.build import Watching
from medic.app.garbage import return_freed_memory
from medic.app.opening import Opened
from medic.core.author import BY_SQL
from medic.core.effects import Notify, SettleNotification
from medic.core.notification import Notification
from medic.core.status import Outcome
from medic.store.recovery import Recovered


def take_up(opened: Opened, watching: Watching, *, withheld: bool) -> None:
    """Give what was found to the parts that watch and tell, before anything is decided.

    Args:
        opened: What the start found; its list of services is empty afterwards, for the directory has them.
        watching: The parts, not yet running but for those that tell.
        withheld: Nobody is told of anything (`MEDIC_NOTIFY=off`), so what reached nobody is not told again either.
    """
    recovered = opened.recovered
    for notification in recovered.ledger.pending():
        if opened.is_afresh:
            _give_up(watching, notification)
            continue
        if opened.leadership.inherits:
            at, sighted = watching.clock.now(), watching.clock.sighted()
            watching.outbox.record_nowait(Notify(at=at, sighted=sighted, notification=notification))
        watching.alerting.resume_nowait(notification, notification.targets)
    watching.host.add_all(list(recovered.services))
    if not (opened.is_afresh or withheld):
        for service in watching.directory.open_alerts():
            if service.alert is not None and recovered.ledger.reached_nobody(service.alert.alert_id):
                watching.host.tell_again(service.row.service_id)
    recovered.services.clear()
    gc.freeze()
    return_freed_memory()
    away = watching.clock.begin(opened.away)
    if away is not None:
        watching.sight.note(away)


async def tell_committed(recovered: Recovered, changes: OperatorChanges) -> None:
    """Tell the actors what PostgreSQL knew before the journal did: a crash, or SQL while Medic was down."""
    for service_id in recovered.gone:
        await changes.take_deletion(service_id, by=BY_SQL)
    for row in (*recovered.strangers, *recovered.edited):
        await changes.take_row(row)


def _give_up(watching: Watching, notification: Notification) -> None:
    """Tell nobody what was pending when a backup was made: by now it was told, or is over."""
    for target in notification.targets:
        settlement = SettleNotification(
            at=watching.clock.now(),
            sighted=watching.clock.sighted(),
            notification_id=notification.notification_id,
            service_id=notification.service_id,
            target=target,
            outcome=Outcome.GIVEN_UP,
            attempts=0,
            detail="Medic went on from a backup",
        )
        watching.outbox.settle_nowait(settlement)
