"""Writes a batch into its tables, within the transaction that moves the journal's position. All of it is set-based.

Names of services are not in the journal's records (HARD-CASES H11); they are joined in from `services`, or from
`deleted_services` where the deletion was committed before the writer came to the alert's end.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Final

import orjson

from medic.core.notification import alert_key, alert_name
from medic.core.status import ClosedReason
from medic.store.postgres.database import Transaction
from medic.store.tables.batch import AlertValues, Batch, storable
from medic.store.tables.heartbeat_rows import HEARTBEAT_COLUMNS

_ALERTS: Final = """
INSERT INTO medic.alerts AS stored (
    alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, runbook, active,
    external_reference_id, alert_cycle, reason, created_date, closed_date, closed_reason, late_since,
    acknowledged_date, acknowledged_by, muted, flapping, body)
SELECT n.alert_id, $17 || coalesce(s.heartbeat_name, d.heartbeat_name, ''), n.service_id,
       coalesce(s.heartbeat_name, d.heartbeat_name, ''), coalesce(s.service_name, d.service_name, ''),
       n.team, n.priority, n.runbook, (n.closed_date IS NULL)::int,
       $18 || coalesce(s.heartbeat_name, d.heartbeat_name, ''), n.cycle, n.reason, n.created_date, n.closed_date,
       n.closed_reason, n.late_since, n.acknowledged_date, n.acknowledged_by,
       coalesce(n.muted::int, s.muted, 0), n.flapping::int, n.body
FROM unnest($1::bigint[], $2::bigint[], $3::text[], $4::text[], $5::text[], $6::int[], $7::text[], $8::timestamptz[],
            $9::timestamptz[], $10::text[], $11::timestamptz[], $12::timestamptz[], $13::text[], $14::boolean[],
            $15::boolean[], $16::jsonb[])
     AS n (alert_id, service_id, team, priority, runbook, cycle, reason, created_date, closed_date, closed_reason,
           late_since, acknowledged_date, acknowledged_by, muted, flapping, body)
LEFT JOIN medic.services s USING (service_id)
LEFT JOIN medic.deleted_services d USING (service_id)
ON CONFLICT (alert_id) DO UPDATE SET
    active = EXCLUDED.active, alert_cycle = greatest(stored.alert_cycle, EXCLUDED.alert_cycle),
    closed_date = EXCLUDED.closed_date, closed_reason = EXCLUDED.closed_reason,
    acknowledged_date = EXCLUDED.acknowledged_date, acknowledged_by = EXCLUDED.acknowledged_by,
    muted = EXCLUDED.muted, flapping = EXCLUDED.flapping, body = EXCLUDED.body
"""

_SUPERSEDE: Final = """
WITH older AS (
    UPDATE medic.alerts a SET active = 0, closed_date = n.created_date, closed_reason = $4
    FROM unnest($1::bigint[], $2::bigint[], $3::timestamptz[]) AS n (service_id, alert_id, created_date)
    WHERE a.service_id = n.service_id AND a.active = 1 AND a.alert_id <> n.alert_id
    RETURNING a.alert_id, a.closed_date)
INSERT INTO medic.alert_events (alert_id, at, change, note) SELECT alert_id, closed_date, 'closed', $4 FROM older
"""

_DOWN: Final = """
UPDATE medic.services s SET down = n.down::int
FROM unnest($1::bigint[], $2::boolean[]) AS n (service_id, down)
WHERE s.service_id = n.service_id AND s.down <> n.down::int
"""

_MUTES: Final = """
UPDATE medic.services s SET muted = n.muted::int, date_muted = n.date_muted, mute_until = n.mute_until,
       mute_reason = n.mute_reason, muted_by = n.muted_by
FROM unnest($1::bigint[], $2::boolean[], $3::timestamptz[], $4::timestamptz[], $5::text[], $6::text[])
     AS n (service_id, muted, date_muted, mute_until, mute_reason, muted_by)
WHERE s.service_id = n.service_id
"""

_MUTED_ALERTS: Final = """
UPDATE medic.alerts a SET muted = n.muted::int
FROM unnest($1::bigint[], $2::boolean[]) AS n (service_id, muted)
WHERE a.service_id = n.service_id AND a.active = 1 AND a.muted <> n.muted::int
"""

_AUDITS: Final = """
INSERT INTO medic.audit_log (at, actor, action, service_id, subject, after)
SELECT n.at, n.actor, n.action, n.service_id, coalesce(s.heartbeat_name, d.heartbeat_name, ''), n.after
FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::bigint[], $5::jsonb[]) WITH ORDINALITY
     AS n (at, actor, action, service_id, after, place)
