"""Where heartbeats go: find the actor, take the turn, wait until the record is durable.

A limit is asked here, where service and instant are known. What it refuses is given to the actor all the same, as
what it is, a sign of life or a report; only its record is another (`NoteHeartbeat`), of which no row is made. Most
heartbeats are not counted at all: one that comes long after the one before it cannot be one too many.
"""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

from medic.access.limits import UNLIMITED, service_refusal
from medic.access.ports import HeartbeatLimits
from medic.actors.actor import Actor
from medic.actors.clock import SightedClock
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.core.events import HeartbeatLimited, HeartbeatReceived
from medic.core.heartbeat_words import kind_of, plain_kind
from medic.core.service import Deactivation, Service
from medic.core.status import Status
from medic.core.step import only_recorded
from medic.core.units import InstantMs, SightedMs
from medic.errors import ActorBusyError, InactiveServiceError, MailboxFullError, UnknownServiceError
from medic.ports import Beat, Ids, Journal, Position


class HeartbeatIntake:
    """Implements `ports.Intake` for the shard of one host."""

    def __init__(
        self,
        *,
        directory: Directory,
        host: Host,
        journal: Journal,
        clock: SightedClock,
        ids: Ids,
        limits: HeartbeatLimits = UNLIMITED,
    ) -> None:
        self._directory = directory
        self._host = host
        self._journal = journal
        self._clock = clock
        self._ids = ids
        self._limits = limits
        self._counts_callers = limits.counts_callers

    def take_nowait(self, beat: Beat) -> Position:
        """Journal the heartbeat and move the deadline in this turn; the record's position, which is not durable yet.

        Raises:
            UnknownServiceError, InactiveServiceError: nothing was taken.
            RateLimitedError: it was taken as a sign of life or a report, and is not stored; or it named one service
                too many that is not registered.
            ActorBusyError: the service is being rebuilt, nothing was taken; `take` waits for it.
            OverloadedError: it could not be made durable; nothing was taken.
            InvariantError: the actor crashed over this heartbeat.
        """
        actor = self._actor(beat)
        if actor.rare.mailbox is not None:
            raise ActorBusyError("The service is being restored.")
        at, sighted = self._clock.read()
        says_nothing_more = is_plain(beat, actor)
        if self._counts_callers or not says_nothing_more:
            refusal = self._limits.refuse_heartbeat(actor, at, sighted, beat.caller)
            if refusal is not None:
                self._take_limited(actor, beat, at, sighted)
                raise refusal
        elif at - actor.last_heartbeat_at < actor.policy.unhurried_ms:
            wait_us = self._limits.heartbeat_wait_us(actor, at, sighted)
            if wait_us:
                self._take_limited(actor, beat, at, sighted)
                raise service_refusal(actor, wait_us)
        kind = plain_kind(beat.status)
        if kind is not None and says_nothing_more and only_recorded(actor, kind):
            return self._host.heartbeat_turn(actor, at, sighted, kind)
        return self._host.turn(actor, self._event(HeartbeatReceived, beat, at, sighted))

    def take_plain_nowait(self, said: Iterable[tuple[str, str]]) -> tuple[int, Position]:
        """Take heartbeats that say nothing but name and status: how many were taken, and the newest one's position.

        They are taken as by `take_nowait`, from the first to the first that has to be looked at more closely. That is
        whatever is not most usual: an unknown name, a word that is not exactly UP, STARTED or COMPLETED, a service with
        a threshold over 1 or that is not simply up, or that sends too many. It never refuses. Costs a third of as many
        `take_nowait`. Where callers are counted, none is taken so.

        Args:
            said: Names, normalised, and statuses; no more than a turn has room for.
        """
        if self._counts_callers:
            return 0, Position(0)
        return self._host.plain_turns(said, self._limits.heartbeat_wait_us)

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
            RateLimitedError: as `take_nowait` says; nothing was waited for.
            OverloadedError: it could not be made durable.
        """
        actor = self._actor(beat)
        if actor.rare.mailbox is None:
            position = self.take_nowait(beat)
        else:
            position = await self._tell(actor, beat)
        await self._journal.wait_durable(position)
        return actor.service

    async def _tell(self, actor: Actor, beat: Beat) -> Position:
        """Give the heartbeat to an actor that is being rebuilt, which takes it afterwards."""
        at, sighted = self._clock.read()
        refusal = self._limits.refuse_heartbeat(actor, at, sighted, beat.caller)
        if refusal is None:
            return await self._host.tell(actor, self._event(HeartbeatReceived, beat, at, sighted))
        with suppress(MailboxFullError):  # then thousands wait in it already
            self._host.tell_nowait(actor, self._event(HeartbeatLimited, beat, at, sighted))
        raise refusal

    def _take_limited(self, actor: Actor, beat: Beat, at: InstantMs, sighted: SightedMs) -> None:
        self._host.turn(actor, self._event(HeartbeatLimited, beat, at, sighted))

    def _actor(self, beat: Beat) -> Actor:
        actor = self._directory.actor(beat.name)
        if actor is None:
            raise self._limits.refuse_unknown(beat.caller) or UnknownServiceError(beat.name)
        service = actor.service
        if service.status is Status.INACTIVE:
            # A journal that was cut between the transition and its row knows of the transition alone.
            since = service.deactivated or Deactivation(service.row.date_modified, service.row.changed_by)
            raise InactiveServiceError(service.row.heartbeat_name, since.at, since.by)
        self._journal.require_intake()
        return actor

    def _event(
        self, kind: type[HeartbeatReceived], beat: Beat, at: InstantMs, sighted: SightedMs
    ) -> HeartbeatReceived | HeartbeatLimited:
        return kind(
            at=at,
            sighted=sighted,
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
