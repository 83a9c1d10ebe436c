"""`/v2/audit-logs` and `/v2/snapshots`: who did what, and services as they were before it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import orjson

from medic.audit import COUNTED_MAX, AuditEntry, AuditPlace, AuditQuery, SnapshotQuery
from medic.core.names import normal_name
from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.core.units import InstantMs, ServiceId, isoformat
from medic.errors import Fault, InvalidInputError, UnknownSnapshotError
from medic.http.answers import Answer, JsonObject, JsonValue, Stream, success
from medic.http.call import Call
from medic.http.csv import CSV_CONTENT_TYPE, CSV_TYPE, csv_row
from medic.http.cursor import ID_MAX
from medic.http.limits import ENTRIES_DEFAULT, ENTRIES_MAX
from medic.http.moments import read_moment
from medic.http.parts import ApiParts
from medic.http.shown import service_json

RESTORED: Final = "Snapshot restored."

_CSV_HEADERS: Final = (("Content-Disposition", 'attachment; filename="medic-audit.csv"'),)
_COLUMNS: Final = (
    "audit_id",
    "timestamp",
    "actor",
    "key_id",
    "address",
    "request_id",
    "label",
    "action",
    "service_id",
    "subject",
    "before",
    "after",
    "place",
    "hash",
)


async def list_audit(parts: ApiParts, call: Call) -> Answer | Stream:
    """A page of entries; as CSV the page that was asked for, or all of them."""
    query = _audit_query(call)
    as_csv = _wants_csv(call.accept)
    if as_csv and not {"limit", "offset"} & call.query.keys():
        first, after = await parts.audit.portion(query, None)
        return Stream(_all_as_csv(parts, query, first, after), headers=_CSV_HEADERS, content_type=CSV_CONTENT_TYPE)
    entries, total = await parts.audit.page(query)
    if as_csv:
        return Answer(200, csv_row(_COLUMNS) + _as_csv(entries), _CSV_HEADERS, CSV_CONTENT_TYPE)
    shown: list[JsonValue] = [entry_json(entry) for entry in entries]
    return success(200, "", _page(shown, total, query.limit, query.offset))


async def list_snapshots(parts: ApiParts, call: Call) -> Answer:
    """A page of snapshots, newest first."""
    window = _Window.of(call)
    query = SnapshotQuery(
        service_id=_service_id(call),
        heartbeat_name=_name(call),
        action_type=call.query.get("action_type") or None,
        since=window.since,
        until=window.until,
        limit=window.limit,
        offset=window.offset,
    )
    snapshots, total = await parts.snapshots.page(query)
    shown: list[JsonValue] = [snapshot_json(snapshot) for snapshot in snapshots]
    return success(200, "", _page(shown, total, query.limit, query.offset))


async def show_snapshot(parts: ApiParts, call: Call) -> Answer:
    """One snapshot."""
    return success(200, "", snapshot_json(await _snapshot(parts, call)))


async def restore_snapshot(parts: ApiParts, call: Call) -> Answer:
    """Give a service its columns back, once; a deleted one is registered anew under its name."""
    snapshot = await _snapshot(parts, call)
    service = await parts.changes.restore(snapshot, by=call.author)
    restored = await parts.snapshots.find(snapshot.snapshot_id)
    shown = service_json(service, parts.clock.skew, parts.refused.of_service(service.row.service_id))
    return success(200, RESTORED, {**snapshot_json(restored or snapshot), "service": shown})


def entry_json(entry: AuditEntry) -> JsonObject:
    """One entry of the audit."""
    return {
        "audit_id": entry.audit_id,
        "timestamp": isoformat(entry.at),
        "actor": entry.actor,
        "key_id": entry.key_id or None,
        "address": entry.address or None,
        "request_id": entry.request_id or None,
        "label": entry.label or None,
        "action": entry.action,
        "service_id": entry.service_id,
        "subject": entry.subject,
        "before": None if entry.before is None else orjson.loads(entry.before),
        "after": None if entry.after is None else orjson.loads(entry.after),
        "place": entry.place,
        "hash": entry.hash,
    }


def snapshot_json(snapshot: ServiceSnapshot) -> JsonObject:
    """One snapshot, with the service's whole row."""
    return {
        "snapshot_id": snapshot.snapshot_id,
        "service_id": snapshot.service_id,
        "heartbeat_name": snapshot.draft.heartbeat_name,
        "snapshot_data": orjson.loads(snapshot.shown),
        "action_type": snapshot.action_type,
        "actor": snapshot.actor,
        "created_at": isoformat(snapshot.created_at),
        "restored_at": None if snapshot.restored_at is None else isoformat(snapshot.restored_at),
        "restored_by": snapshot.restored_by or None,
    }


