from __future__ import annotations

import math
from random import Random

import pytest

from medic.alerting.attempt import Delivered, Refused, Retry, Throttled
from medic.alerting.pace import (
    ATTEMPTS_AT_ONCE_MAX,
    OUTAGE_LANES,
    PROBE_MAX_SECONDS,
    URGENT_ATTEMPTS_EXTRA,
    Pace,
)

DOWN = Retry("down", maybe_taken=False)
P1, P3 = 0, 2


@pytest.fixture
def pace():
    return Pace(Random(3))


def fail(pace: Pace, *keys: str, now: float = 0.0) -> None:
    for key in keys:
        pace.begun(now)
        assert pace.ended(key, DOWN, now) is False


def test_so_many_at_once_and_some_more_for_p1(pace):
    for _ in range(ATTEMPTS_AT_ONCE_MAX):
        assert pace.may_begin(P3, 0.0)
        pace.begun(0.0)
    assert not pace.may_begin(P3, 0.0)
    for _ in range(URGENT_ATTEMPTS_EXTRA):
        assert pace.may_begin(P1, 0.0)
        pace.begun(0.0)
    assert not pace.may_begin(P1, 0.0)
    assert pace.next_change(0.0) == math.inf
    pace.crashed()
    assert pace.may_begin(P3, 0.0)


def test_several_failing_lanes_are_an_outage_and_one_is_not(pace):
    fail(pace, *["same"] * 50)
    assert not pace.out
    fail(pace, *[f"lane-{number}" for number in range(OUTAGE_LANES - 1)])
    assert pace.out
    assert pace.outages == 1


def test_an_outage_is_probed_one_at_a_time_and_ever_more_rarely(pace):
    fail(pace, *"abc")
    now, waits = 0.0, []
    for _ in range(20):
        assert not pace.may_begin(P1, now)
        change = pace.next_change(now)
        waits.append(change - now)
        now = change
        assert pace.may_begin(P3, now)
        pace.begun(now)
        assert not pace.may_begin(P1, now)
        assert pace.next_change(now) == math.inf
        pace.ended("a", DOWN, now)
    assert 0.5 <= waits[0] <= 1.0
    assert all(PROBE_MAX_SECONDS / 2 <= wait <= PROBE_MAX_SECONDS for wait in waits[5:])


@pytest.mark.parametrize("answer", [Delivered(), Refused("no"), Throttled("wait", 1.0)])
def test_any_answer_ends_an_outage_and_says_so(pace, answer):
    fail(pace, *"abcd")
    pace.begun(100.0)
    assert pace.ended("a", answer, 100.0) is True
    assert not pace.out
    assert pace.may_begin(P3, 102.0)
    pace.begun(102.0)
    assert pace.ended("a", answer, 102.0) is False


def test_news_brings_a_probe_forward_to_one_a_second(pace):
    fail(pace, *"abc")
    for _ in range(10):
        fail(pace, "a", now=100.0)
    assert pace.next_change(100.0) >= 105.0
    pace.hurry()
    assert pace.next_change(100.0) == 101.0
    assert not pace.may_begin(P1, 100.9)
    assert pace.may_begin(P3, 101.0)
    healthy = Pace(Random(1))
    healthy.hurry()
    assert healthy.may_begin(P3, 0.0)


def test_a_throttle_pauses_everything_as_long_as_asked(pace):
    pace.begun(0.0)
    pace.ended("a", Throttled("429", 30.0), 0.0)
    pace.begun(0.0)
    pace.ended("b", Throttled("429", 10.0), 1.0)
    assert pace.paused(29.9)
    assert not pace.may_begin(P1, 29.9)
    assert pace.next_change(1.0) == 30.0
    assert pace.may_begin(P3, 30.0)
    assert not pace.paused(30.0)


def test_throttles_without_a_wait_back_off(pace):
    pauses = []
    for _ in range(200):
        pace.begun(0.0)
        pace.ended("a", Throttled("429"), 0.0)
        pauses.append(pace.next_change(0.0))
    assert max(pauses) <= 60.0
    assert pauses[-1] > 30.0


def test_a_failed_lane_waits_at_least_as_long_as_the_vendor_asked(pace):
    assert pace.retry_at(1, DOWN, 100.0) <= 101.0
    assert pace.retry_at(1, Retry("503", maybe_taken=True, retry_after=20.0), 100.0) == 120.0
    assert pace.retry_at(1, Throttled("429", 30.0), 100.0) == 100.0
