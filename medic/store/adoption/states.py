"""What Medic believes of each service when it starts on a database that was taken over.

The problem. Nobody may be paged by a taking over, and nothing that was told may be forgotten. Between the end of the
earlier system and the first start of Medic lie minutes or days, in which no heartbeat was taken by anybody.

The way. For the start there is nothing new in this: it is a takeover from another Medic that ended at `adopted_at`, the
moment at which the tables were moved. That one's states, its watermark and its notifications are written here as it
would have left them, and the token says that it was the active one. So the start inherits, as it always does
(`medic.store.takeover`): the time since is blind time, by which every deadline moves, and each service has its whole
interval from the start on.

    a service that was heard of         up; all its signs of life at `adopted_at`
    never heard of, registered lately   new, likewise
    with an alert that is open          late; the alert as it was told, under the key PagerDuty knows it by; its first
                                        reminder not before a whole `renotify` has passed
    not heard of in the retained days   late; an alert that nobody is told of one by one: the first start tells of all
                                        of them at once. Its end is not told either. An alert that is open already
                                        counts as acknowledged: it reminds nobody, and is resolved where it was told
    inactive, with an open alert        as if it had been made inactive a moment ago: the start closes the alert, and
                                        resolves it where it was told
    inactive                            inactive, since its row was modified

What is owed to PagerDuty beside that, the end of an alert whose service is gone, or that a second alert of the same
service hid, is written as a notification that is still pending.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

import orjson

from medic.core.effects import Notify
from medic.core.heartbeat_words import kind_of
from medic.core.notification import PAGERDUTY, Notification, alert_key, alert_name
from medic.core.policy import Defaults
from medic.core.service import LONG_AGO, Alert, Mute, Service, ServiceRow
from medic.core.status import HeartbeatStatus, NotificationKind, OpenedReason, Outcome, Status
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs
from medic.store.adoption.taking import EARLIER
from medic.store.codec import encode
from medic.store.postgres.database import Row, Transaction
from medic.store.tables.ids import BLOCK_IDS
from medic.store.tables.services import ROW_COLUMNS, row_of
from medic.store.tables.state_rows import StateRow, state_row, store_states

JOURNAL: Final = "the earlier system"
"""Stands for the journal of a Medic that never was: no other has such an id."""

SLICE_SERVICES: Final = 2_000

_NO_SKEW: Final = SkewMs(0)
"""Until `adopted_at` sighted time is wall time."""

_SERVICES: Final = (
    f"SELECT {ROW_COLUMNS}, muted, date_muted, mute_until, mute_reason, muted_by FROM medic.services"  # noqa: S608 - a constant
    f" WHERE service_id > $1 ORDER BY service_id LIMIT {SLICE_SERVICES}"
)
_OPEN: Final = """
SELECT service_id, alert_id, external_reference_id AS key, created_date, team, priority, runbook FROM medic.alerts
WHERE active = 1 AND service_id = ANY ($1::bigint[])
"""
_TOTALS: Final = 'SELECT service_id, count(*) AS heartbeats FROM medic."heartbeatEvents" GROUP BY 1'
_NEWEST: Final = """
SELECT asked.service_id, h.status, h."time" FROM unnest($1::bigint[]) AS asked (service_id)
CROSS JOIN LATERAL (
    SELECT status, "time" FROM medic."heartbeatEvents" WHERE service_id = asked.service_id
    ORDER BY "time" DESC, heartbeat_id DESC LIMIT 1) h
"""
_UNHEARD_ALERTS: Final = """
INSERT INTO medic.alerts (
    alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, runbook, active,
    external_reference_id, alert_cycle, reason, created_date, late_since, muted, body)
SELECT n.alert_id, $6 || s.heartbeat_name, s.service_id, s.heartbeat_name, s.service_name, s.team, s.priority,
       s.runbook, 1, $7 || s.heartbeat_name, 1, n.reason, $1, n.late_since, s.muted, n.body
FROM unnest($2::bigint[], $3::bigint[], $4::text[], $5::timestamptz[], $8::jsonb[])
     AS n (service_id, alert_id, reason, late_since, body)
JOIN medic.services s USING (service_id)
"""
_DOWN: Final = "UPDATE medic.services SET down = 1 WHERE service_id = ANY ($1::bigint[])"
_EVENTS: Final = """
INSERT INTO medic.alert_events (alert_id, at, change, note) SELECT n.alert_id, $1, 'opened', n.reason
FROM unnest($2::bigint[], $3::text[]) AS n (alert_id, reason)
"""
_BODIES: Final = """
UPDATE medic.alerts a
SET body = n.body, acknowledged_date = n.acknowledged_date, acknowledged_by = n.acknowledged_by
FROM unnest($1::bigint[], $2::jsonb[], $3::timestamptz[], $4::text[])
     AS n (alert_id, body, acknowledged_date, acknowledged_by)
