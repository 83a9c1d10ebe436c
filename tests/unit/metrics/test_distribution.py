"""A histogram is right at its bounds and in its cumulative form."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from medic.metrics.distribution import Distribution

BOUNDS = (0.01, 0.1, 1.0)


def test_a_duration_equal_to_a_bound_belongs_to_it():
    distribution = Distribution(BOUNDS)
    for seconds in (0.0, 0.01, 0.010001, 0.1, 1.0, 1.5):
        distribution.observe(seconds)
    assert distribution.reading().counts == (2, 2, 1, 1)


def test_buckets_are_cumulative_and_end_with_infinity():
    distribution = Distribution(BOUNDS)
    for seconds in (0.005, 0.05, 0.5, 5.0):
        distribution.observe(seconds)
    assert distribution.reading().buckets() == [("0.01", 1.0), ("0.1", 2.0), ("1", 3.0), ("+Inf", 4.0)]


@given(st.lists(st.floats(min_value=0, max_value=10)))
def test_nothing_is_lost(durations):
    distribution = Distribution(BOUNDS)
    for seconds in durations:
        distribution.observe(seconds)
    reading = distribution.reading()
    assert reading.count == len(durations)
    assert reading.total == sum(durations)
    assert [count for _, count in reading.buckets()] == [
        sum(seconds <= bound for seconds in durations) for bound in (*BOUNDS, float("inf"))
    ]


def test_a_reading_does_not_change_later():
    distribution = Distribution(BOUNDS)
    before = distribution.reading()
    distribution.observe(0.5)
    assert before.count == 0
