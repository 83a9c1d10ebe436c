"""What PostgreSQL keeps, read so that nobody misses what was answered before the question (HARD-CASES H23).

The writer is behind by a fraction of a second. A reader says up to where it wants to see, wakes the writer, and waits
for it, at most `OWN_WRITES_SECONDS`. Where the writer does not get there in time, PostgreSQL is asked all the same and
what the journal still holds behind the writer's position is merged in: heartbeats as far as the time goes, alerts whole
or not at all (`tail.py`), because one of them in an old state is not incomplete but untrue. Where PostgreSQL does not
answer, this raises: an empty list would be a lie.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Final, Protocol

import trio

from medic.access.reach import EVERYTHING, Reach
from medic.access.restriction import STAR
from medic.core.effects import RecordHeartbeat
from medic.core.names import name_key, normal_name
from medic.core.notification import alert_key
from medic.core.service import Service
from medic.core.units import EventId, InstantMs, ServiceId
from medic.history import AlertHistory, AlertMoment, AlertQuery, AlertRow, Delivery, HeartbeatRow
from medic.ports import Journal, Position, Roster
from medic.store.postgres.database import Database, Row
from medic.store.postgres.time_limit import answered_within
from medic.store.tables.batch import AlertValues, Batch
from medic.store.tables.tail import (
    NAMED,
    alert_rows,
    matches,
    read_tail,
    with_tail_deliveries,
    with_tail_moments,
)

READ_SECONDS: Final = 2.0
"""Longest read, all of it: then the caller is told that PostgreSQL does not answer."""

OWN_WRITES_SECONDS: Final = 1.0
"""How much of it a reader waits for the writer."""

MERGE_SECONDS: Final = 0.4
"""How long reading the rest from the journal may take. What lies beyond is missing from the answer."""

MERGE_SLICE: Final = 2_000
"""Journal records looked through at once."""

_HEARTBEATS: Final = (
    'SELECT h.heartbeat_id, h.service_id, h."time", h.status, h.run_id, h.said_at, n.heartbeat_name, n.service_name,'
    ' n.team, n.priority FROM medic."heartbeatEvents" h JOIN ('
    "SELECT service_id, heartbeat_name, service_name, team, priority FROM medic.services UNION ALL"
    " SELECT service_id, heartbeat_name, service_name, team, priority FROM medic.deleted_services"
    ") n USING (service_id)"
)

_HEARTBEATS_WITHIN: Final = (
    " WHERE ($2::text IS NULL OR n.service_name = $2) AND ($3::text[] IS NULL OR n.team = ANY ($3))"
    ' AND ($4::text[] IS NULL OR lower(n.heartbeat_name COLLATE "C") LIKE ANY ($4))'
)

_NEWEST_FIRST: Final = ' ORDER BY h."time" DESC, h.heartbeat_id DESC LIMIT $1'

_ALERT_COLUMNS: Final = (
    "alert_id, service_id, heartbeat_name, service_name, team, priority, runbook, reason, alert_cycle, created_date,"
    " closed_date, closed_reason, acknowledged_date, acknowledged_by, muted, flapping, external_reference_id"
)


class Written(Protocol):
    """What is asked of the writer."""

    @property
    def committed(self) -> Position:
        """The position up to which PostgreSQL has everything."""
        ...

    async def wait_committed(self, position: Position) -> None:
        """Wake the writer, and return once `committed >= position`."""
        ...


class PgHistory:
    """Implements `ports.History`.

    Args:
        database: Where history is.
        journal: Where the rest of it still is.
        written: The writer.
        roster: For the names of services whose heartbeats are still in the journal.
    """

    def __init__(self, database: Database, journal: Journal, written: Written, roster: Roster) -> None:
        self._database = database
        self._journal = journal
        self._written = written
        self._roster = roster

    async def heartbeats(
        self, *, service: Service | None, service_name: str | None, limit: int, reach: Reach = EVERYTHING
    ) -> Sequence[HeartbeatRow]:
        """The newest heartbeats, newest first: of one service; or, within `reach`, of all with that label, or of all.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer.
        """
        with answered_within(READ_SECONDS):
            return await self._heartbeats(service, service_name, limit, reach)

    async def _heartbeats(
        self, service: Service | None, service_name: str | None, limit: int, reach: Reach
    ) -> Sequence[HeartbeatRow]:
        wanted = self._journal.newest if service is None else Position(service.position)
        committed = await self._wait_written(wanted)
        rows = {row.heartbeat_id: row for row in await self._stored_heartbeats(service, service_name, limit, reach)}
        if committed < wanted:
            for row in await self._journaled_heartbeats(committed, service, service_name):
                if service is None and not reach.covers(row.heartbeat_name, row.team):
                    continue
                rows[row.heartbeat_id] = row
        return sorted(rows.values(), key=lambda row: (row.time, row.heartbeat_id), reverse=True)[:limit]

    async def alerts(self, query: AlertQuery) -> tuple[Sequence[AlertRow], int]:
        """One page of alerts, newest first, and how many match in all.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer, or is too far behind to tell what is true.
        """
        with answered_within(READ_SECONDS):
            return await self._alerts(query)

    async def _alerts(self, query: AlertQuery) -> tuple[Sequence[AlertRow], int]:
        newer = await self._tail_rows((await self._read_tail()).alerts)
        conditions = (
            "($1::smallint IS NULL OR active = $1) AND ($2::text IS NULL OR"
            ' lower(heartbeat_name COLLATE "C") = $2 COLLATE "C") AND ($3::text IS NULL OR team = $3)'
            " AND ($4::text[] IS NULL OR team = ANY ($4))"
            ' AND ($5::text[] IS NULL OR lower(heartbeat_name COLLATE "C") LIKE ANY ($5))'
            " AND alert_id <> ALL ($6::bigint[])"
        )
        chosen = (
            None if query.active is None else int(query.active),
            None if query.heartbeat_name is None else name_key(query.heartbeat_name),
            query.team,
            *_within(query.reach),
            [row.alert_id for row in newer],
        )
        before_at, before_id = query.before or (None, None)
        records = await self._database.fetch(
            f"SELECT {_ALERT_COLUMNS} FROM medic.alerts WHERE {conditions}"  # noqa: S608 - constants
            " AND ($7::timestamptz IS NULL OR (created_date, alert_id) < ($7, $8::bigint))"
            " ORDER BY created_date DESC, alert_id DESC LIMIT $9",
            *chosen,
            before_at,
            before_id,
            query.limit,
            operation="list alerts",
        )
        counted = await self._database.fetchrow(
            f"SELECT count(*) AS alerts FROM medic.alerts WHERE {conditions}",  # noqa: S608 - constants
            *chosen,
            operation="count alerts",
        )
        asked = [row for row in newer if matches(row, query)]
        page = [row for row in asked if query.before is None or _place(row) < query.before]
        page.extend(_alert_of(record) for record in records)
        page.sort(key=_place, reverse=True)
        return page[: query.limit], len(asked) + (0 if counted is None else counted["alerts"])

    async def alert(self, alert_id: EventId) -> AlertHistory | None:
        """One alert with its history and deliveries, or None.

        Raises:
            DatabaseUnavailableError: PostgreSQL does not answer, or is too far behind to tell what is true.
        """
        with answered_within(READ_SECONDS):
            return await self._alert(alert_id)

    async def _alert(self, alert_id: EventId) -> AlertHistory | None:
        tail = await self._read_tail()
        if alert_id in tail.alerts:
            [row] = await self._tail_rows({alert_id: tail.alerts[alert_id]})
        else:
            stored = await self._stored_alerts([alert_id])
            if alert_id not in stored:
                return None
            row = stored[alert_id]
        moments = await self._database.fetch(
            "SELECT at, change, by, note FROM medic.alert_events WHERE alert_id = $1 ORDER BY moment_id",
            alert_id,
            operation="alert history",
        )
        deliveries = await self._database.fetch(
            "SELECT notification_id, target, kind, decided_at, settled_at, attempts, outcome, detail"
            " FROM medic.notifications WHERE alert_id = $1 ORDER BY decided_at, notification_id, target",
            alert_id,
            operation="alert deliveries",
        )
        return AlertHistory(
            row,
            with_tail_moments([_moment_of(record) for record in moments], tail, alert_id),
            with_tail_deliveries([_delivery_of(record) for record in deliveries], tail, alert_id),
        )

    async def _read_tail(self) -> Batch:
        """What PostgreSQL does not have although it was there before the question; mostly nothing."""
        wanted = self._journal.newest
        committed = await self._wait_written(wanted)
        return await read_tail(self._journal, committed) if committed < wanted else Batch()

    async def _tail_rows(self, alerts: Mapping[EventId, AlertValues]) -> list[AlertRow]:
        """The tail's alerts as their rows will be."""
        if not alerts:
            return []
        stored = await self._stored_alerts(list(alerts))
        services = {values.service_id for alert_id, values in alerts.items() if alert_id not in stored}
        named = await self._database.fetch(NAMED, sorted(services), operation="names of new alerts") if services else ()
        return alert_rows(alerts, stored, named)

    async def _stored_alerts(self, alert_ids: Sequence[EventId]) -> dict[EventId, AlertRow]:
        records = await self._database.fetch(
            f"SELECT {_ALERT_COLUMNS} FROM medic.alerts WHERE alert_id = ANY ($1::bigint[])",  # noqa: S608 - a constant
            alert_ids,
            operation="alerts by id",
        )
        return {EventId(record["alert_id"]): _alert_of(record) for record in records}

    async def _wait_written(self, position: Position) -> Position:
        """Give the writer its chance to get to `position`; where it is now."""
        with trio.move_on_after(OWN_WRITES_SECONDS):
            await self._written.wait_committed(position)
        return self._written.committed

    async def _stored_heartbeats(
        self, service: Service | None, service_name: str | None, limit: int, reach: Reach
    ) -> list[HeartbeatRow]:
        if service is not None:
            records = await self._database.fetch(
                'SELECT heartbeat_id, service_id, "time", status, run_id, said_at FROM medic."heartbeatEvents"'
                ' WHERE service_id = $2 ORDER BY "time" DESC, heartbeat_id DESC LIMIT $1',
                limit,
                service.row.service_id,
                operation="heartbeats of a service",
            )
            if service_name is not None and service_name != service.row.service_name:
                return []
            row = service.row
            return [
                _heartbeat_of(record, row.heartbeat_name, row.service_name, row.team, row.priority)
                for record in records
            ]
        condition = "" if service_name is None else " WHERE n.service_name = $2"
        chosen: tuple[object, ...] = () if service_name is None else (service_name,)
        if not reach.is_everything:
            condition = _HEARTBEATS_WITHIN
            chosen = (service_name, *_within(reach))
        records = await self._database.fetch(
            _HEARTBEATS + condition + _NEWEST_FIRST,
            limit,
            *chosen,
            operation="newest heartbeats",
        )
        return [
            _heartbeat_of(record, record["heartbeat_name"], record["service_name"], record["team"], record["priority"])
            for record in records
        ]

    async def _journaled_heartbeats(
        self, after: Position, service: Service | None, service_name: str | None
    ) -> list[HeartbeatRow]:
        """What the journal holds behind the writer, as far as `MERGE_SECONDS` go."""
        found: list[HeartbeatRow] = []
        with trio.move_on_after(MERGE_SECONDS):
            while entries := await self._journal.read_after(after, most=MERGE_SLICE):
                after = entries[-1].position
                for entry in entries:
                    effect = entry.effect
                    if isinstance(effect, RecordHeartbeat) and (
                        service is None or effect.service_id == service.row.service_id
                    ):
                        row = self._journaled_row(effect)
                        if row is not None and service_name in {None, row.service_name}:
                            found.append(row)
        return found

    def _journaled_row(self, effect: RecordHeartbeat) -> HeartbeatRow | None:
        service = self._roster.by_id(effect.service_id)
        if service is None:
            return None
        row = service.row
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


