"""What a service is when Medic goes on from a backup: as it was, and owed a fresh start.

The world went on since the backup was made. Nobody knows which heartbeats came, which alerts closed, who was told of
what. So nothing that is due by the backup's own account is taken for true before the service had its chance to be heard
of again:

* A deadline starts afresh: the restore counts as `threshold` signs of life, as activation does.
* An open alert stays open. The next heartbeat closes it, and then its end is told, as ever. Its reminders begin anew.
* A mute of an open alert that would end before that chance is over ends with it.

The same fold as ever, so that what is written of it later cannot disagree; but not journaled: a start that is cut off
begins with the backup again.
"""

from __future__ import annotations

from dataclasses import replace

from medic.core.effects import AmendAlert, CreditSigns, SetMute
from medic.core.fold import fold
from medic.core.service import Service
from medic.core.status import Status
from medic.core.units import DurationMs, InstantMs, SightedMs


def begin_afresh(service: Service, *, at: InstantMs, sighted: SightedMs) -> None:
    """Owe the service a fresh start at this instant."""
    service_id, alert, mute = service.row.service_id, service.alert, service.mute
    if service.status is Status.INACTIVE:
        return
    if alert is None or alert.well_since is not None:
        fold(service, CreditSigns(service_id, at, sighted, sighted, fresh_interval=True))
    if alert is None:
        return
    patience_ms = service.policy.patience_ms
    unreminded_ms = max(patience_ms, service.policy.renotify_ms)
    reminded = replace(alert, reminded_ms=DurationMs(max(0, at - alert.opened_at) + unreminded_ms))
    fold(service, AmendAlert(service_id, at, sighted, reminded, "rescheduled"))
    if mute is not None and mute.until is not None and mute.until < at + patience_ms:
        fold(service, SetMute(service_id, at, sighted, replace(mute, until=InstantMs(at + patience_ms))))
