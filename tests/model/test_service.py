"""The service machine against a naive one that keeps and recomputes everything; and what must always hold."""

from __future__ import annotations

from collections import Counter

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from medic.core.deadline import due_now, has_wall_timer, late_deadline, next_deadline, owes_trigger, waits
from medic.core.effects import CloseAlert, Notify, OpenAlert, ServiceEffect, StoreService
from medic.core.events import Event
from medic.core.fold import fold, service_from
from medic.core.policy import Defaults
from medic.core.service import Service
from medic.core.status import Status
from medic.core.step import register, step
from medic.core.units import DurationMs
from tests.model.naive_service import NaiveService
from tests.stories.simulation import SimulatedMedic, SimulatedService, state_of

SECOND, MINUTE, HOUR = 1_000, 60_000, 3_600_000

intervals = st.sampled_from([1 * SECOND, 10 * SECOND, MINUTE, 10 * MINUTE, 25 * HOUR]).map(DurationMs)
graces = st.sampled_from([0, 0, 500, 20 * SECOND, 30 * MINUTE]).map(DurationMs)
thresholds = st.integers(1, 4)
recoveries = st.sampled_from([0, 0, 5 * SECOND, 3 * MINUTE]).map(DurationMs)
renotifies = st.sampled_from([None, 0, 7 * MINUTE, HOUR]).map(
    lambda value: None if value is None else DurationMs(value)
)
priorities = st.sampled_from(["p1", "p2", "p3", "p4", "p5"])
words = st.sampled_from(["UP", "UP", "up", "COMPLETED", "STARTED", "DEGRADED", "DOWN", "FAILED", "step 2"])
runs = st.sampled_from([None, None, "r1", "r2"])
keys = st.sampled_from([None, "k1", "k2"])
ages = st.sampled_from([None, None, -HOUR, 0, SECOND, 30 * SECOND, 26 * HOUR])
durations = st.sampled_from([0, 1, 300, SECOND, 9 * SECOND, 30 * SECOND, 5 * MINUTE, HOUR, 26 * HOUR])
defaults = st.builds(
    Defaults,
    renotify_ms=st.sampled_from([0, 10 * MINUTE, HOUR]).map(DurationMs),
    flap_openings=st.sampled_from([0, 1, 3]),
    first_heartbeat_ms=st.sampled_from([0, 15 * SECOND, 15 * MINUTE]).map(DurationMs),
)
edits = st.fixed_dictionaries(
    {},
    optional={
        "interval_ms": intervals,
        "grace_ms": graces,
        "threshold": thresholds,
        "recovery_ms": recoveries,
        "renotify_ms": renotifies,
        "priority": priorities,
        "active": st.booleans(),
    },
)


