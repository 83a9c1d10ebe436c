"""The host: turns the wheel and gives each actor its turns.

The host is dull on purpose. It takes an event, lets `step` decide, carries the effects out and arms the actor's one
timer for the next instant it waits for. It knows nothing about services: no rule of CONTRACT 2 is in this package.

* A turn is synchronous, in the task that brings the event. The position of its records is assigned in that same turn
  (HARD-CASES H11), so the order of the journal is the order of the turns.
* A heartbeat leaves the wheel's entry where it is; when the wheel comes to it, it asks for the deadline by then (H5).
* Deadlines are worked off in slices of `SLICE_MOVES`, and between two slices every task that is ready runs once: a
  hundred thousand deadlines in one second delay a heartbeat by one slice, not by all of them (H7).
* Before deadlines are decided the clock is asked whether Medic was blind; if it was, that time is credited first, and
  what clients sent meanwhile is read first: the kernel took it, and it wins over a deadline that is near (H2).
* While the journal refuses heartbeats, that is blind time: sighted time stands still, and with it the wheel. What waits
  for an instant that people named (a reminder, the end of a mute) is then found in its small index (H15).
* While the journal refuses everything, nothing is decided: a decision that cannot be written down must not be taken.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from itertools import islice
from typing import Final

import trio

from medic.actors.actor import Actor
from medic.actors.burst import Burst
from medic.actors.clock import SightedClock
from medic.actors.directory import Directory
from medic.actors.outbox import Outbox
from medic.actors.supervisor import ActorCrashedError, Supervisor
from medic.core.blind import BlindSpan
from medic.core.effects import RecordHeartbeat, RemoveService, ServiceEffect
from medic.core.events import DeadlineExpired, Event, NobodyTold
from medic.core.fold import WaitsUs
from medic.core.service import Service
from medic.core.status import HeartbeatStatus
from medic.core.units import InstantMs, ServiceId, SightedMs, SkewMs
from medic.errors import JournalRefusedError, OverloadedError, UnknownServiceError
from medic.ports import Ids, Position
from medic.wheel import Tick, Timer, Wheel

TICK_MS: Final = 10
"""One tick of the wheel. A deadline fires at most this much after its instant, and never before it."""

SLICE_MOVES: Final = 320
"""Moves of the wheel between two chances for every other task: 320 openings of alerts cost some 7 ms."""

REFUSED_PAUSE_SECONDS: Final = 0.2
"""How long deadlines rest while the journal refuses records."""

READ_FIRST_SECONDS: Final = 0.1
"""How long no deadline is decided after a start and after blindness, while what waits in the kernel is read."""

LATENESS_BOUNDS_SECONDS: Final = (0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0)
"""Upper bounds of the histogram of how long after its deadline a timer was decided."""


def tick_of(deadline: SightedMs) -> Tick:
    """The first tick at or after the instant: nothing fires early."""
    return Tick(-(-deadline // TICK_MS))


class _Probe(Timer):
    """A timer that is nobody's deadline, armed for one tick: it shows that the wheel turns."""

    __slots__ = ("fired", "tick")

    def __init__(self, tick: Tick) -> None:
        super().__init__()
        self.tick = tick
        self.fired = trio.Event()


@dataclass(frozen=True, slots=True)
class HostStatistics:
    """What the host did since the process began.

    Attributes:
        timers_armed: Timers on the wheel now.
        fired: Deadlines decided.
        lateness_counts: Firings by `LATENESS_BOUNDS_SECONDS`, one more for those beyond; not cumulative.
        lateness_seconds_total: Sum of all latenesses.
        turns: Events stepped.
        slices: Slices of due deadlines worked off: while some are overdue, this has to grow.
        overdue_seconds: How long the oldest deadline not decided yet has been due; 0.0 where none is due.
    """

    timers_armed: int
    fired: int
    lateness_counts: tuple[int, ...]
    lateness_seconds_total: float
    turns: int
    slices: int
    overdue_seconds: float


