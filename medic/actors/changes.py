"""What operators do, in the order that keeps PostgreSQL, journal and actors of one mind (HARD-CASES H13).

Columns that operators own commit in PostgreSQL first, with their audit entry and the next version; then the journal
has them; then the actor; then the caller is answered. A crash between two of these is harmless: a start takes the
highest version it finds. Mute, unmute and acknowledge go the other way round, journal first, so that they work while
PostgreSQL is away; the writer brings them there.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Final

from medic.actors.actor import Actor
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.core.author import Author
from medic.core.deadline import missed_intervals
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.events import (
    AcknowledgeRequested,
    Event,
    MuteRequested,
    ResolveRequested,
    ServiceChanged,
    ServiceDeleted,
    TestRequested,
    UnmuteRequested,
)
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.ring import ring_bytes
from medic.core.service import Alert, Mute, Service, ServiceRow
from medic.core.snapshot import ServiceSnapshot
from medic.core.status import NotificationKind
from medic.core.step import register
from medic.core.units import EventId, InstantMs, ServiceId
from medic.errors import (
    AlertClosedError,
    Fault,
    InvalidInputError,
    NameTakenError,
    OverloadedError,
    SnapshotRestoredError,
    UnknownAlertError,
    UnknownServiceError,
)
from medic.history import History
from medic.ports import Clock, Ids, Journal, Resolved, ServiceStore

EDIT_ATTEMPTS_MAX: Final = 5
"""An edit that meets this many others of the same service in a row is answered 503: somebody runs a loop."""

WhoHears = Callable[[Notification], tuple[str, ...]]
"""The targets that would be told a notification now."""


class OperatorChanges:
    """Implements `ports.Changes` for the services of one shard."""

    def __init__(
        self,
        *,
        directory: Directory,
        host: Host,
        journal: Journal,
        services: ServiceStore,
        history: History,
        who_hears: WhoHears,
        clock: Clock,
        ids: Ids,
        defaults: Defaults,
        ring_bytes_max: int,
    ) -> None:
        self._ring_bytes_max = ring_bytes_max
        self._directory = directory
        self._host = host
        self._journal = journal
        self._services = services
        self._history = history
        self._who_hears = who_hears
        self._clock = clock
        self._ids = ids
        self._defaults = defaults

    # ------------------------------------------------------------------------------------------- PostgreSQL first

    async def register(self, draft: ServiceDraft, *, by: Author) -> tuple[Service, bool]:
        """The registered service, and whether it is new. One that exists is answered from memory."""
        known = self._directory.find(draft.heartbeat_name)
        if known is not None:
            return known, False
        self._require_ring_room(draft.threshold, None)
        row, is_new = await self._services.insert(draft, by=by)
        return await self._adopt(row), is_new

    async def update(self, name: str, edit: ServiceEdit, *, by: Author) -> Service:
        """Commit the edit and let the actor take it. An edit that changes nothing commits nothing."""
        for _ in range(EDIT_ATTEMPTS_MAX):
            actor = self._named(name)
            row = actor.service.row
            wanted = edit.apply(row, self._clock.now(), by.name)
            if wanted is row:
                return actor.service
            self._require_ring_room(wanted.threshold, row.service_id)
            stored = await self._services.replace(wanted, by=by)
            if stored is not None:
                await self._take_row(actor, stored)
                return actor.service
            await self._catch_up(actor)
        raise OverloadedError(f"{name} is being changed by others all the time. Try again.")

    async def delete(self, name: str, *, by: Author) -> None:
        """Commit the deletion, then close and forget the service."""
        actor = self._named(name)
        await self._services.delete(actor.service.row.service_id, by=by)
        await self._forget(actor, by)

    async def restore(self, snapshot: ServiceSnapshot, *, by: Author) -> Service:
        """Commit the snapshot's columns as an edit, or as a registration where the service is gone; then as those.

        Raises:
            SnapshotRestoredError: it was restored before.
            NameTakenError: the service is gone, and its name belongs to another one by now.
        """
        if snapshot.restored_at is not None:
            raise SnapshotRestoredError(snapshot.snapshot_id)
        for _ in range(EDIT_ATTEMPTS_MAX):
            actor = self._directory.actor_by_id(snapshot.service_id) or await self._restored_before(snapshot)
            if actor is None:
                return await self._register_again(snapshot, by)
            row = actor.service.row
            self._require_ring_room(snapshot.draft.threshold, row.service_id)
            wanted = snapshot.edit().apply(row, self._clock.now(), by.name)
            if wanted is row:  # restored all the same: whoever asks again is told so
                wanted = replace(row, version=row.version + 1, date_modified=self._clock.now(), changed_by=by.name)
            stored = await self._services.replace_from(snapshot.snapshot_id, wanted, by=by)
            if stored is not None:
                await self._take_row(actor, stored)
                return actor.service
            await self._catch_up(actor)
        raise OverloadedError(f"{snapshot.draft.heartbeat_name} is being changed by others all the time. Try again.")

    async def _restored_before(self, snapshot: ServiceSnapshot) -> Actor | None:
        """The service as which the snapshot's is there again: deleted, and restored by another snapshot of it."""
        if self._directory.find(snapshot.draft.heartbeat_name) is None:
            return None
        service_id = await self._services.find_restored(snapshot.service_id)
        return None if service_id is None else self._directory.actor_by_id(service_id)

    async def _register_again(self, snapshot: ServiceSnapshot, by: Author) -> Service:
        draft = snapshot.draft
        if self._directory.find(draft.heartbeat_name) is not None:
            raise NameTakenError(draft.heartbeat_name)
        self._require_ring_room(draft.threshold, None)
        row, is_new = await self._services.insert_from(snapshot.snapshot_id, draft, by=by)
        if not is_new:
            raise NameTakenError(draft.heartbeat_name)
        return await self._adopt(row)

    # ---------------------------------------------------------------------------------------------- journal first

    async def mute(self, name: str, *, until: InstantMs | None, reason: str, by: Author) -> Service:
        """Order not to tell; replaces the mute in force."""
        actor = self._named(name)
        at, sighted = self._clock.now(), self._clock.sighted()
        return await self._tell(actor, MuteRequested(at=at, sighted=sighted, until=until, reason=reason, by=by))

    async def unmute(self, name: str, *, by: Author) -> Service:
        """End the mute, if there is one."""
        actor = self._named(name)
        at, sighted = self._clock.now(), self._clock.sighted()
        return await self._tell(actor, UnmuteRequested(at=at, sighted=sighted, event_id=self._ids.draw(), by=by))

    async def acknowledge(self, alert_id: EventId, *, by: Author, note: str) -> Service:
        """Reminders of the open alert stop."""
        actor, _ = await self._alerting(alert_id)
        at, sighted = self._clock.now(), self._clock.sighted()
        return await self._tell(actor, AcknowledgeRequested(at=at, sighted=sighted, by=by, note=note))

    async def resolve(self, alert_id: EventId, *, by: Author, note: str) -> Resolved:
        """Close the open alert by hand; a fresh deadline begins."""
        actor, alert = await self._alerting(alert_id)
        at, sighted = self._clock.now(), self._clock.sighted()
        cycle = missed_intervals(actor.service, sighted)
        service = await self._tell(actor, ResolveRequested(at=at, sighted=sighted, by=by, note=note))
        return Resolved(service, alert, cycle, at)

    async def send_test(self, name: str, *, by: Author) -> tuple[str, ...]:
        """Send a marked page and its resolve through the real notifiers; the targets they go to."""
        actor = self._named(name)
        at, sighted = self._clock.now(), self._clock.sighted()
        await self._tell(actor, TestRequested(at=at, sighted=sighted, event_id=self._ids.draw(), by=by))
        probe = Notification(
            notification_id="",
            kind=NotificationKind.TEST,
            key="",
            at=at,
            heartbeat_name=actor.service.row.heartbeat_name,
        )
        return self._who_hears(probe)

    # ---------------------------------------------------------------------- committed already, by SQL or before a start

    async def take_row(self, row: ServiceRow) -> None:
        """Follow a committed row: a registration where the service is not known, else an edit if it is newer."""
        actor = self._directory.actor_by_id(row.service_id)
        if actor is None:
            await self._adopt(row)
        else:
            await self._take_row(actor, row)

    async def take_deletion(self, service_id: ServiceId, *, by: Author) -> None:
        """Follow a committed deletion."""
        actor = self._directory.actor_by_id(service_id)
        if actor is not None:
            await self._forget(actor, by)

    async def take_mute(self, service_id: ServiceId, mute: Mute | None) -> None:
        """Follow a mute that was set or ended in the row."""
        service = self._directory.by_id(service_id)
        if service is None:
            return
        if mute is not None:
            await self.mute(service.row.heartbeat_name, until=mute.until, reason=mute.reason, by=Author(mute.muted_by))
        elif service.mute is not None:
            await self.unmute(service.row.heartbeat_name, by=Author(service.row.changed_by))

    async def take_resolution(self, service_id: ServiceId, *, by: Author) -> None:
        """Follow a `down` that was set to 0 in the row: the open alert is resolved by hand."""
        service = self._directory.by_id(service_id)
        if service is not None and service.alert is not None:
            await self.resolve(service.alert.alert_id, by=by, note="")

    # ------------------------------------------------------------------------------------------------------ inside

    def _require_ring_room(self, threshold: int, service_id: ServiceId | None) -> None:
        """All rings together are bounded: a threshold of 1000 costs 8 kB a service (HARD-CASES H9)."""
        wanted = ring_bytes(threshold)
        if wanted and self._directory.ring_bytes_without(service_id) + wanted > self._ring_bytes_max:
            sentence = (
                f"of {threshold} needs {wanted} bytes of memory; all services with a threshold above 1 together may "
                f"use {self._ring_bytes_max} (MEDIC_THRESHOLD_BYTES_MAX)"
            )
            raise InvalidInputError((Fault("threshold", sentence),))

    def _named(self, name: str) -> Actor:
        actor = self._directory.actor(name)
        if actor is None:
            raise UnknownServiceError(name)
        return actor

    async def _alerting(self, alert_id: EventId) -> tuple[Actor, Alert]:
        actor = self._directory.actor_by_alert(alert_id)
        if actor is not None and actor.service.alert is not None:
            return actor, actor.service.alert
        if await self._history.alert(alert_id) is None:
            raise UnknownAlertError(alert_id)
        raise AlertClosedError(alert_id)

    async def _adopt(self, row: ServiceRow) -> Service:
        """Give a committed row its actor, unless another task was quicker."""
        known = self._directory.find(row.heartbeat_name)
        if known is not None:
            return known
        service, effects = register(row, self._defaults, at=self._clock.now(), sighted=self._clock.sighted())
        await self._journal.wait_durable(self._host.add(service, effects))
        return service

    async def _take_row(self, actor: Actor, row: ServiceRow) -> None:
        at, sighted = self._clock.now(), self._clock.sighted()
        await self._tell(actor, ServiceChanged(at=at, sighted=sighted, event_id=self._ids.draw(), row=row))

    async def _catch_up(self, actor: Actor) -> None:
        """Another change was committed first: take it, or learn that the service is gone."""
        row = await self._services.read(actor.service.row.service_id)
        if row is None:
            await self._forget(actor, Author(""))
        else:
            await self._take_row(actor, row)

    async def _forget(self, actor: Actor, by: Author) -> None:
        if not self._directory.holds(actor):
            return
        at, sighted = self._clock.now(), self._clock.sighted()
        await self._tell(actor, ServiceDeleted(at=at, sighted=sighted, by=by))

    async def _tell(self, actor: Actor, event: Event) -> Service:
        if not self._directory.holds(actor):  # deleted while PostgreSQL committed this change
            raise UnknownServiceError(actor.service.row.heartbeat_name)
        position = await self._host.tell(actor, event)
        await self._journal.wait_durable(position)
        return actor.service
