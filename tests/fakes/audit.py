"""An audit that is a list, and snapshots as the memory of services keeps them."""

from __future__ import annotations

from collections.abc import Sequence

from medic.audit import AuditEntry, AuditPlace, AuditQuery, SnapshotQuery
from medic.core.names import name_key
from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.errors import DatabaseUnavailableError
from tests.fakes.services import MemoryServiceStore


class MemoryAuditLog:
    """Implements `audit.AuditLog`: append to `entries`, oldest first. `at_once` is the length of a portion."""

    def __init__(self, at_once: int = 3) -> None:
        self.available = True
        self.entries: list[AuditEntry] = []
        self.asked: list[AuditQuery] = []
        self._at_once = at_once

    async def page(self, query: AuditQuery) -> tuple[Sequence[AuditEntry], int]:
        found = self._found(query)
        return found[query.offset : query.offset + query.limit], len(found)

    async def portion(
        self, query: AuditQuery, after: AuditPlace | None
    ) -> tuple[Sequence[AuditEntry], AuditPlace | None]:
        found = [entry for entry in self._found(query) if after is None or _place(entry) < after]
        some = found[: self._at_once]
        return some, _place(some[-1]) if len(some) < len(found) else None

    def _found(self, query: AuditQuery) -> list[AuditEntry]:
        if not self.available:
            raise DatabaseUnavailableError("PostgreSQL does not answer")
        self.asked.append(query)
        return sorted((entry for entry in self.entries if _is_asked_for(entry, query)), key=_place, reverse=True)


class MemorySnapshots:
    """Implements `audit.ServiceSnapshots` over the memory that keeps them."""

    def __init__(self, services: MemoryServiceStore) -> None:
        self._services = services

    async def page(self, query: SnapshotQuery) -> tuple[Sequence[ServiceSnapshot], int]:
        self._services._require_available()
        found = [
            snapshot
            for snapshot in reversed(self._services.snapshots.values())
            if query.service_id in {None, snapshot.service_id} and query.action_type in {None, snapshot.action_type}
        ]
        return found[query.offset : query.offset + query.limit], len(found)

    async def find(self, snapshot_id: SnapshotId) -> ServiceSnapshot | None:
        self._services._require_available()
        return self._services.snapshots.get(snapshot_id)


def _place(entry: AuditEntry) -> AuditPlace:
    return AuditPlace(entry.at * 1000, entry.audit_id)


def _is_asked_for(entry: AuditEntry, query: AuditQuery) -> bool:
    return (
        query.service_id in {None, entry.service_id}
        and query.action in {None, entry.action}
        and query.actor in {None, entry.actor}
        and (query.subject is None or name_key(query.subject) == name_key(entry.subject))
        and (query.since is None or entry.at >= query.since)
        and (query.until is None or entry.at <= query.until)
    )
