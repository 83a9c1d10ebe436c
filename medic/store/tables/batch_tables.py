"""Writes a batch into its tables, within the transaction that moves the journal's position. All of it is set-based.

Names of services are not in the journal's records (HARD-CASES H11); they are joined in from `services`, or from
`deleted_services` where the deletion was committed before the writer came to the alert's end.

A batch of a storm has some 7 000 alerts and as many notifications, and the driver packs the arguments of a statement in
one go. So no statement is given more than `ROWS_AT_ONCE` rows, and they are made just before it. What a storm is made
of goes as a JSON document: of arrays the driver asks each element whether it is an array itself
(docs/decisions/0016-a-storm-of-alerts.md).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import islice
from typing import Final

import orjson

from medic.core.effects import SettleNotification
from medic.core.notification import alert_key, alert_name
from medic.core.service import Mute
from medic.core.status import ClosedReason
from medic.core.units import ServiceId
from medic.store.codec import PREFIX_BYTES
from medic.store.postgres.database import Transaction
from medic.store.tables.batch import AlertValues, Audit, Batch, Decided, storable
from medic.store.tables.heartbeat_rows import HEARTBEAT_COLUMNS

ROWS_AT_ONCE: Final = 1_000
"""Rows a statement is given: two to four milliseconds between two chances for others."""

PAIRS_AT_ONCE: Final = 5_000
"""The same of rows that are two or three numbers."""

_BY_INDEX: Final = "SET LOCAL enable_seqscan = off"
"""In a storm `alerts` grows faster than PostgreSQL counts it, and a plan from when it was empty reads all of it for
every statement: 76 µs an alert after 40 000 of them, instead of 45."""

_ALERTS: Final = """
INSERT INTO medic.alerts AS stored (
    alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, runbook, active,
    external_reference_id, alert_cycle, reason, created_date, closed_date, closed_reason, late_since,
    acknowledged_date, acknowledged_by, muted, flapping, body)
SELECT a.alert_id, $2 || coalesce(s.heartbeat_name, d.heartbeat_name, ''), n.service_id,
       coalesce(s.heartbeat_name, d.heartbeat_name, ''), coalesce(s.service_name, d.service_name, ''),
       a.team, a.priority, a.runbook, (n.closed_at IS NULL)::int,
       coalesce(nullif(a.key, ''), $3 || coalesce(s.heartbeat_name, d.heartbeat_name, '')), n.cycle,
       a.reason, to_timestamp(a.opened_at / 1000.0),
       to_timestamp(n.closed_at / 1000.0), n.closed_reason, to_timestamp(a.late_since / 1000.0),
       to_timestamp(a.acknowledged_at / 1000.0), a.acknowledged_by,
       coalesce(n.muted::int, s.muted, 0), a.flapping::int, n.alert
FROM jsonb_to_recordset($1)
     AS n (service_id bigint, cycle int, closed_at bigint, closed_reason text, muted boolean, alert jsonb)
