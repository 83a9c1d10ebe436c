"""A Medic without processes: services, two clocks and the earliest deadline. For unit tests and stories of the core.

Each event is stepped on a service and its effects are folded into a twin made from the registration's record alone. The
two must be equal after every effect; so each test that uses this is a test of recovery too.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator

from medic.core.author import Author
from medic.core.blind import SIGHTED_ALWAYS, BlindLog, BlindSpan
from medic.core.deadline import due_now, next_deadline
from medic.core.draft import ServiceDraft, ServiceEdit
from medic.core.effects import AmendAlert, CloseAlert, Notify, OpenAlert, RemoveService, ServiceEffect
from medic.core.events import (
    AcknowledgeRequested,
    DeadlineExpired,
    Event,
    HeartbeatReceived,
    MuteRequested,
    ResolveRequested,
    ServiceChanged,
    ServiceDeleted,
    TestRequested,
    UnmuteRequested,
)
from medic.core.fold import fold, service_from
from medic.core.heartbeat_words import kind_of
from medic.core.notification import Notification
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.status import Status
from medic.core.step import register, step
from medic.core.units import MINUTE_MS, DurationMs, EventId, InstantMs, ServiceId, SightedMs, SkewMs

BEGINNING = InstantMs(1_767_225_600_000)
"""2026-01-01T00:00:00Z, a Thursday."""

PROMPT = Defaults(first_heartbeat_ms=DurationMs(0))
"""The environment's defaults, but for the patience with services never heard of."""

FIRINGS_MAX = 100_000
"""More firings than any test has; beyond it something is due that never stops being due."""


def state_of(service: Service) -> dict[str, object]:
    """Every slot of a service, to compare two of them."""
    ring = service.ring
    marks = () if ring is None or ring.marks is None else tuple(ring.marks)
    return {slot: copy.copy(getattr(service, slot)) for slot in Service.__slots__} | {"marks": marks}


class SimulatedService:
    """One service, the effects it ever had, and its twin that only folded them."""

    def __init__(self, medic: SimulatedMedic, service: Service, effects: tuple[ServiceEffect, ...]) -> None:
        self.medic = medic
        self.service = service
        self.effects = list(effects)
        self.twin = service_from(effects[0], medic.defaults)
        self.is_removed = False
        self._compare()

    def take(self, event: Event) -> tuple[ServiceEffect, ...]:
        """Step the event; the effects it had."""
        effects = step(self.service, event)
        for effect in effects:
            fold(self.twin, effect)
            self.is_removed = self.is_removed or isinstance(effect, RemoveService)
        self._compare()
        self.effects.extend(effects)
        self.medic.watch(self, event, effects)
        return effects

    def _compare(self) -> None:
        assert state_of(self.twin) == state_of(self.service)

    # ------------------------------------------------------------------------------------------------- what happens

    def beat(
        self, status: str = "UP", *, run_id: str | None = None, key: str | None = None, said_at: int | None = None
    ) -> tuple[ServiceEffect, ...]:
        medic = self.medic
        kind, event_id = kind_of(status), medic.draw_id()
        return self.take(HeartbeatReceived(medic.at, medic.sighted, event_id, kind, status, run_id, said_at, key))

    def expire(self, armed_for: SightedMs | None = None) -> tuple[ServiceEffect, ...]:
        """Fire the timer, whatever is due."""
        medic = self.medic
        armed = medic.sighted if armed_for is None else armed_for
        return self.take(DeadlineExpired(medic.at, medic.sighted, medic.draw_id(), armed, medic.blind))

    def edit(self, **columns: object) -> tuple[ServiceEffect, ...]:
        medic = self.medic
        row = ServiceEdit(**columns).apply(self.service.row, medic.at, "ada")
        return self.take(ServiceChanged(medic.at, medic.sighted, medic.draw_id(), row))

    def delete(self) -> tuple[ServiceEffect, ...]:
        return self.take(ServiceDeleted(self.medic.at, self.medic.sighted, Author("ada")))

    def mute(self, duration_ms: int | None = None, reason: str = "") -> tuple[ServiceEffect, ...]:
        medic = self.medic
        until = None if duration_ms is None else InstantMs(medic.at + duration_ms)
        return self.take(MuteRequested(medic.at, medic.sighted, until, reason, Author("ada")))

    def unmute(self) -> tuple[ServiceEffect, ...]:
        return self.take(UnmuteRequested(self.medic.at, self.medic.sighted, self.medic.draw_id(), Author("ada")))

    def acknowledge(self, by: str = "ada", note: str = "") -> tuple[ServiceEffect, ...]:
        return self.take(AcknowledgeRequested(self.medic.at, self.medic.sighted, Author(by), note))

    def resolve(self, by: str = "ada", note: str = "") -> tuple[ServiceEffect, ...]:
        return self.take(ResolveRequested(self.medic.at, self.medic.sighted, Author(by), note))

    def send_test(self) -> tuple[ServiceEffect, ...]:
        return self.take(TestRequested(self.medic.at, self.medic.sighted, self.medic.draw_id(), Author("ada")))

    # -------------------------------------------------------------------------------------------------- what is seen

    @property
    def status(self) -> Status:
        return self.service.status

    @property
    def notifications(self) -> list[Notification]:
        return [effect.notification for effect in self.effects if isinstance(effect, Notify)]

    @property
    def told(self) -> list[str]:
        """Kinds of everything that was decided to be told, in order."""
        return [str(notification.kind) for notification in self.notifications]

    @property
    def history(self) -> list[str]:
        """What happened to alerts, in order: their reason, changes, and how they closed."""
        words = []
        for effect in self.effects:
            if isinstance(effect, OpenAlert):
                words.append(str(effect.alert.reason))
            elif isinstance(effect, AmendAlert):
                words.append(effect.change)
            elif isinstance(effect, CloseAlert):
                words.append(str(effect.reason))
        return words

    def next_deadline(self) -> SightedMs | None:
        return next_deadline(self.service, self.medic.skew)

    def deadline_in(self) -> int | None:
        """How far off the next deadline is."""
        deadline = self.next_deadline()
        return None if deadline is None else deadline - self.medic.sighted


