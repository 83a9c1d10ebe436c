"""Snapshots of services: read, and marked as restored in the transaction that restores one. Triggers write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from medic.audit import SnapshotQuery
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.names import name_key
from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.core.units import DurationMs, InstantMs, ServiceId
from medic.errors import SnapshotRestoredError
from medic.store.postgres.database import Database, Row, Transaction
from medic.store.postgres.time_limit import answered_within

READ_SECONDS: Final = 2.0
"""Longest read: then the caller is told that PostgreSQL does not answer."""

_COLUMNS: Final = "snapshot_id, service_id, action_type, actor, created_at, restored_at, restored_by, snapshot_data"

_MATCHING: Final = (
    "($1::bigint IS NULL OR service_id = $1) AND ($2::text IS NULL OR action_type = $2)"
    " AND ($3::timestamptz IS NULL OR created_at >= $3) AND ($4::timestamptz IS NULL OR created_at <= $4)"
    ' AND ($5::text IS NULL OR lower(heartbeat_name COLLATE "C") = $5 COLLATE "C")'
)


class PgServiceSnapshots:
    """Implements `audit.ServiceSnapshots`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, query: SnapshotQuery) -> tuple[Sequence[ServiceSnapshot], int]:
        """One page of snapshots, newest first, and how many match in all."""
        chosen = (
            query.service_id,
            query.action_type,
            query.since,
            query.until,
            None if query.heartbeat_name is None else name_key(query.heartbeat_name),
        )
        with answered_within(READ_SECONDS):
            records = await self._database.fetch(
                f"SELECT {_COLUMNS} FROM medic.service_snapshots WHERE {_MATCHING}"  # noqa: S608 - constants
                " ORDER BY created_at DESC, snapshot_id DESC LIMIT $6 OFFSET $7",
                *chosen,
                query.limit,
                query.offset,
                operation="list snapshots",
            )
            counted = await self._database.fetchrow(
                f"SELECT count(*) AS snapshots FROM medic.service_snapshots WHERE {_MATCHING}",  # noqa: S608 - constants
                *chosen,
                operation="count snapshots",
            )
        return [_snapshot_of(record) for record in records], 0 if counted is None else counted["snapshots"]

    async def find(self, snapshot_id: SnapshotId) -> ServiceSnapshot | None:
        """One snapshot, or None."""
        with answered_within(READ_SECONDS):
            record = await self._database.fetchrow(
                f"SELECT {_COLUMNS} FROM medic.service_snapshots WHERE snapshot_id = $1",  # noqa: S608 - a constant
                snapshot_id,
                operation="snapshot by id",
            )
        return None if record is None else _snapshot_of(record)


async def mark_restored(transaction: Transaction, snapshot_id: SnapshotId, *, at: InstantMs, by: Author) -> None:
    """Use the snapshot up, in the transaction that restores it: of two who try at once, one is refused.

    Raises:
        SnapshotRestoredError: it is used up already.
    """
    tag = await transaction.execute(
        "UPDATE medic.service_snapshots SET restored_at = $2, restored_by = $3"
        " WHERE snapshot_id = $1 AND restored_at IS NULL",
        snapshot_id,
        at,
        by.name,
        operation="restore snapshot",
    )
    if tag != "UPDATE 1":
        raise SnapshotRestoredError(snapshot_id)


def _snapshot_of(record: Row) -> ServiceSnapshot:
    shown = record["snapshot_data"]
    row = orjson.loads(shown)
    restored = record["restored_at"]
    return ServiceSnapshot(
        snapshot_id=SnapshotId(record["snapshot_id"]),
        service_id=ServiceId(record["service_id"]),
        draft=ServiceDraft(
            heartbeat_name=row["heartbeat_name"],
            service_name=row["service_name"],
            interval_ms=DurationMs(row["interval_ms"]),
            grace_ms=DurationMs(row["grace_ms"]),
            threshold=row["threshold"],
            recovery_ms=DurationMs(row["recovery_ms"]),
            renotify_ms=None if row["renotify_ms"] is None else DurationMs(row["renotify_ms"]),
            team=row["team"],
            priority=row["priority"],
            runbook=row["runbook"],
            active=row["active"] == 1,
        ),
        action_type=record["action_type"],
        actor=record["actor"],
        created_at=InstantMs(record["created_at"]),
        restored_at=None if restored is None else InstantMs(restored),
        restored_by=record["restored_by"],
        shown=shown,
    )
