"""The wheel against a dict of deadlines: whatever happens to it, nothing fires early and nothing late."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, multiple, rule

from medic.wheel import Tick, Timer, Wheel
from medic.wheel.level import NOWHERE, SLOTS

SPAN = SLOTS**6
ORIGINS = st.one_of(
    st.integers(0, 200),
    st.integers(170_000_000_000, 180_000_000_000),
    # Just before a slot of some level ends, the outermost ring's end among them.
    st.builds(
        lambda level, rounds, back: SLOTS**level * rounds - back,
        st.integers(1, 6),
        st.integers(2, 4),
        st.integers(1, 70),
    ),
)
DISTANCES = st.one_of(
    st.integers(-3, 3),
    st.integers(0, 70),
    st.integers(0, 5_000),
    st.integers(0, SLOTS**5),
    st.integers(SPAN - 5_000, SPAN * 3),
    st.builds(
        lambda level, slots, off: SLOTS**level * slots + off, st.integers(1, 5), st.integers(1, 64), st.integers(-2, 2)
    ),
)


class WheelAgainstDict(RuleBasedStateMachine):
    """`deadlines` is the model: what should be armed, and for when."""

    timers = Bundle("timers")

    @initialize(origin=ORIGINS)
    def begin(self, origin: int) -> None:
        self.wheel: Wheel[Timer] = Wheel(Tick(origin), self.deadline_of)
        self.deadlines: dict[Timer, int] = {}
        self.given_up: set[Timer] = set()
        self.moves = 0

    def deadline_of(self, timer: Timer) -> Tick | None:
        self.moves += 1
        self.given_up.discard(timer)
        deadline = self.deadlines.get(timer)
        return None if deadline is None else Tick(deadline)

    @rule(target=timers, distances=st.lists(DISTANCES, min_size=1, max_size=8))
    def arm_new(self, distances: list[int]):
        fresh = []
        for distance in distances:
            timer = Timer()
            self.arm(timer, max(0, self.wheel.now + distance))
            fresh.append(timer)
        return multiple(*fresh)

    @rule(timer=timers, distance=DISTANCES)
    def arm_at(self, timer: Timer, distance: int) -> None:
        self.arm(timer, max(0, self.wheel.now + distance))

    @rule(timer=timers, change=st.one_of(st.integers(-100, 100), st.integers(-(SLOTS**4), SLOTS**4)))
    def move(self, timer: Timer, change: int) -> None:
        if timer in self.deadlines:
            self.arm(timer, max(0, self.deadlines[timer] + change))

    def arm(self, timer: Timer, tick: int) -> None:
        before = timer.armed
        self.wheel.arm(timer, Tick(tick))
        self.deadlines[timer] = tick
        self.given_up.discard(timer)
        if before != -1 and before <= tick:
            assert timer.armed == before, "a later deadline must not move the entry"

    @rule(timer=timers, later=st.integers(0, SLOTS**4))
    def put_off_without_a_word(self, timer: Timer, later: int) -> None:
        if timer in self.deadlines:
            self.deadlines[timer] += later

    @rule(timer=timers)
    def give_up_without_a_word(self, timer: Timer) -> None:
        if self.deadlines.pop(timer, None) is not None:
            self.given_up.add(timer)

    @rule(timer=timers)
    def disarm(self, timer: Timer) -> None:
        self.wheel.disarm(timer)
        self.given_up.discard(timer)
        self.deadlines.pop(timer, None)
        assert timer.armed == -1

    @rule(timer=consumes(timers))
    def disarm_for_good(self, timer: Timer) -> None:
        self.disarm(timer)

    @rule(distance=DISTANCES)
    def advance_at_once(self, distance: int) -> None:
        to = self.wheel.now + distance
        self.advance(to, budget=1_000_000)
        assert self.wheel.now >= to

    @rule(distance=DISTANCES, budget=st.integers(0, 4))
    def advance_a_little(self, distance: int, budget: int) -> None:
        self.advance(self.wheel.now + distance, budget)

    @rule(budget=st.integers(1, 5))
    def advance_to_the_next_tick(self, budget: int) -> None:
        tick = self.wheel.next_tick()
        if tick is not None:
            self.advance(tick, budget)

    @rule(distance=DISTANCES, budget=st.integers(1, 3))
    def advance_in_slices(self, distance: int, budget: int) -> None:
        to = self.wheel.now + distance
        while self.wheel.now < to:
            before = self.moves
            self.advance(to, budget)
            assert self.moves > before or self.wheel.now >= to, "a slice must come further"

    def advance(self, to: int, budget: int) -> None:
        before = self.wheel.statistics()
        moves = self.moves
        fired = self.wheel.advance(Tick(to), budget)
        assert self.moves - moves <= budget
        assert self.wheel.statistics().fired - before.fired == len(fired)
        assert before.now <= self.wheel.now <= max(to, before.now)
        # In order of ticks; those armed for a tick that had passed count as due at the first one.
        due_at = [max(self.deadlines[timer], before.now + 1) for timer in fired]
        assert due_at == sorted(due_at)
        for timer in fired:
            assert timer.armed == -1
            assert timer._next is NOWHERE
            assert timer._prev is NOWHERE
            deadline = self.deadlines.pop(timer)
            assert deadline <= to, "fired early"
        if self.wheel.now >= to:
            late = [deadline for deadline in self.deadlines.values() if deadline <= to]
            assert not (to > before.now and late), "left behind"
        else:
            assert self.moves - moves == budget, "gave up with budget left"

    @invariant()
    def holds_what_was_armed(self) -> None:
        assert len(self.wheel) == len(self.deadlines) + len(self.given_up) == self.wheel.statistics().armed
        for timer, deadline in self.deadlines.items():
            assert 0 <= timer.armed <= max(deadline, self.wheel.now + 1)

    @invariant()
    def next_tick_is_in_time(self) -> None:
        tick = self.wheel.next_tick()
        if self.deadlines:
            assert tick is not None
            assert self.wheel.now < tick <= max(min(self.deadlines.values()), self.wheel.now + 1)
        else:
            assert (tick is None) == (not self.given_up)

    @invariant()
    def rings_and_bitmaps_agree(self) -> None:
        linked = set()
        for level in self.wheel._levels:
            for index, slot in enumerate(level.slots):
                timer = slot._next
                assert (timer is not slot) == bool(level.occupied >> index & 1)
                while timer is not slot:
                    assert timer._next._prev is timer
                    assert level.slot_at(timer.armed) is slot
                    assert timer.armed is slot.armed
                    assert timer.armed % (1 << level.shift) == 0
                    linked.add(timer)
                    timer = timer._next
        assert linked == self.deadlines.keys() | self.given_up


TestWheelAgainstDict = WheelAgainstDict.TestCase
