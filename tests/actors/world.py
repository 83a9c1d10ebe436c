"""Actors, wheel, clock, outbox and supervisor as they are, over a journal in memory and a wall clock tests can step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import trio

from medic.access.gcra import Limit
from medic.access.limits import Counted, Limits
from medic.actors.changes import OperatorChanges
from medic.actors.clock import SightedClock
from medic.actors.directory import Directory
from medic.actors.host import Host
from medic.actors.intake import HeartbeatIntake
from medic.actors.outbox import Outbox
from medic.actors.self_alert import SelfAlert
from medic.actors.sight import Sight
from medic.actors.supervisor import Supervisor
from medic.core.author import Author
from medic.core.draft import ServiceDraft
from medic.core.effects import Effect, StoreService
from medic.core.fold import fold, service_from
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import Service, ServiceRow
from medic.core.step import register
from medic.core.units import DurationMs, EventId, InstantMs, ServiceId, SightedMs
from medic.errors import DatabaseUnavailableError, OverloadedError
from medic.ports import Beat, Journal
from medic.store.journal.memory_journal import MemoryJournal
from medic.store.limiter import Limiter
from tests.fakes.history import MemoryHistory
from tests.fakes.services import MemoryServiceStore

ORIGIN = InstantMs(1_767_225_600_000)
"""2026-01-01T00:00:00Z, where every world begins."""

DEFAULTS = Defaults(first_heartbeat_ms=DurationMs(0), renotify_ms=DurationMs(0))


RING_BYTES_MAX = 20_000
"""Room for one ring of the largest threshold, and not for two."""


class Wall:
    """Wall time: goes with trio's clock, and can be stepped."""

    def __init__(self) -> None:
        self.step_ms = 0

    def __call__(self) -> InstantMs:
        return InstantMs(ORIGIN + self.step_ms + int(trio.current_time() * 1000))


class Numbers:
    """Ids in order; can run out."""

    def __init__(self) -> None:
        self.last = 1_000
        self.many = 1_000
        self.used_up = False

    def draw(self) -> EventId:
        if self.used_up:
            raise OverloadedError("the ids kept ahead are used up")
        self.last += 1
        return EventId(self.last)

    @property
    def in_hand(self) -> int:
        return 0 if self.used_up else self.many

    def draw_many(self, count: int) -> list[EventId]:
        return [self.draw() for _ in range(count)]


@dataclass
class Ear:
    """A teller that keeps what it was offered, when, and how much of the journal was durable by then."""

    journal: MemoryJournal
    targets: tuple[str, ...] = ("pagerduty", "slack")
    told: list[Notification] = field(default_factory=list)
    heard_at: list[float] = field(default_factory=list)

    def targets_for(self, notification: Notification) -> tuple[str, ...]:
        return self.targets

    def offer_nowait(self, notification: Notification) -> None:
        self.told.append(notification)
        self.heard_at.append(trio.current_time())

    def kinds(self) -> list[str]:
        return [notification.kind.value for notification in self.told]


class SteadyClock(SightedClock):
    """A clock that takes any gap between two looks for sleep: for tests that simulate days without a `Sight`."""

    def look(self) -> None:
        self._looked_ms = self._monotonic_ms()

    def sighted(self) -> SightedMs:
        self._looked_ms = self._monotonic_ms()
        return super().sighted()


