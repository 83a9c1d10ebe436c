"""`/alerts`: what is open, from memory; what was, from PostgreSQL; acknowledging and resolving."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import replace

import trio

from medic.access.reach import reach_of
from medic.core.deadline import missed_intervals
from medic.core.names import name_key, normal_name
from medic.core.service import Alert, Service
from medic.core.status import ClosedReason
from medic.core.units import EventId, InstantMs
from medic.errors import UnknownAlertError
from medic.history import AlertHistory, AlertQuery, AlertRow
from medic.http.answers import Answer, JsonObject, Stream, listing, success
from medic.http.bodies import NoteBody, read_body
from medic.http.call import Call
from medic.http.cursor import ID_MAX, after_alert, read_alert_cursor
from medic.http.limits import ALERTS_DEFAULT, ALERTS_PER_READ, PAGE_MAX, SERVICES_PER_PIECE
from medic.http.narrowing import require_alert, sees_row
from medic.http.parts import ApiParts
from medic.http.shown import alert_history_json, alert_json

Place = tuple[InstantMs, EventId]
"""Where an alert stands in a listing: newest first, and of one instant the greater id."""


async def list_alerts(parts: ApiParts, call: Call) -> Answer | Stream:
    """The open alerts (`active=1`), the closed ones (`active=0`), or the newest 100 of all."""
    active, limit = call.flag("active"), call.limit
    name, team = call.query.get("heartbeat_name"), call.query.get("team")
    query = AlertQuery(
        active=active,
        heartbeat_name=normal_name(name) if name else None,
        team=normal_name(team) if team else None,
        limit=limit or (ALERTS_DEFAULT if active is None else PAGE_MAX),
        before=read_alert_cursor(call.query["cursor"]) if "cursor" in call.query else None,
        reach=reach_of(call.caller),
    )
    whole = limit is None and query.before is None
    if active:
        rows = open_alert_rows(parts, query)
        return Stream(listing(_portions(rows))) if whole else _page(_from_place(rows, query.before), len(rows), query)
    if active is False and whole:
        first, _ = await parts.history.alerts(replace(query, limit=ALERTS_PER_READ))
        return Stream(listing(_all_closed(parts, query, first)))
    found, total = await parts.history.alerts(replace(query, limit=query.limit + 1))
    return _page([_newest(parts, row) for row in found], total, query)


async def show_alert(parts: ApiParts, call: Call) -> Answer:
    """One alert with its history and deliveries. What is open is shown as memory has it."""
    alert_id = _alert_id(call)
    history = await parts.history.alert(alert_id)
    service = parts.roster.by_alert(alert_id)
    if service is not None and service.alert is not None:
        row = _row(parts, service, service.alert)
        history = AlertHistory(row, (), ()) if history is None else replace(history, alert=row)
    if history is None or not sees_row(call, history.alert):
        raise UnknownAlertError(alert_id)
    return success(200, "", alert_history_json(history))


async def acknowledge_alert(parts: ApiParts, call: Call) -> Answer:
    """Somebody works on it: reminders stop."""
    alert_id = _alert_id(call)
    await require_alert(parts, call, alert_id)
    service = await parts.changes.acknowledge(alert_id, by=call.author, note=_note(call))
    alert = service.alert
    closed_meanwhile = alert is None or alert.alert_id != alert_id
    shown = {"alert_id": alert_id} if closed_meanwhile or alert is None else alert_json(_row(parts, service, alert))
    return success(200, "Alert acknowledged.", shown)


async def resolve_alert(parts: ApiParts, call: Call) -> Answer:
    """Close it by hand; a fresh deadline begins."""
    alert_id = _alert_id(call)
    await require_alert(parts, call, alert_id)
    resolved = await parts.changes.resolve(alert_id, by=call.author, note=_note(call))
    row = replace(
        _row(parts, resolved.service, resolved.alert),
        alert_cycle=resolved.cycle,
        closed_date=resolved.at,
        closed_reason=ClosedReason.BY_HAND.value,
    )
    return success(200, "Alert resolved.", alert_json(row))


def open_alert_rows(parts: ApiParts, query: AlertQuery) -> list[AlertRow]:
    """The open alerts asked for, newest first, as memory has them: whether PostgreSQL is there or not."""
    key = None if query.heartbeat_name is None else name_key(query.heartbeat_name)
    rows = [
        _row(parts, service, service.alert)
        for service in parts.roster.open_alerts()
        if service.alert is not None
        and (key is None or name_key(service.row.heartbeat_name) == key)
        and (query.team is None or service.alert.team == query.team)
        and query.reach.covers(service.row.heartbeat_name, service.alert.team)
    ]
    rows.sort(key=_place, reverse=True)
    return rows


def _row(parts: ApiParts, service: Service, alert: Alert) -> AlertRow:
    """The open alert of a service as a row."""
    return AlertRow(
        alert_id=alert.alert_id,
        service_id=service.row.service_id,
        heartbeat_name=service.row.heartbeat_name,
        service_name=service.row.service_name,
        team=alert.team,
        priority=alert.priority,
        runbook=alert.runbook,
        reason=alert.reason.value,
        alert_cycle=missed_intervals(service, parts.clock.sighted()),
        created_date=alert.opened_at,
        closed_date=None,
        closed_reason="",
        acknowledged_date=alert.acknowledged_at,
        acknowledged_by=alert.acknowledged_by,
        muted=service.mute is not None,
        flapping=alert.flapping,
        key=alert.key,
    )


def _newest(parts: ApiParts, row: AlertRow) -> AlertRow:
    """The row as memory has it where the alert is open: PostgreSQL learns what happens to it a moment later."""
    service = None if row.closed_date is not None else parts.roster.by_alert(row.alert_id)
    return row if service is None or service.alert is None else _row(parts, service, service.alert)


def _place(row: AlertRow) -> Place:
    return row.created_date, row.alert_id


def _page(rows: Sequence[AlertRow], total: int, query: AlertQuery) -> Answer:
    """One page of rows that begin where it begins; more of them than it holds mean that there is a next one."""
    shown = rows[: query.limit]
    following = after_alert(*_place(shown[-1])) if len(rows) > len(shown) else None
    return success(200, "", [alert_json(row) for row in shown], next_cursor=following, total_count=total)


def _from_place(rows: Sequence[AlertRow], before: Place | None) -> Sequence[AlertRow]:
    return rows if before is None else [row for row in rows if _place(row) < before]


async def _portions(rows: Sequence[AlertRow]) -> AsyncGenerator[Sequence[JsonObject], None]:
    for begin in range(0, len(rows), SERVICES_PER_PIECE):
        yield [alert_json(row) for row in rows[begin : begin + SERVICES_PER_PIECE]]
        await trio.lowlevel.checkpoint()


async def _all_closed(
    parts: ApiParts, query: AlertQuery, first: Sequence[AlertRow]
) -> AsyncGenerator[Sequence[JsonObject], None]:
    """Every closed alert. The first portion was read before the answer began, so that an absent PostgreSQL is a 503."""
    rows = first
    while rows:
        yield [alert_json(row) for row in rows]
        if len(rows) < ALERTS_PER_READ:
            return
        rows, _ = await parts.history.alerts(replace(query, limit=ALERTS_PER_READ, before=_place(rows[-1])))


def _alert_id(call: Call) -> EventId:
    alert_id = EventId(call.number("alert_id"))
    if alert_id > ID_MAX:
        raise UnknownAlertError(alert_id)
    return alert_id


def _note(call: Call) -> str:
    return read_body(NoteBody, call.body).note or "" if call.body.strip() else ""
