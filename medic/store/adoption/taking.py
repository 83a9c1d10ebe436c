"""Services, alerts and snapshots of the earlier system into Medic's tables: one transaction, set-based.

Ids stay what they were. Those that Medic gives from here on come from blocks beyond all of them.

A mute of the earlier system had no end that was kept: it ended after 24 minutes of an alert, or never. Here it ends
`ALERT_AUTO_UNMUTE_HOURS` after it began, where that is still to come, else so long after the taking over. A service
that was not heard of in the retained days stays muted until somebody unmutes it, if it was muted: the end of its mute
would page for what everybody gave up long ago.

Of two open alerts of one service, which that system's races left, one stays: one that was told, else the newest. The
others are closed as superseded. Alerts of services that are gone are closed as deleted.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from medic.core.notification import alert_name
from medic.core.policy import Defaults
from medic.core.units import MINUTE_MS, SECOND_MS
from medic.store.adoption.bounds import COLUMNS, EarlierService, is_takeable
from medic.store.adoption.earlier import Adoption, EarlierTables
from medic.store.adoption.plan import SLICE_ROWS, Plan, key_expression
from medic.store.postgres.database import Transaction
from medic.store.tables.ids import BLOCK_IDS

EARLIER: Final = "the earlier system"
"""Who made the rows that were taken over, to everybody who asks."""

BY: Final = "medic migrate --adopt"

FIRST_ID: Final = 1024 * BLOCK_IDS
"""Ids below belong to services inserted by SQL."""


async def take_rows(transaction: Transaction, plan: Plan, adoption: Adoption, defaults: Defaults) -> int:
    """Fill services, alerts and snapshots; how many snapshots had to be left behind.

    Raises:
        StatementRefusedError: a row breaks a rule of Medic's tables that the plan does not know of.
    """
    tables, at = plan.tables, adoption.adopted_at
    unheard = [service.service_id for service in plan.unheard]
    author = orjson.dumps({"name": EARLIER, "action": "adopt"}).decode()
    await transaction.execute(_services(tables), at, defaults.auto_unmute_ms, unheard, author, operation="adopt")
    await transaction.execute(_gone(tables), at, operation="adopt")
    await transaction.execute(_COUNT_FROM_THE_FIRST, operation="adopt")
    await transaction.execute(_alerts(tables), at, operation="adopt")
    await transaction.execute(_MOMENTS, operation="adopt")
    left = await _take_snapshots(transaction, tables) if tables.has("service_snapshots") else 0
    await _move_ids(transaction, tables)
    said = {"services": len(plan.services), "alerts": plan.alerts, "heartbeats": plan.heartbeats.rows}
    await transaction.execute(_AUDIT, at, BY, orjson.dumps(said).decode(), operation="adopt")
    await transaction.execute("UPDATE medic_before.adoption SET rows_taken = true", operation="adopt")
    return left


def _services(tables: EarlierTables) -> str:
    def text(column: str) -> str:
        return f"nullif({tables.value('services', column)}, '')"

    name = f"normalize({text('heartbeat_name')}, NFC)"
    added, modified = tables.moment("services", "date_added"), tables.moment("services", "date_modified")
    muted = f"coalesce({tables.value('services', 'muted', 'int')}, 0)"
    began = f"least(coalesce({tables.moment('services', 'date_muted')}, $1), $1)"
    active = tables.value("services", "active", "int")
    length = "$2::bigint * interval '1 millisecond'"
    return f"""
    INSERT INTO medic.services (
        service_id, version, heartbeat_name, service_name, active, alert_interval, threshold, team, priority, runbook,
        muted, date_muted, mute_until, mute_reason, muted_by, down, grace_period_seconds, date_added, date_modified,
        changed_by)
    SELECT s.service_id, CASE WHEN {active} = 0 AND o.service_id IS NOT NULL THEN 2 ELSE 1 END, {name},
           coalesce(normalize({text("service_name")}, NFC), {name}), {active},
           {tables.value("services", "alert_interval", "numeric")},
           coalesce({tables.value("services", "threshold", "int")}, 1),
           coalesce(normalize({text("team")}, NFC), 'site-reliability'), coalesce(lower({text("priority")}), 'p3'),
           coalesce({text("runbook")}, ''), {muted},
           CASE WHEN {muted} = 1 THEN {began} END,
           CASE WHEN {muted} = 0 OR $2 = 0 OR s.service_id = ANY ($3::bigint[]) THEN NULL
                WHEN {began} + {length} > $1 THEN {began} + {length}
                ELSE $1 + {length} END,
           CASE WHEN {muted} = 1 THEN 'taken over from {EARLIER}' ELSE '' END,
           CASE WHEN {muted} = 1 THEN '{EARLIER}' ELSE '' END,
           (o.service_id IS NOT NULL)::int,
           coalesce({tables.value("services", "grace_period_seconds", "numeric")}, 0),
           coalesce({added}, {modified}, $1), coalesce({modified}, {added}, $1), '{EARLIER}'
    FROM {tables.table("services")} s
    LEFT JOIN (SELECT DISTINCT service_id FROM {tables.table("alerts")} WHERE active = 1) o USING (service_id),
         set_config('medic.author', $4, true)
    """  # noqa: S608 - names of columns, and constants


def _gone(tables: EarlierTables) -> str:
    """Whose alerts there are, and no service: their names stand in the alerts."""
    name = (
        f"coalesce(nullif(regexp_replace({tables.value('alerts', 'alert_name')}, '^{alert_name('')}', ''), ''),"
        " 'service ' || a.service_id)"
    )
    return f"""
    INSERT INTO medic.deleted_services (service_id, heartbeat_name, service_name, team, priority, date_deleted)
    SELECT DISTINCT ON (a.service_id) a.service_id, {name}, {name}, 'site-reliability', 'p3', $1
    FROM {tables.table("alerts")} a WHERE NOT EXISTS (SELECT FROM medic.services s WHERE s.service_id = a.service_id)
    ORDER BY a.service_id, a.alert_id DESC
    ON CONFLICT (service_id) DO NOTHING
    """  # noqa: S608 - names of columns, and constants


def _alerts(tables: EarlierTables) -> str:
    key = key_expression(tables)
    created, closed = tables.moment("alerts", "created_date"), tables.moment("alerts", "closed_date")
    return f"""
    WITH ranked AS (
        SELECT a.alert_id, a.service_id, {tables.value("alerts", "alert_name")} AS alert_name, {key} AS key,
               coalesce({tables.value("alerts", "alert_cycle", "int")}, 1) AS alert_cycle, {created} AS created,
               {closed} AS closed, coalesce(a.active, 0) = 1 AS was_open,
               row_number() OVER (
                   PARTITION BY a.service_id, coalesce(a.active, 0) = 1 ORDER BY ({key}) = '', a.alert_id DESC) AS place
        FROM {tables.table("alerts")} a)
    INSERT INTO medic.alerts (
        alert_id, alert_name, service_id, heartbeat_name, service_name, team, priority, runbook, active,
        external_reference_id, alert_cycle, reason, created_date, closed_date, closed_reason, late_since, muted)
    SELECT r.alert_id, coalesce(r.alert_name, '{alert_name("")}' || n.heartbeat_name), r.service_id, n.heartbeat_name,
           n.service_name, n.team, n.priority, coalesce(s.runbook, ''), (k.is_open)::int,
           r.key, r.alert_cycle, 'late', coalesce(r.created, r.closed, $1),
           CASE WHEN k.is_open THEN NULL WHEN r.was_open THEN $1 ELSE coalesce(greatest(r.closed, r.created), $1) END,
           CASE WHEN k.is_open THEN '' WHEN NOT r.was_open THEN 'recovered'
                WHEN s.service_id IS NULL THEN 'deleted' ELSE 'superseded' END,
           CASE WHEN k.is_open THEN coalesce(r.created, $1) END, coalesce(s.muted, 0)
    FROM ranked r
    LEFT JOIN medic.services s USING (service_id)
    LEFT JOIN medic.deleted_services d USING (service_id)
    CROSS JOIN LATERAL (
        SELECT coalesce(s.heartbeat_name, d.heartbeat_name) AS heartbeat_name,
               coalesce(s.service_name, d.service_name) AS service_name,
               coalesce(s.team, d.team) AS team, coalesce(s.priority, d.priority) AS priority) n
    CROSS JOIN LATERAL (SELECT r.was_open AND r.place = 1 AND s.service_id IS NOT NULL AS is_open) k
    """  # noqa: S608 - names of columns, and constants


# A cleanup of a Medic that was tried here before has counted the outages of nobody up to today.
_COUNT_FROM_THE_FIRST: Final = """
UPDATE medic.cleanup SET outages_until = NULL WHERE NOT EXISTS (SELECT FROM medic.alerts)
"""

_MOMENTS: Final = """
INSERT INTO medic.alert_events (alert_id, at, change, note)
SELECT alert_id, created_date, 'opened', reason FROM medic.alerts
UNION ALL SELECT alert_id, closed_date, 'closed', closed_reason FROM medic.alerts WHERE active = 0
"""

_AUDIT: Final = """
INSERT INTO medic.audit_log (at, actor, action, subject, label, after)
VALUES ($1, $2, 'adopt', 'the database of the earlier system', session_user, $3::jsonb)
"""


async def _move_ids(transaction: Transaction, tables: EarlierTables) -> None:
    """Give no id twice: neither to what SQL inserts, nor to what Medic draws."""
    await transaction.execute(
        "SELECT setval('medic.service_id_by_sql', max(service_id)) FROM medic.services"
        " WHERE service_id BETWEEN 1 AND $1 HAVING max(service_id) IS NOT NULL",
        FIRST_ID - 1,
        operation="adopt",
    )
    await transaction.execute(
        "UPDATE medic.id_blocks SET next_block = greatest(next_block, 1 + (SELECT max(newest) FROM ("  # noqa: S608 - names of tables
        " SELECT max(service_id) AS newest FROM medic.services UNION ALL SELECT max(alert_id) FROM medic.alerts"
        f" UNION ALL SELECT max(heartbeat_id) FROM {tables.table('heartbeatEvents')}) AS ids) / $1::bigint)",
        BLOCK_IDS,
        operation="adopt",
    )


# ----------------------------------------------------------------------------------------------------------- snapshots

_SNAPSHOT_COLUMNS: Final = (
    "snapshot_id",
    "service_id",
    "heartbeat_name",
    "action_type",
    "actor",
    "created_at",
    "snapshot_data",
    "restored_at",
    "restored_by",
    "restored_as",
)


async def _take_snapshots(transaction: Transaction, tables: EarlierTables) -> int:
    """Those that could be restored, with what Medic's own have; how many could not."""
    left, after = 0, -1
    while True:
        rows = await transaction.fetch(
            f"SELECT s.snapshot_id::bigint AS snapshot_id, s.service_id::bigint AS service_id,"  # noqa: S608 - names of columns
            f" {tables.value('service_snapshots', 'snapshot_data')} AS said,"
            f" {tables.value('service_snapshots', 'action_type')} AS action_type,"
            f" {tables.value('service_snapshots', 'actor')} AS actor,"
            f" {tables.moment('service_snapshots', 'created_at')} AS created_at,"
            f" {tables.moment('service_snapshots', 'restored_at')} AS restored_at"
            f" FROM {tables.table('service_snapshots')} s WHERE s.snapshot_id > $1::bigint"
            f" ORDER BY s.snapshot_id LIMIT {SLICE_ROWS}",
            after,
            operation="adopt",
        )
        if not rows:
            break
        taken = [record for row in rows if (record := _snapshot(dict(row.items()))) is not None]
        await transaction.copy_records("service_snapshots", _SNAPSHOT_COLUMNS, taken)
        left += len(rows) - len(taken)
        after = rows[-1]["snapshot_id"]
    await transaction.execute(
        "SELECT setval(pg_get_serial_sequence('medic.service_snapshots', 'snapshot_id'), max(snapshot_id))"
        " FROM medic.service_snapshots HAVING max(snapshot_id) > 0",
        operation="adopt",
    )
    return left