class ServiceMachine(RuleBasedStateMachine):
    """One service in a Medic whose clocks this test owns."""

    @initialize(
        defaults=defaults,
        interval_ms=intervals,
        grace_ms=graces,
        threshold=thresholds,
        recovery_ms=recoveries,
        renotify_ms=renotifies,
        priority=priorities,
        active=st.sampled_from([True, True, True, False]),
    )
    def begin(self, defaults: Defaults, **columns: object) -> None:
        self.medic = SimulatedMedic(defaults)
        self.medic.watch = self.watch
        self.events: list[Event] = []
        self.columns = columns
        self.register()

    def register(self) -> None:
        self.events.clear()
        self.web: SimulatedService = self.medic.register("web", **self.columns)
        self.row = self.web.service.row
        self.began = (self.medic.at, self.medic.sighted)
        self.naive = NaiveService.recompute(self.row, self.medic.defaults, self.began[1], [])

    def watch(self, service: SimulatedService, event: Event, effects: tuple[ServiceEffect, ...]) -> None:
        self.events.append(event)

    # -------------------------------------------------------------------------------------------------------- rules

    @rule(word=words)
    def beat(self, word: str) -> None:
        self.web.beat(word)

    @rule(word=words, every=st.sampled_from([300, 4 * SECOND, 30 * SECOND]), times=st.integers(2, 6))
    def beat_for_a_while(self, word: str, every: int, times: int) -> None:
        for _ in range(times):
            self.web.beat(word)
            self.medic.advance(every)

    @rule(word=words, run_id=runs, key=keys, age=ages, again_after=st.sampled_from([0, 300, 9 * SECOND, MINUTE]))
    def beat_twice(self, word: str, run_id: str | None, key: str | None, age: int | None, again_after: int) -> None:
        said_at = None if age is None else self.medic.at - age
        self.web.beat(word, run_id=run_id, key=key, said_at=said_at)
        self.medic.advance(again_after)
        self.web.beat(word, run_id=run_id, key=key)

    @rule()
    def wait_for_the_next_deadline(self) -> None:
        deadline = self.web.next_deadline()
        if deadline is not None:
            self.medic.advance(max(0, deadline - self.medic.sighted))

    @rule(duration=durations)
    def let_time_pass(self, duration: int) -> None:
        self.medic.advance(min(duration, 200 * self.pace()))

    @rule(duration=durations)
    def be_busy_and_fire_late(self, duration: int) -> None:
        self.medic.jump(duration)
        self.web.expire()

    @rule()
    def fire_a_millisecond_early(self) -> None:
        deadline = self.web.next_deadline()
        if deadline is not None and deadline > self.medic.sighted + 1:
            self.medic.jump(deadline - self.medic.sighted - 1)
            assert self.web.expire(deadline) == ()

    @rule(duration=durations, rest=durations)
    def be_blind(self, duration: int, rest: int) -> None:
        self.medic.go_blind(duration)
        if not self.events or self.events[-1].sighted < self.medic.sighted:
            self.medic.advance(min(rest, 200 * self.pace()))

    @rule()
    def be_blind_when_the_next_heartbeat_is_due(self) -> None:
        self.medic.jump(max(0, self.pace() - 2 * SECOND))
        self.web.expire()
        self.medic.go_blind(4 * SECOND)

    @rule(by=st.sampled_from([-HOUR, -SECOND, SECOND, HOUR]))
    def set_the_wall_clock(self, by: int) -> None:
        self.medic.step_wall(by)

    @rule(duration=st.none() | durations)
    def mute(self, duration: int | None) -> None:
        self.web.mute(duration)

    @rule()
    def unmute(self) -> None:
        self.web.unmute()

    @rule()
    def acknowledge(self) -> None:
        self.web.acknowledge()

    @rule()
    def resolve(self) -> None:
        self.web.resolve()

    @rule(columns=edits)
    def edit(self, columns: dict[str, object]) -> None:
        self.web.edit(**columns)

    @rule(active=st.sampled_from([False, True, True]))
    def activate_or_not(self, active: bool) -> None:
        self.web.edit(active=active)

    @rule()
    def send_a_test(self) -> None:
        self.web.send_test()

    @precondition(lambda self: len(self.events) > 10)
    @rule()
    def delete_and_register_anew(self) -> None:
        self.web.delete()
        self.compare()
        assert self.naive.deleted
        self.check_the_whole_life()
        self.register()

    def pace(self) -> int:
        return int(self.web.service.policy.interval_ms)

    # --------------------------------------------------------------------------------------------------- invariants

    @invariant()
    def compare(self) -> None:
        """Status, deadlines, alert and everything told are those of the naive service."""
        self.naive = NaiveService.recompute(self.row, self.medic.defaults, self.began[1], self.events)
        naive, service, skew = self.naive, self.web.service, self.medic.skew
        assert service.status == naive.status
        if not naive.deleted:
            assert late_deadline(service) == naive.late_at()
            assert next_deadline(service, skew) == naive.next_instant(skew)
        assert service.heartbeats_total == len(naive.heartbeats) + len(naive.discounted)
        assert (service.mute is None) == (naive.mute is None)
        told = [
            (str(told.kind), told.alert_id, told.priority)
            for told in (effect.notification for effect in self.web.effects if isinstance(effect, Notify))
        ]
        assert told == naive.told
        opened = [str(effect.alert.reason) for effect in self.web.effects if isinstance(effect, OpenAlert)]
        closed = [str(effect.reason) for effect in self.web.effects if isinstance(effect, CloseAlert)]
        assert opened == [alert.reason for alert in naive.alerts]
        assert closed == [alert.closed for alert in naive.alerts if alert.closed is not None]
        assert (service.alert is None) == (naive.alert is None)
        if service.alert is not None and naive.alert is not None:
            mine, theirs = service.alert, naive.alert
            assert mine.alert_id == theirs.alert_id
            assert (mine.reported, mine.flapping, mine.well_since) == (
                theirs.reported,
                theirs.flapping,
                theirs.well_since,
            )
            assert (mine.told, mine.acknowledged_at is not None) == (bool(theirs.told_as), theirs.acknowledged)

    @invariant()
    def something_is_due_exactly_when_the_deadline_has_passed(self) -> None:
        service, medic = self.web.service, self.medic
        deadline = next_deadline(service, medic.skew)
        is_due = due_now(service, medic.at, medic.sighted) is not None
        assert is_due == (deadline is not None and deadline <= medic.sighted)
        waiting = waits(service, medic.skew)
        assert deadline == min((wait.instant for wait in waiting), default=None)
        assert has_wall_timer(service) == any(wait.cause in {"mute_end", "reminder"} for wait in waiting)

    @invariant()
    def whoever_is_down_and_not_muted_was_told(self) -> None:
        service = self.web.service
        assert_not_forgotten(service)
        assert not owes_trigger(service)

    def teardown(self) -> None:
        if hasattr(self, "web"):
            self.check_the_whole_life()

    def check_the_whole_life(self) -> None:
        effects = self.web.effects
        check_alerts_and_tellings(effects)
        check_every_prefix(effects, self.medic.defaults)
        self.check_replay(effects)

    def check_replay(self, effects: list[ServiceEffect]) -> None:
        """The same events give the same effects, and the same state."""
        at, sighted = self.began
        again, first = register(self.row, self.medic.defaults, at=at, sighted=sighted)
        repeated = [*first, *(effect for event in self.events for effect in step(again, event))]
        assert repeated == effects
        assert state_of(again) == state_of(self.web.service)


