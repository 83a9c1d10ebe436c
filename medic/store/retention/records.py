"""How a service was over a time: from alerts and heartbeats as long as they are kept, from their counts before.

When it was watched and muted, the audit says: entries about this service that changed one of the two. Where its
beginning was removed, what the first entry that is left says of before is taken for all of that.

Every question is one statement, so that what moves from one table into another meanwhile (a day that is counted, hours
that are folded) is in one of the two. Alerts are read before the mark that says which are gone: what goes between the
two is then in the counts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import trio

from medic.core.availability import Counted, Life, Outage, Span, Switch, reckon
from medic.core.names import name_key
from medic.core.units import HOUR_MS, EventId, InstantMs, ServiceId
from medic.errors import DatabaseUnavailableError
from medic.history import OUTAGES_LISTED, ServiceRecord
from medic.ports import Journal, Position, Roster
from medic.store.postgres.database import FOREVER, Database, Row
from medic.store.postgres.time_limit import answered_within
from medic.store.tables import history
from medic.store.tables.history import Written

OUTAGES_MAX: Final = 100_000
"""Outages that are looked at, the newest: more than three years of a service that flaps all the time."""

SWITCHES_MAX: Final = 100_000
"""Changes of activity and mutes that are looked at: one every ten minutes for two years."""

_BEHIND: Final = "PostgreSQL is too far behind to tell what is true of this service now."

_SERVICE: Final = """
SELECT heartbeat_name, service_name, team, date_added, NULL::timestamptz AS date_deleted, active = 1 AS active,
       muted = 1 AS muted, date_muted, mute_until
FROM medic.services WHERE service_id = $1
UNION ALL
SELECT heartbeat_name, service_name, team,
       coalesce((SELECT min((a.before->>'date_added')::timestamptz) FROM medic.audit_log a
                 WHERE a.service_id = $1 AND a.action = 'delete'), date_deleted),
       date_deleted, true, false, NULL, NULL
FROM medic.deleted_services WHERE service_id = $1
LIMIT 1
"""

# `active` of an acknowledgement or a resolution is the alert's.
_SWITCHES: Final = """
SELECT at, action, (before->>'active')::int AS was_active, (after->>'active')::int AS active,
       (before->>'muted')::int AS was_muted, (after->>'muted')::int AS muted,
       nullif(coalesce(after->>'mute_until', after->>'until'), 'infinity')::timestamptz AS until
FROM medic.audit_log
WHERE service_id = $1 AND NOT coalesce(after, before) ? 'alert_id'
  AND (before IS NULL OR action IN ('mute', 'unmute') OR before->'active' IS DISTINCT FROM after->'active'
       OR before->'muted' IS DISTINCT FROM after->'muted'
       OR before->'mute_until' IS DISTINCT FROM after->'mute_until')
ORDER BY at, audit_id LIMIT $2
"""

_OUTAGES: Final = """
SELECT alert_id, reason, created_date, closed_date, muted
FROM medic.alerts
WHERE lower(heartbeat_name COLLATE "C") = $2 COLLATE "C" AND service_id = $1 AND created_date < $4
  AND (closed_date IS NULL OR closed_date > $3 OR created_date >= $3)
ORDER BY created_date DESC LIMIT $5
"""

_ALERTS_FROM: Final = "SELECT alerts_from FROM medic.cleanup"

_COUNTED: Final = """
SELECT coalesce(sum(late_ms), 0)::bigint AS late_ms, coalesce(sum(reported_ms), 0)::bigint AS reported_ms,
       coalesce(sum(outages), 0)::bigint AS outages
FROM (SELECT late_ms, reported_ms, outages FROM medic.heartbeat_hours
      WHERE service_id = $1 AND hour >= $2 AND hour < $3
      UNION ALL
      SELECT late_ms, reported_ms, outages FROM medic.heartbeat_days
      WHERE service_id = $1 AND day::timestamp AT TIME ZONE 'UTC' >= $2 AND day::timestamp AT TIME ZONE 'UTC' < $3)
     AS counted
"""

# Days that are not counted yet: today, and yesterday until shortly after midnight. Bounds are whole hours.
_HEARTBEATS: Final = """
WITH open_days AS MATERIALIZED (
    SELECT day::timestamp AT TIME ZONE 'UTC' AS begins, (day + 1)::timestamp AT TIME ZONE 'UTC' AS ends
    FROM medic.heartbeat_partitions WHERE NOT is_counted)
SELECT word, sum(heartbeats)::bigint AS heartbeats
FROM (SELECT counts.word, counts.heartbeats
      FROM (SELECT up, down, degraded, started, completed, failed, other FROM medic.heartbeat_hours
            WHERE service_id = $1 AND hour >= $2 AND hour < $3
            UNION ALL
            SELECT up, down, degraded, started, completed, failed, other FROM medic.heartbeat_days
            WHERE service_id = $1 AND day::timestamp AT TIME ZONE 'UTC' >= $2
              AND day::timestamp AT TIME ZONE 'UTC' < $3) AS counted
      CROSS JOIN LATERAL (VALUES ('UP', up), ('DOWN', down), ('DEGRADED', degraded), ('STARTED', started),
                                 ('COMPLETED', completed), ('FAILED', failed), ('OTHER', other))
                         AS counts (word, heartbeats)
      UNION ALL
      SELECT heard.word, heard.heartbeats
      FROM open_days o
      CROSS JOIN LATERAL (
          SELECT CASE WHEN upper(status COLLATE "C") IN ('UP', 'DOWN', 'DEGRADED', 'STARTED', 'COMPLETED', 'FAILED')
                      THEN upper(status COLLATE "C") ELSE 'OTHER' END AS word, count(*) AS heartbeats
          FROM medic."heartbeatEvents"
          WHERE service_id = $1 AND "time" >= greatest(o.begins, $2) AND "time" < least(o.ends, $3)
          GROUP BY 1) AS heard) AS all_of_them
