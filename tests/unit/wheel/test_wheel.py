"""What a timing wheel promises, sentence by sentence."""

from __future__ import annotations

import gc
import weakref

import pytest

from medic.wheel import Tick, Timer, Wheel, WheelStatistics

ORIGIN = 175_000_000_000


class Alarm(Timer):
    __slots__ = ("__weakref__", "deadline", "name")

    def __init__(self, name: str = "") -> None:
        super().__init__()
        self.name = name
        self.deadline: Tick | None = None


def new_wheel(now: int) -> Wheel[Alarm]:
    return Wheel(Tick(now), lambda alarm: alarm.deadline)


@pytest.fixture
def wheel() -> Wheel[Alarm]:
    return new_wheel(ORIGIN)


def arm(wheel: Wheel[Alarm], alarm: Alarm, tick: int) -> None:
    alarm.deadline = Tick(tick)
    wheel.arm(alarm, Tick(tick))


def armed(wheel: Wheel[Alarm], after: int, name: str = "") -> Alarm:
    alarm = Alarm(name)
    arm(wheel, alarm, wheel.now + after)
    return alarm


def names(alarms: list[Alarm]) -> list[str]:
    return [alarm.name for alarm in alarms]


def test_a_new_wheel_stands_where_it_was_told_and_has_nothing_to_do(wheel):
    assert wheel.now == ORIGIN
    assert len(wheel) == 0
    assert wheel.next_tick() is None
    assert wheel.advance(Tick(ORIGIN + 1_000_000), 0) == []
    assert wheel.now == ORIGIN + 1_000_000


def test_a_new_timer_is_not_armed():
    assert Timer().armed == -1


@pytest.mark.parametrize("distance", [1, 2, 63, 64, 65, 4_095, 4_096, 262_144, 16_777_216, 1_073_741_824, 60 * 64**5])
@pytest.mark.parametrize("origin", [0, 1, 63, ORIGIN, 64**6 - 1, 3 * 64**6 - 2])
def test_a_timer_fires_at_its_tick_and_not_one_before(origin, distance):
    wheel = new_wheel(origin)
    alarm = armed(wheel, distance)
    assert wheel.advance(Tick(origin + distance - 1), 100) == []
    assert wheel.now == origin + distance - 1
    assert len(wheel) == 1
    assert wheel.advance(Tick(origin + distance), 100) == [alarm]
    assert wheel.now == origin + distance
    assert len(wheel) == 0


def test_a_fired_timer_is_not_armed(wheel):
    alarm = armed(wheel, 5)
    wheel.advance(Tick(ORIGIN + 100), 10)
    assert alarm.armed == -1


def test_a_timer_without_a_deadline_when_its_slot_comes_is_disarmed(wheel):
    near, far = armed(wheel, 5), armed(wheel, 5_000)
    near.deadline = far.deadline = None
    assert wheel.advance(Tick(ORIGIN + 6_000), 100) == []
    assert (near.armed, far.armed, len(wheel)) == (-1, -1, 0)


def test_a_deadline_that_became_later_without_a_word_is_kept(wheel):
    alarm = armed(wheel, 5)
    alarm.deadline = Tick(ORIGIN + 5_000)
    assert wheel.advance(Tick(ORIGIN + 4_999), 100) == []
    assert wheel.advance(Tick(ORIGIN + 5_000), 100) == [alarm]


def test_timers_of_one_slot_share_the_tick_they_are_linked_at(wheel):
    one, other = armed(wheel, 100_000), armed(wheel, 100_001)
    assert one.armed is other.armed
    assert one.armed <= ORIGIN + 100_000


def test_an_earlier_deadline_in_the_same_slot_needs_no_move_and_is_kept(wheel):
    alarm = armed(wheel, 100_001)
    before = alarm.armed
    arm(wheel, alarm, ORIGIN + 100_000)
    assert alarm.armed is before
    assert wheel.advance(Tick(ORIGIN + 99_999), 100) == []
    assert wheel.advance(Tick(ORIGIN + 100_000), 100) == [alarm]


def test_a_fired_timer_can_be_armed_again(wheel):
    alarm = armed(wheel, 5)
    wheel.advance(Tick(ORIGIN + 5), 10)
    arm(wheel, alarm, ORIGIN + 9)
    assert wheel.advance(Tick(ORIGIN + 9), 10) == [alarm]


@pytest.mark.parametrize("before", [0, 1, 1_000, ORIGIN])
def test_a_tick_that_has_passed_fires_on_the_next_advance(wheel, before):
    alarm = armed(wheel, -before)
    assert wheel.next_tick() == ORIGIN + 1
    assert wheel.advance(Tick(ORIGIN + 1), 1) == [alarm]


