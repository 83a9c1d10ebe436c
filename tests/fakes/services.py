"""A ServiceStore that is a dict."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import count, islice

from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.names import name_key
from medic.core.service import ServiceRow
from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.core.units import InstantMs, ServiceId
from medic.errors import DatabaseUnavailableError, SnapshotRestoredError
from medic.ports import StoredService

SLICE = 5_000
"""As many as the real store hands over at once."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what to which service, and the row before and after."""

    actor: str
    action: str
    service_id: ServiceId
    before: ServiceRow | None
    after: ServiceRow | None


class MemoryServiceStore:
    """Implements `ports.ServiceStore`. Set `available` to False for a PostgreSQL that does not answer.

    Args:
        now: The instant put into `date_added`.
        draw: Ids for new services; 1, 2, 3, … if left open.
        stored: What `load` finds, as an earlier process left it.
    """

    def __init__(
        self,
        *,
        now: Callable[[], InstantMs] = lambda: InstantMs(1_700_000_000_000),
        draw: Callable[[], int] | None = None,
        stored: Sequence[StoredService] = (),
    ) -> None:
        self.available = True
        self.stored = list(stored)
        self.audit: list[AuditEntry] = []
        self.snapshots: dict[SnapshotId, ServiceSnapshot] = {}
        self._restored_as: dict[ServiceId, ServiceId] = {}
        self._now = now
        self._draw = draw or count(1).__next__
        self._rows = {entry.service.row.service_id: entry.service.row for entry in stored}

    async def insert(self, draft: ServiceDraft, *, by: Author) -> tuple[ServiceRow, bool]:
        self._require_available()
        for row in self._rows.values():
            if name_key(row.heartbeat_name) == name_key(draft.heartbeat_name):
                return row, False
        row = draft.row(ServiceId(self._draw()), self._now(), by.name)
        self._rows[row.service_id] = row
        self.audit.append(AuditEntry(by.name, "register", row.service_id, None, row))
        return row, True

    async def replace(self, row: ServiceRow, *, by: Author) -> ServiceRow | None:
        self._require_available()
        before = self._rows.get(row.service_id)
        if before is None or before.version != row.version - 1:
            return None
        self._rows[row.service_id] = row
        self.audit.append(AuditEntry(by.name, "update", row.service_id, before, row))
        self._keep(before, "edit", by)
        return row

    async def insert_from(self, snapshot: SnapshotId, draft: ServiceDraft, *, by: Author) -> tuple[ServiceRow, bool]:
        self._require_unrestored(snapshot)
        row, is_new = await self.insert(draft, by=by)
        if is_new:
            self._mark_restored(snapshot, by)
            self._restored_as[self.snapshots[snapshot].service_id] = row.service_id
        return row, is_new

    async def replace_from(self, snapshot: SnapshotId, row: ServiceRow, *, by: Author) -> ServiceRow | None:
        self._require_unrestored(snapshot)
        stored = await self.replace(row, by=by)
        if stored is not None:
            self._mark_restored(snapshot, by)
        return stored

    async def find_restored(self, service_id: ServiceId) -> ServiceId | None:
        self._require_available()
        later = self._restored_as.get(service_id)
        return later if later is None or later in self._rows else await self.find_restored(later)

    async def read(self, service_id: ServiceId) -> ServiceRow | None:
        self._require_available()
        return self._rows.get(service_id)

    async def delete(self, service_id: ServiceId, *, by: Author) -> bool:
        self._require_available()
        before = self._rows.pop(service_id, None)
        if before is None:
            return False
        self.stored = [entry for entry in self.stored if entry.service.row.service_id != service_id]
        self.audit.append(AuditEntry(by.name, "delete", service_id, before, None))
        self._keep(before, "delete", by)
        return True

    async def load(self) -> AsyncIterator[Sequence[StoredService]]:
        self._require_available()
        entries = iter(self.stored)
        while portion := list(islice(entries, SLICE)):
            yield portion

    def _keep(self, row: ServiceRow, action_type: str, by: Author) -> None:
        snapshot_id = SnapshotId(len(self.snapshots) + 1)
        self.snapshots[snapshot_id] = ServiceSnapshot(
            snapshot_id, row.service_id, _draft_of(row), action_type, by.name, self._now()
        )

    def _require_unrestored(self, snapshot_id: SnapshotId) -> None:
        if self.snapshots[snapshot_id].restored_at is not None:
            raise SnapshotRestoredError(snapshot_id)

    def _mark_restored(self, snapshot_id: SnapshotId, by: Author) -> None:
        kept = self.snapshots[snapshot_id]
        self.snapshots[snapshot_id] = replace(kept, restored_at=self._now(), restored_by=by.name)

    def _require_available(self) -> None:
        if not self.available:
            msg = "PostgreSQL does not answer"
            raise DatabaseUnavailableError(msg)


def _draft_of(row: ServiceRow) -> ServiceDraft:
    return ServiceDraft(**{column.name: getattr(row, column.name) for column in fields(ServiceDraft)})