class Host:
    """Owns the wheel and runs the actors of one shard."""

    def __init__(
        self,
        *,
        clock: SightedClock,
        ids: Ids,
        directory: Directory,
        outbox: Outbox,
        supervisor: Supervisor,
        on_blindness: Callable[[BlindSpan], None],
    ) -> None:
        self._on_blindness = on_blindness
        self._clock = clock
        self._ids = ids
        self._directory = directory
        self._outbox = outbox
        self._supervisor = supervisor
        self._wheel: Wheel[Actor | _Probe] = Wheel(self._now_tick(), self._tick_due)
        self._skew = clock.skew
        self._sleeps_until: Tick | None = None
        self._sooner = trio.Event()
        self._wall_stepped = False
        self._reads_until = 0.0
        self._burst = Burst()
        self._fired = 0
        self._turns = 0
        self._lateness = [0] * (len(LATENESS_BOUNDS_SECONDS) + 1)
        self._lateness_total = 0.0
        self._slices = 0

    # ------------------------------------------------------------------------------------------------------- actors

    def add_all(self, services: list[Service]) -> None:
        """Take in what recovery found and arm it all: the way of a start. Costs some 2 µs a service."""
        actors = [Actor.of(service) for service in services]
        self._directory.add_all(actors)
        skew = self._clock.skew
        for actor in actors:
            self._arm(actor, skew)

    def add(self, service: Service, effects: tuple[ServiceEffect, ...]) -> Position:
        """Take in a service that was just registered, and journal its first effects.

        Raises:
            JournalRefusedError: nothing can be recorded now; the service was not taken in.
        """
        self._outbox.require_room()
        actor = Actor.of(service)
        position = self._outbox.carry_nowait(service, effects)
        self._directory.add(actor)
        self._arm(actor, self._clock.skew)
        return position

    async def tell(self, actor: Actor, event: Event) -> Position:
        """Give the actor an event, and return the position of its newest record once a turn took it.

        That is in the caller's own turn, without waiting, except while the actor is being rebuilt.

        Raises:
            MailboxFullError: the actor is being rebuilt and too many wait already.
            JournalRefusedError: nothing can be recorded now; the event was not taken.
            InvariantError: the actor crashed over this event.
        """
        if actor.mailbox is not None:
            return await actor.mailbox.put_nowait(event).wait_taken()
        return self.turn(actor, event)

    def tell_nowait(self, actor: Actor, event: Event) -> Position | None:
        """As `tell`, for an actor in order; None where it is being rebuilt and the event waits in its mailbox."""
        if actor.mailbox is not None:
            actor.mailbox.put_nowait(event)
            return None
        return self.turn(actor, event)

    def tell_again(self, service_id: ServiceId) -> None:
        """Have the service's open alert told again, which nobody took before the start."""
        actor = self._directory.actor_by_id(service_id)
        if actor is not None:
            self.tell_nowait(actor, NobodyTold(self._clock.now(), self._clock.sighted()))

    def turn(self, actor: Actor, event: Event) -> Position:
        """Give an actor in order its turn: the position of its newest record. Whoever calls looked at `mailbox` first.

        Raises:
            JournalRefusedError: nothing can be recorded now; the event was not taken.
            InvariantError: the actor crashed over this event.
        """
        self._outbox.require_room()
        service = actor.service
        previous = service.status
        self._turns += 1
        effects, deadline = self._supervisor.turn(actor, event)
        if len(effects) == 1 and type(effects[0]) is RecordHeartbeat:
            position = self._outbox.carry_heartbeat_nowait(service, effects[0])
        else:
            position = self._outbox.carry_nowait(service, effects)
            if RemoveService in map(type, effects):
                self._remove(actor)
                return position
            self._directory.note(actor, previous)
        self._arm_for(actor, deadline)
        return position

    def heartbeat_turn(self, actor: Actor, at: InstantMs, sighted: SightedMs, kind: HeartbeatStatus) -> Position:
        """The turn of a heartbeat that is only recorded (`only_recorded`), without an event and without effects.

        Nearly all turns are such ones: what they cost is what Medic costs.

        Raises:
            OverloadedError: nothing can be recorded now; the heartbeat was not taken.
            InvariantError: the actor crashed over it.
        """
        outbox = self._outbox
        outbox.require_room()
        heartbeat_id = self._ids.draw()
        self._turns += 1
        deadline = self._supervisor.heartbeat_turn(actor, at, sighted, kind)
        position = outbox.carry_plain_heartbeat_nowait(actor.service, at, sighted, heartbeat_id, kind)
        self._arm_for(actor, deadline)
        return position

    def plain_turns(self, said: Iterable[tuple[str, str]], waits_us: WaitsUs) -> tuple[int, Position]:
        """As `heartbeat_turn` of names and statuses: how many turns that were, and the position of the newest record.

        They are taken from the first to the first that has to be looked at more closely (`Supervisor.plain_turns`). All
        are of one instant: one reading of the clock, one look whether there is room. None moves a deadline earlier
        (`fold_plain_heartbeat`), so the wheel need not be told.

        Args:
            said: Names and statuses; no more than a turn has room for, which is 4 MiB of records.
            waits_us: Whether one more is stored, where it comes soon after another.
        """
        outbox, ids = self._outbox, self._ids
        try:
            outbox.require_intake()
        except JournalRefusedError:
            return 0, Position(0)
        at, sighted = self._clock.read()
        find = self._directory.actor
        actors, kinds = self._supervisor.plain_turns(islice(said, ids.in_hand), find, waits_us, at, sighted)
        count = len(actors)
        if not count:
            return 0, Position(0)
        self._turns += count
        return count, outbox.carry_plain_heartbeats_nowait(actors, at, sighted, ids.draw_many(count), kinds)

    def _remove(self, actor: Actor) -> None:
        self._wheel.disarm(actor)
        self._directory.remove(actor)

    def restore(self, actor: Actor, service: Service | None) -> None:
        """Give a crashed actor its rebuilt state and let it take what waited meanwhile, in order.

        None: the service is no longer registered, and the actor goes. An actor that crashes over a letter keeps the
        letters behind it for its next rebuild.
        """
        mailbox, actor.mailbox = actor.mailbox, None
        if service is None:
            self._remove(actor)
        else:
            self._directory.replace(actor, service)
            if not self._arm(actor, self._clock.skew):  # what is stored crashes it as well
                actor.mailbox = mailbox
                return
        while mailbox is not None and (letter := mailbox.next_nowait()) is not None:
            if not self._directory.holds(actor):
                letter.fail(UnknownServiceError(actor.service.row.heartbeat_name))
                continue
            try:
                letter.take(self.turn(actor, letter.event))
            except OverloadedError as refused:
                letter.fail(refused)
            except ActorCrashedError as crashed:
                letter.fail(crashed)
                actor.mailbox = mailbox
                return

    # -------------------------------------------------------------------------------------------------------- wheel

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Fire deadlines as they come due, until cancelled. Sleeps exactly until the next one.

        Started once heartbeats are taken: clients that tried again while nobody listened come first.
        """
        self._reads_until = trio.current_time() + READ_FIRST_SECONDS
        task_status.started()
        while True:
            self.look()
            await self._arm_walled_anew()
            await self._fire_due()
            await self._sleep()

    async def prove(self) -> None:
        """Return once a timer that was armed now has fired: a deadline at this instant would have been decided."""
        probe = _Probe(Tick(self._now_tick() + 1))
        self._wheel.arm(probe, probe.tick)
        self._sooner.set()
        try:
            await probe.fired.wait()
        finally:
            self._wheel.disarm(probe)

    def look(self) -> None:
        """Credit blind time, and see whether the wall clock still stands where it did."""
        try:
            self._outbox.require_intake()
        except JournalRefusedError:
            self._clock.stand_still("journal")
        else:
            self._clock.go_on()
        while (span := self._clock.look()) is not None:
            self._on_blindness(span)
            self._reads_until = trio.current_time() + READ_FIRST_SECONDS
        if self._clock.wall_was_stepped():
            self._wall_stepped = True
            self._sooner.set()

    async def _arm_walled_anew(self) -> None:
        """After a step of the wall clock: arm every timer of an instant that people named, in slices.

        While sighted time stands still the wall clock steps away from it all the time, and nothing on the wheel comes
        due: what is due by then is decided here.
        """
        if not self._wall_stepped:
            return
        self._wall_stepped = False
        for count, actor in enumerate(self._directory.walled(), start=1):
            if self._directory.holds(actor):
                is_armed = self._arm(actor, self._clock.skew)
                if is_armed and self._clock.stands_still:
                    self._expire_if_due(actor)
            if count % SLICE_MOVES == 0:
                await trio.lowlevel.checkpoint()

    def _expire_if_due(self, actor: Actor) -> None:
        self._skew = self._clock.skew
        tick = self._tick_due(actor)
        if tick is not None and tick <= self._now_tick():
            self._expire(actor, *self._clock.read())

    async def _fire_due(self) -> None:
        burst = self._burst = Burst()
        try:
            while self._wheel.now < (due := self._now_tick()):
                if trio.current_time() < self._reads_until:
                    await trio.sleep_until(self._reads_until)
                else:
                    burst.add(self._fire_slice(due))
                    await trio.lowlevel.checkpoint()
                self.look()
        finally:
            burst.end()

    def is_in_burst(self) -> bool:
        """Whether very many deadlines are being decided that were due together."""
        return self._burst.is_long

    async def wait_calm(self) -> None:
        """Return once no such burst is being decided: what can wait gives way to one, and its reader brings a limit."""
        if self._burst.is_long:
            await self._burst.wait_end()
        await trio.lowlevel.checkpoint()

    def _fire_slice(self, due: Tick) -> int:
        """Decide what one slice of moves brings; how many deadlines that were."""
        self._skew = self._clock.skew
        timers = self._wheel.advance(due, SLICE_MOVES)
        at, sighted = self._clock.read()
        for timer in timers:
            if isinstance(timer, _Probe):
                timer.fired.set()
            else:
                self._expire(timer, at, sighted)
        self._slices += 1
        return len(timers)

    def _expire(self, actor: Actor, at: InstantMs, sighted: SightedMs) -> None:
        tick = self._tick_due(actor)
        if tick is None:  # pragma: no cover - the wheel has just been told it, and nothing happened since
            return
        armed_for = SightedMs(tick * TICK_MS)
        try:
            event = DeadlineExpired(
                at=at,
                sighted=sighted,
                event_id=self._ids.draw(),
                armed_for=armed_for,
                blind=self._clock.blind,
            )
            self.turn(actor, event)
        except ActorCrashedError:
            return
        except OverloadedError:
            self._wheel.arm(actor, Tick(self._now_tick() + round(REFUSED_PAUSE_SECONDS * 1000) // TICK_MS))
            return
        self._fired += 1
        self._observe_lateness((sighted - armed_for) / 1000)

    def _tick_due(self, actor: Actor | _Probe) -> Tick | None:
        """When the actor is due, as the wheel asks it; None for one that is being rebuilt or has to be."""
        if isinstance(actor, _Probe):
            return actor.tick
        if actor.rare.mailbox is not None:
            return None
        try:
            deadline = self._supervisor.deadline(actor, self._skew)
        except ActorCrashedError:
            return None
        return None if deadline is None else tick_of(deadline)

    def _arm(self, actor: Actor, skew: SkewMs) -> bool:
        """Arm an actor that took no event just now. False: it is being rebuilt or has to be, and is armed later."""
        if actor.rare.mailbox is not None:
            return False
        try:
            self._arm_for(actor, self._supervisor.deadline(actor, skew))
        except ActorCrashedError:
            return False
        return True

    def _arm_for(self, actor: Actor, deadline: SightedMs | None) -> None:
        if deadline is None:
            self._wheel.disarm(actor)
            return
        tick = tick_of(deadline)
        self._wheel.arm(actor, tick)
        if self._sleeps_until is not None and tick < self._sleeps_until:
            self._sleeps_until = None
            self._sooner.set()

    async def _sleep(self) -> None:
        if self._wall_stepped:
            return
        tick = self._wheel.next_tick()
        self._sooner = trio.Event()
        self._sleeps_until = Tick(1 << 62) if tick is None else tick
        shortest = REFUSED_PAUSE_SECONDS if self._clock.stands_still else 0.0
        seconds = float("inf") if tick is None else max(shortest, (tick * TICK_MS - self._clock.sighted()) / 1000)
        with trio.move_on_after(seconds):
            await self._sooner.wait()
        self._sleeps_until = None

    def _now_tick(self) -> Tick:
        return Tick(self._clock.sighted() // TICK_MS)

    def _observe_lateness(self, seconds: float) -> None:
        self._lateness[bisect_left(LATENESS_BOUNDS_SECONDS, seconds)] += 1
        self._lateness_total += max(0.0, seconds)

    def statistics(self) -> HostStatistics:
        """Counters for metrics and liveness."""
        tick = self._wheel.next_tick()
        overdue_ms = 0 if tick is None else max(0, self._clock.sighted() - tick * TICK_MS)
        return HostStatistics(
            timers_armed=len(self._wheel),
            fired=self._fired,
            lateness_counts=tuple(self._lateness),
            lateness_seconds_total=self._lateness_total,
            turns=self._turns,
            slices=self._slices,
            overdue_seconds=overdue_ms / 1000,
        )
