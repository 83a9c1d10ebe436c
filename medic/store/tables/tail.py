"""What the journal says of alerts that PostgreSQL does not say yet, for readers who cannot wait for the writer (H23).

An alert that is missing because it just opened, or still there because it just closed, would be an untrue answer: by
then people have been told of it. So the records behind the writer's position are laid over the rows. They go through
the writer's own `Batch`, which keeps reader and writer from coming to different ends, and each says all of its alert,
so it does no harm where the writer has brought some of them meanwhile.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Final

import trio

from medic.core.names import name_key
from medic.core.units import EventId, ServiceId
from medic.errors import DatabaseUnavailableError
from medic.history import AlertMoment, AlertQuery, AlertRow, Delivery
from medic.ports import Journal, Position
from medic.store.postgres.database import Row, RowRefusedError
from medic.store.tables.batch import AlertValues, Batch, storable
from medic.store.tables.heartbeat_rows import HeartbeatRows

TAIL_SECONDS: Final = 0.4
"""How long reading it may take: some 80 000 records of alerts, or half a million heartbeats."""

TAIL_SLICE: Final = 1_000
"""Records worked out between two chances for every other task: five milliseconds of alerts."""

NAMED: Final = """
SELECT service_id, heartbeat_name, service_name, muted FROM medic.services WHERE service_id = ANY ($1::bigint[])
UNION ALL
SELECT service_id, heartbeat_name, service_name, 0 FROM medic.deleted_services WHERE service_id = ANY ($1::bigint[])
"""
"""What the writer joins to an alert that it inserts."""


async def read_tail(journal: Journal, after: Position) -> Batch:
    """All that is durable after `after`, but for heartbeats.

    Raises:
        DatabaseUnavailableError: it is too much for the time, or not what a row can say. Part of it would be untrue.
    """
    tail = Batch()
    with trio.move_on_after(TAIL_SECONDS) as reading:
        try:
            while (run := await journal.read_records_after(after, most=TAIL_SLICE)).records:
                tail.add_all(run.records)
                tail.heartbeats = HeartbeatRows()  # nobody asks for them here
                after = run.positions[-1]
        except RowRefusedError as refused:
            raise DatabaseUnavailableError("PostgreSQL does not have the newest alerts yet.") from refused
    if reading.cancelled_caught:
        raise DatabaseUnavailableError("PostgreSQL is too far behind to tell what is true of alerts now.")
    return tail


def alert_rows(
    alerts: Mapping[EventId, AlertValues], stored: Mapping[EventId, AlertRow], named: Iterable[Row]
) -> list[AlertRow]:
    """The alerts as their rows will be. `stored` are those that there are; `named` answers `NAMED` for the others."""
    names = {ServiceId(record["service_id"]): record for record in named}
    rows: list[AlertRow] = []
    for alert_id, values in alerts.items():
        row = stored.get(alert_id) or _inserted(values, names.get(values.service_id))
        rows.append(_updated(row, values))
    return rows


def matches(row: AlertRow, query: AlertQuery) -> bool:
    """Whether the query asks for it, on some page."""
    return (
        (query.active is None or query.active == (row.closed_date is None))
        and (query.heartbeat_name is None or name_key(query.heartbeat_name) == name_key(row.heartbeat_name))
        and (query.team is None or query.team == row.team)
        and query.reach.covers(row.heartbeat_name, row.team)
    )


def with_tail_moments(stored: Sequence[AlertMoment], tail: Batch, alert_id: EventId) -> list[AlertMoment]:
    """The alert's history to its end. A moment that the writer brought meanwhile is there once."""
    newer = [AlertMoment(one.at, one.change, one.by, one.note) for one in tail.moments if one.alert_id == alert_id]
    return [*stored, *(moment for moment in newer if moment not in stored)]


def with_tail_deliveries(stored: Sequence[Delivery], tail: Batch, alert_id: EventId) -> list[Delivery]:
    """Whom the alert was told, with what was decided and how it ended since."""
    deliveries = {(one.notification_id, one.target): one for one in stored}
    for decided in tail.decided:
        told = decided.notify.notification
        if told.alert_id == alert_id:
            for target in told.targets:
                pending = Delivery(told.notification_id, target, told.kind.value, decided.notify.at, None, 0, "", "")
                deliveries.setdefault((told.notification_id, target), pending)
    for key in deliveries.keys() & tail.settled.keys():
        ended = tail.settled[key]
        deliveries[key] = replace(
            deliveries[key],
            settled_at=ended.at,
            attempts=ended.attempts,
            outcome=ended.outcome.value,
            detail=storable(ended.detail),
        )
    return sorted(deliveries.values(), key=lambda one: (one.decided_at, one.notification_id, one.target))


def _inserted(values: AlertValues, named: Row | None) -> AlertRow:
    alert = values.alert
    return AlertRow(
        alert_id=alert.alert_id,
        service_id=values.service_id,
        heartbeat_name="" if named is None else named["heartbeat_name"],
        service_name="" if named is None else named["service_name"],
        team=alert.team,
        priority=alert.priority,
        runbook=alert.runbook,
        reason=alert.reason.value,
        alert_cycle=values.cycle,
        created_date=alert.opened_at,
        closed_date=None,
        closed_reason="",
        acknowledged_date=None,
        acknowledged_by="",
        muted=named is not None and named["muted"] == 1,
        key=alert.key,
    )


def _updated(row: AlertRow, values: AlertValues) -> AlertRow:
    alert = values.alert
    return replace(
        row,
        alert_cycle=max(row.alert_cycle, values.cycle),
        closed_date=values.closed_at,
        closed_reason=str(values.closed_reason),
        acknowledged_date=alert.acknowledged_at,
        acknowledged_by=storable(alert.acknowledged_by),
        muted=row.muted if values.muted is None else values.muted,
        flapping=alert.flapping,
    )