def assert_not_forgotten(service: Service) -> None:
    """Whoever is watched either has a deadline, or an alert that was told, is muted, or is due to be told at once."""
    if service.status is Status.INACTIVE:
        return
    if service.alert is None:
        assert late_deadline(service) is not None
    elif service.mute is None:
        assert service.alert.notifications > 0 or owes_trigger(service)


def check_alerts_and_tellings(effects: list[ServiceEffect]) -> None:
    """At most one alert is open; each is told from a trigger to a resolve, in order; no notification id comes twice."""
    open_alert, kinds = None, {}
    for effect in effects:
        if isinstance(effect, OpenAlert):
            assert open_alert is None
            open_alert = effect.alert.alert_id
            assert open_alert not in kinds
            kinds[open_alert] = []
        elif isinstance(effect, CloseAlert):
            assert open_alert == effect.alert.alert_id
            assert effect.cycle >= 1
            open_alert = None
        elif isinstance(effect, Notify) and effect.notification.alert_id is not None:
            kinds[effect.notification.alert_id].append(str(effect.notification.kind))
    for told in kinds.values():
        assert told[:1] in ([], ["trigger"])
        assert "resolve" not in told[:-1]
    ids = Counter(effect.notification.notification_id for effect in effects if isinstance(effect, Notify))
    assert not ids or max(ids.values()) == 1


def check_every_prefix(effects: list[ServiceEffect], defaults: Defaults) -> None:
    """A journal may end after any record, in the middle of a turn too: what it holds until then forgets nobody."""
    first = effects[0]
    assert isinstance(first, StoreService)
    service = service_from(first, defaults)
    for effect in effects[1:]:
        assert_not_forgotten(service)
        fold(service, effect)


TestService = ServiceMachine.TestCase
