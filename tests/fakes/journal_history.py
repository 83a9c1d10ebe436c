"""A History that reads a journal, as if the writer had caught up with it at every question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from medic.access.reach import EVERYTHING, Reach
from medic.core.effects import (
    AmendAlert,
    CloseAlert,
    Notify,
    OpenAlert,
    RecordHeartbeat,
    SettleNotification,
    StoreService,
)
from medic.core.service import Alert, Service, ServiceRow
from medic.core.units import EventId, ServiceId
from medic.history import AlertHistory, AlertMoment, AlertQuery, AlertRow, Delivery, HeartbeatRow
from medic.store.journal.memory_journal import MemoryJournal
from tests.fakes.history import MemoryHistory


class JournalHistory(MemoryHistory):
    """Implements `ports.History` over a journal. Set `available` to False for a PostgreSQL that does not answer."""

    def __init__(self, journal: MemoryJournal) -> None:
        super().__init__()
        self._journal = journal

    async def heartbeats(
        self, *, service: Service | None, service_name: str | None, limit: int, reach: Reach = EVERYTHING
    ) -> Sequence[HeartbeatRow]:
        self._read()
        return await super().heartbeats(service=service, service_name=service_name, limit=limit, reach=reach)

    async def alerts(self, query: AlertQuery) -> tuple[Sequence[AlertRow], int]:
        self._read()
        return await super().alerts(query)

    async def alert(self, alert_id: EventId) -> AlertHistory | None:
        self._read()
        return await super().alert(alert_id)

    def _read(self) -> None:
        rows: dict[ServiceId, ServiceRow] = {}
        self.heartbeat_rows = []
        alerts: dict[EventId, AlertHistory] = {}
        for effect in self._journal.effects():
            if isinstance(effect, StoreService):
                rows[effect.row.service_id] = effect.row
            elif isinstance(effect, RecordHeartbeat):
                self.heartbeat_rows.append(_heartbeat(effect, rows[effect.service_id]))
            elif isinstance(effect, OpenAlert):
                row = _alert(effect.alert, rows[effect.service_id])
                alerts[row.alert_id] = AlertHistory(row, (AlertMoment(effect.at, "opened"),), ())
            elif isinstance(effect, AmendAlert | CloseAlert):
                known = alerts[effect.alert.alert_id]
                change = effect.change if isinstance(effect, AmendAlert) else "closed"
                moments = (*known.moments, AlertMoment(effect.at, change, effect.by, effect.note))
                alerts[effect.alert.alert_id] = AlertHistory(_amended(known.alert, effect), moments, known.deliveries)
            elif isinstance(effect, Notify) and effect.notification.alert_id is not None:
                known = alerts[effect.notification.alert_id]
                alerts[known.alert.alert_id] = replace(known, deliveries=(*known.deliveries, *_pending(effect)))
            elif isinstance(effect, SettleNotification):
                raise AssertionError("settle through a real History")
        self.alert_histories = list(alerts.values())


def _heartbeat(effect: RecordHeartbeat, row: ServiceRow) -> HeartbeatRow:
    return HeartbeatRow(
        heartbeat_id=effect.heartbeat_id,
        service_id=row.service_id,
        heartbeat_name=row.heartbeat_name,
        service_name=row.service_name,
        team=row.team,
        priority=row.priority,
        time=effect.at,
        status=effect.status,
        run_id=effect.run_id,
        said_at=effect.said_at,
    )


def _alert(alert: Alert, row: ServiceRow) -> AlertRow:
    return AlertRow(
        alert_id=alert.alert_id,
        service_id=row.service_id,
        heartbeat_name=row.heartbeat_name,
        service_name=row.service_name,
        team=alert.team,
        priority=alert.priority,
        runbook=alert.runbook,
        reason=alert.reason.value,
        alert_cycle=1,
        created_date=alert.opened_at,
        closed_date=None,
        closed_reason="",
        acknowledged_date=None,
        acknowledged_by="",
        muted=False,
        flapping=alert.flapping,
    )


def _amended(row: AlertRow, effect: AmendAlert | CloseAlert) -> AlertRow:
    alert = effect.alert
    row = replace(row, acknowledged_date=alert.acknowledged_at, acknowledged_by=alert.acknowledged_by)
    if isinstance(effect, CloseAlert):
        return replace(row, closed_date=effect.at, closed_reason=effect.reason.value, alert_cycle=effect.cycle)
    return row


def _pending(effect: Notify) -> list[Delivery]:
    told = effect.notification
    return [
        Delivery(told.notification_id, target, told.kind.value, effect.at, None, 0, "", "") for target in told.targets
    ]
