"""Operators' changes in PostgreSQL: each in one transaction with its audit entry (HARD-CASES H13).

The audit entry is the business of the tables' own triggers, which make one for each new version of a service, whoever
made it; so a change by SQL has one too, and a snapshot of the row before it. This file only says who, in `changed_by`
and in the setting `medic.author`, which lasts as long as the transaction and is set by the statement that makes the
change.

Nobody is told of a change before this has committed it. Where the connection is lost during COMMIT the outcome is read
back: a caller never hears of a change that was not made, and is never refused one that was.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import aclosing
from decimal import Decimal
from typing import Final

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow, modified_at
from medic.core.snapshot import SnapshotId
from medic.core.units import DurationMs, ServiceId
from medic.errors import DatabaseUnavailableError
from medic.ports import Clock, Ids, StoredService
from medic.store.codec import unpack_state
from medic.store.postgres.database import CommitUnknownError, Database, Row, Transaction
from medic.store.postgres.time_limit import answered_within
from medic.store.tables.audit import said
from medic.store.tables.snapshots import mark_restored

SLICE_ROWS: Final = 5_000
"""Services loaded at once: a fetch of 300 000 rows held the loop for 44 ms (HARD-CASES H8)."""

CHANGE_SECONDS: Final = 5.0
"""Longest change by an operator. A server that hangs is told as one that is away, before the client gives up."""

ROW_COLUMNS: Final = (
    "service_id, version, heartbeat_name, service_name, active, interval_ms, grace_ms, threshold, recovery_ms, "
    "renotify_ms, team, priority, runbook, date_added, date_modified, changed_by, shard, "
    "require_key"
)

_ROW_WIDTH: Final = len(ROW_COLUMNS.split(", "))

_LOAD_COLUMNS: Final = (
    ", ".join(f"s.{name}" for name in ROW_COLUMNS.split(", ")) + ", t.journal_id, t.version AS state_version, t.hot"
)

_MINUTE_MS: Final = 60_000
_SECOND_MS: Final = 1_000


def row_of(record: Row) -> ServiceRow:
    """The operators' columns of a record that begins with `ROW_COLUMNS`. A start does it for every service: 2 µs."""
    (
        service_id,
        version,
        heartbeat_name,
        service_name,
        active,
        interval_ms,
        grace_ms,
        threshold,
        recovery_ms,
        renotify_ms,
        team,
        priority,
        runbook,
        date_added,
        date_modified,
        changed_by,
        shard,
        require_key,
    ) = record[:_ROW_WIDTH]
    return ServiceRow(
        service_id=service_id,
        version=version,
        heartbeat_name=heartbeat_name,
        service_name=service_name,
        active=active == 1,
        interval_ms=interval_ms,
        grace_ms=grace_ms,
        threshold=threshold,
        recovery_ms=recovery_ms,
        renotify_ms=renotify_ms,
        team=team,
        priority=priority,
        runbook=runbook,
        date_added=date_added,
        date_modified=modified_at(date_added, date_modified),
        changed_by=changed_by,
        shard=shard,
        require_key=require_key == 1,
    )


_RESTORED: Final = """
WITH RECURSIVE lives (service_id) AS (
    VALUES ($1::bigint)
    UNION SELECT s.restored_as FROM lives l JOIN medic.service_snapshots s USING (service_id)
          WHERE s.restored_as IS NOT NULL)
SELECT service_id FROM lives JOIN medic.services USING (service_id) WHERE service_id <> $1
"""
"""One row at most: all of them have one name. UNION leaves out what was found before, so it ends."""


