"""Where heartbeats go: find the actor, take the turn, wait until the record is durable."""

from __future__ import annotations

from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.core.events import HeartbeatReceived
from medic.core.heartbeat_words import kind_of
from medic.core.service import Service
from medic.core.status import Status
from medic.errors import InactiveServiceError, UnknownServiceError
from medic.ports import Beat, Clock, Ids, Journal


class HeartbeatIntake:
    """Implements `ports.Intake` for the shard of one host."""

    def __init__(self, *, directory: Directory, host: Host, journal: Journal, clock: Clock, ids: Ids) -> None:
        self._directory = directory
        self._host = host
        self._journal = journal
        self._clock = clock
        self._ids = ids

    async def take(self, beat: Beat) -> Service:
        """Journal the heartbeat, move the deadline, and return once the record is durable.

        Raises:
            UnknownServiceError, InactiveServiceError: nothing was taken.
            OverloadedError: it could not be made durable.
        """
        actor = self._directory.actor(beat.name)
        if actor is None:
            raise UnknownServiceError(beat.name)
        service = actor.service
        if service.status is Status.INACTIVE:
            raise InactiveServiceError(service.row.heartbeat_name, service.row.date_modified, service.row.changed_by)
        self._journal.require_intake()
        event = HeartbeatReceived(
            at=self._clock.now(),
            sighted=self._clock.sighted(),
            event_id=self._ids.draw(),
            kind=kind_of(beat.status),
            status=beat.status,
            run_id=beat.run_id,
            said_at=beat.said_at,
        )
        position = await self._host.tell(actor, event)
        await self._journal.wait_durable(position)
        return actor.service
