"""Leases: ahead of need, on credit, refused, given back, and that in the end everything is counted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from medic.access.gcra import MINUTE_US, SECOND_US, Limit, take
from medic.access.leases import ALONE, CREDIT, LEASE_US, REFUSED_US, SHARE, SHARE_IN_A_HURRY, Leases

LIMIT = Limit(600)
NAME = "caller"


class SmallRedis:
    """What Redis does with what it is asked, for one name."""

    def __init__(self, limit: Limit = LIMIT) -> None:
        self.limit = limit
        self.arrival = 0
        self.counted = 0

    def answer(self, leases: Leases, now: int) -> int:
        """Settle all that is due; how much was asked."""
        asked = 0
        while asking := leases.take_due(most=10):
            for each in asking:
                asked += 1
                backlog = max(0, self.arrival - now) + each.owed * each.limit.emission_us
                granted = take(each.limit, backlog, each.wanted)
                backlog += granted * each.limit.emission_us
                self.arrival = now + backlog
                self.counted += each.owed + granted
                leases.settle(each.name, granted, backlog)
        return asked


def test_a_quiet_name_is_counted_once_a_few_have_come_together():
    leases, redis = Leases(), SmallRedis()
    asked = []
    for number in range(40):
        now = number * 20 * SECOND_US
        assert leases.take(NAME, LIMIT, now) == 0
        asked.append(redis.answer(leases, now))
    assert sum(asked) * (LIMIT.requests // CREDIT) <= 40
    assert redis.counted >= 40 - LIMIT.requests // CREDIT


def test_a_busy_name_leases_ahead_and_never_holds_more_than_a_quarter_more_than_its_share():
    leases, redis = Leases(), SmallRedis(Limit(60_000))
    asked = used = 0
    for number in range(2_000):
        now = number * 2_000
        used += leases.take(NAME, redis.limit, now) == 0
        asked += redis.answer(leases, now)
    assert used == 2_000
    assert asked < used / 50
    assert redis.counted - used <= redis.limit.requests // SHARE * 5 // 4


def test_while_redis_is_being_asked_nobody_waits_and_what_was_taken_is_counted_afterwards():
    leases, redis = Leases(), SmallRedis()
    for _ in range(200):
        assert leases.take(NAME, LIMIT, 0) == 0
    redis.answer(leases, 0)
    assert redis.counted >= 200


def test_what_comes_in_between_question_and_answer_is_counted_with_the_next_question():
    leases = Leases()
    for _ in range(LIMIT.requests // CREDIT + 1):
        leases.take(NAME, LIMIT, 0)
    assert not leases.is_urgent
    (first,) = leases.take_due(most=10)
    for _ in range(90):
        assert leases.take(NAME, LIMIT, 0) == 0
    assert leases.is_urgent
    assert not leases.due
    leases.settle(NAME, 10, 40 * LIMIT.emission_us)
    (second,) = leases.take_due(most=10)
    assert (first.owed, second.owed) == (19, 80)


def test_where_nothing_fits_nothing_is_taken_until_something_does_and_redis_is_left_alone():
    leases = Leases()
    for _ in range(30):
        leases.take(NAME, LIMIT, 0)
    leases.take_due(most=10)
    leases.settle(NAME, 0, LIMIT.burst_us + 3 * LIMIT.emission_us)
    wait = leases.take(NAME, LIMIT, 0)
    assert wait == 4 * LIMIT.emission_us
    assert leases.take(NAME, LIMIT, wait - 1) == 1
    assert not leases.due
    assert leases.take(NAME, LIMIT, wait) == 0


def test_where_plenty_is_left_of_a_lease_it_is_only_counted_down():
    leases, redis = Leases(), SmallRedis()
    assert not leases.count_down(NAME, 0)
    for _ in range(30):
        leases.take(NAME, LIMIT, 0)
    redis.answer(leases, 0)
    granted = redis.counted - 30
    plenty = sum(leases.count_down(NAME, 1) for _ in range(granted))
    assert 0 < plenty < granted
    assert not leases.due
    assert leases.take(NAME, LIMIT, 1) == 0
    assert NAME in leases.due
    assert [leases.take(NAME, LIMIT, 1) for _ in range(granted - plenty)] == [0] * (granted - plenty)


def test_an_old_lease_is_not_counted_down():
    leases, redis = Leases(), SmallRedis()
    for _ in range(30):
        leases.take(NAME, LIMIT, 0)
    redis.answer(leases, 0)
    assert not leases.count_down(NAME, LEASE_US)


def test_who_asks_redis_is_told_when_there_is_something_to_ask():
    told = []
    leases = Leases(lambda: told.append((len(leases.due), leases.is_urgent)))
    for _ in range(30):
        leases.take(NAME, LIMIT, 0)
    leases.take_due(most=10)
    for _ in range(LIMIT.requests):
        leases.take(NAME, LIMIT, 0)
    assert told == [(1, False), (1, True), (0, True)]


def test_names_that_fall_due_while_others_are_due_are_asked_for_with_them():
    told = []
    leases = Leases(lambda: told.append(len(leases.due)))
    for name in ("a", "b", "c"):
        for _ in range(LIMIT.requests // CREDIT + 1):
            leases.take(name, LIMIT, 0)
    assert told == [1]
    assert [asking.name for asking in leases.take_due(most=2)] == ["a", "b"]
    assert [asking.name for asking in leases.take_due(most=2)] == ["c"]


def test_who_uses_up_a_lease_soon_leases_more_the_next_time():
    sizes = {}
    for pause_us in (LIMIT.emission_us, 5 * LIMIT.emission_us):
        leases, redis, now = Leases(), SmallRedis(), 0
        asked = []
        for _ in range(400):
            now += pause_us
            assert leases.count_down(NAME, now) or leases.take(NAME, LIMIT, now, pause_us) == 0
            counted = redis.counted
            redis.answer(leases, now)
            asked.append(redis.counted - counted)
        sizes[pause_us] = max(asked)
    assert sizes[LIMIT.emission_us] == LIMIT.requests // SHARE_IN_A_HURRY
    assert sizes[5 * LIMIT.emission_us] < LIMIT.requests // SHARE_IN_A_HURRY


def test_a_lease_ends():
    leases, redis = Leases(), SmallRedis()
    for number in range(10):
        leases.take(NAME, LIMIT, number)
        redis.answer(leases, number)
    before = redis.counted
    assert leases.take(NAME, LIMIT, 10 + LEASE_US) == 0
    redis.answer(leases, 10 + LEASE_US)
    for _ in range(LIMIT.requests // CREDIT + 1):
        leases.take(NAME, LIMIT, 11 + LEASE_US)
    redis.answer(leases, 11 + LEASE_US)
    assert redis.counted >= before + LIMIT.requests // CREDIT


def test_a_redis_that_does_not_answer_is_asked_again():
    leases = Leases()
    for _ in range(30):
        leases.take(NAME, LIMIT, 0)
    leases.take_due(most=10)
    leases.fail(NAME)
    assert leases.take(NAME, LIMIT, 1) == 0
    assert leases.due or leases.take(NAME, LIMIT, 2) == 0


def test_a_name_that_redis_refuses_is_counted_here_and_asked_for_again_after_a_while():
    leases = Leases()
    for _ in range(30):
        leases.take(NAME, LIMIT, 0)
    leases.take_due(most=10)
    leases.refuse(NAME)
    taken = sum(leases.take(NAME, LIMIT, 0) == 0 for _ in range(LIMIT.requests))
    assert taken == LIMIT.requests - 30
    assert leases.take(NAME, LIMIT, 1) > 0
    assert not leases.due
    assert leases.take(NAME, LIMIT, REFUSED_US) == 0
    (asking,) = leases.take_due(most=10)
    assert asking.owed == taken + 1


def test_a_process_that_is_alone_gives_at_once_what_the_limit_says_and_no_lease_beside_it():
    leases, redis = Leases(), SmallRedis()
    taken = 0
    for number in range(2 * LIMIT.requests):
        taken += leases.count_down(NAME, 0) or leases.take(NAME, LIMIT, 0) == 0
        if number % 100 == 99:
            redis.answer(leases, 0)
    assert taken == LIMIT.requests


def test_a_lease_that_was_held_through_a_rest_is_part_of_what_may_come_at_once():
    leases, redis = Leases(), SmallRedis()
    for number in range(30):
        leases.take(NAME, LIMIT, number)
    redis.answer(leases, 30)
    taken, now = 0, LEASE_US - SECOND_US
    for number in range(2 * LIMIT.requests):
        since = now if not number else 0
        taken += leases.count_down(NAME, now) or leases.take(NAME, LIMIT, now, since) == 0
        redis.answer(leases, now)
    assert taken == LIMIT.requests


@given(
    st.lists(st.tuples(st.integers(0, 12), st.sampled_from((0, 1_000, 90_000, 5_000_000)), st.booleans()), max_size=200)
)
def test_a_process_never_gives_more_than_its_limit_whenever_redis_answers(steps):
    """The limit of few a minute is met by few requests; what passes is held against the arithmetic itself."""
    limit = Limit(20)
    leases, redis, now, last, backlog = Leases(), SmallRedis(limit), 0, 0, 0
    for burst, gap, answers in steps:
        now += gap
        backlog = max(0, backlog - gap)
        for _ in range(burst):
            if leases.count_down(NAME, now) or leases.take(NAME, limit, now, now - last) == 0:
                backlog += limit.emission_us
            last = now
        assert backlog <= limit.burst_us
        if answers:
            redis.answer(leases, now)


def test_alone_a_process_gives_at_once_what_the_limit_says():
    for requests in (1, 2, 15, 16, 31, 32, 100, 6_000):
        leases, limit = Leases(), Limit(requests)
        taken = sum(leases.count_down(NAME, 0) or leases.take_alone(NAME, limit, 0) == 0 for _ in range(2 * requests))
        assert taken == requests


@pytest.mark.parametrize("requests", [1, 2, 15, 16, 31, 32, 100, 6_000])
def test_alone_whoever_keeps_the_pace_of_the_limit_is_never_refused(requests):
    leases, limit, now = Leases(), Limit(requests), 10**15
    for _ in range(5 * requests):
        now += limit.emission_us
        assert leases.count_down(NAME, now) or leases.take_alone(NAME, limit, now, limit.emission_us) == 0


def test_the_one_before_that_nobody_counted_is_counted_and_a_refused_one_is_not():
    leases, limit = Leases(), Limit(1)
    now = 10**15
    assert leases.take_alone(NAME, limit, now, 10) == MINUTE_US - 10
    assert leases.take_alone(NAME, limit, now + 10, 10) == MINUTE_US - 20
    assert leases.take_alone(NAME, limit, now + MINUTE_US, 10) == 0


def test_one_that_redis_shut_out_does_not_shut_out_the_next():
    leases, limit = Leases(), Limit(1)
    assert leases.take(NAME, limit, 0) == 0
    leases.take_due(most=10)
    leases.settle(NAME, 0, 2 * MINUTE_US)
    assert leases.take(NAME, limit, 2 * MINUTE_US - 1, 10**9) == 1
    assert leases.take(NAME, limit, 2 * MINUTE_US, 1) == 0


def test_what_was_taken_alone_is_not_asked_for_when_redis_is_there_again():
    leases = Leases()
    for _ in range(LIMIT.requests):
        leases.count_down(NAME, 0) or leases.take_alone(NAME, LIMIT, 0)
    assert leases.take(NAME, LIMIT, MINUTE_US) == 0
    assert sum(each.owed for each in leases.take_due(most=10)) <= LIMIT.requests // ALONE


def test_an_answer_for_a_name_that_was_forgotten_means_nothing():
    leases = Leases()
    leases.settle("stranger", 3, 0)
    leases.fail("stranger")
    leases.refuse("stranger")
    assert not leases.due


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 200_000), st.booleans()), max_size=300))
def test_four_processes_take_no_more_than_the_limit_and_their_credit(steps):
    processes, redis, now, taken = [Leases() for _ in range(4)], SmallRedis(), 0, 0
    for process, gap, answers in steps:
        now += gap
        taken += processes[process].count_down(NAME, now) or processes[process].take(NAME, LIMIT, now) == 0
        if answers:
            redis.answer(processes[process], now)
    for leases in processes:
        redis.answer(leases, now)
    assert taken <= redis.counted + 4 * (LIMIT.requests // CREDIT)
