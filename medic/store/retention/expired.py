"""Removes rows that are kept for a time of their own: closed alerts, snapshots of services, counts by the day, names.

In portions, each a transaction of its own, so that nobody waits long for a row and the server can clean up behind.

What Medic goes on with is never among them: an open alert, whatever it was told, and a notification that is still to be
delivered. A closed alert goes with its moments and its notifications, and only once its outage is counted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from medic.core.units import InstantMs
from medic.store.postgres.database import Database
from medic.store.retention.ages import Retention, kept_from
from medic.store.retention.counting import rows_of

ROWS_AT_ONCE: Final = 5_000
"""Rows of a portion: a tenth of a second."""

ALERTS, NEWS, SNAPSHOTS, DAYS, NAMES = (
    "alerts",
    "notifications",
    "snapshots",
    "days of counts",
    "names of deleted services",
)

_OLD_ALERTS: Final = """
SELECT alert_id FROM medic.alerts a
WHERE active = 0 AND created_date < $1 AND closed_date < $1
  AND NOT EXISTS (SELECT FROM medic.notifications n WHERE n.alert_id = a.alert_id AND n.outcome = '')
"""
_OLD_NEWS: Final = """
SELECT notification_id, target FROM medic.notifications WHERE alert_id IS NULL AND decided_at < $1 AND outcome <> ''
"""
_OLD_SNAPSHOTS: Final = "SELECT snapshot_id FROM medic.service_snapshots WHERE created_at < $1"
_OLD_DAYS: Final = "SELECT service_id, day FROM medic.heartbeat_days WHERE day < ($1 AT TIME ZONE 'UTC')::date"
_OLD_NAMES: Final = "SELECT service_id FROM medic.deleted_services WHERE date_deleted < $1"

_DELETE_ALERTS: Final = """,
moments AS (DELETE FROM medic.alert_events m USING old WHERE m.alert_id = old.alert_id),
told AS (DELETE FROM medic.notifications n USING old WHERE n.alert_id = old.alert_id)
DELETE FROM medic.alerts a USING old WHERE a.alert_id = old.alert_id
"""

_NOTE_ALERTS: Final = "UPDATE medic.cleanup SET alerts_from = greatest(alerts_from, $1)"
_OUTAGES_UNTIL: Final = "SELECT outages_until FROM medic.cleanup"


@dataclass(frozen=True, slots=True)
class _Kind:
    """Rows of one kind: which are old, and how a portion of them, `old`, is deleted."""

    word: str
    old: str
    delete: str
    before: InstantMs | None


def _kinds(retention: Retention, now: InstantMs, outages_until: InstantMs | None) -> list[_Kind]:
    alerts = kept_from(retention.alerts, now)
    if alerts is not None:
        alerts = None if outages_until is None else min(alerts, outages_until)
    return [
        _Kind(ALERTS, _OLD_ALERTS, _DELETE_ALERTS, alerts),
        _Kind(NEWS, _OLD_NEWS, _deletion("notifications", "notification_id", "target"), alerts),
        _Kind(
            SNAPSHOTS,
            _OLD_SNAPSHOTS,
            _deletion("service_snapshots", "snapshot_id"),
            kept_from(retention.snapshots, now),
        ),
        _Kind(DAYS, _OLD_DAYS, _deletion("heartbeat_days", "service_id", "day"), kept_from(retention.days, now)),
        _Kind(NAMES, _OLD_NAMES, _deletion("deleted_services", "service_id"), kept_from(retention.names, now)),
    ]


def _deletion(table: str, *key: str) -> str:
    same = " AND ".join(f"gone.{column} = old.{column}" for column in key)
    return f"DELETE FROM medic.{table} gone USING old WHERE {same}"  # noqa: S608 - names of tables and columns


async def remove_expired(database: Database, retention: Retention, now: InstantMs) -> Mapping[str, int]:
    """Remove what is older than its retention; how many rows of each kind went.

    Raises:
        DatabaseUnavailableError: PostgreSQL does not answer; what was removed so far is.
    """
    removed: dict[str, int] = {}
    for kind in _kinds(retention, now, await _outages_until(database)):
        if kind.before is None:
            continue
        if kind.word == ALERTS:
            # First: whoever asks from now on takes what is before from the counts.
            await database.execute(_NOTE_ALERTS, kind.before, operation="remove alerts")
        removed[kind.word] = await _remove(database, kind, kind.before)
    return removed


async def count_expired(database: Database, retention: Retention, now: InstantMs) -> Mapping[str, int]:
    """How many rows of each kind `remove_expired` would remove now."""
    found: dict[str, int] = {}
    for kind in _kinds(retention, now, await _outages_until(database)):
        if kind.before is not None:
            sql = f"SELECT count(*) AS rows FROM ({kind.old}) AS old"  # noqa: S608 - a constant
            row = await database.fetchrow(sql, kind.before, operation="count old rows")
            found[kind.word] = 0 if row is None else row["rows"]
    return found


async def _outages_until(database: Database) -> InstantMs | None:
    row = await database.fetchrow(_OUTAGES_UNTIL, operation="read cleanup")
    return None if row is None else row["outages_until"]


async def _remove(database: Database, kind: _Kind, before: InstantMs) -> int:
    removed = 0
    # Only names of tables and columns, and a number, are put in.
    sql = f"WITH old AS MATERIALIZED ({kind.old} LIMIT {ROWS_AT_ONCE}) {kind.delete}"
    while True:
        async with database.transaction() as transaction:
            some = rows_of(await transaction.execute(sql, before, operation=f"remove {kind.word}"))
        removed += some
        if some < ROWS_AT_ONCE:
            return removed