class SimulatedMedic:
    """Services, clocks, and a wheel that is nothing but the earliest deadline."""

    def __init__(self, defaults: Defaults = PROMPT, *, at: InstantMs = BEGINNING) -> None:
        self.defaults = defaults
        self.at = at
        self.sighted = SightedMs(at)
        self.blind: BlindLog = SIGHTED_ALWAYS
        self.services: dict[str, SimulatedService] = {}
        self._drawn = 100

    @property
    def skew(self) -> SkewMs:
        return SkewMs(self.at - self.sighted)

    def draw_id(self) -> EventId:
        self._drawn += 1
        return EventId(self._drawn)

    def watch(self, service: SimulatedService, event: Event, effects: tuple[ServiceEffect, ...]) -> None:
        """Called after each step, for those who want to see it."""

    def register(self, name: str = "web", *, interval_ms: int = MINUTE_MS, **columns: object) -> SimulatedService:
        draft = ServiceDraft(name, f"{name}-service", DurationMs(interval_ms), **columns)
        row = draft.row(ServiceId(len(self.services) + 1), self.at, "ada")
        service, effects = register(row, self.defaults, at=self.at, sighted=self.sighted)
        self.services[name] = SimulatedService(self, service, effects)
        return self.services[name]

    # ------------------------------------------------------------------------------------------------------- time

    def advance(self, duration_ms: int) -> None:
        """Let time pass, each deadline fired at its instant."""
        end = self.sighted + duration_ms
        for _ in self._firings(end):
            pass
        self._move(end - self.sighted)

    def _firings(self, end: int) -> Iterator[None]:
        for _ in range(FIRINGS_MAX):
            due = [(deadline, name) for name, deadline in self._deadlines() if deadline <= end]
            if not due:
                return
            deadline, name = min(due)
            self._move(max(0, deadline - self.sighted))
            self.services[name].expire(SightedMs(deadline))
            yield
        raise AssertionError("something is always due")

    def _deadlines(self) -> list[tuple[str, int]]:
        return [
            (name, deadline)
            for name, simulated in self.services.items()
            if not simulated.is_removed and (deadline := simulated.next_deadline()) is not None
        ]

    def jump(self, duration_ms: int) -> None:
        """Let time pass while no timer fires: Medic is busy, but not blind."""
        self._move(duration_ms)

    def go_blind(self, duration_ms: int, cause: str = "down") -> BlindSpan:
        """Be blind for so long; nothing that came due is fired yet."""
        span = BlindSpan(self.at, InstantMs(self.at + duration_ms), self.sighted, cause)
        self.at = span.ended_at
        self.sighted = SightedMs(self.sighted + 1)
        self.blind = self.blind.with_span(span)
        return span

    def step_wall(self, by_ms: int) -> None:
        """Set the wall clock; sighted time does not notice."""
        self.at = InstantMs(self.at + by_ms)

    def is_anything_due(self) -> bool:
        return any(
            due_now(simulated.service, self.at, self.sighted) is not None
            for simulated in self.services.values()
            if not simulated.is_removed
        )

    def _move(self, duration_ms: int) -> None:
        self.at = InstantMs(self.at + duration_ms)
        self.sighted = SightedMs(self.sighted + duration_ms)