def _within(reach: Reach) -> tuple[list[str] | None, list[str] | None]:
    """The teams, and the patterns of names as LIKE has them; None: all of them."""
    return list(reach.teams) or None, [_like(pattern) for pattern in reach.names] or None


def _like(pattern: str) -> str:
    escaped = re.sub(r"([\\%_])", r"\\\1", name_key(normal_name(pattern)))
    return escaped.replace(STAR, "%")


def _heartbeat_of(record: Row, heartbeat_name: str, service_name: str, team: str, priority: str) -> HeartbeatRow:
    return HeartbeatRow(
        heartbeat_id=EventId(record["heartbeat_id"]),
        service_id=ServiceId(record["service_id"]),
        heartbeat_name=heartbeat_name,
        service_name=service_name,
        team=team,
        priority=priority,
        time=InstantMs(record["time"]),
        status=record["status"],
        run_id=record["run_id"],
        said_at=None if record["said_at"] is None else InstantMs(record["said_at"]),
    )


def _alert_of(record: Row) -> AlertRow:
    closed, acknowledged = record["closed_date"], record["acknowledged_date"]
    key = record["external_reference_id"]
    return AlertRow(
        alert_id=EventId(record["alert_id"]),
        service_id=ServiceId(record["service_id"]),
        heartbeat_name=record["heartbeat_name"],
        service_name=record["service_name"],
        team=record["team"],
        priority=record["priority"],
        runbook=record["runbook"],
        reason=record["reason"],
        alert_cycle=record["alert_cycle"],
        created_date=InstantMs(record["created_date"]),
        closed_date=None if closed is None else InstantMs(closed),
        closed_reason=record["closed_reason"],
        acknowledged_date=None if acknowledged is None else InstantMs(acknowledged),
        acknowledged_by=record["acknowledged_by"],
        muted=record["muted"] == 1,
        flapping=record["flapping"] == 1,
        key="" if key == alert_key(record["heartbeat_name"]) else key,
    )


def _place(row: AlertRow) -> tuple[InstantMs, EventId]:
    return row.created_date, row.alert_id


def _moment_of(record: Row) -> AlertMoment:
    return AlertMoment(InstantMs(record["at"]), record["change"], record["by"], record["note"])


def _delivery_of(record: Row) -> Delivery:
    settled = record["settled_at"]
    return Delivery(
        notification_id=record["notification_id"],
        target=record["target"],
        action=record["kind"],
        decided_at=InstantMs(record["decided_at"]),
        settled_at=None if settled is None else InstantMs(settled),
        attempts=record["attempts"],
        outcome=record["outcome"],
        detail=record["detail"],
    )