def test_timers_fire_in_the_order_of_their_ticks(wheel):
    for after in (70, 3, 5_000, 3, 64, 1):
        armed(wheel, after, str(after))
    assert names(wheel.advance(Tick(ORIGIN + 5_000), 100)) == ["1", "3", "3", "64", "70", "5000"]


def test_timers_of_one_tick_fire_in_the_order_they_were_armed(wheel):
    for name in "abc":
        armed(wheel, 7, name)
    assert names(wheel.advance(Tick(ORIGIN + 7), 100)) == ["a", "b", "c"]


def test_a_later_deadline_leaves_the_entry_where_it_is(wheel):
    alarm = armed(wheel, 10)
    arm(wheel, alarm, ORIGIN + 50)
    assert alarm.armed == ORIGIN + 10
    assert len(wheel) == 1


def test_a_timer_moved_later_fires_at_the_later_tick_only(wheel):
    alarm = armed(wheel, 10)
    arm(wheel, alarm, ORIGIN + 500)
    assert wheel.advance(Tick(ORIGIN + 499), 100) == []
    assert wheel.advance(Tick(ORIGIN + 500), 100) == [alarm]
    assert wheel.statistics().moved_lazily >= 1


def test_an_earlier_deadline_moves_the_entry_at_once(wheel):
    alarm = armed(wheel, 360_000)
    arm(wheel, alarm, ORIGIN + 6_000)
    assert ORIGIN < alarm.armed <= ORIGIN + 6_000
    assert wheel.advance(Tick(ORIGIN + 6_000), 100) == [alarm]


def test_moved_later_and_then_back_it_fires_at_the_last_word(wheel):
    alarm = armed(wheel, 100)
    arm(wheel, alarm, ORIGIN + 5_000)
    arm(wheel, alarm, ORIGIN + 200)
    assert wheel.advance(Tick(ORIGIN + 199), 100) == []
    assert wheel.advance(Tick(ORIGIN + 200), 100) == [alarm]