class World:
    """One shard. `start` runs its tasks in a test's nursery; until then nothing happens by itself."""

    def __init__(
        self,
        *,
        clock: type[SightedClock] = SightedClock,
        defaults: Defaults = DEFAULTS,
        wear: Callable[[Journal], Journal] = lambda journal: journal,
    ) -> None:
        self.defaults = defaults
        self.wall = Wall()
        self.ids = Numbers()
        self.journal = MemoryJournal()
        self.worn = wear(self.journal)
        self.ear = Ear(self.journal)
        self.clock = clock(resume_at=SightedMs(self.wall()), wall=self.wall)
        self.directory = Directory()
        self.outbox = Outbox(self.worn, self.ear, self.clock)
        self.rebuild_faults = 0
        self.rebuilt: list[ServiceId] = []
        self.spoil: Callable[[Service], None] = lambda _: None
        self.supervisor = Supervisor(self.rebuild)
        self.marks: list[InstantMs] = []
        self.self_alert = SelfAlert(clock=self.clock, ids=self.ids, outbox=self.outbox)
        self.sight = Sight(
            clock=self.clock,
            directory=self.directory,
            outbox=self.outbox,
            mark=lambda at, _: self.marks.append(at),
            self_alert=self.self_alert,
        )
        self.host = Host(
            clock=self.clock,
            ids=self.ids,
            directory=self.directory,
            outbox=self.outbox,
            supervisor=self.supervisor,
            on_blindness=self.sight.note,
        )
        self.limiter = Limiter(Limits(), None)
        self.intake = HeartbeatIntake(
            directory=self.directory,
            host=self.host,
            journal=self.worn,
            clock=self.clock,
            ids=self.ids,
            limits=self.limiter,
        )
        self.services = MemoryServiceStore(now=self.wall)
        self.history = MemoryHistory()
        self.changes = OperatorChanges(
            directory=self.directory,
            host=self.host,
            journal=self.journal,
            services=self.services,
            history=self.history,
            who_hears=self.ear.targets_for,
            clock=self.clock,
            ids=self.ids,
            defaults=defaults,
            ring_bytes_max=RING_BYTES_MAX,
        )

    def limit(self, **requests: int) -> None:
        """So many requests a minute and caller from now on, by the values of `Counted`.

        Those of a service apply to who is registered afterwards.
        """
        for word, most in requests.items():
            if word == Counted.SERVICE.value:
                self.changes._defaults = replace(self.defaults, heartbeats_a_minute=most)
            else:
                limiter, counted = self.limiter, Counted(word)
                tallies = (limiter._caller, limiter._unknown, *limiter._requests.values())
                next(tally for tally in tallies if tally.counted is counted).limit = Limit(most)
        self.intake._counts_callers = self.limiter.counts_callers

    async def start(self, nursery: trio.Nursery, *, sight: bool = True) -> None:
        """Run host, outbox, supervisor and, unless the test does without it, sight."""
        await nursery.start(self.outbox.run)
        await nursery.start(self.supervisor.run, self.host.restore)
        if sight:
            await nursery.start(self.sight.run, self.host.look)
        await nursery.start(self.host.run)

    async def register(self, name: str, seconds: float, **fields: object) -> Service:
        """A service with that interval, registered as an operator does."""
        draft = ServiceDraft(
            heartbeat_name=name, service_name="owner", interval_ms=DurationMs(round(seconds * 1000)), **fields
        )
        return (await self.changes.register(draft, by=Author("test")))[0]

    def add(self, row: ServiceRow) -> Service:
        """The same without PostgreSQL, in this very turn."""
        service, effects = register(row, self.defaults, at=self.clock.now(), sighted=self.clock.sighted())
        self.host.add(service, effects)
        return service

    async def beat(self, name: str, status: str = "UP") -> Service:
        return await self.intake.take(Beat(name=name, status=status))

    async def rebuild(self, service_id: ServiceId) -> Service | None:
        """What recovery makes of the journal for one service."""
        await trio.lowlevel.checkpoint()
        if self.rebuild_faults:
            self.rebuild_faults -= 1
            raise DatabaseUnavailableError("PostgreSQL does not answer")
        self.rebuilt.append(service_id)
        service = recovered(self.journal.effects(), service_id, self.defaults)
        if service is not None:
            self.spoil(service)
        return service

    def effects(self, kind: type[Effect]) -> list[Effect]:
        """What the journal has of one kind."""
        return [effect for effect in self.journal.effects() if type(effect) is kind]


def recovered(effects: list[Effect], service_id: ServiceId, defaults: Defaults) -> Service | None:
    """One service, folded from a journal."""
    service = None
    for effect in effects:
        if effect.service_id != service_id:
            continue
        if service is None and isinstance(effect, StoreService):
            service = service_from(effect, defaults)
        elif service is not None:
            fold(service, effect)
    return service


def row(number: int, seconds: float, *, name: str | None = None, at: InstantMs = ORIGIN) -> ServiceRow:
    """A row as PostgreSQL would give it."""
    draft = ServiceDraft(
        heartbeat_name=name or f"service-{number:06d}",
        service_name="owner",
        interval_ms=DurationMs(round(seconds * 1000)),
    )
    return draft.row(ServiceId(number), at, "test")


async def settle(turns: int = 10) -> None:
    """Let every task that is ready run, without any time going by."""
    for _ in range(turns):
        await trio.lowlevel.checkpoint()


Watch = Callable[[], bool]


async def until(condition: Watch, *, seconds: float = 3_600.0) -> None:
    """Let time go by until the condition holds."""
    with trio.fail_after(seconds):
        while not condition():  # noqa: ASYNC110 - the condition is anything, and the clock is a mock
            await trio.sleep(0.001)