LEFT JOIN medic.services s USING (service_id)
LEFT JOIN medic.deleted_services d USING (service_id)
ORDER BY n.place
"""

_DECIDED: Final = """
INSERT INTO medic.notifications (notification_id, target, kind, alert_id, service_id, decided_at, body)
SELECT DISTINCT ON (notification_id, target) *
FROM unnest($1::text[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::timestamptz[], $7::bytea[])
     AS n (notification_id, target, kind, alert_id, service_id, decided_at, body)
ON CONFLICT (notification_id, target) DO NOTHING
"""

_SETTLED: Final = """
UPDATE medic.notifications stored
SET settled_at = n.settled_at, attempts = n.attempts, outcome = n.outcome, detail = n.detail
FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::int[], $5::text[], $6::text[])
     AS n (notification_id, target, settled_at, attempts, outcome, detail)
WHERE stored.notification_id = n.notification_id AND stored.target = n.target
"""


async def store_batch(transaction: Transaction, batch: Batch) -> int:
    """Write the batch's rows; how many older open alerts it found and closed as superseded.

    Raises:
        RowRefusedError: one of the rows will never be taken.
        DatabaseUnavailableError: none of them was.
    """
    superseded = 0
    if batch.heartbeats.count:
        await transaction.copy_packed("heartbeatEvents", HEARTBEAT_COLUMNS, batch.heartbeats.packed)
    if batch.alerts:
        superseded = await _store_alerts(transaction, list(batch.alerts.values()))
    if batch.moments:
        moments = [(moment.alert_id, moment.at, moment.change, moment.by, moment.note) for moment in batch.moments]
        await transaction.copy_records("alert_events", ("alert_id", "at", "change", "by", "note"), moments)
    if batch.mutes:
        await _store_mutes(transaction, batch)
    if batch.audits:
        rows = [(audit.at, audit.by, audit.action, audit.service_id, audit.after) for audit in batch.audits]
        await transaction.execute(_AUDITS, *_columns(rows))
    await _store_notifications(transaction, batch)
    if batch.removed:
        await transaction.execute(
            "DELETE FROM medic.service_states WHERE service_id = ANY ($1::bigint[])", sorted(batch.removed)
        )
    return superseded


async def _store_alerts(transaction: Transaction, alerts: Sequence[AlertValues]) -> int:
    """Closed ones first, so that at no point a service has two open."""
    superseded = 0
    closed = [values for values in alerts if values.closed_at is not None]
    if closed:
        await _upsert_alerts(transaction, closed)
    still_open = [values for values in alerts if values.closed_at is None]
    if still_open:
        opened = [(values.service_id, values.alert.alert_id, values.alert.opened_at) for values in still_open]
        tag = await transaction.execute(_SUPERSEDE, *_columns(opened), ClosedReason.SUPERSEDED.value)
        superseded = int(tag.rpartition(" ")[2])
        await _upsert_alerts(transaction, still_open)
    down = {values.service_id: False for values in closed} | {values.service_id: True for values in still_open}
    await transaction.execute(_DOWN, *_columns(sorted(down.items())))
    return superseded


async def _upsert_alerts(transaction: Transaction, alerts: Sequence[AlertValues]) -> None:
    rows = [
        (
            values.alert.alert_id,
            values.service_id,
            values.alert.team,
            values.alert.priority,
            values.alert.runbook,
            values.cycle,
            values.alert.reason.value,
            values.alert.opened_at,
            values.closed_at,
            str(values.closed_reason),
            values.alert.late_since,
            values.alert.acknowledged_at,
            storable(values.alert.acknowledged_by),
            values.muted,
            values.alert.flapping,
            orjson.dumps(replace(values.alert, acknowledged_by=storable(values.alert.acknowledged_by))).decode(),
        )
        for values in alerts
    ]
    await transaction.execute(_ALERTS, *_columns(rows), alert_name(""), alert_key(""))


async def _store_mutes(transaction: Transaction, batch: Batch) -> None:
    mutes = sorted(batch.mutes.items(), key=lambda muted: muted[0])
    rows = [
        (service_id, False, None, None, "", "")
        if mute is None
        else (service_id, True, mute.muted_at, mute.until, storable(mute.reason), storable(mute.muted_by))
        for service_id, mute in mutes
    ]
    await transaction.execute(_MUTES, *_columns(rows))
    await transaction.execute(_MUTED_ALERTS, *_columns([row[:2] for row in rows]))


async def _store_notifications(transaction: Transaction, batch: Batch) -> None:
    if batch.decided:
        rows = [
            (
                decided.notify.notification.notification_id,
                decided.target,
                decided.notify.notification.kind.value,
                decided.notify.notification.alert_id,
                decided.notify.service_id,
                decided.notify.at,
                decided.body,
            )
            for decided in batch.decided
        ]
        await transaction.execute(_DECIDED, *_columns(rows))
    if batch.settled:
        settled = [
            (
                one.notification_id,
                one.target,
                one.at,
                one.attempts,
                one.outcome.value,
                one.detail.replace("\x00", "\ufffd"),
            )
            for one in batch.settled.values()
        ]
        await transaction.execute(_SETTLED, *_columns(settled))


def _columns(rows: Sequence[Sequence[object]]) -> tuple[list[object], ...]:
    """Rows as columns: one array a column is what unnest takes."""
    return tuple(list(column) for column in zip(*rows, strict=True))