WHERE a.alert_id = n.alert_id
"""
_NOTIFICATIONS: Final = (
    "notification_id",
    "target",
    "kind",
    "alert_id",
    "service_id",
    "decided_at",
    "settled_at",
    "attempts",
    "outcome",
    "detail",
    "body",
)
_HIDDEN: Final = """
SELECT a.alert_id, a.service_id, a.heartbeat_name, a.service_name, a.team, a.priority, a.runbook, a.created_date,
       a.external_reference_id AS key
FROM medic.alerts a
WHERE a.closed_date = $1 AND a.closed_reason IN ('superseded', 'deleted') AND a.external_reference_id <> ''
  AND NOT EXISTS (SELECT FROM medic.alerts o WHERE o.active = 1 AND o.external_reference_id = a.external_reference_id)
"""


@dataclass(frozen=True, slots=True)
class Heard:
    """The newest heartbeat of a service."""

    status: str
    at: InstantMs


class States:
    """Makes the states, and what was told, within one transaction.

    Args:
        transaction: That one.
        at: `adopted_at`.
        defaults: The environment's.
        unheard: Services that were not heard of in the retained days.
        first_id: The first of as many ids for their alerts.
    """

    def __init__(
        self,
        transaction: Transaction,
        at: InstantMs,
        defaults: Defaults,
        *,
        unheard: frozenset[int],
        first_id: int,
    ) -> None:
        self._transaction = transaction
        self._at = at
        self._defaults = defaults
        self._unheard = unheard
        self._next_id = first_id

    async def write_all(self) -> None:
        """Write them all, in slices."""
        rows = await self._transaction.fetch(_TOTALS, operation="adopt")
        totals = {row["service_id"]: row["heartbeats"] for row in rows}
        after = -1
        while rows := await self._transaction.fetch(_SERVICES, after, operation="adopt"):
            await self._write(rows, totals)
            after = rows[-1]["service_id"]
        await self._owe_ends()

    async def _write(self, rows: Sequence[Row], totals: Mapping[int, int]) -> None:
        ids = [row["service_id"] for row in rows]
        newest = await self._transaction.fetch(_NEWEST, ids, operation="adopt")
        heard = {row["service_id"]: Heard(row["status"], row["time"]) for row in newest}
        opened = {row["service_id"]: row for row in await self._transaction.fetch(_OPEN, ids, operation="adopt")}
        services, told, unheard = [], [], []
        for record in rows:
            row = row_of(record)
            service = self._service(row, heard.get(row.service_id), totals.get(row.service_id, 0))
            service.mute = _mute(record)
            if (alert := opened.get(row.service_id)) is not None:
                service.alert, service.deactivated = self._alert(service, alert), None
                service.status = Status.LATE
                told += [] if not alert["key"] else [self._told(service, service.alert)]
            elif row.service_id in self._unheard:
                service.alert = self._unheard_alert(service)
                service.status = Status.LATE
                unheard.append(service)
            services.append(service)
        await self._store(services)
        await self._store_unheard(unheard)
        await self._transaction.copy_records("notifications", _NOTIFICATIONS, told)

    def _service(self, row: ServiceRow, heard: Heard | None, total: int) -> Service:
        """The service as of `adopted_at`, without mute and alert: all its signs of life are of that instant."""
        service = Service(row, row.policy(self._defaults), registered=SightedMs(self._at))
        if heard is not None:
            kind = kind_of(heard.status)
            service.registered = LONG_AGO
            service.last_heartbeat_at = heard.at
            service.last_status = heard.status
            service.heard_kind = None if kind is HeartbeatStatus.STARTED else kind
            service.heartbeats_total = total
            service.status = Status.UP if row.active else Status.INACTIVE
        return service

    def _alert(self, service: Service, record: Row) -> Alert:
        created: InstantMs = record["created_date"]
        told = bool(record["key"]) or service.mute is None
        row = service.row
        # What it was due since is not known; its first heartbeat missing is.
        late_since = created if not service.heard else InstantMs(service.last_heartbeat_at + service.policy.patience_ms)
        is_given_up = row.service_id in self._unheard
        return Alert(
            alert_id=EventId(record["alert_id"]),
            reason=OpenedReason.LATE,
            opened_at=created,
            opened_sighted=SightedMs(created),
            late_since=min(late_since, created),
            priority=row.priority,
            team=row.team,
            runbook=row.runbook,
            told=told,
            told_priority=row.priority if told else "",
            acknowledged_at=self._at if is_given_up else None,
            acknowledged_by=EARLIER if is_given_up else "",
            reminded_ms=DurationMs(max(0, self._at - created) + service.policy.renotify_ms),
            notifications=int(told),
            key="" if record["key"] in ("", alert_key(row.heartbeat_name)) else record["key"],
        )

    def _unheard_alert(self, service: Service) -> Alert:
        """One that nobody is told of, neither now nor at its end. One notification: that of all of them together."""
        row, heard = service.row, service.heard
        since = service.last_heartbeat_at if heard else row.date_added
        alert = Alert(
            alert_id=EventId(self._next_id),
            reason=OpenedReason.LATE if heard else OpenedReason.NEVER_HEARD,
            opened_at=self._at,
            opened_sighted=SightedMs(self._at),
            late_since=InstantMs(min(since + service.policy.patience_ms, self._at)),
            priority=row.priority,
            team=row.team,
            runbook=row.runbook,
            notifications=1,
        )
        self._next_id += 1
        return alert

    def _told(self, service: Service, alert: Alert) -> tuple[object, ...]:
        """The row of the notification by which PagerDuty knows of the alert."""
        row = service.row
        notification = Notification(
            notification_id=f"{alert.alert_id}.0",
            kind=NotificationKind.TRIGGER,
            key=alert.key or alert_key(row.heartbeat_name),
            at=alert.opened_at,
            service_id=row.service_id,
            alert_id=alert.alert_id,
            heartbeat_name=row.heartbeat_name,
            service_name=row.service_name,
            team=alert.team,
            priority=alert.priority,
            runbook=alert.runbook,
            reason=alert.reason,
            late_since=alert.late_since,
            interval_ms=service.policy.interval_ms,
            threshold=service.policy.threshold,
            targets=(PAGERDUTY,),
        )
        return _notification_row(notification, settled_at=alert.opened_at, outcome=Outcome.DELIVERED.value)

    async def _store(self, services: Sequence[Service]) -> None:
        states = [state_row(service, _NO_SKEW) for service in services]
        await store_states(self._transaction, JOURNAL, [_before_its_edit(state) for state in states], self._at)
        alerts = [service.alert for service in services if service.alert is not None]
        await self._transaction.execute(
            _BODIES,
            [alert.alert_id for alert in alerts],
            [orjson.dumps(alert).decode() for alert in alerts],
            [alert.acknowledged_at for alert in alerts],
            [alert.acknowledged_by for alert in alerts],
            operation="adopt",
        )

    async def _store_unheard(self, services: Sequence[Service]) -> None:
        alerts = [service.alert for service in services if service.alert is not None]
        ids = [service.row.service_id for service in services]
        alert_ids, reasons = [alert.alert_id for alert in alerts], [alert.reason.value for alert in alerts]
        await self._transaction.execute(
            _UNHEARD_ALERTS,
            self._at,
            ids,
            alert_ids,
            reasons,
            [alert.late_since for alert in alerts],
            alert_name(""),
            alert_key(""),
            [orjson.dumps(alert).decode() for alert in alerts],
            operation="adopt",
        )
        await self._transaction.execute(_EVENTS, self._at, alert_ids, reasons, operation="adopt")
        await self._transaction.execute(_DOWN, ids, operation="adopt")

    async def _owe_ends(self) -> None:
        """The ends of alerts that PagerDuty has open and Medic has not: to be told by the first start."""
        rows = await self._transaction.fetch(_HIDDEN, self._at, operation="adopt")
        owed = [_notification_row(self._end(row), settled_at=None, outcome="") for row in rows]
        await self._transaction.copy_records("notifications", _NOTIFICATIONS, owed)

    def _end(self, row: Row) -> Notification:
        return Notification(
            notification_id=f"{row['alert_id']}.1",
            kind=NotificationKind.RESOLVE,
            key=row["key"],
            at=self._at,
            service_id=ServiceId(row["service_id"]),
            alert_id=EventId(row["alert_id"]),
            heartbeat_name=row["heartbeat_name"],
            service_name=row["service_name"],
            team=row["team"],
            priority=row["priority"],
            runbook=row["runbook"],
            lasted_ms=DurationMs(max(0, self._at - row["created_date"])),
            closed_reason="superseded",
            by=EARLIER,
            targets=(PAGERDUTY,),
        )


async def take_ids(transaction: Transaction, count: int) -> int:
    """The first of `count` ids in a row that nobody else gets."""
    blocks = -(-max(count, 1) // BLOCK_IDS)
    row = await transaction.fetchrow("SELECT medic.take_id_blocks($1) AS block", blocks, operation="adopt")
    return 0 if row is None else int(row["block"]) * BLOCK_IDS


def _before_its_edit(state: StateRow) -> StateRow:
    """The state of an inactive service with an open alert, as it was while it was watched: its row is a version on."""
    return replace(state, version=state.version - 1) if state.version > 1 else state


def _mute(record: Row) -> Mute | None:
    if record["muted"] != 1:
        return None
    return Mute(record["date_muted"], record["mute_until"], record["mute_reason"], record["muted_by"])


def _notification_row(notification: Notification, *, settled_at: InstantMs | None, outcome: str) -> tuple[object, ...]:
    told = Notify(at=notification.at, sighted=SightedMs(notification.at), notification=notification)
    return (
        notification.notification_id,
        PAGERDUTY,
        notification.kind.value,
        notification.alert_id,
        notification.service_id,
        notification.at,
        settled_at,
        int(bool(outcome)),
        outcome,
        f"by {EARLIER}" if outcome else "",
        encode(told),
    )