CROSS JOIN LATERAL jsonb_to_record(n.alert)
     AS a (alert_id bigint, team text, priority text, runbook text, reason text, opened_at bigint, late_since bigint,
           acknowledged_at bigint, acknowledged_by text, flapping boolean, key text)
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
INSERT INTO medic.audit_log (at, actor, key_id, address, request_id, label, action, service_id, subject, before, after)
SELECT n.at, n.actor, n.key_id, n.address, n.request_id, n.label, n.action, n.service_id,
       coalesce(s.heartbeat_name, d.heartbeat_name, ''),
       CASE WHEN n.before IS NOT NULL THEN n.before
            WHEN s.muted = 1 THEN jsonb_build_object('muted', 1, 'reason', s.mute_reason, 'until',
                to_char(nullif(s.mute_until, 'infinity') AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"'))
            ELSE jsonb_build_object('muted', 0) END,
       n.after
FROM unnest($1::timestamptz[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::bigint[],
            $9::jsonb[], $10::jsonb[]) WITH ORDINALITY
     AS n (at, actor, key_id, address, request_id, label, action, service_id, before, after, place)
LEFT JOIN medic.services s USING (service_id)
LEFT JOIN medic.deleted_services d USING (service_id)
ORDER BY n.place
"""

_DECIDED: Final = """
INSERT INTO medic.notifications (notification_id, target, kind, alert_id, service_id, decided_at, body)
SELECT DISTINCT ON (n.notification_id, target.name) n.notification_id, target.name, n.kind, n.alert_id, n.service_id,
       to_timestamp(n.at / 1000.0), decode(n.prefix, 'hex') || convert_to(n.body, 'UTF8')
FROM jsonb_to_recordset($1)
     AS n (notification_id text, kind text, alert_id bigint, service_id bigint, at bigint, targets jsonb, prefix text,
           body text)
CROSS JOIN LATERAL jsonb_array_elements_text(n.targets) AS target (name)
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
    if batch.alerts or batch.decided or batch.settled:
        await transaction.execute(_BY_INDEX)
    if batch.alerts:
        superseded = await _store_alerts(transaction, list(batch.alerts.values()))
    if batch.moments:
        moments = ((moment.alert_id, moment.at, moment.change, moment.by, moment.note) for moment in batch.moments)
        await transaction.copy_records("alert_events", ("alert_id", "at", "change", "by", "note"), moments)
    if batch.audits:  # before the mutes: an entry's `before` is what the row says until then
        await _execute(transaction, _AUDITS, map(_audit_row, batch.audits))
    if batch.mutes:
        await _store_mutes(transaction, batch)
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
    await _upsert_alerts(transaction, closed)
    still_open = [values for values in alerts if values.closed_at is None]
    opened = ((values.service_id, values.alert.alert_id, values.alert.opened_at) for values in still_open)
    for tag in await _execute(transaction, _SUPERSEDE, opened, ClosedReason.SUPERSEDED.value, most=PAIRS_AT_ONCE):
        superseded += int(tag.rpartition(" ")[2])
    await _upsert_alerts(transaction, still_open)
    down = {values.service_id: False for values in closed} | {values.service_id: True for values in still_open}
    await _execute(transaction, _DOWN, sorted(down.items()), most=PAIRS_AT_ONCE)
    return superseded


async def _upsert_alerts(transaction: Transaction, alerts: Iterable[AlertValues]) -> None:
    for document in _documents(map(_alert_row, alerts)):
        await transaction.execute(_ALERTS, document, alert_name(""), alert_key(""))


def _alert_row(values: AlertValues) -> dict[str, object]:
    alert = values.alert
    if "\x00" in alert.acknowledged_by:
        alert = replace(alert, acknowledged_by=storable(alert.acknowledged_by))
    return {
        "service_id": values.service_id,
        "cycle": values.cycle,
        "closed_at": values.closed_at,
        "closed_reason": values.closed_reason,
        "muted": values.muted,
        "alert": alert,
    }


def _documents(rows: Iterable[object]) -> Iterator[str]:
    """The rows as JSON, `ROWS_AT_ONCE` in a document, each made when it is asked for."""
    remaining = iter(rows)
    while part := list(islice(remaining, ROWS_AT_ONCE)):
        yield orjson.dumps(part).decode()


def _audit_row(audit: Audit) -> tuple[object, ...]:
    author = audit.author
    who = (author.name, author.key_id, author.address, author.request_id, author.label)
    return (audit.at, *who, audit.action, audit.service_id, audit.before, audit.after)


async def _store_mutes(transaction: Transaction, batch: Batch) -> None:
    mutes = sorted(batch.mutes.items(), key=lambda muted: muted[0])
    await _execute(transaction, _MUTES, (_mute_row(service_id, mute) for service_id, mute in mutes))
    await _execute(transaction, _MUTED_ALERTS, ((service_id, mute is not None) for service_id, mute in mutes))


def _mute_row(service_id: ServiceId, mute: Mute | None) -> tuple[object, ...]:
    if mute is None:
        return (service_id, False, None, None, "", "")
    return (service_id, True, mute.muted_at, mute.until, storable(mute.reason), storable(mute.muted_by))


async def _store_notifications(transaction: Transaction, batch: Batch) -> None:
    for document in _documents(map(_decided_row, batch.decided)):
        await transaction.execute(_DECIDED, document)
    await _execute(transaction, _SETTLED, map(_settled_row, batch.settled.values()))


def _decided_row(decided: Decided) -> dict[str, object]:
    notification = decided.notify.notification
    return {
        "notification_id": notification.notification_id,
        "kind": notification.kind,
        "alert_id": notification.alert_id,
        "service_id": notification.service_id,
        "at": decided.notify.at,
        "targets": notification.targets,
        "prefix": decided.body[:PREFIX_BYTES].hex(),
        "body": decided.body[PREFIX_BYTES:].decode(),
    }


def _settled_row(settled: SettleNotification) -> tuple[object, ...]:
    return (
        settled.notification_id,
        settled.target,
        settled.at,
        settled.attempts,
        settled.outcome.value,
        storable(settled.detail),
    )


async def _execute(
    transaction: Transaction,
    sql: str,
    rows: Iterable[Sequence[object]],
    *constants: object,
    most: int = ROWS_AT_ONCE,
) -> list[str]:
    """Run a statement over the rows, `most` of them at a time; the tags, none where there are no rows."""
    tags: list[str] = []
    remaining = iter(rows)
    while part := list(islice(remaining, most)):
        # One array a column is what unnest takes.
        columns = map(list, zip(*part, strict=True))
        tags.append(await transaction.execute(sql, *columns, *constants))
    return tags