# ------------------------------------------------------------------------------------------------------------- inside


@dataclass(frozen=True, slots=True)
class _Window:
    """Which part of a listing is asked for."""

    since: InstantMs | None
    until: InstantMs | None
    limit: int
    offset: int

    @classmethod
    def of(cls, call: Call) -> _Window:
        limit = _whole(call, "limit", ENTRIES_DEFAULT, 1, ID_MAX)
        return cls(
            since=read_moment(call, "start_date", timedelta()),
            # A day without a time is all of it.
            until=read_moment(call, "end_date", timedelta(days=1, milliseconds=-1)),
            limit=min(limit, ENTRIES_MAX),
            offset=_whole(call, "offset", 0, 0, COUNTED_MAX),
        )


def _audit_query(call: Call) -> AuditQuery:
    window = _Window.of(call)
    return AuditQuery(
        service_id=_service_id(call),
        subject=_name(call),
        action=call.query.get("action") or call.query.get("action_type") or None,
        actor=call.query.get("actor") or None,
        since=window.since,
        until=window.until,
        limit=window.limit,
        offset=window.offset,
    )


async def _snapshot(parts: ApiParts, call: Call) -> ServiceSnapshot:
    snapshot_id = SnapshotId(call.number("snapshot_id"))
    snapshot = None if snapshot_id > ID_MAX else await parts.snapshots.find(snapshot_id)
    if snapshot is None:
        raise UnknownSnapshotError(snapshot_id)
    return snapshot


def _page(entries: list[JsonValue], total: int, limit: int, offset: int) -> JsonObject:
    """The earlier system's envelope of a page."""
    return {
        "entries": entries,
        "total_count": total,
        "limit": limit,
        "offset": offset,
        "has_more": offset + len(entries) < total,
    }


async def _all_as_csv(
    parts: ApiParts, query: AuditQuery, first: Sequence[AuditEntry], after: AuditPlace | None
) -> AsyncIterator[bytes]:
    """The first portion was read before the answer began, so that an absent PostgreSQL is a 503."""
    yield csv_row(_COLUMNS) + _as_csv(first)
    while after is not None:
        entries, after = await parts.audit.portion(query, after)
        yield _as_csv(entries)


def _as_csv(entries: Sequence[AuditEntry]) -> bytes:
    return b"".join(
        csv_row(
            (
                str(entry.audit_id),
                isoformat(entry.at),
                entry.actor,
                entry.key_id,
                entry.address,
                entry.request_id,
                entry.label,
                entry.action,
                "" if entry.service_id is None else str(entry.service_id),
                entry.subject,
                entry.before or "",
                entry.after or "",
                "" if entry.place is None else str(entry.place),
                entry.hash or "",
            )
        )
        for entry in entries
    )


def _wants_csv(accept: str) -> bool:
    """Whether the header asks for CSV: by name, and not with a weight of nought."""
    kinds = [kind.replace(" ", "").lower().split(";") for kind in accept.split(",")]
    return any(kind[0] == CSV_TYPE and not {"q=0", "q=0.0"} & set(kind[1:]) for kind in kinds)


def _name(call: Call) -> str | None:
    name = call.query.get("heartbeat_name")
    return normal_name(name) if name else None


def _service_id(call: Call) -> ServiceId | None:
    return ServiceId(_whole(call, "service_id", 0, 0, ID_MAX)) if "service_id" in call.query else None


def _whole(call: Call, name: str, default: int, least: int, most: int) -> int:
    text = call.query.get(name)
    if text is None:
        return default
    if not (text.isascii() and text.isdigit()) or len(text) > 16 or not least <= int(text) <= most:
        raise InvalidInputError((Fault(name, f"must be a whole number from {least} to {most}"),))
    return int(text)