def _snapshot(row: dict[str, object]) -> Sequence[object] | None:
    """The record of a snapshot as Medic writes it; None where nothing could be restored from it."""
    service = _service_in(row["said"], int(str(row["service_id"])))
    if service is None or not is_takeable(service) or row["created_at"] is None:
        return None
    restored = row["restored_at"]
    shown = {
        "service_id": service.service_id,
        "heartbeat_name": service.name,
        "service_name": service.label,
        "active": service.active,
        "alert_interval": service.alert_interval,
        "threshold": service.threshold or 1,
        "team": service.team or "site-reliability",
        "priority": (service.priority or "p3").lower(),
        "runbook": service.runbook or "",
        "grace_period_seconds": service.grace_period_seconds or 0,
        "interval_ms": round((service.alert_interval or 0) * MINUTE_MS),
        "grace_ms": round((service.grace_period_seconds or 0) * SECOND_MS),
        "recovery_ms": 0,
        "renotify_ms": None,
    }
    return (
        row["snapshot_id"],
        service.service_id,
        service.name,
        row["action_type"] or "edit",
        row["actor"] or EARLIER,
        row["created_at"],
        orjson.dumps(shown).decode(),
        restored,
        "" if restored is None else EARLIER,
        None if restored is None else service.service_id,
    )


def _service_in(said: object, service_id: int) -> EarlierService | None:
    """The service that a snapshot's JSON shows. Its dates are left out: nothing of them is restored."""
    try:
        shown = orjson.loads(str(said))
        if not isinstance(shown, dict):
            return None
        known = {name: shown.get(name) for name in COLUMNS if not name.startswith("date_") and name in shown}
        service = EarlierService(**{**known, "service_id": service_id})  # type: ignore[arg-type]  # looked at below
        return service if _has_types(service) else None
    except (orjson.JSONDecodeError, TypeError):
        return None


def _has_types(service: EarlierService) -> bool:
    """JSON may hold anything under a name."""
    texts: tuple[object, ...] = (
        service.heartbeat_name,
        service.service_name,
        service.team,
        service.priority,
        service.runbook,
    )
    whole: tuple[object, ...] = (service.threshold, service.active, service.muted)
    fractions: tuple[object, ...] = (service.alert_interval, service.grace_period_seconds)
    return (
        all(text is None or isinstance(text, str) for text in texts)
        and all(number is None or (isinstance(number, int) and not isinstance(number, bool)) for number in whole)
        and all(
            number is None or (isinstance(number, int | float) and not isinstance(number, bool)) for number in fractions
        )
    )