GROUP BY word
"""


class PgServiceRecords:
    """Implements `history.ServiceRecords`.

    Args:
        database: Where it is.
        journal: Its newest records may not be there yet.
        written: The writer, who brings them there.
        roster: Which record of a service is the newest.
    """

    def __init__(self, database: Database, journal: Journal, written: Written, roster: Roster) -> None:
        self._database = database
        self._journal = journal
        self._written = written
        self._roster = roster

    async def record(self, service_id: ServiceId, window: Span) -> ServiceRecord | None:
        """How a service was within a window that does not reach into the future; None: there never was such a one.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer, or is too far behind to tell what is true.
        """
        with answered_within(history.READ_SECONDS):
            await self._wait_written(service_id)
            service = await self._database.fetchrow(_SERVICE, service_id, operation="service record")
            if service is None:
                return None
            return await self._record(service_id, service, window)

    async def _record(self, service_id: ServiceId, service: Row, window: Span) -> ServiceRecord:
        name: str = service["heartbeat_name"]
        rows = await self._database.fetch(
            _OUTAGES, service_id, name_key(name), window.begins, window.ends, OUTAGES_MAX, operation="outages"
        )
        outages = [_outage_of(row) for row in rows]
        kept_from = await self._alerts_from()
        alerts_from = InstantMs(0) if kept_from is None else kept_from
        switches = await self._database.fetch(_SWITCHES, service_id, SWITCHES_MAX, operation="changes of a service")
        known = [outage for outage in reversed(outages) if outage.ends is None or outage.ends > alerts_from]
        earlier = await self._counted(service_id, Span(window.begins, min(window.ends, alerts_from)))
        return ServiceRecord(
            service_id=service_id,
            heartbeat_name=name,
            service_name=service["service_name"],
            team=service["team"],
            window=window,
            availability=reckon(_life_of(service, switches), window, known, earlier, alerts_from),
            outages=outages[:OUTAGES_LISTED],
            outages_from=kept_from,
            heartbeats=await self._heartbeats(service_id, window),
        )

    async def _wait_written(self, service_id: ServiceId) -> None:
        service = self._roster.by_id(service_id)
        wanted = self._journal.newest if service is None else Position(service.position)
        with trio.move_on_after(history.OWN_WRITES_SECONDS):
            await self._written.wait_committed(wanted)
        if self._written.committed < wanted:
            raise DatabaseUnavailableError(_BEHIND)

    async def _alerts_from(self) -> InstantMs | None:
        row = await self._database.fetchrow(_ALERTS_FROM, operation="read cleanup")
        return None if row is None else row["alerts_from"]

    async def _counted(self, service_id: ServiceId, window: Span) -> Counted:
        if not window.length:
            return Counted()
        row = await self._database.fetchrow(_COUNTED, service_id, *_hours(window), operation="counted outages")
        return Counted() if row is None else Counted(row["late_ms"], row["reported_ms"], row["outages"])

    async def _heartbeats(self, service_id: ServiceId, window: Span) -> dict[str, int]:
        rows = await self._database.fetch(_HEARTBEATS, service_id, *_hours(window), operation="counted heartbeats")
        return {row["word"]: row["heartbeats"] for row in rows}


def _hours(window: Span) -> Span:
    """The hours that begin within the window."""
    begins, ends = (-(-instant // HOUR_MS) * HOUR_MS for instant in window)
    return Span(InstantMs(begins), InstantMs(ends))


def _outage_of(row: Row) -> Outage:
    closed = row["closed_date"]
    return Outage(
        alert_id=EventId(row["alert_id"]),
        reason=row["reason"],
        begins=InstantMs(row["created_date"]),
        ends=None if closed is None else InstantMs(closed),
        is_reported=row["reason"].startswith("reported"),
        muted=row["muted"] == 1,
    )


def _life_of(service: Row, rows: Sequence[Row]) -> Life:
    """Its life as far as entries tell it; a mute that is in force is told by the row as well."""
    switches = [_switch_of(row) for row in rows]
    if service["muted"] and service["date_muted"] is not None:
        until = None if service["mute_until"] in {None, FOREVER} else InstantMs(service["mute_until"])
        switches.append(Switch(InstantMs(service["date_muted"]), muted=True, until=until))
        switches.sort(key=lambda switch: switch.at)
    first = rows[0] if rows else None
    active = service["active"] if first is None else first["was_active"] != 0
    return Life(
        registered_at=InstantMs(service["date_added"]),
        deleted_at=None if service["date_deleted"] is None else InstantMs(service["date_deleted"]),
        active=active,
        muted=first is not None and first["was_muted"] == 1,
        switches=tuple(switches),
    )


def _switch_of(row: Row) -> Switch:
    active, muted, until = row["active"], row["muted"], row["until"]
    # An edit says of a mute only what it changes: the row may not know yet of one that was journaled just before.
    says_muted = row["action"] in {"mute", "unmute"} or row["was_muted"] != muted
    return Switch(
        at=InstantMs(row["at"]),
        active=None if active is None else active == 1,
        muted=muted == 1 if says_muted and muted is not None else None,
        until=None if until is None else InstantMs(until),
    )
