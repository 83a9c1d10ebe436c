"""Decides about crashes: the one place where any exception of an actor is caught.

`step` is total and tested, so a crash is a bug in Medic, and the question is only whom it may hurt. The answer is: one
service, for as long as it takes to read its state back. Its actor is rebuilt from what is stored, the event that it
crashed over is reported and dropped, events that come meanwhile wait in its mailbox, and no other actor notices.

An actor that crashes again at once is not rebuilt in a tight loop: the pause before the n-th rebuild doubles.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Final

import structlog
import trio

from medic.actors.actor import Actor, Mailbox
from medic.core.deadline import next_deadline
from medic.core.effects import ServiceEffect
from medic.core.events import Event
from medic.core.fold import WaitsUs, fold_heartbeat, fold_plain_heartbeat
from medic.core.heartbeat_words import plain_kind
from medic.core.service import Service
from medic.core.status import HeartbeatStatus
from medic.core.step import step
from medic.core.units import InstantMs, ServiceId, SightedMs, SkewMs
from medic.errors import InvariantError, MedicError

_log = structlog.get_logger(__name__)

PAUSE_FIRST_SECONDS: Final = 0.1
PAUSE_MAX_SECONDS: Final = 60.0
"""An actor is rebuilt at least once a minute: a service nobody watches is worse than a noisy log."""

Rebuild = Callable[[ServiceId], Awaitable[Service | None]]
"""Reads one service's state back from what is stored; None where it is no longer registered."""


class ActorCrashedError(InvariantError):
    """The actor raised over this event, which is dropped; the actor is being rebuilt."""

    def __init__(self, service_id: ServiceId) -> None:
        super().__init__(f"the actor of service {service_id} crashed and is being restored")
        self.service_id = service_id


@dataclass(frozen=True, slots=True)
class SupervisorStatistics:
    """Crashes and rebuilds since the process began, and how many actors wait for theirs."""

    crashes: int
    rebuilds: int
    waiting: int


class Supervisor:
    """Runs turns, and rebuilds the actors that raise in one."""

    def __init__(self, rebuild: Rebuild) -> None:
        self._rebuild = rebuild
        self._waiting_actors: deque[Actor] = deque()
        self._arrived = trio.Event()
        self._crashes = 0
        self._crashes_of: dict[ServiceId, int] = {}
        self._rebuilds = 0
        self._waiting = 0

    def turn(self, actor: Actor, event: Event) -> tuple[tuple[ServiceEffect, ...], SightedMs | None]:
        """The effects of the event, decided and folded into the actor's service, and the next instant it waits for.

        Raises:
            ActorCrashedError: the actor raised; it takes no events until it is rebuilt.
        """
        try:
            effects = step(actor, event)
            return effects, next_deadline(actor, SkewMs(event.at - event.sighted))
        except Exception as error:
            self._crashed_over(actor, type(event).__name__, error)
            raise ActorCrashedError(actor.service.row.service_id) from error

    def heartbeat_turn(
        self, actor: Actor, at: InstantMs, sighted: SightedMs, kind: HeartbeatStatus
    ) -> SightedMs | None:
        """Fold a heartbeat that is only recorded (`only_recorded`); the next instant the actor waits for.

        Raises:
            ActorCrashedError: the actor raised; it takes no events until it is rebuilt.
        """
        service = actor.service
        try:
            fold_heartbeat(service, at, sighted, kind, kind)
            return next_deadline(service, SkewMs(at - sighted))
        except Exception as error:
            self._crashed_over(actor, "a heartbeat", error)
            raise ActorCrashedError(service.row.service_id) from error

    def plain_turns(
        self,
        said: Iterable[tuple[str, str]],
        find: Callable[[str], Actor | None],
        waits_us: WaitsUs,
        at: InstantMs,
        sighted: SightedMs,
    ) -> tuple[list[Actor], list[HeartbeatStatus]]:
        """Fold heartbeats by `fold_plain_heartbeat`: the actors that took theirs, and the kind of each.

        They are taken from the first to the first that has to be looked at more closely: of no actor that is in order,
        of no `plain_kind`, or not plain for its service. An actor that raises is none in order from then on.
        """
        actors: list[Actor] = []
        kinds: list[HeartbeatStatus] = []
        for name, status in said:
            actor, kind = find(name), plain_kind(status)
            if actor is None or kind is None or actor.rare.mailbox is not None:
                break
            try:
                is_folded = fold_plain_heartbeat(actor, at, sighted, kind, waits_us)
            except Exception as error:  # noqa: BLE001 - reported; those before it are to be recorded all the same
                self._crashed_over(actor, "a heartbeat", error)
                break
            if not is_folded:
                break
            actors.append(actor)
            kinds.append(kind)
        return actors, kinds

    def deadline(self, actor: Actor, skew: SkewMs) -> SightedMs | None:
        """The next instant the actor waits for, where no event was taken.

        Raises:
            ActorCrashedError: the actor raised; it takes no events until it is rebuilt.
        """
        try:
            return next_deadline(actor, skew)
        except Exception as error:
            self._crashed_over(actor, "its deadline", error)
            raise ActorCrashedError(actor.service.row.service_id) from error

    def _crashed_over(self, actor: Actor, over: str, error: Exception) -> None:
        """Report a crash and put the actor's events aside until `run` has rebuilt it."""
        self._crashes += 1
        self._waiting += 1
        service_id = actor.row.service_id
        self._crashes_of[service_id] = crashes = self._crashes_of.get(service_id, 0) + 1
        actor.mailbox = Mailbox()
        self._waiting_actors.append(actor)
        self._arrived.set()
        _log.error(
            "an actor crashed; it is rebuilt from what is stored",
            service_id=service_id,
            heartbeat_name=actor.service.row.heartbeat_name,
            over=over,
            crashes=crashes,
            exc_info=error,
        )

    async def run(
        self,
        restore: Callable[[Actor, Service | None], None],
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Rebuild crashed actors, each in a task of its own, until cancelled.

        `restore` gives the actor its state back, or removes it where that is None: `Host.restore`.
        """
        async with trio.open_nursery() as nursery:
            task_status.started()
            while True:
                while self._waiting_actors:
                    nursery.start_soon(self._restore, self._waiting_actors.popleft(), restore)
                await self._arrived.wait()
                self._arrived = trio.Event()

    def statistics(self) -> SupervisorStatistics:
        """Counters for metrics and health."""
        return SupervisorStatistics(self._crashes, self._rebuilds, self._waiting)

    async def _restore(self, actor: Actor, restore: Callable[[Actor, Service | None], None]) -> None:
        pause = PAUSE_FIRST_SECONDS * 2.0 ** min(self._crashes_of[actor.row.service_id] - 1, 16)
        while True:
            await trio.sleep(min(pause, PAUSE_MAX_SECONDS))
            try:
                service = await self._rebuild(actor.service.row.service_id)
            except MedicError as error:
                pause *= 2
                _log.warning(
                    "an actor could not be rebuilt yet",
                    service_id=actor.service.row.service_id,
                    heartbeat_name=actor.service.row.heartbeat_name,
                    reason=str(error),
                )
                continue
            break
        self._waiting -= 1
        self._rebuilds += 1
        restore(actor, service)