class PgServiceStore:
    """Implements `ports.ServiceStore`.

    Args:
        database: Where `medic.services` is.
        ids: For new services.
        clock: For the instants of rows, and of services that no state was written for yet.
        defaults: What a service gets for what its row leaves open.
    """

    def __init__(self, database: Database, ids: Ids, clock: Clock, defaults: Defaults) -> None:
        self._database = database
        self._ids = ids
        self._clock = clock
        self._defaults = defaults

    @property
    def database(self) -> Database:
        """Where it stores."""
        return self._database

    async def insert(self, draft: ServiceDraft, *, by: Author) -> tuple[ServiceRow, bool]:
        """The stored row, and whether it is new. A name that is taken gives the row that has it."""
        return await self._register(draft, by, None)

    async def insert_from(self, snapshot: SnapshotId, draft: ServiceDraft, *, by: Author) -> tuple[ServiceRow, bool]:
        """As `insert`; the snapshot is restored by it where the row is new.

        Raises:
            SnapshotRestoredError: it was restored before.
        """
        return await self._register(draft, by, snapshot)

    async def _register(self, draft: ServiceDraft, by: Author, snapshot: SnapshotId | None) -> tuple[ServiceRow, bool]:
        row = draft.row(ServiceId(self._ids.draw()), self._clock.now(), by.name)
        try:
            with answered_within(CHANGE_SECONDS):
                async with self._database.transaction() as transaction:
                    if await self._insert(transaction, row, said(by, snapshot)):
                        await self._use_up(transaction, snapshot, row.service_id, by)
                        return row, True
        except CommitUnknownError:
            stored = await self.read(row.service_id)
            if stored is not None:
                return stored, True
            raise
        known = await self._database.fetchrow(
            f"SELECT {ROW_COLUMNS} FROM medic.services"  # noqa: S608 - a constant
            ' WHERE lower(heartbeat_name COLLATE "C") = lower($1::text COLLATE "C")',
            row.heartbeat_name,
            operation="service by name",
        )
        if known is None:  # registered and deleted again between our two statements
            raise DatabaseUnavailableError("The name was being changed by somebody else.", retry_after_seconds=1)
        return row_of(known), False

    async def replace(self, row: ServiceRow, *, by: Author) -> ServiceRow | None:
        """Store `row` over the version before it. None: another change came first, or the service is gone."""
        return await self._update(row, by, None)

    async def replace_from(self, snapshot: SnapshotId, row: ServiceRow, *, by: Author) -> ServiceRow | None:
        """As `replace`; the snapshot is restored by it.

        Raises:
            SnapshotRestoredError: it was restored before.
        """
        return await self._update(row, by, snapshot)

    async def _update(self, row: ServiceRow, by: Author, snapshot: SnapshotId | None) -> ServiceRow | None:
        row = dataclasses.replace(row, changed_by=by.name)
        try:
            with answered_within(CHANGE_SECONDS):
                async with self._database.transaction() as transaction:
                    tag = await transaction.execute(
                        "UPDATE medic.services SET version = $2, service_name = $3, active = $4, alert_interval = $5,"
                        " grace_period_seconds = $6, threshold = $7, recovery_seconds = $8, renotify_minutes = $9,"
                        " team = $10, priority = $11, runbook = $12, date_modified = $13, changed_by = $14,"
                        " require_key = $15 FROM set_config('medic.author', $16, true)"
                        " WHERE service_id = $1 AND version = $2 - 1",
                        row.service_id,
                        *_changing_values(row),
                        said(by, snapshot),
                        operation="update service",
                    )
                    if tag != "UPDATE 1":
                        return None
                    await self._use_up(transaction, snapshot, row.service_id, by)
        except CommitUnknownError:
            stored = await self.read(row.service_id)
            if stored is not None and stored.version == row.version and stored.changed_by == row.changed_by:
                return stored
            raise
        return row

    async def find_restored(self, service_id: ServiceId) -> ServiceId | None:
        """The service as which a deleted one is there again, however often it was deleted and restored; or None."""
        with answered_within(CHANGE_SECONDS):
            record = await self._database.fetchrow(_RESTORED, service_id, operation="restored service")
        return None if record is None else ServiceId(record["service_id"])

    async def read(self, service_id: ServiceId) -> ServiceRow | None:
        """The committed row, or None if there is none."""
        record = await self._database.fetchrow(
            f"SELECT {ROW_COLUMNS} FROM medic.services WHERE service_id = $1",  # noqa: S608 - a constant
            service_id,
            operation="service by id",
        )
        return None if record is None else row_of(record)

    async def delete(self, service_id: ServiceId, *, by: Author) -> bool:
        """Remove the row; False if it was gone. The table's trigger keeps name and id for history."""
        try:
            with answered_within(CHANGE_SECONDS):
                async with self._database.transaction() as transaction:
                    tag = await transaction.execute(
                        "DELETE FROM medic.services USING set_config('medic.author', $2, true) WHERE service_id = $1",
                        service_id,
                        said(by),
                        operation="delete service",
                    )
                    if tag != "DELETE 1":
                        return False
        except CommitUnknownError:
            if await self.read(service_id) is not None:
                raise
        return True

    async def load(self) -> AsyncIterator[Sequence[StoredService]]:
        """Every service with its newest written state, in slices of at most `SLICE_ROWS`."""
        sql = (
            f"SELECT {_LOAD_COLUMNS} FROM medic.services s"  # noqa: S608 - a constant
            " LEFT JOIN medic.service_states t USING (service_id) ORDER BY s.service_id"
        )
        async with aclosing(self._database.stream(sql, rows=SLICE_ROWS)) as slices:
            async for records in slices:
                yield [self._stored(record) for record in records]

    async def load_beyond(
        self, version_of: Callable[[ServiceId], int | None]
    ) -> AsyncIterator[tuple[Sequence[ServiceId], Sequence[StoredService]]]:
        """The ids of all services in slices, in order, and those of each whose version is not what `version_of` says.

        Costs some 2 µs a service that is known.
        """
        ids_and_versions = "SELECT service_id, version FROM medic.services ORDER BY service_id"
        async with aclosing(self._database.stream(ids_and_versions, rows=SLICE_ROWS)) as slices:
            async for records in slices:
                ids = [ServiceId(record[0]) for record in records]
                differing = [ServiceId(record[0]) for record in records if version_of(record[0]) != record[1]]
                yield ids, (await self.load_some(differing) if differing else ())

    async def load_some(self, ids: Sequence[ServiceId]) -> Sequence[StoredService]:
        """Those of at most `SLICE_ROWS` services that are there, each with its newest written state."""
        records = await self._database.fetch(
            f"SELECT {_LOAD_COLUMNS} FROM medic.services s"  # noqa: S608 - a constant
            " LEFT JOIN medic.service_states t USING (service_id) WHERE s.service_id = ANY($1::bigint[])",
            ids,
            operation="services with states",
        )
        return [self._stored(record) for record in records]

    async def load_one(self, service_id: ServiceId) -> StoredService | None:
        """One service with its newest written state, or None."""
        record = await self._database.fetchrow(
            f"SELECT {_LOAD_COLUMNS} FROM medic.services s"  # noqa: S608 - a constant
            " LEFT JOIN medic.service_states t USING (service_id) WHERE s.service_id = $1",
            service_id,
            operation="service with state",
        )
        return None if record is None else self._stored(record)

    def _stored(self, record: Row) -> StoredService:
        row = row_of(record)
        policy = row.policy(self._defaults)
        if record["hot"] is None:
            # Its registration has not reached the writer; the journal has it, or SQL inserted it just now.
            fresh = Service(row, policy, registered=self._clock.sighted())
            return StoredService(fresh, journal_id="")
        service = unpack_state(record["hot"], row, policy)
        return StoredService(service, journal_id=record["journal_id"], version=record["state_version"])

    async def _use_up(
        self, transaction: Transaction, snapshot: SnapshotId | None, restored_as: ServiceId, by: Author
    ) -> None:
        if snapshot is not None:
            await mark_restored(transaction, snapshot, restored_as, at=self._clock.now(), by=by)

    async def _insert(self, transaction: Transaction, row: ServiceRow, author: str) -> bool:
        tag = await transaction.execute(
            "INSERT INTO medic.services (service_id, version, service_name, active, alert_interval,"
            " grace_period_seconds, threshold, recovery_seconds, renotify_minutes, team, priority, runbook,"
            " date_modified, changed_by, require_key, heartbeat_name, date_added, shard)"
            " SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17, $18"
            " FROM set_config('medic.author', $19, true)"
            ' ON CONFLICT (lower(heartbeat_name COLLATE "C")) DO NOTHING',
            row.service_id,
            *_changing_values(row),
            row.heartbeat_name,
            row.date_added,
            row.shard,
            author,
            operation="insert service",
        )
        return tag == "INSERT 0 1"


def _changing_values(row: ServiceRow) -> tuple[object, ...]:
    """The values of an edit, in the order of the statements above; durations in the units of their columns."""
    return (
        row.version,
        row.service_name,
        int(row.active),
        _units(row.interval_ms, _MINUTE_MS),
        _units(row.grace_ms, _SECOND_MS),
        row.threshold,
        _units(row.recovery_ms, _SECOND_MS),
        None if row.renotify_ms is None else _units(row.renotify_ms, _MINUTE_MS),
        row.team,
        row.priority,
        row.runbook,
        row.date_modified,
        row.changed_by,
        int(row.require_key),
    )


def _units(duration: DurationMs, unit_ms: int) -> Decimal:
    """The duration in a column's unit. 20 s are no finite number of minutes; the column rounds back to milliseconds."""
    return (Decimal(duration) / unit_ms).quantize(Decimal("1e-12")).normalize()
