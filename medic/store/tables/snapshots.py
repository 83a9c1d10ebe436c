"""Snapshots of services: read, and marked as restored in the transaction that restores one. Triggers write them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import orjson

from medic.audit import COUNTED_MAX, SnapshotQuery
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.names import name_key
from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.core.units import DurationMs, InstantMs, ServiceId
from medic.errors import SnapshotRestoredError
from medic.store.postgres.database import Database, Row, Transaction
from medic.store.postgres.time_limit import answered_within
from medic.store.tables.conditions import conditions

READ_SECONDS: Final = 2.0
"""Longest read: then the caller is told that PostgreSQL does not answer."""

_COLUMNS: Final = "snapshot_id, service_id, action_type, actor, created_at, restored_at, restored_by, snapshot_data"


class PgServiceSnapshots:
    """Implements `audit.ServiceSnapshots`."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, query: SnapshotQuery) -> tuple[Sequence[ServiceSnapshot], int]:
        """One page of snapshots, newest first, and how many match, up to `COUNTED_MAX`."""
        clause, chosen = conditions(
            (
                ("service_id = {}", query.service_id),
                ('lower(heartbeat_name COLLATE "C") = {}::text COLLATE "C"', _key(query.heartbeat_name)),
                ("action_type = {}", query.action_type),
                ("created_at >= {}", query.since),
                ("created_at <= {}", query.until),
            )
        )
        with answered_within(READ_SECONDS):
            records = await self._database.fetch(
                # Only names of columns, and numbers, are put in.
                f"SELECT {_COLUMNS} FROM medic.service_snapshots {clause}"  # noqa: S608
                f" ORDER BY created_at DESC, snapshot_id DESC LIMIT {query.limit} OFFSET {query.offset}",
                *chosen,
                operation="list snapshots",
            )
            counted = await self._database.fetchrow(
                f"SELECT count(*) AS snapshots FROM (SELECT FROM medic.service_snapshots {clause}"  # noqa: S608
                f" LIMIT {COUNTED_MAX}) AS counted",
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


async def mark_restored(
    transaction: Transaction, snapshot_id: SnapshotId, restored_as: ServiceId, *, at: InstantMs, by: Author
) -> None:
    """Use the snapshot up, in the transaction that restores it: of two who try at once, one is refused.

    Args:
        transaction: That one.
        snapshot_id: What is restored.
        restored_as: The service that has its columns from now on.
        at: Now.
        by: Who restores it.

    Raises:
        SnapshotRestoredError: it is used up already.
    """
    tag = await transaction.execute(
        "UPDATE medic.service_snapshots SET restored_at = $2, restored_by = $3, restored_as = $4"
        " WHERE snapshot_id = $1 AND restored_at IS NULL",
        snapshot_id,
        at,
        by.name,
        restored_as,
        operation="restore snapshot",
    )
    if tag != "UPDATE 1":
        raise SnapshotRestoredError(snapshot_id)


def _key(name: str | None) -> str | None:
    return None if name is None else name_key(name)


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
            require_key=row.get("require_key") == 1,
        ),
        action_type=record["action_type"],
        actor=record["actor"],
        created_at=InstantMs(record["created_at"]),
        restored_at=None if restored is None else InstantMs(restored),
        restored_by=record["restored_by"],
        shown=shown,
    )
