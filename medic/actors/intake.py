"""Where heartbeats go: find the actor, take the turn, wait until the record is durable."""

from __future__ import annotations

from collections.abc import Iterable

from medic.actors.actor import Actor
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.core.events import HeartbeatReceived
from medic.core.heartbeat_words import kind_of, plain_kind
from medic.core.service import Deactivation, Service
from medic.core.status import Status
from medic.core.step import only_recorded
from medic.errors import ActorBusyError, InactiveServiceError, UnknownServiceError
from medic.ports import Beat, Clock, Ids, Journal, Position


class HeartbeatIntake:
    """Implements `ports.Intake` for the shard of one host."""

    def __init__(self, *, directory: Directory, host: Host, journal: Journal, clock: Clock, ids: Ids) -> None:
        self._directory = directory
        self._host = host
        self._journal = journal
        self._clock = clock
        self._ids = ids

    def take_nowait(self, beat: Beat) -> Position:
        """Journal the heartbeat and move the deadline in this turn; the record's position, which is not durable yet.

        Raises:
            UnknownServiceError, InactiveServiceError: nothing was taken.
            ActorBusyError: the service is being rebuilt, nothing was taken; `take` waits for it.
            OverloadedError: it could not be made durable; nothing was taken.
            InvariantError: the actor crashed over this heartbeat.
        """
        actor = self._actor(beat)
        if actor.rare.mailbox is not None:
            raise ActorBusyError("The service is being restored.")
        kind = plain_kind(beat.status)
        if kind is not None and is_plain(beat, actor.service) and only_recorded(actor.service, kind):
            return self._host.heartbeat_turn(actor, kind)
        return self._host.turn(actor, self._event(beat))

    def take_plain_nowait(self, said: Iterable[tuple[str, str]]) -> tuple[int, Position]:
        """Take heartbeats that say nothing but name and status: how many were taken, and the newest one's position.

        They are taken as by `take_nowait`, from the first to the first that has to be looked at more closely. That is
        whatever is not most usual: an unknown name, a word that is not exactly UP, STARTED or COMPLETED, a service with
        a threshold over 1 or that is not simply up. It never refuses. Costs a third of as many `take_nowait`.

        Args:
            said: Names, normalised, and statuses; no more than a turn has room for.
        """
        return self._host.plain_turns(said)

    async def wait_durable(self, position: Position) -> None:
        """Return once what was taken up to that position is durable.

        Raises:
            JournalRefusedError: it never will be.
        """
        await self._journal.wait_durable(position)

    async def take(self, beat: Beat) -> Service:
        """Journal the heartbeat, move the deadline, and return once the record is durable.

        Raises:
            UnknownServiceError, InactiveServiceError: nothing was taken.
            OverloadedError: it could not be made durable.
        """
        actor = self._actor(beat)
        if actor.rare.mailbox is None:
            position = self.take_nowait(beat)
        else:
            position = await self._host.tell(actor, self._event(beat))
        await self._journal.wait_durable(position)
        return actor.service

    def _actor(self, beat: Beat) -> Actor:
        actor = self._directory.actor(beat.name)
        if actor is None:
            raise UnknownServiceError(beat.name)
        service = actor.service
        if service.status is Status.INACTIVE:
            # A journal that was cut between the transition and its row knows of the transition alone.
            since = service.deactivated or Deactivation(service.row.date_modified, service.row.changed_by)
            raise InactiveServiceError(service.row.heartbeat_name, since.at, since.by)
        self._journal.require_intake()
        return actor

    def _event(self, beat: Beat) -> HeartbeatReceived:
        return HeartbeatReceived(
            at=self._clock.now(),
            sighted=self._clock.sighted(),
            event_id=self._ids.draw(),
            kind=kind_of(beat.status),
            status=beat.status,
            run_id=beat.run_id,
            said_at=beat.said_at,
            key=beat.key,
        )


def is_plain(beat: Beat, service: Service) -> bool:
    """Whether the heartbeat says nothing beside its status that could make it count for nothing."""
    return beat.run_id is None and beat.said_at is None and (beat.key is None or service.ring is None)