def test_thirty_heartbeats_an_interval_cost_about_a_move_an_interval(wheel):
    interval = 30_000
    alarm = armed(wheel, interval)
    beats = 30 * 100
    for _ in range(beats):
        assert wheel.advance(Tick(wheel.now + interval // 30), 10) == []
        arm(wheel, alarm, wheel.now + interval)
    statistics = wheel.statistics()
    assert statistics.fired == 0
    assert statistics.moved_lazily + statistics.cascaded <= 2 * beats // 30


def test_a_disarmed_timer_never_fires(wheel):
    alarm = armed(wheel, 10)
    wheel.disarm(alarm)
    assert alarm.armed == -1
    assert len(wheel) == 0
    assert wheel.next_tick() is None
    assert wheel.advance(Tick(ORIGIN + 100), 10) == []


def test_disarming_what_is_not_armed_changes_nothing(wheel):
    armed(wheel, 3)
    wheel.disarm(Alarm())
    assert len(wheel) == 1


def test_disarming_one_of_several_in_a_slot_leaves_the_others(wheel):
    alarms = [armed(wheel, 9, name) for name in "abc"]
    wheel.disarm(alarms[1])
    assert names(wheel.advance(Tick(ORIGIN + 9), 10)) == ["a", "c"]


def test_the_wheel_knows_when_it_has_something_to_do_next(wheel):
    armed(wheel, 40_000)
    near = armed(wheel, 12)
    assert wheel.next_tick() == ORIGIN + 12
    wheel.disarm(near)
    tick = wheel.next_tick()
    assert tick is not None
    assert ORIGIN < tick <= ORIGIN + 40_000


def test_an_idle_wheel_is_woken_a_handful_of_times_for_a_timer_a_year_away(wheel):
    year = 365 * 24 * 3_600 * 100
    alarm = armed(wheel, year)
    wakes = 0
    while True:
        wakes += 1
        if wheel.advance(wheel.next_tick(), 10) == [alarm]:
            break
    assert wheel.now == ORIGIN + year
    assert wakes <= 6


def test_a_budget_is_spent_on_firings_one_by_one(wheel):
    for name in "abcde":
        armed(wheel, 4, name)
    assert names(wheel.advance(Tick(ORIGIN + 9), 2)) == ["a", "b"]
    assert wheel.now == ORIGIN + 3
    assert names(wheel.advance(Tick(ORIGIN + 9), 2)) == ["c", "d"]
    assert wheel.now < ORIGIN + 9
    assert names(wheel.advance(Tick(ORIGIN + 9), 2)) == ["e"]
    assert wheel.now == ORIGIN + 9


def test_a_budget_that_is_just_enough_finishes(wheel):
    armed(wheel, 4)
    armed(wheel, 4)
    assert len(wheel.advance(Tick(ORIGIN + 9), 2)) == 2
    assert wheel.now == ORIGIN + 9


def test_a_budget_is_spent_on_lazy_moves_too(wheel):
    alarms = [armed(wheel, 4) for _ in range(5)]
    for alarm in alarms:
        arm(wheel, alarm, ORIGIN + 40)
    assert wheel.advance(Tick(ORIGIN + 4), 3) == []
    assert wheel.statistics().moved_lazily == 3
    assert wheel.now == ORIGIN + 3
    assert wheel.advance(Tick(ORIGIN + 4), 3) == []
    assert wheel.statistics().moved_lazily == 5
    assert wheel.now == ORIGIN + 4


def test_a_budget_is_spent_on_cascades_too_and_a_cascade_resumes():
    wheel = new_wheel(0)
    for place in range(10):
        armed(wheel, 4_096 + place, str(place))
    assert wheel.advance(Tick(4_096), 4) == []
    assert wheel.statistics().cascaded == 4
    assert wheel.now == 4_095
    assert wheel.next_tick() == 4_096
    fired = []
    while wheel.now < 5_000:
        fired += names(wheel.advance(Tick(5_000), 4))
    assert fired == [str(place) for place in range(10)]


def test_in_the_middle_of_a_slot_timers_can_be_disarmed_and_put_off(wheel):
    alarms = [armed(wheel, 4, name) for name in "abcd"]
    assert names(wheel.advance(Tick(ORIGIN + 4), 1)) == ["a"]
    wheel.disarm(alarms[1])
    arm(wheel, alarms[2], ORIGIN + 8)
    assert names(wheel.advance(Tick(ORIGIN + 4), 10)) == ["d"]
    assert names(wheel.advance(Tick(ORIGIN + 8), 10)) == ["c"]


def test_in_the_middle_of_a_slot_what_is_armed_for_that_tick_fires_behind_the_others(wheel):
    for name in "ab":
        armed(wheel, 4, name)
    assert names(wheel.advance(Tick(ORIGIN + 4), 1)) == ["a"]
    armed(wheel, 1, "new")
    assert wheel.now == ORIGIN + 3
    assert names(wheel.advance(Tick(ORIGIN + 4), 10)) == ["b", "new"]


def test_in_the_middle_of_a_cascade_timers_of_that_slot_can_be_armed_and_disarmed():
    wheel = new_wheel(0)
    alarms = [armed(wheel, 64 + place, str(place)) for place in range(4)]
    assert wheel.advance(Tick(64), 2) == []
    wheel.disarm(alarms[3])
    armed(wheel, 2, "new")
    assert names(wheel.advance(Tick(70), 100)) == ["0", "1", "new", "2"]


def test_a_timer_that_is_always_overdue_does_not_hold_up_the_others(wheel):
    stuck = armed(wheel, 1, "stuck")
    armed(wheel, 20, "other")
    fired = []
    for _ in range(30):
        fired += names(wheel.advance(Tick(wheel.now + 1), 2))
        arm(wheel, stuck, ORIGIN)
    assert "other" in fired


def test_a_deadline_beyond_the_range_of_the_wheel_waits_in_the_furthest_slot_and_still_fires_on_its_tick(wheel):
    far = 3 * 64**6
    alarm = armed(wheel, far)
    assert alarm.armed < ORIGIN + far
    fired: list[Alarm] = []
    while not fired:
        fired = wheel.advance(wheel.next_tick(), 1)
    assert fired == [alarm]
    assert wheel.now == ORIGIN + far


def test_two_years_are_armed_in_one_link(wheel):
    year = 366 * 24 * 3_600 * 100
    alarm = armed(wheel, 4 * year)
    assert ORIGIN + 3 * year < alarm.armed <= ORIGIN + 4 * year


def test_advancing_to_where_it_stands_does_nothing(wheel):
    armed(wheel, 0)
    assert wheel.advance(Tick(ORIGIN), 10) == []
    assert wheel.advance(Tick(ORIGIN - 5), 10) == []
    assert wheel.now == ORIGIN
    assert len(wheel) == 1


def test_a_disarmed_timer_is_freed_without_a_garbage_collection(wheel):
    armed(wheel, 10)
    alarm = armed(wheel, 10)
    gone = weakref.ref(alarm)
    gc.disable()
    try:
        wheel.disarm(alarm)
        del alarm
        assert gone() is None
    finally:
        gc.enable()


def test_statistics_count_what_the_wheel_did():
    wheel = new_wheel(0)
    armed(wheel, 100)
    put_off = armed(wheel, 3)
    arm(wheel, put_off, 200)
    wheel.advance(Tick(100), 100)
    assert wheel.statistics() == WheelStatistics(armed=1, fired=1, cascaded=1, moved_lazily=1, now=Tick(100))
