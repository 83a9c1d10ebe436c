"""The seam between who asks who did what and who keeps it: entries of the audit, and snapshots of services."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, NamedTuple, Protocol

from medic.core.snapshot import ServiceSnapshot, SnapshotId
from medic.core.units import InstantMs, ServiceId

COUNTED_MAX: Final = 100_000
"""How far a listing counts what matches, and pages reach: PostgreSQL reads all of it. Further back, dates choose."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One thing that somebody did.

    Attributes:
        audit_id: Its number; not without gaps.
        at: When it was done.
        actor, key_id, address, request_id, label: Who, as `medic.core.author.Author` has it.
        action: What, as `update`.
        service_id: To which service; None for what is no service.
        subject: To what, by the name people know.
        before, after: The thing as it was and as it is, as JSON; None where it was not, or is no more.
        place: Its place in the chain; None until it is sealed, a second later.
        hash: Of the seal, in hexadecimal.
    """

    audit_id: int
    at: InstantMs
    actor: str
    key_id: str
    address: str
    request_id: str
    label: str
    action: str
    service_id: ServiceId | None
    subject: str
    before: str | None
    after: str | None
    place: int | None
    hash: str | None


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries are asked for; None leaves a property open. `since` and `until` belong to what is asked for."""

    service_id: ServiceId | None = None
    subject: str | None = None
    action: str | None = None
    actor: str | None = None
    since: InstantMs | None = None
    until: InstantMs | None = None
    limit: int = 50
    offset: int = 0


@dataclass(frozen=True, slots=True)
class SnapshotQuery:
    """Which snapshots are asked for; None leaves a property open."""

    service_id: ServiceId | None = None
    heartbeat_name: str | None = None
    action_type: str | None = None
    since: InstantMs | None = None
    until: InstantMs | None = None
    limit: int = 50
    offset: int = 0


class AuditPlace(NamedTuple):
    """Where an entry stands in a listing: newest first, to the microsecond, and of one instant the greater number."""

    at_us: int
    audit_id: int


class AuditLog(Protocol):
    """Reads of the audit. Raises `DatabaseUnavailableError` where PostgreSQL does not answer."""

    async def page(self, query: AuditQuery) -> tuple[Sequence[AuditEntry], int]:
        """One page of entries, newest first, own changes included, and how many match, up to `COUNTED_MAX`."""
        ...

    async def portion(
        self, query: AuditQuery, after: AuditPlace | None
    ) -> tuple[Sequence[AuditEntry], AuditPlace | None]:
        """Some of the entries that match, newest first, from behind a place on; and where more may follow, or None."""
        ...


class ServiceSnapshots(Protocol):
    """Reads of snapshots. Raises `DatabaseUnavailableError` where PostgreSQL does not answer."""

    async def page(self, query: SnapshotQuery) -> tuple[Sequence[ServiceSnapshot], int]:
        """One page of snapshots, newest first, and how many match, up to `COUNTED_MAX`."""
        ...

    async def find(self, snapshot_id: SnapshotId) -> ServiceSnapshot | None:
        """One snapshot, or None."""
        ...
